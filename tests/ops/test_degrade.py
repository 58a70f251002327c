"""Random kernels against their recipes; degraded images against SciPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, optimize, stats
from skimage import data
from skimage.filters import window
from skimage.registration import phase_cross_correlation

from deepinternal.ops import degradation
from deepinternal.ops.kernels import centre_kernel, gaussian_kernel
from deepinternal.ops.resizing import resize

_degraded = jax.jit(degradation.degrade, static_argnums=3)
_line = jax.jit(degradation.line_kernel, static_argnums=0, static_argnames="scale")
KEYS = jax.random.split(jax.random.key(0), 100)


@functools.cache
def _photo():
    return (data.camera()[100:260, 150:306, None] / np.float32(255)).astype(np.float32)


@functools.cache
def _motions(length, size):
    draw = functools.partial(degradation.motion_kernel, size=size, length=length, scale=2)
    return np.asarray(jax.jit(jax.vmap(draw))(KEYS), np.float64)


@functools.cache
def _div2krks(scale=2):
    draw = functools.partial(degradation.div2krk_kernel, scale=scale)
    return np.asarray(jax.jit(jax.vmap(draw))(KEYS[: 400 // scale**2]), np.float64)


def _fitted_gaussian(kernel):
    """Variances (larger, smaller), angle of the larger, and kernel / gaussian, by least squares."""
    y, x = np.mgrid[:11, :11] - 5.5

    def model(p):
        return np.exp(p[0] - 0.5 * (p[1] * x * x + 2 * p[2] * x * y + p[3] * y * y))

    start = [np.log(kernel.max()), 0.5, 0.0, 0.5]
    # Ratios are fitted where the gaussian is not tiny, because the noise is relative.
    keep = kernel > 0.05 * kernel.max()
    fit = optimize.least_squares(lambda p: np.log(kernel[keep] / model(p)[keep]), start)
    _, a, b, c = fit.x
    values, vectors = np.linalg.eigh([[a, b], [b, c]])
    angle = np.arctan2(vectors[1, 0], vectors[0, 0]) % np.pi
    return 1 / values, angle, kernel[keep] / model(fit.x)[keep]


def test_div2krk_follows_its_recipe():
    kernels = _div2krks()
    assert kernels.shape == (100, 11, 11)
    np.testing.assert_allclose(kernels.sum((1, 2)), 1, atol=1e-5)
    variances, angles, ratios = zip(*map(_fitted_gaussian, kernels))
    ratios = np.concatenate([r / np.mean(r) for r in ratios])
    assert 0.6 < np.percentile(ratios, 1) < 0.8
    assert 1.2 < np.percentile(ratios, 99) < 1.4
    assert abs(np.std(ratios) - 0.5 / np.sqrt(12)) < 0.01  # of U(0.75, 1.25)
    larger, smaller = np.transpose(variances)
    # The larger and smaller of two draws from U(0.6, 5); fits to noisy samples blur them a little.
    uniform = (np.array([larger, smaller]) - 0.6) / 4.4
    assert stats.kstest(uniform[0], stats.beta(2, 1).cdf).statistic < 0.15
    assert stats.kstest(uniform[1], stats.beta(1, 2).cdf).statistic < 0.15
    assert stats.kstest(np.divide(angles, np.pi), "uniform").statistic < 0.15


def test_div2krk_of_scale_4_is_scale_2_twice():
    image = np.random.default_rng(0).random((80, 80))
    for two, four in zip(_div2krks()[:3], _div2krks(4)[:3]):
        assert four.shape == (31, 31)
        once = ndimage.correlate(image, two)[::2, ::2]
        twice = ndimage.correlate(once, two)[::2, ::2]
        at_once = ndimage.correlate(image, four)[::4, ::4]
        np.testing.assert_allclose(at_once[5:-5, 5:-5], twice[5:-5, 5:-5], atol=1e-6)


def test_div2krk_has_no_scale_3():
    with pytest.raises(ValueError, match="2, 4"):
        degradation.div2krk_kernel(KEYS[0], scale=3)


def test_motions_are_centred_thin_asymmetric_and_as_long_as_asked():
    length, size = 8, degradation.motion_size(8, scale=2)
    kernels = _motions(length, size)
    assert kernels.min() == 0
    np.testing.assert_allclose(kernels.sum((1, 2)), 1, atol=1e-5)
    spans, likeness = [], []
    for kernel in kernels:
        # A path that was cut off would have its centre of mass elsewhere.
        np.testing.assert_allclose(ndimage.center_of_mass(kernel), size // 2 + 0.5, atol=1e-4)
        rows, columns = np.nonzero(kernel)
        spans.append(np.hypot(np.ptp(rows), np.ptp(columns)))
        assert ndimage.label(kernel, np.ones((3, 3)))[1] == 1
        assert np.count_nonzero(kernel) < 5 * (length + 3)
        spectrum = np.fft.fft2(kernel, (2 * size, 2 * size))
        # Correlation with itself turned by 180 degrees, at the best shift.
        likeness.append(np.fft.ifft2(spectrum**2).real.max() / np.sum(kernel**2))
    assert length - 1 < max(spans) < length + 3.5
    assert np.median(likeness) < 0.8


def test_kernels_of_lines():
    flat = np.asarray(_line(15, 6.0, 0.0))
    expected = np.zeros((15, 15))
    expected[7, 5:10], expected[7, [4, 10]] = 1, 0.5
    np.testing.assert_allclose(flat, expected / 6, atol=0.01)
    # An even line's variance is length^2 / 12; a pixel's tent has 1/6 on average.
    kernel = np.asarray(_line(31, 20.0, np.radians(30), scale=2), np.float64)
    y, x = np.mgrid[:31, :31] - 15.5
    covariance = [[np.sum(kernel * a * b) for b in (x, y)] for a in (x, y)]
    values, vectors = np.linalg.eigh(covariance)
    assert abs(values[1] - 400 / 12) < 0.3
    assert values[0] < 0.3
    assert abs(vectors[1, 1] / vectors[0, 1] - np.tan(np.radians(30))) < 0.01


@functools.cache
def _centred(kind, scale):
    kernel = {
        "gaussian": lambda: gaussian_kernel(15, (2.0, 0.8), theta=0.5),
        "motion": lambda: _motions(8, 17)[1],
        "line": lambda: _line(13, 6.0, 1.0, scale=scale),
        "div2krk": lambda: _div2krks(scale)[1],
    }[kind]()
    return centre_kernel(np.asarray(kernel), scale)


@pytest.mark.parametrize("kind", ["motion", "div2krk"])
def test_blur_equals_scipy(kind):
    kernel = _centred(kind, 2)
    image = np.random.default_rng(1).random((32, 38, 3)).astype(np.float32)
    got = _degraded(KEYS[0], image, kernel, 2)
    weights = np.asarray(kernel, np.float64)
    planes = np.moveaxis(image.astype(np.float64), -1, 0)
    blurred = [ndimage.correlate(plane, weights, mode="reflect") for plane in planes]
    np.testing.assert_allclose(got, np.stack(blurred, -1)[::2, ::2].clip(0, 1), atol=2e-6)


def _drift(kernel, scale):
    """The greatest shift in pixels of the coarse structure of a degraded, enlarged photograph."""
    small = _degraded(KEYS[0], _photo(), kernel, scale)
    back = np.asarray(resize(small, scale=scale))
    assert back.shape == _photo().shape
    # An asymmetric blur and aliasing move fine structure differently.
    coarse = [ndimage.gaussian_filter(x[..., 0], 5) for x in (_photo(), back)]
    faded = [(x - x.mean()) * window("hann", x.shape) for x in coarse]
    shift, *_ = phase_cross_correlation(*faded, upsample_factor=50, normalization=None)
    return np.abs(shift).max()


@pytest.mark.parametrize(
    ("kind", "scale"),
    [("gaussian", 2), ("motion", 2), ("line", 2), ("div2krk", 2), ("div2krk", 4)],
)
def test_no_drift(kind, scale):
    kernel = _centred(kind, scale)
    assert _drift(kernel, scale) < 0.1
    assert _drift(jnp.pad(kernel, ((0, 1), (1, 0)))[1:, :-1], scale) > 0.4  # moved by a pixel


def test_cubic_degradation_is_resizing_without_drift():
    assert _drift(None, 2) < 0.1
    expected = resize(_photo(), scale=0.5).clip(0, 1)
    np.testing.assert_allclose(_degraded(KEYS[0], _photo(), None, 2), expected, atol=1e-6)


def test_noise_is_white_of_the_given_strength_and_from_the_key():
    image = jnp.full((200, 200, 3), 0.5)
    noise = np.asarray(_degraded(KEYS[0], image, None, 2, noise_std=0.05)) - 0.5
    assert abs(noise.std() / 0.05 - 1) < 0.02
    assert abs(noise.mean()) < 0.001
    assert abs(np.mean(noise[1:] * noise[:-1])) < 5e-5
    assert abs(np.mean(noise[..., 0] * noise[..., 1])) < 5e-5
    again = _degraded(KEYS[0], image, None, 2, noise_std=0.05)
    other = _degraded(KEYS[1], image, None, 2, noise_std=0.05)
    np.testing.assert_array_equal(again - 0.5, noise)
    assert np.abs(other - again).max() > 0.05
    dark = _degraded(KEYS[0], jnp.zeros((200, 200, 3)), None, 1, noise_std=0.1)
    assert dark.shape == (200, 200, 3)
    assert dark.min() == 0
    assert dark.max() > 0.2


def test_vmapped_over_images_kernels_and_strengths():
    images = np.random.default_rng(2).random((3, 24, 20, 1)).astype(np.float32)
    kernels = jnp.asarray(_motions(8, 17)[:3], jnp.float32)
    strengths = jnp.array([0.0, 0.1, 0.2])
    one = jax.jit(lambda q, i, k, s: degradation.degrade(q, i, k, 2, noise_std=s))
    together = jax.vmap(one)(KEYS[:3], images, kernels, strengths)
    for n in range(3):
        alone = one(KEYS[n], images[n], kernels[n], strengths[n])
        np.testing.assert_allclose(together[n], alone, atol=1e-5)
