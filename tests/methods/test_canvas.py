"""Images in the upper left of larger arrays give the same as alone, whatever lies around them."""

import functools

import jax
import numpy as np
import pytest

from deepinternal.methods.zssr import RECIPE, task
from deepinternal.types import input_spec
from tests.tiny_methods import photo

SMALL = {"features": 8, "layers": 3, "crop": 24, "back_projection": "2"}
QUICK = {
    "net": "subpixel",
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "steps": 12,
    "average": 0.9,
    "affine_sampling": "linear",
}
KERNEL = np.outer([1, 3, 4, 2, 1], [1, 2, 2, 1, 0]).astype(np.float32) / 66
CANVAS = (46, 45)
PHOTO = photo(46)[::-1]
SETTINGS = {
    "colour": {"ensemble": "off"},
    "grey kernel": {"noise_std": 0.01, "flips": "on"},
    "kernel by 1.5": {"scale": "1.5"},
    "gradual": {
        **QUICK,
        "layers": 2,
        "scale": "1.5;2,1.5;3",
        "base_change": "1.5",
        "affine_scale_max": 1.3,
        "ensemble": "off",
        "evaluate_every": 0,
    },
    "side by side": {**QUICK, "scale": "2,1.5", "optimizer": "muon", "ensemble_reduce": "mean"},
}


def config_of(name):
    return RECIPE.build("", **{**SMALL, **SETTINGS[name]})


def inputs_of(name, config, size):
    """Prepared inputs with an image of that size, grey or with a kernel if the name says so."""
    image = PHOTO[: size[0], : size[1]]
    image = image[..., :1] if "grey" in name else image
    return RECIPE.prepare(config, image, KERNEL if "kernel" in name else None)


def padded(config, inputs, seed):
    """The inputs on the canvas, whose other pixels are large random numbers."""
    on = RECIPE.canvas.pad(config, inputs, CANVAS)
    h, w = inputs["image"].shape[:2]
    image = np.random.default_rng(seed).normal(0, 1e4, on["image"].shape).astype(np.float32)
    image[:h, :w] = inputs["image"]
    return {**on, "image": image}


def compiled(function):
    """Like `jax.jit`, but it compiles in half the time; the programs here are small."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def run(method, inputs):
    """The last state, scores, outputs and baseline after ten steps of each stage."""
    state, scores, first = method.init(jax.random.key(3), inputs), [], inputs
    for stage in method.stages:
        step = lambda s, _, step=stage.step, inputs=inputs: (step(s, inputs, None)[0], None)
        state, _ = jax.lax.scan(step, state, length=10)
        if stage.evaluate:
            state, score = stage.evaluate(state, inputs)
            scores.append(score)
        if stage.advance:
            state, inputs = stage.advance(state, inputs)
    return state.replace(key=None), scores, method.outputs(state, inputs), method.baseline(first)


def method_and_run(config, inputs):
    """A compiled `run` for inputs of these shapes."""
    return compiled(functools.partial(run, RECIPE.method(config, input_spec(inputs))))


def assert_same(on_canvas, alone):
    """Compares states and scores, and, inside the image, outputs and baseline."""
    for got, expected in zip(on_canvas[:2], alone[:2]):
        got, expected = jax.tree.leaves(got), jax.tree.leaves(expected)
        assert len(got) == len(expected)
        for a, b in zip(got, expected):
            scale = np.abs(b).max() if np.all(np.isfinite(b)) else 0
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * scale)
    assert set(on_canvas[2]) == set(alone[2])
    for name, output in alone[2].items():
        assert output.size is None
        h, w = output.value.shape[:2]
        got = on_canvas[2][name]
        assert (tuple(np.asarray(got.size)), got.kind) == ((h, w), output.kind)
        assert np.all(np.isfinite(got.value))
        np.testing.assert_allclose(got.value[:h, :w], output.value, atol=1e-5)
    np.testing.assert_allclose(on_canvas[3][:h, :w], alone[3], atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grey kernel", "gradual"])
def test_training_and_results_are_those_of_the_image_alone(name):
    config = config_of(name)
    inputs = inputs_of(name, config, (33, 38))
    on = padded(config, inputs, seed=0)
    alone = method_and_run(config, inputs)(inputs)
    assert_same(method_and_run(config, on)(on), alone)
    assert all(np.isfinite(score["test_mse"]) for score in alone[1])


@pytest.mark.slow
def test_images_of_different_sizes_side_by_side_in_one_program():
    """An image gives the same as alone; its neighbour and the rest of its canvas change nothing."""
    name = "side by side"
    config = config_of(name)
    images = [inputs_of(name, config, size) for size in ((33, 45), (46, 30))]
    batches = [[padded(config, x, seed=i + j) for i, x in enumerate(images)] for j in (0, 10)]
    method, traced = RECIPE.method(config, input_spec(batches[0][0])), []

    def counted(inputs):
        traced.append(inputs)
        return run(method, inputs)

    together = compiled(jax.vmap(counted))
    first, second = (
        together(jax.tree.map(lambda *x: np.stack(x), *batch))
        for batch in (batches[0], batches[1][::-1])
    )
    assert len(traced) == 1
    one = jax.tree.map(lambda x: x[1], first)
    assert_same(one, method_and_run(config, images[1])(images[1]))
    for i in range(2):
        one = jax.tree.map(lambda x: x[i], first)  # noqa: B023
        other = jax.tree.map(lambda x: x[-1 - i], second)  # noqa: B023
        for a, b in zip(jax.tree.leaves(one[:2]), jax.tree.leaves(other[:2])):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
        h, w = np.asarray(one[2]["result"].size)
        a, b = (out[2]["result"].value[:h, :w] for out in (one, other))
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), [("colour", 30), ("kernel by 1.5", 36)])
def test_self_test_on_the_centre_and_results_without_training(monkeypatch, name, side):
    monkeypatch.setattr(task, "TEST_SIDE", side)
    config = config_of(name)
    inputs = inputs_of(name, config, (41, 33))
    both = []
    for each in (inputs, padded(config, inputs, seed=0)):
        method = RECIPE.method(config, input_spec(each))

        @compiled
        def work(inputs, method=method):
            state = method.init(jax.random.key(0), inputs)
            scores = method.evaluate(state, inputs)[1]
            return (), scores, method.outputs(state, inputs), method.baseline(inputs)

        both.append(work(each))
    assert_same(both[1], both[0])


def test_pad_returns_the_sizes_of_all_jumps():
    config = config_of("gradual")
    inputs = inputs_of("gradual", config, (33, 40))
    on = RECIPE.canvas.pad(config, inputs, CANVAS)
    np.testing.assert_array_equal(on["image"][:33, :40], inputs["image"])
    assert not np.any(on["image"][33:])
    assert not np.any(on["image"][:, 40:])
    assert on["sizes"].dtype == np.int32
    base = [50, 60]  # rounded up once: the last result has 99 rows, three times 33
    expected = [[[33, 40], base], [base, [67, 60]], [base, [99, 120]]]
    np.testing.assert_array_equal(on["sizes"], expected)


def group(size=(40, 40, 3), kernel=None, **fields):
    config = RECIPE.build("", **{**SMALL, **fields})
    return RECIPE.canvas.group(config, size, {"kernel": kernel} if kernel else {})


def test_images_that_share_a_canvas():
    usual = group()
    assert isinstance(hash(usual), int)
    assert usual is not None
    assert usual == group((24, 700, 3))
    others = [group((40, 40, 1)), group(kernel=(5, 5)), group(kernel=(7, 7)), group(scale="2;3")]
    others += [group((23, 40, 3)), group((22, 40, 3)), group((40, 22, 3))]  # smaller crops
    assert None not in others
    assert len({usual, *others}) == 1 + len(others)


@pytest.mark.parametrize(
    "fields",
    [
        {"output_shape": "80,90"},
        {"tile": 16},
        {"size": (40, 1000, 3)},  # would be tiled
        {"size": (15, 40, 3)},  # refused
        {"scale": "2;3", "kernel": (5, 5)},  # refused
        {"scale": "3", "size": (85, 40, 3), "kernel": (5, 5)},  # floats fall short of a half
        {"scale": "2.0123", "size": (200, 200, 3), "kernel": (5, 5)},
    ],
)
def test_images_that_share_no_canvas(fields):
    assert group(**fields) is None


def test_images_that_share_a_canvas_if_kernels_are_estimated():
    usual = group(scale="2", blind=True)
    assert usual is not None
    assert usual == group((40, 90, 3), scale="2", blind=True)
    others = [group((39, 90, 3), scale="2", blind=True)]  # too small to estimate a kernel from
    others += [group(scale="2", blind=True, kernel=(5, 5))]
    assert len({usual, *others}) == 1 + len(others)


def test_images_without_these_obstacles_share_a_canvas():
    assert group(scale="3", size=(84, 40, 3), kernel=(5, 5)) is not None
    assert group(scale="3", size=(85, 40, 3)) is not None
    assert group(scale="2.0123", size=(200, 200, 3)) is not None
