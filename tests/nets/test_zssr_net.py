"""ZSSR's net against float64 NumPy, and its turned weights against turned images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.methods.zssr.enlarge import turn_weights
from deepinternal.nets.zssr import ZSSRNet
from deepinternal.ops.augment import dihedral


def _net(factor, channels=3, layers=3, features=6):
    """A net, and weights large enough for every layer to matter."""
    net = ZSSRNet(layers=layers, features=features, factor=factor, precision="highest")
    x = jnp.zeros((1, 8, 8, channels))
    params = jax.jit(net.init)(jax.random.key(0), x)["params"]
    last = f"conv{layers - 1}"
    return net, {**params, last: 3 * params[last]}


@functools.cache
def _apply(factor):
    net, params = _net(factor)
    return jax.jit(lambda params, x: net.apply({"params": params}, x)), params


def _image(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def _convolve(x, kernel):
    """(H, W, C) with zeros outside, tap by tap."""
    h, w = x.shape[:2]
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    taps = np.ndindex(3, 3)
    return sum(padded[i : i + h, j : j + w] @ kernel[i, j] for i, j in taps)


def _keys_matrix(n, factor):
    """Cubic enlargement (Keys, a = -1/2) of an axis, edges mirrored: (n * factor, n)."""
    matrix = np.zeros((n * factor, n))
    for o in range(n * factor):
        position = (o + 0.5) / factor - 0.5
        for i in range(int(np.floor(position)) - 1, int(np.floor(position)) + 3):
            d = abs(position - i)
            near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
            folded = -1 - i if i < 0 else min(i, 2 * n - 1 - i)
            matrix[o, folded] += near if d <= 1 else far if d < 2 else 0
    return matrix


def _reference(params, x, factor):
    """One image in float64: sub-pixel (i, j) of channel c is output (i * horizontal + j) * C + c."""
    x = x.astype(np.float64)
    params = [np.asarray(params[f"conv{i}"], np.float64) for i in range(len(params))]
    hidden = x
    for i, kernel in enumerate(params):
        hidden = _convolve(hidden if i == 0 else np.maximum(hidden, 0), kernel)
    h, w, c = x.shape
    v, u = factor
    result = np.zeros((h * v, w * u, c))
    for i, j in np.ndindex(v, u):
        first = (i * u + j) * c
        result[i::v, j::u] = hidden[..., first : first + c]
    base = np.einsum("oi,iwc->owc", _keys_matrix(h, v), x)
    return result + np.einsum("oi,hic->hoc", _keys_matrix(w, u), base)


@pytest.mark.parametrize("factor", [(1, 1), (2, 2), (2, 3), (1, 2)])
def test_the_net_agrees_with_its_formula(factor):
    apply, params = _apply(factor)
    x = _image(2, 9, 7, 3)
    got = np.asarray(apply(params, x))
    assert got.shape == (2, 9 * factor[0], 7 * factor[1], 3)
    expected = np.stack([_reference(params, image, factor) for image in x])
    np.testing.assert_allclose(got, expected, atol=2e-5)
    # The layers do something: it is not the enlargement alone.
    plain = np.asarray(apply(jax.tree.map(jnp.zeros_like, params), x))
    assert np.abs(got - plain).mean() > 0.02


@pytest.mark.parametrize("factor", [(1, 1), (2, 3)])
def test_images_on_a_canvas(factor):
    """Zeros begin, and the enlargement mirrors, at their own border, whatever lies around them."""
    net, params = _net(factor)
    apply = jax.jit(lambda x, size: net.apply({"params": params}, x, size))
    for h, w in ((9, 7), (12, 5), (12, 13)):
        x = _image(2, h, w, 3)
        expected = np.stack([_reference(params, image, factor) for image in x])
        for seed in (1, 2):
            canvas = 1e4 * _image(2, 12, 13, 3, seed=seed)
            canvas[:, :h, :w] = x
            got = apply(canvas, np.array((h, w)))
            assert got.shape == (2, 12 * factor[0], 13 * factor[1], 3)
            assert np.all(np.isfinite(got))
            got = got[:, : h * factor[0], : w * factor[1]]
            np.testing.assert_allclose(got, expected, atol=2e-5)


def test_identity_without_weights():
    apply, params = _apply((1, 1))
    x = _image(1, 9, 7, 3)
    np.testing.assert_array_equal(apply(jax.tree.map(jnp.zeros_like, params), x), x)


@pytest.mark.parametrize(
    ("factor", "elements"), [((1, 1), range(8)), ((2, 2), range(8)), ((2, 3), (0, 2, 4, 6))]
)
def test_rotated_weights_act_on_a_rotated_image(factor, elements):
    """Where the image is turned in NumPy: quarter turns, then columns mirrored."""
    apply, params = _apply(factor)

    def turn(x, element):
        x = np.rot90(x, element % 4, (1, 2))
        return x[:, :, ::-1] if element >= 4 else x

    x = _image(1, 9, 7, 3)
    straight = np.asarray(apply(params, x))
    for element in elements:
        turned = turn_weights(params, element, factor)
        assert jax.tree.map(jnp.shape, turned) == jax.tree.map(jnp.shape, params)
        expected = turn(straight, element)
        np.testing.assert_allclose(apply(turned, turn(x, element)), expected, atol=1e-5)
        same = np.abs(np.asarray(apply(params, turn(x, element))) - expected).mean()
        assert (same < 1e-6) == (element == 0)


def test_rotated_weights_of_many_layers():
    """The last of 11 layers is conv10, which is not the last name in the alphabet."""
    net, params = _net((2, 2), channels=1, layers=11, features=4)
    apply = jax.jit(lambda params, x: net.apply({"params": params}, x))
    x = _image(1, 7, 7, 1)
    straight = apply(params, x)
    got = apply(turn_weights(params, 5, (2, 2)), dihedral(x, 5, axes=(1, 2)))
    np.testing.assert_allclose(got, dihedral(straight, 5, axes=(1, 2)), atol=1e-5)


def test_rotations_of_weights_form_a_group():
    """Four quarter turns, and two mirrorings, are nothing at all."""
    _, params = _net((2, 2))
    for element, times in ((1, 4), (2, 2), (4, 2), (7, 2)):
        turned = params
        for _ in range(times):
            turned = turn_weights(turned, element, (2, 2))
        for name, kernel in params.items():
            np.testing.assert_array_equal(turned[name], kernel)


@pytest.mark.parametrize("factor", [(1, 1), (2, 3)])
def test_initial_weights(factor):
    """Variances times fan-in, and shapes; the last layer's variance is always 0.1 / fan-in."""
    net = ZSSRNet(layers=3, features=48, factor=factor, init_variance=0.7)
    x = jnp.zeros((1, 8, 8, 3))
    params = jax.jit(net.init)(jax.random.key(0), x)["params"]
    outputs = 3 * factor[0] * factor[1]
    shapes = {"conv0": (3, 3, 3, 48), "conv1": (3, 3, 48, 48), "conv2": (3, 3, 48, outputs)}
    assert {name: kernel.shape for name, kernel in params.items()} == shapes
    for (name, kernel), gain in zip(sorted(params.items()), (0.7, 0.7, 0.1)):
        spread = float(np.var(np.asarray(kernel))) * np.prod(kernel.shape[:3])
        assert abs(spread / gain - 1) < 5 * np.sqrt(2 / kernel.size), name
