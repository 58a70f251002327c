"""InGAN: its step, sizes and swaps, and what a trained net is used for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal import retargeter
from deepinternal.codecs.image_io import to_array
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.loop import Stopped, train
from deepinternal.engine.parallel import Programs
from deepinternal.methods import ingan, ingan_crops, ingan_sizes, registry, retargeting
from deepinternal.ops import shear
from deepinternal.types import InputError, input_spec
from tests.engine.stop import Stop
from tests.tiny_methods import photo

TINY = {"steps": 3, "inverse_from": 1}


def _config(**fields):
    config = registry.preset("ingan", "smoke", ingan.defaults())
    registry.override(config, {**TINY, **fields})
    return config


@pytest.fixture(scope="module")
def trained():
    """Method, inputs, and states before and after a step with the extra one for the way back."""
    config = _config(ratio=2.0)
    inputs = ingan.prepare(config, photo(48))
    method = ingan.make(config, input_spec(inputs))
    inputs = jax.tree.map(jnp.asarray, inputs)
    state = jax.jit(method.init)(jax.random.key(0), inputs)
    after, metrics = jax.jit(method.step, static_argnums=2)(state, inputs, (24, 32, True))
    return config, method, inputs, state, after, metrics


def test_a_step_changes_both_nets(trained):
    *_, before, after, metrics = trained
    for name in ("generator", "discriminator"):
        changed = [
            bool(jnp.any(a != b))
            for a, b in zip(*(jax.tree.leaves(s.params[name]) for s in (before, after)))
        ]
        assert np.mean(changed) > 0.5  # biases before a norm do not matter
    assert int(after.step) == 1
    named = {"loss", "adversarial", "cycle", "inverse", "real", "made", "learning_rate"}
    assert named <= set(metrics)
    assert all(bool(jnp.isfinite(value)) for value in metrics.values())
    assert (int(metrics["height"]), int(metrics["width"])) == (24, 32)


def test_a_resumed_run_ends_with_the_same_bits(tmp_path):
    config = _config(steps=7, growth=18, blocks=0, inverse_from=-1)
    inputs = ingan.prepare(config, photo(48))
    programs = Programs(ingan.make(config, input_spec(inputs)))
    sizes = {programs.method.variant(config.seed, step) for step in range(7)}
    assert len(sizes) > 1
    whole = train(programs, inputs, seed=0)
    count = programs.count
    with pytest.raises(Stopped):
        train(programs, inputs, seed=0, checkpoints=Checkpoints(tmp_path), **_stopping(1))
    resumed = train(programs, inputs, seed=0, checkpoints=Checkpoints(tmp_path))
    assert resumed.resumed_steps != []
    assert programs.count == count  # nothing is compiled twice
    for a, b in zip(*(jax.tree.leaves(run.state.params) for run in (whole, resumed)), strict=True):
        np.testing.assert_array_equal(a, b)


def _stopping(at):
    stop = Stop(at)
    return {"stop": stop, "progress": stop}


def test_what_is_made_during_training(trained):
    _, method, inputs, state, *_ = trained
    same, seen = jax.jit(method.evaluate)(state, inputs)
    made = jax.jit(method.outputs)(state, inputs)
    assert seen["result"].shape == (48, 96, 3)
    np.testing.assert_allclose(seen["result"], made["result"].value, atol=1e-5)
    np.testing.assert_allclose(seen["cycle_error"], made["cycle_error"].value, rtol=1e-4)
    assert all(
        bool((a == b).all()) for a, b in zip(*map(jax.tree.leaves, (same.params, state.params)))
    )


def test_outputs_have_their_sizes(trained):
    _, method, inputs, _, after, _ = trained
    made = jax.jit(method.outputs)(after, inputs)
    assert made["result"].value.shape == (48, 96, 3)
    assert made["cycle"].value.shape == (48, 48, 3)
    np.testing.assert_array_equal(made["input"].value, inputs["full1"])
    assert all(
        float(made[n].value) > 0 for n in ("coherence", "completeness", "sifid", "diversity")
    )
    assert float(made["result"].value.min()) >= 0
    assert float(made["result"].value.max()) <= 1


def test_a_trained_net_makes_any_size_and_shape(trained):
    config, _, inputs, _, after, _ = trained
    net = retargeter.Retargeter(
        config,
        after.params["generator"],
        after.model_state["generator"],
        to_array(np.asarray(inputs["full1"])),
    )
    assert net.make((31, 57)).shape == (31, 57, 3)
    sheared = net.make((48, 48), (0.4, -0.4))
    assert (sheared[0, -1] == 1).all()
    assert (sheared[24, 24] < 1).any()
    for bad, message in (((4, 30), "at least 8"), ((10**5, 10**5), "too large")):
        with pytest.raises(InputError, match=message):
            net.make(bad)
    with pytest.raises(InputError, match="sum within"):
        net.make((48, 48), (0.8, 0.8))
    with pytest.raises(InputError, match="give size"):
        retargeter.retarget(net)
    with pytest.raises(InputError, match="3"):
        net.applied_to(to_array(np.zeros((50, 50))))


def test_shapes_at_a_greater_size_than_the_nets(trained):
    """White outside to the pixel, with detail of the full image inside."""
    config, _, _, _, after, _ = trained
    config = config.copy_and_resolve_references()
    config.update(fit_side=48, detail=1)
    net = retargeter.Retargeter(config, *retargeting.trained(after), to_array(photo(96)))
    shifts = (0.4, -0.4)
    made = net.make((96, 96), shifts)
    inside = np.asarray(shear.inside(shear.homography(jnp.array(shifts)), (96, 96)))
    assert made.shape == (96, 96, 3)
    assert (made[~inside] == 1).all()
    assert 0.3 < inside.mean() < 0.95
    assert (made[inside] < 1).any(-1).mean() > 0.9


def test_sizes_are_few_and_respect_the_growing_range():
    sizes = ingan_sizes.shapes((216, 256), 40, 0.15, 2.25)
    assert sizes[0] == ((216, 256), 0.0)
    assert 40 <= len(sizes) <= 45
    assert len({size for size, _ in sizes}) == len(sizes)
    for (h, w), reach in sizes:
        assert h % 8 == w % 8 == 0
        for side, crop in ((h, 216), (w, 256)):
            least, most = crop * (1 - 0.85 * reach), crop * (1 + 1.25 * reach)
            assert least - 1e-6 <= side <= most + 8
    factors = np.array([h / 216 for (h, _), _ in sizes])
    assert factors.min() < 0.25
    assert factors.max() > 2.1
    for progress in (0.0, 0.3, 1.0):
        drawn = {ingan_sizes.draw(sizes, progress, 0, n) for n in range(400)}
        within = {size for size, reach in sizes if reach <= progress}
        assert drawn == within
    assert ingan_sizes.draw(sizes, 1.0, 3, 7) == ingan_sizes.draw(sizes, 1.0, 3, 7)


def test_variants_say_when_the_way_back_has_its_own_step():
    config = _config(inverse_from=5, growth=1, steps=20)
    method = ingan.make(config, input_spec(ingan.prepare(config, photo(48))))
    assert [method.variant(0, step)[2] for step in (0, 4, 5, 9)] == [False, False, True, True]


def test_scale_weights_over_time():
    """f^i with f = 1.4^((25000 - step) / 25000): coarse ones first, equal at 25000."""
    for step in (0, 25000, 50000):
        expected = (1.4 ** ((25000 - step) / 25000)) ** np.arange(5)
        np.testing.assert_allclose(
            ingan._scale_weights(jnp.asarray(step), 25000, 1.4, 5), expected, rtol=1e-5
        )


def test_swapping_exchanges_two_rectangles():
    """Pixels are kept as a set where the rectangles are apart; seams are left out."""
    y, x = np.mgrid[:80, :90]
    image = np.stack([y, x, y * 90 + x], axis=-1)[None].astype(np.float32)
    swapped, kept = jax.jit(ingan_crops.swapped)(jax.random.key(3), image)
    moved = np.asarray(swapped[0, ..., 2]) != image[0, ..., 2]
    assert 0.03 < moved.mean() < 0.6
    assert kept.shape == (80, 90, 1)
    assert 0 < float(kept.mean()) < 1
    rows, columns = np.nonzero(moved)
    steps = np.asarray(swapped[0, rows, columns, :2]) - np.stack([rows, columns], axis=-1)
    offsets = np.unique(steps, axis=0)
    assert len(offsets) == 2
    np.testing.assert_array_equal(offsets[0], -offsets[1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"result_scale": "0,1"}, "result_scale"),
        ({"samples": "1,2;x"}, "samples"),
        ({"channels": 6}, "multiple of 4"),
        ({"smallest": 1.5}, "smallest"),
        ({"shift": 0.6}, "shift"),
        ({"crop": 20}, "crop"),
    ],
)
def test_fields_out_of_range(fields, message):
    with pytest.raises(InputError, match=message):
        ingan.check(_config(**fields))


def test_small_images_are_refused():
    with pytest.raises(InputError, match="at least 40 pixels"):
        ingan.prepare(_config(), photo(39))
    with pytest.raises(InputError, match="fit_side"):
        ingan.prepare(_config(fit_side=50), np.zeros((45, 300, 3), np.float32))


def test_several_images_share_a_net():
    config = _config(together=True)
    inputs = ingan.prepare(config, [photo(48), photo(56)])
    method = ingan.make(config, input_spec(inputs))
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    _, metrics = jax.eval_shape(lambda s, i: method.step(s, i, (40, 40, False)), state, inputs)
    assert metrics["loss"].shape == ()
    crops = ingan_crops.crops(jax.tree.map(jnp.asarray, inputs), jax.random.key(0), (40, 40))
    assert crops.shape == (2, 40, 40, 3)


@pytest.mark.parametrize("factors", ["0.05", "0.4,3"])
def test_small_results_are_measured_at_fewer_scales(factors):
    config = _config(result_scale=factors)
    inputs = ingan.prepare(config, photo(60))
    method = ingan.make(config, input_spec(inputs))
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    made = jax.eval_shape(method.outputs, state, inputs)
    assert made["coherence"].value.shape == ()
    size = retargeting.target((60, 60), retargeting.scale("", factors))
    assert made["result"].value.shape == (*size, 3)


def test_options_of_the_call():
    with pytest.raises(InputError, match="no option 'stepz'"):
        retargeter.train_retargeter(photo(48), preset="smoke", stepz=1)
    with pytest.raises(InputError, match="no preset 'best'"):
        retargeter.train_retargeter(photo(48), preset="best")


def test_a_collage_holds_all_pairs():
    image = np.full((20, 30, 3), 0.5, np.float32)
    made = retargeting.collage(lambda size: np.zeros((*size, 3)), image, factors=(2, 1), gap=2)
    assert made.shape == (40 + 2 + 20, 60 + 2 + 30, 3)
    assert (made[42, 62] == [1, 0, 0]).all()  # the frame of the input
    assert (made[52, 75] == 0.5).all()
