"""Back-projection against iterations in float64 NumPy, and by its falling error."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from deepinternal.ops.back_projection import back_project, descend
from deepinternal.ops.resizing import resize

SIZE, SMALL = (24, 28), (12, 14)


def _smooth(*shape, seed=0, low=0.3, high=0.7):
    """A smooth random image that stays away from 0 and 1, so that nothing is clipped."""
    x = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (1.5, 1.5, 0))
    return (low + (high - low) * (x - x.min()) / np.ptp(x)).astype(np.float32)


def _cubic_down(x):
    return resize(x, scale=0.5)


def _cubic_up(x):
    return resize(x, scale=2)


def _motion_matrix(n=28, length=9, step=2):
    """Box blur along the rows, circular, then every second pixel: float64 (n // step, n)."""
    blur = sum(np.roll(np.eye(n), k - length // 2, 1) for k in range(length)) / length
    return blur[::step]


def _motion(x):
    """(24, 28, C) -> (12, 14, C): blurred along the rows, then every second pixel both ways."""
    return jnp.einsum("oi,hic->hoc", jnp.asarray(_motion_matrix(), jnp.float32), x[::2])


def _error(x, observed, down):
    difference = np.asarray(down(jnp.asarray(x)), np.float64) - observed
    return np.sqrt((difference**2).mean())


@functools.cache
def _jitted(function, *operators):
    """Jitted with (image, observed, iterations), iterations static."""

    def run(image, observed, iterations):
        return function(image, observed, *operators, iterations=iterations)

    return jax.jit(run, static_argnums=2)


def _path(function, image, observed, operators, last):
    """Results after 0, 1, ... iterations, each computed from the previous one."""
    run, path = _jitted(function, *operators), [image]
    for _ in range(last):
        path.append(np.asarray(run(path[-1], observed, 1)))
    return path


@pytest.mark.parametrize(
    ("function", "operators"), [(back_project, (_cubic_down, _cubic_up)), (descend, (_cubic_down,))]
)
def test_iterations_are_counted(function, operators):
    image, observed = _smooth(*SIZE, 3), _smooth(*SMALL, 3, seed=1)
    run = _jitted(function, *operators)
    np.testing.assert_array_equal(run(image, observed, 0), image)
    one_by_one = _path(function, image, observed, operators, 4)[-1]
    np.testing.assert_allclose(run(image, observed, 4), one_by_one, atol=1e-6)
    assert np.abs(one_by_one - image).max() > 0.01


def test_error_falls_with_cubic_operators():
    truth = _smooth(*SIZE, 3)
    observed = np.asarray(_cubic_down(truth))
    start = np.clip(np.asarray(_cubic_up(observed)), 0, 1)
    path = _path(back_project, start, observed, (_cubic_down, _cubic_up), 6)
    errors = [_error(x, observed, _cubic_down) for x in path]
    assert errors[0] > 1e-3
    assert (np.diff(errors) < 0).all()
    assert errors[-1] < 0.2 * errors[0]
    # The result also approaches the ground truth.
    assert np.abs(path[-1] - truth).mean() < np.abs(path[0] - truth).mean()


def test_back_projection_equals_its_formula():
    """x <- clip(x + U (y - D x)) with random matrices, in float64, including the clipping."""
    rng = np.random.default_rng(3)
    down, up = rng.normal(0, 0.2, (12, 24)), rng.normal(0, 0.2, (24, 12))
    image, observed = rng.uniform(size=(24, 5, 2)), rng.uniform(size=(12, 5, 2))
    expected = image
    for _ in range(5):
        residual = observed - np.einsum("oi,iwc->owc", down, expected)
        expected = np.clip(expected + np.einsum("oi,iwc->owc", up, residual), 0, 1)
    assert (expected == 0).any()
    assert (expected == 1).any()
    got = back_project(
        *(jnp.asarray(a, jnp.float32) for a in (image, observed)),
        lambda x: jnp.einsum("oi,iwc->owc", down.astype(np.float32), x),
        lambda x: jnp.einsum("oi,iwc->owc", up.astype(np.float32), x),
        iterations=5,
    )
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("spread", [0.05, 0.6])
def test_descent_equals_steepest_descent_in_float64(spread):
    """Exact line search along the gradient of |A x - y|^2 / 2; the wide spread is clipped."""
    rng = np.random.default_rng(5)
    matrix = rng.normal(size=(9, 20)) / 5
    truth = 0.5 + rng.uniform(-spread, spread, 20)
    observed, expected = matrix @ truth, np.full(20, 0.5)
    for _ in range(6):
        residual = observed - matrix @ expected
        direction = matrix.T @ residual
        length = direction @ direction / ((matrix @ direction) @ (matrix @ direction))
        expected = np.clip(expected + length * direction, 0, 1)
    assert (np.isin(expected, [0, 1]).any()) == (spread > 0.5)
    got = descend(
        jnp.full((4, 5, 1), 0.5),
        jnp.asarray(observed, jnp.float32).reshape(3, 3, 1),
        lambda x: (matrix.astype(np.float32) @ x.reshape(20)).reshape(3, 3, 1),
        iterations=6,
    )
    np.testing.assert_allclose(np.ravel(got), expected, atol=2e-5)


def test_error_of_descent_under_a_motion_blur_never_rises():
    truth = _smooth(*SIZE, 3)
    observed = np.asarray(_motion(truth))
    start = np.asarray(_cubic_up(observed))
    path = _path(descend, start, observed, (_motion,), 10)
    errors = np.array([_error(x, observed, _motion) for x in path])
    assert (np.diff(errors) <= 1e-7).all()
    assert errors[-1] < 0.3 * errors[0]


def test_descent_works_where_back_projection_diverges():
    """Where the frequency response of a blur is negative, enlarged differences have the wrong sign.

    The response of a box of 9 pixels, sin(9 w / 2) / 9 sin(w / 2), is lowest near w = 2 pi 4.5 / 28.
    """
    wave = 0.1 * np.cos(2 * np.pi * 4 / 28 * np.arange(28))
    response = np.sum(np.cos(2 * np.pi * 4 / 28 * np.arange(-4, 5))) / 9
    assert response < -0.1
    truth = np.broadcast_to(0.5 + wave[None, :, None], (*SIZE, 1)).astype(np.float32)
    observed = np.asarray(_motion(truth))
    start = np.full((*SIZE, 1), 0.5, np.float32)
    before = _error(start, observed, _motion)
    wrong = _jitted(back_project, _motion, _cubic_up)(start, observed, 6)
    right = _jitted(descend, _motion)(start, observed, 6)
    assert _error(wrong, observed, _motion) > 1.5 * before
    assert _error(right, observed, _motion) < 0.2 * before


def test_descent_of_a_nonlinear_degradation():
    """The step length is exact to first order, so that the error falls with a gamma curve, too."""

    def down(x):
        return _cubic_down(x) ** 2.2

    truth = _smooth(*SIZE, 1)
    observed = np.asarray(down(truth))
    path = _path(descend, np.full_like(truth, 0.5), observed, (down,), 8)
    errors = [_error(x, observed, down) for x in path]
    assert (np.diff(errors) < 0).all()
    assert errors[-1] < 0.05 * errors[0]


def test_exact_images_are_not_changed():
    """The direction is 0, and nothing is divided by zero."""
    image = _smooth(*SIZE, 1)
    got = _jitted(descend, _cubic_down)(image, np.asarray(jax.jit(_cubic_down)(image)), 3)
    np.testing.assert_allclose(got, image, atol=1e-5)
    black = _jitted(descend, lambda x: 0 * x[::2, ::2])(image, image[::2, ::2], 2)
    np.testing.assert_array_equal(black, image)
