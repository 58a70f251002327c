"""KernelGAN's nets against their layers one by one, in float64 with NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy.signal import correlate

from deepinternal.nets import kernelgan
from deepinternal.ops import spectral

SIZES = (7, 5, 3, 1, 1, 1)
FEATURES = 4


def _count(params):
    return sum(x.size for x in jax.tree.leaves(params))


def _weights(seed=0):
    """All layers' kernels, with outputs of about the size of the inputs."""
    rng = np.random.default_rng(seed)
    ends = [1, *[FEATURES] * 5, 1]
    shapes = [(k, k, a, b) for k, a, b in zip(SIZES, ends[:-1], ends[1:])]
    drawn = [rng.standard_normal(s) / np.sqrt(np.prod(s[:3])) for s in shapes]
    return {f"conv{i}": w.astype(np.float32) for i, w in enumerate(drawn)}


def _layer(x, weights):
    """(H, W, A) -> (H', W', B): where the kernel fits."""
    outputs = [
        sum(
            correlate(x[..., a], weights[..., a, b].astype(np.float64), "valid")
            for a in range(weights.shape[2])
        )
        for b in range(weights.shape[3])
    ]
    return np.stack(outputs, -1)


def _layered(params, colour):
    """All layers on one colour, before every second place is taken."""
    x = colour[..., None].astype(np.float64)
    for i in range(len(SIZES)):
        x = _layer(x, params[f"conv{i}"])
    return x[..., 0]


def _image(*shape, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_the_kernel_composes_all_layers():
    params, image = _weights(), _image(17, 19)
    net = kernelgan.LinearGenerator(FEATURES)
    kernel = np.asarray(net.apply({"params": params}, method="kernel"), np.float64)
    assert kernel.shape == (13, 13)
    expected = _layered(params, image)
    np.testing.assert_allclose(correlate(image, kernel, "valid"), expected, atol=2e-5)
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("size", [(20, 23), (13, 14)])
def test_the_generator_equals_its_layers_applied_in_order(size):
    """Each colour alike, every second place, also for odd sizes."""
    params, image = _weights(), _image(*size, 3)
    made = kernelgan.LinearGenerator(FEATURES).apply({"params": params}, image)
    expected = np.stack([_layered(params, image[..., c])[::2, ::2] for c in range(3)], -1)
    assert made.shape == ((size[0] - 13) // 2 + 1, (size[1] - 13) // 2 + 1, 3)
    np.testing.assert_allclose(made, expected, atol=2e-5)


def test_gradients_of_the_generator_equal_those_of_its_layers():
    """A deep linear net trains unlike its one kernel: every layer must get its own gradient."""
    params, image, g = _weights(), _image(20, 21, 3), _image(4, 5, 3, seed=2)

    def layered(params):
        x = jnp.moveaxis(image, -1, 0)[..., None]
        for i in range(len(SIZES)):
            x = lax.conv_general_dilated(
                x,
                params[f"conv{i}"],
                (2, 2) if i == len(SIZES) - 1 else (1, 1),
                "VALID",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                precision="highest",
            )
        return jnp.sum(jnp.moveaxis(x[..., 0], 0, -1) * g)

    net = kernelgan.LinearGenerator(FEATURES)
    got = jax.jit(jax.grad(lambda p: jnp.sum(net.apply({"params": p}, image) * g)))(params)
    expected = jax.jit(jax.grad(layered))(params)
    assert set(got) == set(expected)
    for name, want in expected.items():
        largest = np.abs(want).max()
        assert largest > 0.01
        np.testing.assert_allclose(got[name], want, atol=1e-5 * largest + 1e-6, err_msg=name)


def test_receptive_field_of_the_generator():
    """13x13 pixels, two further on for the next output."""
    params, image = _weights(), _image(22, 21, 1)
    net = kernelgan.LinearGenerator(FEATURES)
    gradient = jax.grad(lambda x: net.apply({"params": params}, x)[1, 2, 0])(jnp.asarray(image))
    rows, columns = np.nonzero(np.asarray(gradient)[..., 0])
    assert (rows.min(), rows.max()) == (2, 14)
    assert (columns.min(), columns.max()) == (4, 16)


def test_initial_weights_of_the_generator():
    """Xavier's normal with a gain of 0.1, in every layer; no biases."""

    def init(features, key):
        return kernelgan.LinearGenerator(features).init(key, method="kernel")["params"]

    shapes = jax.eval_shape(functools.partial(init, 64), jax.random.key(0))
    assert _count(shapes) == 49 * 64 + (25 + 9 + 1 + 1) * 64**2 + 64
    params = jax.jit(functools.partial(init, 32))(jax.random.key(0))
    for i, k in enumerate(SIZES):
        weights = np.asarray(params[f"conv{i}"], np.float64)
        fans = k * k * sum(weights.shape[2:])
        expected = 0.1 * np.sqrt(2 / fans)
        assert weights.std() == pytest.approx(expected, rel=4 / np.sqrt(2 * weights.size)), i
        far = np.mean(np.abs(weights) > 2 * expected)  # 4.6 % of a normal one, none of a truncated
        assert far == pytest.approx(0.0455, abs=4 * np.sqrt(0.0455 / weights.size)), i


def _judge(features=5, hidden=2, seed=0):
    """A discriminator whose every weight counts."""
    net = kernelgan.Discriminator(features, hidden)
    shapes = jax.eval_shape(lambda k: net.init(k, jnp.zeros((9, 9, 3))), jax.random.key(0))
    rng = np.random.default_rng(seed)
    draw = lambda x: 0.3 * rng.standard_normal(x.shape).astype(np.float32)
    params = jax.tree.map(draw, shapes["params"])
    for i in range(1, hidden + 1):
        params[f"norm{i}"]["scale"] += 1
    return net, params


def test_the_discriminator_equals_its_layers_applied_in_order():
    """A 7x7 layer, then 1x1 ones with statistics over all patches, in float64."""
    net, params = _judge()
    image = _image(12, 14, 3)
    y = _layer(image.astype(np.float64), params["conv0"]["kernel"]) + params["conv0"]["bias"]
    for i in (1, 2):
        y = y @ params[f"conv{i}"]["kernel"][0, 0].astype(np.float64) + params[f"conv{i}"]["bias"]
        mean, variance = y.mean((0, 1)), y.var((0, 1))
        norm = params[f"norm{i}"]
        y = np.maximum((y - mean) / np.sqrt(variance + 1e-5) * norm["scale"] + norm["shift"], 0)
    y = y @ params["conv3"]["kernel"][0, 0].astype(np.float64) + params["conv3"]["bias"]
    expected = 1 / (1 + np.exp(-y[..., 0]))
    judged = net.apply({"params": params}, image)
    assert judged.shape == (6 * 8,)
    np.testing.assert_allclose(judged, expected.ravel(), atol=1e-5)
    assert np.all((judged > 0) & (judged < 1))
    assert expected.std() > 0.02


def test_receptive_field_of_the_discriminator():
    """7x7 pixels, but for the statistics, which are of the whole image."""
    net, params = _judge(hidden=0)
    image = jnp.asarray(_image(12, 11, 3))
    gradient = jax.grad(lambda x: net.apply({"params": params}, x)[2 * 5 + 3])(image)
    rows, columns = np.nonzero(np.abs(gradient).sum(-1))
    assert (rows.min(), rows.max()) == (2, 8)
    assert (columns.min(), columns.max()) == (3, 9)


def test_initial_weights_of_the_discriminator():
    """Small weights, no biases: it has no opinion yet."""
    image = jnp.asarray(_image(16, 17, 3))

    def init(net, key):
        return net.init_with_output(key, image)

    _, shapes = jax.eval_shape(
        functools.partial(init, kernelgan.Discriminator()), jax.random.key(0)
    )
    layers = 49 * 3 * 64 + 64 + 5 * (64**2 + 64) + 64 + 1
    assert _count(shapes) == layers + 5 * 2 * 64
    small = kernelgan.Discriminator(32, hidden=1)
    judged, variables = jax.jit(functools.partial(init, small))(jax.random.key(0))
    assert judged.shape == (10 * 11,)
    np.testing.assert_allclose(judged, 0.5, atol=0.2)
    assert np.std(judged) > 1e-3
    for name, fans in (("conv0", 49 * (3 + 32)), ("conv1", 32 + 32)):
        weights = np.asarray(variables["params"][name]["kernel"])
        spread = 0.1 * np.sqrt(2 / fans)
        assert weights.std() == pytest.approx(spread, rel=4 / np.sqrt(2 * weights.size))
        np.testing.assert_array_equal(variables["params"][name]["bias"], 0)


def test_spectral_norms_of_the_discriminator_become_one():
    """Of every layer, each taken as a matrix of its outputs."""
    _, params = _judge()
    vectors = spectral.vectors(jax.random.key(0), params)
    assert set(vectors) == {"conv0", "conv1", "conv2", "conv3"}
    for _ in range(40):
        made, vectors = spectral.normalized(params, vectors)
    for name in vectors:
        kernel = np.asarray(made[name]["kernel"], np.float64)
        greatest = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]))[1][0]
        assert greatest == pytest.approx(1, abs=0.01), name
