"""Losses on blur kernels against their formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, ndimage

from deepinternal.losses import kernel as losses
from deepinternal.losses.adversarial import absolute


def _kernel(size=13, seed=0):
    """Values of both signs, none within 0.01 of 0."""
    rng = np.random.default_rng(seed)
    return (rng.choice([-1, 1, 1], (size, size)) * rng.uniform(0.01, 0.1, (size, size))).astype(
        np.float32
    )


def _covariance(n, condition, seed):
    """A positive definite (n, n) with a given ratio of its extreme eigenvalues, float64."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return (turn * np.geomspace(1, 1 / condition, n)) @ turn.T


def _whitened(a, b):
    root = np.linalg.inv(np.real(linalg.sqrtm(b)))
    return (root @ a @ root).astype(np.float32)


def _divergence(a, b):
    """The mean of both Kullback-Leibler divergences of two normal distributions, per dimension."""

    def one(a, b):
        logs = np.linalg.slogdet(b)[1] - np.linalg.slogdet(a)[1]
        return (np.trace(np.linalg.solve(b, a)) - len(a) + logs) / 2

    return (one(a, b) + one(b, a)) / len(a)


def test_absolute():
    judged = np.random.default_rng(0).uniform(size=(7, 5)).astype(np.float32)
    for target in (0.0, 1.0):
        expected = np.abs(judged.astype(np.float64) - target).mean()
        assert absolute(judged, target) == pytest.approx(expected, rel=1e-6)
        gradient = jax.grad(absolute)(judged, target)
        np.testing.assert_allclose(gradient, np.sign(judged - target) / judged.size, rtol=1e-6)


def test_sum_to_one():
    kernel = _kernel()
    for factor in (0.1, 3.0):
        expected = abs(1 - factor * kernel.astype(np.float64).sum())
        got = losses.sum_to_one(np.float32(factor) * kernel)
        assert got == pytest.approx(expected, rel=1e-5)
    assert losses.sum_to_one(kernel / kernel.sum()) == pytest.approx(0, abs=1e-6)


def test_the_boundary_mask_equals_the_published_one():
    """0 in the middle 9x9 of 13x13; around it 30 (1 - exp(-r^2 / 338))."""
    mask = losses.boundary_mask(13)
    for row, column in np.ndindex(13, 13):
        r2 = (row - 6) ** 2 + (column - 6) ** 2
        inner = max(abs(row - 6), abs(column - 6)) <= 4
        expected = 0 if inner else 30 * (1 - np.exp(-r2 / 338))
        assert mask[row, column] == pytest.approx(expected, rel=1e-6)


def test_boundary():
    kernel = _kernel()
    expected = np.mean(np.abs(kernel.astype(np.float64)) * losses.boundary_mask(13))
    assert losses.boundary(kernel) == pytest.approx(expected, rel=1e-5)
    inner = np.pad(kernel[2:-2, 2:-2], 2)
    assert losses.boundary(inner) == 0
    corner, edge = np.zeros((2, 13, 13), np.float32)
    corner[0, 0] = edge[0, 6] = -1
    assert losses.boundary(corner) > losses.boundary(edge) > 0


@pytest.mark.parametrize("power", [0.2, 0.5])
def test_sparse(power):
    kernel = _kernel()
    expected = np.mean(np.abs(kernel.astype(np.float64)) ** power)
    assert losses.sparse(kernel, power=power) == pytest.approx(expected, rel=1e-5)


def test_sparse_of_a_kernel_of_zeros():
    assert np.all(np.isfinite(jax.grad(losses.sparse)(jnp.zeros((13, 13)))))
    point = np.zeros((13, 13), np.float32)
    point[4, 5] = 1
    assert losses.sparse(point) < 0.1 * losses.sparse(np.full((13, 13), 1 / 169, np.float32))


def test_negative():
    kernel = _kernel()
    expected = -kernel[kernel < 0].astype(np.float64).sum()
    assert expected > 0.1
    assert losses.negative(kernel) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(jax.grad(losses.negative)(kernel), np.where(kernel < 0, -1, 0))


def test_centred():
    kernel = np.abs(_kernel())
    centre = np.array(ndimage.center_of_mass(kernel.astype(np.float64)))
    expected = np.mean((centre - 6.5) ** 2)
    assert losses.centred(kernel, 6.5) == pytest.approx(expected, rel=1e-4)
    target = np.array([5.0, 7.0])
    expected = np.mean((centre - target) ** 2)
    assert losses.centred(kernel, target) == pytest.approx(expected, rel=1e-4)


def test_covariance_divergence_is_the_symmetric_kullback_leibler_divergence():
    """With the logarithms of the determinants, which cancel in the sum."""
    a, b = _covariance(9, 20, 0), 1.5 * _covariance(9, 30, 1)
    expected = _divergence(a, b)
    assert expected > 0.5
    got = jax.jit(losses.covariance_divergence)(_whitened(a, b))
    assert got == pytest.approx(expected, rel=1e-3)


def test_covariance_divergence_is_symmetric_and_zero_for_equal_covariances():
    a = _covariance(9, 20, 0)
    whitened, inverse = a.astype(np.float32), np.linalg.inv(a).astype(np.float32)
    divergence = losses.covariance_divergence
    assert divergence(whitened) == pytest.approx(float(divergence(inverse)), rel=1e-4)
    assert divergence(jnp.eye(9)) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(jax.grad(divergence)(jnp.eye(9)), 0, atol=1e-6)
    assert divergence(1.1 * jnp.eye(9)) == pytest.approx((1.1 + 1 / 1.1) / 2 - 1, abs=1e-6)


def test_covariance_divergence_is_invariant_to_invertible_filters():
    a, b = _covariance(7, 10, 0), _covariance(7, 10, 1)
    filtered = _covariance(7, 5, 2) + 0.1 * np.random.default_rng(3).standard_normal((7, 7))
    both = [filtered @ c @ filtered.T for c in (a, b)]
    plain = losses.covariance_divergence(_whitened(a, b))
    assert losses.covariance_divergence(_whitened(*both)) == pytest.approx(float(plain), rel=2e-3)


def test_gradient_of_the_covariance_divergence():
    """Against differences in float64, in symmetric directions: covariances have no others."""
    a, b = _covariance(8, 20, 0), _covariance(8, 20, 1)
    whitened = _whitened(a, b).astype(np.float64)
    whitened = (whitened + whitened.T) / 2
    gradient = np.asarray(jax.grad(losses.covariance_divergence)(whitened.astype(np.float32)))
    rng = np.random.default_rng(2)

    def value(m):
        return _divergence(m, np.eye(8))

    for _ in range(4):
        step = rng.standard_normal((8, 8))
        step = 1e-5 * (step + step.T)
        expected = (value(whitened + step) - value(whitened - step)) / 2
        np.testing.assert_allclose((gradient * step).sum(), expected, rtol=2e-3)


def test_covariance_divergence_under_vmap():
    """Values and gradients, each of its own matrix."""
    stack = np.stack([_covariance(6, c, c) for c in (2, 5, 50)]).astype(np.float32)
    got, gradients = jax.jit(jax.vmap(jax.value_and_grad(losses.covariance_divergence)))(stack)
    for matrix, value, gradient in zip(stack.astype(np.float64), got, gradients, strict=True):
        assert value == pytest.approx(_divergence(matrix, np.eye(6)), rel=1e-4)
        inverse = np.linalg.inv(matrix)
        np.testing.assert_allclose(
            gradient, (np.eye(6) - inverse @ inverse) / 12, rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("n", [1, 25])
def test_inverse_of_an_almost_singular_matrix(n):
    matrix = _covariance(n, 1e3, 4)
    expected = np.linalg.inv(matrix)
    got = np.asarray(jax.jit(losses._inverse)(matrix.astype(np.float32)), np.float64)
    assert np.linalg.norm(got - expected) < 1e-3 * np.linalg.norm(expected)
    np.testing.assert_allclose(got @ matrix, np.eye(n), atol=2e-2)
