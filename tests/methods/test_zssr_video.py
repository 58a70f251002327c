"""ZSSR for videos: one net for all frames."""

import jax
import numpy as np
import pytest

import deepinternal as di
from deepinternal.methods.zssr import RECIPE
from deepinternal.types import InputError, input_spec
from tests.tiny_methods import photo

pytestmark = pytest.mark.usefixtures("quick_programs")
FIELDS = {"features": 8, "layers": 3, "crop": 16, "optimizer": "adam", "back_projection": 1}
FRAMES = np.stack([np.round(255 * photo(40)[y : y + 24, y : y + 28]) for y in (0, 4, 8)])
FRAMES = FRAMES.astype(np.uint8)


def setting(**fields):
    config = RECIPE.build("video", **FIELDS, **fields)
    inputs = RECIPE.prepare(config, FRAMES)
    method = RECIPE.method(config, input_spec(inputs))
    return method, inputs, method.init(jax.random.key(0), inputs)


def test_each_frame_is_enlarged_as_a_single_image_with_the_same_net():
    method, inputs, state = setting()
    made = np.asarray(jax.jit(method.outputs)(state, inputs)["result"].value)
    assert made.shape == (3, 48, 56, 3)
    single = RECIPE.build("fast", **FIELDS)
    given = RECIPE.prepare(single, FRAMES[2] / np.float32(255))
    alone = jax.jit(RECIPE.method(single, input_spec(given)).outputs)(state, given)
    np.testing.assert_allclose(made[2], alone["result"].value, atol=1e-5)


def test_steps_learn_from_all_frames():
    """The gradients of a step are those of one frame, and different steps take different frames."""
    method, _, state = setting(p_as_is=1.0, p_dihedral=0.0, average=0)
    step = jax.jit(method.step, static_argnums=2)
    marked = lambda n: {"frames": np.where(np.arange(3)[:, None, None, None] == n, FRAMES, 0)}
    drawn = set()
    for number in range(12):
        at = state.replace(step=state.step + number)
        losses = [float(step(at, marked(n), None)[1]["loss"]) for n in range(3)]
        assert np.count_nonzero(losses) == 1
        drawn.add(int(np.argmax(losses)))
    assert drawn == {0, 1, 2}


def test_several_factors_pass_on_all_frames():
    method, inputs, state = setting(scale="1.5;2", base_change="1.5")
    _, new = jax.jit(method.stages[0].advance)(state, inputs)
    assert new["frames"].shape == (3, 36, 42, 3)
    assert np.abs(np.diff(np.asarray(new["frames"]), axis=0)).max() > 0.1
    assert np.min(new["frames"]) >= 0
    assert np.max(new["frames"]) <= 1


def test_frames_are_given_as_a_clip():
    made = di.super_resolve(FRAMES, preset="video", steps=1, **FIELDS)["result"]
    assert (made.shape, made.dtype) == ((3, 48, 56, 3), np.uint8)
    with pytest.raises(InputError, match="at least 2"):
        di.super_resolve(FRAMES[:1], preset="video", steps=2, **FIELDS)
    with pytest.raises(InputError, match=r"config\.blind: must be False with mode=video"):
        di.super_resolve(FRAMES, preset="video", blind=True)
