"""The results of a ZSSR net against the published procedure in NumPy, and tiles against the whole."""

import jax
import numpy as np
import pytest
import scipy.ndimage

from deepinternal.ops import kernels, resizing
from tests.methods.zssr_reference import (
    IMAGE,
    SUBPIXEL,
    as_numpy,
    build,
    layers_numpy,
    net_numpy,
    resize_numpy,
)
from tests.tiny_methods import photo

WIDE = np.concatenate([photo(64), photo(48)[:, ::-1].repeat(2, 0)[:64]], 1)[:61]  # 61x112


def expected_output(params, image, scale, shape, elements, iterations):
    """The published test-time procedure, by transforming the image: NumPy, float64."""
    back = tuple(1 / s for s in scale)

    def back_project(x):
        for _ in range(iterations):
            down = resize_numpy(x, back, image.shape[:2])
            x = np.clip(x + resize_numpy(image - down, scale, shape), 0, 1)
        return x

    views = []
    for k in elements:
        view = np.rot90(image, k % 4)
        view = np.fliplr(view) if k >= 4 else view
        turned = k % 2 == 1
        size, factor = (shape[::-1], scale[::-1]) if turned else (shape, scale)
        out = np.clip(net_numpy(params, resize_numpy(view, factor, size)), 0, 1)
        out = np.fliplr(out) if k >= 4 else out
        views.append(back_project(np.rot90(out, -(k % 4))))
    return back_project(np.median(views, axis=0)), np.std(views, axis=0).mean(-1)


@pytest.mark.parametrize(
    ("scale", "size", "elements"),
    [("2", (20, 26), range(8)), ("3,2", (20, 26), (0, 2, 4, 6)), ("1.5", (20, 26), range(8))],
)
def test_outputs_follow_the_published_procedure(scale, size, elements):
    image = IMAGE[: size[0], : size[1]]
    method, inputs, state = build(image, scale=scale, back_projection=3)
    outputs = jax.jit(method.outputs)(state, inputs)
    factors = tuple(float(s) for s in scale.split(",")) * (1 if "," in scale else 2)
    shape = tuple(int(np.ceil(n * s)) for n, s in zip(size, factors))
    image = image.astype(np.float64)
    result, spread = expected_output(as_numpy(state.params), image, factors, shape, elements, 3)
    np.testing.assert_allclose(outputs["result"].value, result, atol=2e-5)
    np.testing.assert_allclose(outputs["uncertainty"].value, spread, atol=2e-5)
    assert outputs["result"].kind == "image"
    baseline = np.clip(resize_numpy(image, factors, shape), 0, 1)
    np.testing.assert_allclose(method.baseline(inputs), baseline, atol=1e-5)


def test_explicit_output_shape():
    method, inputs, state = build(output_shape="50,77")
    assert jax.eval_shape(method.outputs, state, inputs)["result"].value.shape == (50, 77, 3)


def test_back_projection_makes_the_result_agree_with_the_input():
    errors, image = [], 0.25 + 0.5 * IMAGE  # away from 0 and 1, where clipping would interfere
    for iterations in (0, 2, 10):
        method, inputs, state = build(image, back_projection=iterations, ensemble="off")
        result = jax.jit(method.outputs)(state, inputs)["result"].value
        errors.append(np.abs(resizing.resize(result, scale=0.5) - image).mean())
    assert errors[0] > 2 * errors[1]
    assert errors[1] > 2 * errors[2]


@pytest.mark.slow
def test_a_kernel_turns_flips_off_and_is_used_for_sons_and_back_projection():
    kernel = np.asarray(kernels.gaussian_kernel(7, (2.0, 0.6), theta=0.4))
    method, inputs, state = build(kernel=kernel, p_as_is=1.0, p_dihedral=0.0, crop=32)
    assert set(inputs) == {"image", "kernel"}
    outputs = jax.jit(method.outputs)(state, inputs)
    assert set(outputs) == {"result"}
    k = np.asarray(inputs["kernel"], np.float64)
    image = IMAGE.astype(np.float64)

    def down(x):
        blurred = [scipy.ndimage.correlate(x[..., c], k, mode="reflect") for c in range(3)]
        return np.stack(blurred, -1)[::2, ::2]

    x = np.clip(net_numpy(as_numpy(state.params), resize_numpy(image, (2, 2), (64, 64))), 0, 1)
    for _ in range(4):  # 2 for the only view and 2 for the median
        x = np.clip(x + resize_numpy(image - down(x), (2, 2), (64, 64)), 0, 1)
    np.testing.assert_allclose(outputs["result"].value, x, atol=2e-5)
    _, metrics = jax.jit(method.step)(state, inputs)
    son = resize_numpy(np.clip(down(image), 0, 1), (2, 2), (32, 32))
    loss = np.abs(net_numpy(as_numpy(state.params), son) - image).mean()
    assert metrics["loss"] == pytest.approx(loss, rel=1e-4)


def subpixel_numpy(params, x, factor):
    """The net at low resolution: (H, W, C) -> (f H, f W, C)."""
    hidden = layers_numpy(params, x)
    h, w, c = x.shape
    large = hidden.reshape(h, w, *factor, c).swapaxes(1, 2).reshape(h * factor[0], w * factor[1], c)
    return resize_numpy(x, factor, large.shape[:2]) + large


@pytest.mark.parametrize(
    ("scale", "factor"), [("2", (2, 2)), ("3,2", (3, 2)), ("1.5", (2, 2)), ("1,2.5", (1, 3))]
)
def test_the_subpixel_net_enlarges_by_any_factor(scale, factor):
    method, inputs, state = build(scale=scale, ensemble="off", back_projection=0, **SUBPIXEL)
    params, image = as_numpy(state.params), np.asarray(inputs["image"], np.float64)
    factors = tuple(float(s) for s in scale.split(",")) * (1 if "," in scale else 2)
    shape = tuple(int(np.ceil(n * s)) for n, s in zip(image.shape, factors))
    large = subpixel_numpy(params, image, factor)
    rest = tuple(s / f for s, f in zip(factors, factor))
    expected = np.clip(resize_numpy(large, rest, shape), 0, 1)
    result = jax.jit(method.outputs)(state, inputs)["result"].value
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_the_mean_of_the_ensemble_is_back_projected_once():
    fields = {**SUBPIXEL, "ensemble_reduce": "mean", "back_projection": 2}
    method, inputs, state = build(photo(24)[:20], **fields)
    image = np.asarray(inputs["image"], np.float64)
    params, views = as_numpy(state.params), []
    for k in range(8):
        turned = np.rot90(image, k % 4)
        turned = np.fliplr(turned) if k >= 4 else turned
        out = np.clip(subpixel_numpy(params, turned, (2, 2)), 0, 1)
        views.append(np.rot90(np.fliplr(out) if k >= 4 else out, -(k % 4)))
    x = np.mean(views, axis=0)
    for _ in range(2):
        small = resize_numpy(x, (0.5, 0.5), image.shape[:2])
        x = np.clip(x + resize_numpy(image - small, (2, 2), x.shape[:2]), 0, 1)
    outputs = jax.jit(method.outputs)(state, inputs)
    np.testing.assert_allclose(outputs["result"].value, x, atol=2e-5)
    spread = np.std(views, axis=0).mean(-1)
    np.testing.assert_allclose(outputs["uncertainty"].value, spread, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"back_projection": 2},
        {**SUBPIXEL, "ensemble_reduce": "mean", "back_projection": 3},
        {**SUBPIXEL, "scale": "1.5,2", "back_projection": 1},
        {"scale": "1.25", "ensemble": "off", "back_projection": 1},
    ],
    ids=["published", "subpixel", "subpixel-1.5,2", "1.25"],
)
def test_tiles_equal_the_whole(fields):
    results = []
    for tile in (0, 8):
        method, inputs, state = build(WIDE, tile=tile, **fields)
        results.append(jax.jit(method.outputs)(state, inputs))
    for name, whole in results[0].items():
        np.testing.assert_allclose(results[1][name].value, whole.value, atol=2e-5)


@pytest.mark.slow
def test_tiles_with_a_kernel_equal_the_whole():
    kernel = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    results = []
    for tile in (0, 8):
        method, inputs, state = build(WIDE, kernel=kernel / kernel.sum(), tile=tile)
        results.append(jax.jit(method.outputs)(state, inputs)["result"].value)
    np.testing.assert_allclose(results[1], results[0], atol=2e-5)
