"""Blur kernels against scipy, NumPy formulas, and the property they are centred for: no drift."""

import functools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.signal import convolve2d
from scipy.signal.windows import gaussian
from skimage import data
from skimage.filters import window
from skimage.registration import phase_cross_correlation

from deepinternal.ops import kernels
from deepinternal.ops.resizing import resize


def _image(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def _skewed_kernel(size, seed=0):
    """A smooth, clearly asymmetric kernel whose centre of mass lies anywhere but in the middle."""
    rng = np.random.default_rng(seed)
    blob = np.zeros((size, size))
    blob[tuple(rng.integers(1, size - 1, (2, 4)))] = rng.uniform(0.5, 1, 4)
    blob[1, 2] += 1
    kernel = ndimage.gaussian_filter(blob, 1.0, mode="constant")
    return (kernel / kernel.sum()).astype(np.float32)


def _motion_kernel(size):
    """A hard-edged stroke off the middle: all its mass in the lower right quarter."""
    kernel = np.zeros((size, size), np.float32)
    kernel[size - 2, size // 2 :] = 1
    return kernel / kernel.sum()


def _reference_downscale(image, kernel, rows, columns):
    blurred = [
        ndimage.correlate(image[..., c].astype(np.float64), kernel, mode="reflect")
        for c in range(image.shape[-1])
    ]
    return np.stack(blurred, -1)[rows][:, columns]


def test_gaussian_isotropic():
    for size, sigma in ((9, 1.3), (8, 2.0), (1, 1.0)):
        line = gaussian(size, sigma)
        expected = np.outer(line, line) / line.sum() ** 2
        got = kernels.gaussian_kernel(size, sigma)
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("theta", [0.0, 0.4, np.pi / 2, 2.5])
def test_gaussian_anisotropic(theta):
    """The first axis points `theta` from the columns (x) towards the rows (y)."""
    turn = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    precision = np.linalg.inv(turn @ np.diag([3.0**2, 1.2**2]) @ turn.T)
    expected = np.zeros((12, 12))
    for row, column in np.ndindex(12, 12):
        p = np.array([column - 5.5, row - 5.5])
        expected[row, column] = np.exp(-0.5 * p @ precision @ p)
    got = jax.jit(kernels.gaussian_kernel, static_argnums=0)(12, (3.0, 1.2), theta=theta)
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=1e-4, atol=1e-8)


def test_gaussian_direction():
    got = kernels.gaussian_kernel(9, (3.0, 1.0), theta=np.pi / 4)
    assert got[6, 6] > 3 * got[6, 2]  # down and right, where x and y grow together
    flat = kernels.gaussian_kernel(9, (3.0, 1.0))
    assert flat[4, 7] > 3 * flat[7, 4]


def test_centre_of_mass():
    for shape in ((7, 7), (5, 8), (1, 1)):
        kernel = _image(*shape)
        expected = ndimage.center_of_mass(kernel.astype(np.float64))
        np.testing.assert_allclose(kernels.centre_of_mass(jnp.asarray(kernel)), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(7, 7), (5, 8), (2, 3)])
def test_shift_kernel_is_scipys(shape):
    kernel = _image(*shape)
    shift_kernel = jax.jit(kernels.shift_kernel)
    for shift in ((0.0, 0.0), (0.5, -1.25), (-0.3, 0.7), (2.0, -1.0), (1.6, 9.5), (0.01, -0.99)):
        expected = ndimage.shift(kernel.astype(np.float64), shift, order=3, mode="constant")
        got = shift_kernel(jnp.asarray(kernel), jnp.asarray(shift))
        np.testing.assert_allclose(got, expected, atol=3e-6, err_msg=str(shift))


MAKERS = {
    "gaussian": lambda size: np.array(kernels.gaussian_kernel(size, 1.3)),
    "skewed": _skewed_kernel,
    "motion": _motion_kernel,
}


# A NumPy kernel is padded by as much as it needs: every one has a shape, and programs, of its own.
CONCRETE = [("gaussian", 9), ("skewed", 10), ("motion", 9), ("motion", 10)]


@functools.cache
def _centred(make, size, scale):
    """The centred kernel of a NumPy one, float64."""
    return np.asarray(kernels.centre_kernel(MAKERS[make](size), scale), np.float64)


@functools.cache
def _jitted_centre(scale):
    return jax.jit(functools.partial(kernels.centre_kernel, scale=scale))


def _check_centred(kernel, size, scale):
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == size % 2
    np.testing.assert_allclose(kernel.sum(), 1, atol=1e-5)
    target = kernel.shape[0] // 2 + (np.broadcast_to(scale, 2) - 1) / 2
    np.testing.assert_allclose(ndimage.center_of_mass(kernel), target, atol=0.01)


@pytest.mark.parametrize(("make", "size"), CONCRETE)
def test_centre_kernel_meets_its_target(make, size):
    _check_centred(_centred(make, size, (2, 3)), size, (2, 3))


@pytest.mark.parametrize(
    ("size", "scale"), [(9, 2), (9, 3), (10, 3), (9, (2, 3)), (10, (2, 3)), (10, 1.5)]
)
def test_centre_kernel_under_jit_meets_its_target(size, scale):
    for make in MAKERS.values():
        centred = _jitted_centre(scale)(make(size))
        _check_centred(np.asarray(centred, np.float64), size, scale)


def test_kernels_at_the_very_border_lose_nothing():
    """The bound for traced kernels holds for a single pixel in any corner."""
    for row, column in ((0, 0), (0, 8), (8, 8)):
        kernel = np.zeros((9, 9), np.float32)
        kernel[row, column] = 1
        _check_centred(np.asarray(_jitted_centre(3)(kernel), np.float64), 9, 3)
        _check_centred(np.asarray(_jitted_centre(2)(kernel), np.float64), 9, 2)


def test_a_centred_kernel_is_left_alone():
    kernel = np.array(kernels.gaussian_kernel(9, 1.3))
    np.testing.assert_allclose(kernels.centre_kernel(3 * kernel, 1), kernel, atol=1e-7)
    even = np.zeros((10, 10), np.float32)
    even[1:, 1:] = kernel
    np.testing.assert_allclose(kernels.centre_kernel(even, 1), even, atol=1e-7)


def test_traced_kernel_is_used_as_a_concrete_one():
    """The static padding that a traced kernel needs changes the shape, not the result."""
    image = _image(40, 42, 1)
    downscale = jax.jit(functools.partial(kernels.downscale, scale=(2, 3)))
    for make, size in CONCRETE:
        concrete = downscale(image, _centred(make, size, (2, 3)))
        traced = downscale(image, _jitted_centre((2, 3))(MAKERS[make](size)))
        np.testing.assert_allclose(traced, concrete, atol=2e-3)


def test_given_padding_is_obeyed():
    """Also none at all, for a kernel that has its margin already."""
    kernel = np.pad(_skewed_kernel(9), 6)
    centre = functools.partial(kernels.centre_kernel, scale=2)
    centred = np.asarray(jax.jit(functools.partial(centre, pad=0))(kernel), np.float64)
    assert centred.shape == (21, 21)
    np.testing.assert_allclose(ndimage.center_of_mass(centred), 10.5, atol=0.01)
    assert jax.eval_shape(functools.partial(centre, pad=3), kernel).shape == (27, 27)


@pytest.mark.parametrize(
    ("shape", "scale"), [((7, 7), 2), ((6, 6), 1), ((5, 8), (2, 3)), ((1, 1), 3)]
)
def test_downscale_is_correlation_and_striding(shape, scale):
    image, kernel = _image(24, 30, 3), _image(*shape)
    kernel /= kernel.sum()
    v, h = np.broadcast_to(scale, 2)
    expected = _reference_downscale(image, kernel, slice(None, None, v), slice(None, None, h))
    np.testing.assert_allclose(kernels.downscale(image, kernel, scale), expected, atol=2e-6)


@pytest.mark.parametrize("scale", [(2, 3), (1.5, 2.7), (4, 1)])
def test_downscale_of_sizes_that_do_not_divide(scale):
    image, kernel = _image(25, 31, 2), _skewed_kernel(6)
    rows, columns = (
        np.round(np.linspace(0, n - s, int(np.ceil(n / s)))).astype(int)
        for n, s in zip((25, 31), scale, strict=True)
    )
    expected = _reference_downscale(image, kernel, rows, columns)
    got = jax.jit(functools.partial(kernels.downscale, scale=scale))(image, kernel)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_downscale_to_a_given_shape():
    image, kernel = _image(20, 21, 1), _skewed_kernel(5)
    rows = np.round(np.linspace(0, 18, 7)).astype(int)
    columns = np.round(np.linspace(0, 19, 12)).astype(int)
    expected = _reference_downscale(image, kernel, rows, columns)
    got = kernels.downscale(image, kernel, 2, output_shape=(7, 12))
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_kernel_larger_than_the_image():
    image, kernel = _image(4, 5, 1), _image(13, 13)
    kernel /= kernel.sum()
    expected = _reference_downscale(image, kernel, slice(None, None, 2), [0, 2, 3])
    np.testing.assert_allclose(kernels.downscale(image, kernel, (2, 2)), expected, atol=2e-6)


def _on_canvas(image, kernel, scale, shape, size=None, small=None):
    """What counts of the result for an image amid large numbers, its sizes traced."""
    (h, w, c), results = image.shape, []
    for seed in (1, 2):
        canvas = 1e6 * _image(40, 36, c, seed=seed)
        canvas[:h, :w] = image
        downscale = functools.partial(kernels.downscale, scale=scale, output_shape=shape)
        got = jax.jit(downscale)(canvas, kernel, size=np.array(size), small=small)
        assert got.shape == (*shape, c)
        assert np.all(np.isfinite(got))
        results.append(got)
    return results


@pytest.mark.parametrize(("scale", "size"), [((2, 3), (28, 33)), (2, (6, 36)), ((4, 1), (40, 7))])
def test_downscale_on_a_canvas(scale, size):
    """As if the image were alone; mirrored at its own border, even by kernels larger than it."""
    image, kernel = _image(*size, 2), _skewed_kernel(9)
    v, h = np.broadcast_to(scale, 2)
    expected = _reference_downscale(image, kernel, slice(None, None, v), slice(None, None, h))
    for got in _on_canvas(image, kernel, scale, (40 // v, 36 // h), size):
        np.testing.assert_allclose(got[: size[0] // v, : size[1] // h], expected, atol=2e-6)


@pytest.mark.parametrize("scale", [(2, 3), (1.5, 2.75), (4, 1.25)])
@pytest.mark.parametrize("size", [(25, 31), (40, 22)])
def test_downscale_on_a_canvas_of_sizes_that_do_not_divide(scale, size):
    image, kernel = _image(*size, 2), _skewed_kernel(6)
    small = tuple(int(np.ceil(n / s)) for n, s in zip(size, scale, strict=True))
    rows, columns = (
        np.round(np.linspace(0, n - s, m)).astype(int)
        for n, s, m in zip(size, scale, small, strict=True)
    )
    expected = _reference_downscale(image, kernel, rows, columns)
    shape = tuple(int(np.ceil(n / s)) for n, s in zip((40, 36), scale, strict=True))
    for got in _on_canvas(image, kernel, scale, shape, size, np.array(small)):
        np.testing.assert_allclose(got[: small[0], : small[1]], expected, atol=2e-6)


@pytest.mark.parametrize("scale", [2, 3, 1.25, 4 / 3, 1.7])
def test_whole_positions_are_exact(scale):
    """Against fractions; traced lengths give the same."""
    ratio = Fraction(scale).limit_denominator(64)
    traced = jax.jit(lambda length, n: kernels.whole_positions(length, scale, n, 700))
    for length in (16, 85, 173, 534, 777):
        n = math.ceil(length / ratio)
        expected = [round(i * (length - ratio) / (n - 1)) for i in range(n)]
        np.testing.assert_array_equal(kernels.whole_positions(length, scale, n, n), expected)
        np.testing.assert_array_equal(traced(length, n)[:n], expected)
        floats = kernels.sample_positions(length, scale, n)
        assert np.mean(floats != expected) < 0.05  # on the other side of a half


@functools.cache
def _photo():
    """Smooth, so that a shift is all that blurring with a lopsided kernel does to it."""
    photo = data.camera()[96:288, 120:312] / 255.0
    return ndimage.gaussian_filter(photo, 3.0).astype(np.float32)[..., None]


@functools.partial(jax.jit, static_argnames="scale")
def _down_and_up(kernel, scale):
    small = kernels.downscale(_photo(), kernel, scale)
    return resize(small, scale=scale, output_shape=_photo().shape[:2])


def _drift(kernel, scale):
    """Largest shift (in pixels) of a downscaled and cubically upscaled photo against itself."""
    images = (np.asarray(x)[..., 0] for x in (_photo(), _down_and_up(kernel, scale)))
    faded = [(x - x.mean()) * window("hann", x.shape) for x in images]
    options = {"upsample_factor": 50, "normalization": None}
    return np.abs(phase_cross_correlation(*faded, **options)[0]).max()


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("size", [9, 10])
def test_no_drift(make, size):
    scale = (2, 3)
    assert _drift(MAKERS[make](size), scale) > 0.4  # what an uncentred kernel does
    assert _drift(_jitted_centre(scale)(MAKERS[make](size)), scale) < 0.1


def test_vmap_over_kernels():
    image = _image(20, 22, 3)
    stack = np.stack([_skewed_kernel(8, seed) for seed in range(3)])

    def blurred(kernel):
        return kernels.downscale(image, kernels.centre_kernel(kernel, 2), 2)

    got = jax.jit(jax.vmap(blurred))(stack)
    single = jax.jit(blurred)
    for kernel, result in zip(stack, got, strict=True):
        np.testing.assert_allclose(result, single(kernel), atol=2e-6)


def test_leading_axes():
    images, kernel = _image(2, 3, 12, 14, 3), _skewed_kernel(5)
    got = kernels.downscale(images, kernel, 2)
    assert got.shape == (2, 3, 6, 7, 3)
    for i in np.ndindex(2, 3):
        expected = _reference_downscale(images[i], kernel, slice(0, None, 2), slice(0, None, 2))
        np.testing.assert_allclose(got[i], expected, atol=2e-6)


def test_gradients_of_downscale():
    """Bilinear in image and kernel: differences of the float64 reference have no step error."""
    image, kernel, g = _image(9, 10, 2), _skewed_kernel(4), _image(5, 5, 2, seed=1)
    rows, columns = np.round(np.linspace(0, 7, 5)).astype(int), slice(0, None, 2)

    def reference(image, kernel):
        return (g * _reference_downscale(image, kernel, rows, columns)).sum()

    def differences(f, x):
        x, out = x.astype(np.float64), np.zeros(x.shape)
        for i in np.ndindex(x.shape):
            step = np.zeros(x.shape)
            step[i] = 0.5
            out[i] = f(x + step) - f(x - step)
        return out

    loss = jax.jit(jax.grad(lambda i, k: (g * kernels.downscale(i, k, 2)).sum(), argnums=(0, 1)))
    by_image, by_kernel = loss(image, kernel)
    expected = differences(lambda x: reference(x, kernel.astype(np.float64)), image)
    np.testing.assert_allclose(by_image, expected, atol=2e-6)
    expected = differences(lambda k: reference(image, k), kernel)
    np.testing.assert_allclose(by_kernel, expected, rtol=2e-6, atol=1e-5)


def test_gradient_through_centring():
    """Kernel learners train through the shift: its gradient against central differences."""
    kernel, image = _skewed_kernel(7), _image(16, 16, 1)

    @jax.jit
    @jax.value_and_grad
    def loss(kernel):
        return (kernels.downscale(image, kernels.centre_kernel(kernel, 2), 2) ** 2).sum()

    gradient = loss(kernel)[1]
    rng = np.random.default_rng(3)
    for _ in range(3):
        step = 1e-3 * rng.standard_normal(kernel.shape).astype(np.float32)
        expected = float(loss(kernel + step)[0] - loss(kernel - step)[0]) / 2
        np.testing.assert_allclose((gradient * step).sum(), expected, rtol=0.02, atol=2e-5)


def _estimated(seed=0):
    """A kernel as training leaves it: faint values of both signs around what counts."""
    noise = 0.002 * np.random.default_rng(seed).standard_normal((13, 13))
    return (np.asarray(kernels.gaussian_kernel(13, (2.0, 1.0))) + noise).astype(np.float32)


def test_faint_level():
    kernel = _estimated()
    ranked = np.sort(kernel.ravel())[::-1]
    assert ranked[40] > 0
    assert kernels.faint_level(kernel) == pytest.approx(0.02 * ranked[0], rel=1e-6)
    assert kernels.faint_level(kernel, rule="rank") == pytest.approx(0.75 * ranked[40], rel=1e-6)
    few = np.where(kernel >= ranked[30], kernel, -0.01).astype(np.float32)
    assert kernels.faint_level(few, rule="rank") == 0  # never negative: it is subtracted


@pytest.mark.parametrize("rule", ["peak", "rank"])
def test_without_faint(rule):
    kernel = _estimated()
    level = np.asarray(kernels.faint_level(kernel, rule=rule))
    got = np.asarray(kernels.without_faint(kernel, level), np.float64)
    expected = np.maximum(kernel.astype(np.float64) - level, 0)
    np.testing.assert_allclose(got, expected / expected.sum(), atol=1e-7)
    assert got.min() == 0
    assert got.sum() == pytest.approx(1, abs=1e-5)
    assert 5 < np.sum(got > 0) < 80


def test_without_faint_of_nothing():
    for kernel in (np.zeros((13, 13), np.float32), np.full((13, 13), -1, np.float32)):
        np.testing.assert_array_equal(kernels.without_faint(kernel, 0.0), 0)


@pytest.mark.parametrize(("size", "expected"), [(13, 25), (17, 33), (10, 18), (11, 21)])
def test_doubled_kernel_is_a_convolution(size, expected):
    """With the kernel at every second place, without size // 2 values at each side."""
    kernel = _skewed_kernel(size)
    dilated = np.zeros((2 * size - 1, 2 * size - 1))
    dilated[::2, ::2] = kernel
    both = convolve2d(dilated, kernel.astype(np.float64))
    cut = slice(size // 2, len(both) - size // 2)
    doubled = kernels.doubled_kernel(kernel)
    assert doubled.shape == (expected, expected)
    want = both[cut, cut] / both[cut, cut].sum()
    np.testing.assert_allclose(doubled, want, atol=1e-6 * want.max())


@pytest.mark.parametrize("size", [9, 8])
def test_doubled_kernel_downscales_as_twice_by_two(size):
    """Inside the image, exactly for odd sizes; centred for 4, with any size, to interpolation."""
    inner = _skewed_kernel(size)
    inner[[0, 1, -2, -1]] = inner[:, [0, 1, -2, -1]] = 0
    kernel = np.asarray(kernels.centre_kernel(inner, 2, pad=3))
    image = ndimage.gaussian_filter(_image(72, 64, 1), (1.5, 1.5, 0))
    twice = np.asarray(kernels.downscale(kernels.downscale(image, kernel, 2), kernel, 2))
    inside = slice(5, -5)
    doubled = kernels.doubled_kernel(kernel)
    if size % 2:
        once = np.asarray(kernels.downscale(image, doubled, 4))
        np.testing.assert_allclose(once[inside, inside], twice[inside, inside], atol=2e-5)
    centred = kernels.centre_kernel(doubled, 4, pad=1)
    once = np.asarray(kernels.downscale(image, centred, 4))
    error = (once - twice)[inside, inside]
    assert np.abs(error).max() < 0.02 * twice.std()


@pytest.mark.parametrize(("scale", "size"), [(2, 13), (2, 9), (3, 15), (4, 19)])
def test_cubic_kernel_is_cubic_resizing(scale, size):
    image = _image(12 * scale, 13 * scale, 2)
    kernel = kernels.cubic_kernel(scale, size)
    assert kernel.shape == (size, size)
    assert kernel.dtype == np.float32
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(
        ndimage.center_of_mass(kernel.astype(np.float64)), size // 2 + (scale - 1) / 2, atol=1e-4
    )
    once = np.asarray(kernels.downscale(image, kernel, scale))
    expected = np.asarray(resize(image, scale=1 / scale))
    assert once.shape == expected.shape
    inside = slice(3, -3)
    np.testing.assert_allclose(once[inside, inside], expected[inside, inside], atol=1e-5)
