"""resize against MATLAB's definition, written as loops in float64, and by its properties."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.ops import resizing
from deepinternal.ops.resizing import METHODS, mirror_index, output_size, resize, resize_matrix


def _keys(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def _lanczos(x, lobes):
    if x == 0:
        return 1.0
    t = math.pi * x
    return lobes * math.sin(t) * math.sin(t / lobes) / t**2 if abs(x) < lobes else 0.0


resize_within = jax.jit(functools.partial(resizing.resize_within, output_shape=(36, 44)))

# Name -> (kernel of one number, half of its support).
REFERENCE = {
    "cubic": (_keys, 2),
    "linear": (lambda x: max(0.0, 1 - abs(x)), 1),
    "box": (lambda x: float(-0.5 <= x < 0.5), 0.5),
    "lanczos2": (lambda x: _lanczos(x, 2), 2),
    "lanczos3": (lambda x: _lanczos(x, 3), 3),
}


def _reference_matrix(n, out, scale, method="cubic", antialias=True):
    """MATLAB's contributions, 1-based as in its source, one output sample after another."""
    kernel, radius = REFERENCE[method]
    stretch = min(scale, 1.0) if antialias else 1.0
    radius = radius / stretch
    matrix = np.zeros((out, n))
    for o in range(1, out + 1):
        u = o / scale + 0.5 * (1 - 1 / scale)
        taps = range(math.floor(u - radius) - 1, math.ceil(u + radius) + 2)
        weights = [stretch * kernel(stretch * (u - i)) for i in taps]
        for i, weight in zip(taps, weights, strict=True):
            while not 1 <= i <= n:
                i = 1 - i if i < 1 else 2 * n + 1 - i
            matrix[o - 1, i - 1] += weight / sum(weights)
    return matrix


def _reference(x, scale, shape, method="cubic", antialias=True):
    for axis in (0, 1):
        args = x.shape[axis], shape[axis], scale[axis], method, antialias
        x = np.moveaxis(np.tensordot(_reference_matrix(*args), x, (1, axis)), 0, axis)
    return x


def _image(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


CASES = [
    ((2.0, 2.0), (18, 26)),
    ((0.5, 0.5), (5, 7)),
    ((1 / 3, 1 / 4), (3, 4)),
    ((1.5, 0.7), (14, 10)),
    ((2.2, 3.0), (20, 39)),
    ((1.0, 0.45), (9, 6)),
    (
        (0.1, 0.05),
        (1, 1),
    ),  # the support exceeds the image, whose mirroring repeats
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("scale", "shape"), CASES)
def test_equals_the_definition(method, scale, shape):
    x = _image(9, 13, 2)
    got = resize(x, scale=scale, method=method)
    assert got.shape == (*shape, 2)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, _reference(x, scale, shape, method), atol=2e-6)


def test_known_cubic_weights():
    """Weights that can be computed by hand, for enlarging and reducing by 2."""
    up = resize_matrix(9, 18, 2.0)
    np.testing.assert_allclose(up[9, 3:7], [-0.0703125, 0.8671875, 0.2265625, -0.0234375])
    half = np.array([-0.01171875, -0.03515625, 0.11328125, 0.43359375])
    np.testing.assert_allclose(resize_matrix(16, 8, 0.5)[4, 5:13], [*half, *half[::-1]])
    assert np.count_nonzero(up[9]) == 4


@pytest.mark.parametrize("method", METHODS)
def test_antialiasing_is_optional(method):
    x = _image(9, 13, 1)
    scale = (0.37, 1.3)
    plain = _reference(x, scale, (4, 17), method, antialias=False)
    got = resize(x, scale=scale, method=method, antialias=False)
    np.testing.assert_allclose(got, plain, atol=2e-6)
    assert np.abs(plain - _reference(x, scale, (4, 17), method)).max() > 0.05


@pytest.mark.parametrize(
    ("size", "scale", "shape"),
    [((4, 5), (2.0, 2.0), (9, 11)), ((9, 8), (0.5, 0.5), (4, 3)), ((6, 6), (1.0, 1.5), (8, 5))],
)
def test_scale_and_output_shape_need_not_agree(size, scale, shape):
    x = _image(*size, 3)
    got = resize(x, scale=scale, output_shape=shape)
    np.testing.assert_allclose(got, _reference(x, scale, shape), atol=2e-6)


def test_output_shape_alone_sets_the_scale():
    x = _image(10, 7, 3)
    got = resize(x, output_shape=(4, 13))
    np.testing.assert_allclose(got, _reference(x, (0.4, 13 / 7), (4, 13)), atol=2e-6)


def test_one_scale_serves_both_axes():
    x = _image(5, 6, 3)
    np.testing.assert_array_equal(resize(x, scale=1.5), resize(x, scale=(1.5, 1.5)))


@pytest.mark.parametrize(
    ("shape", "scale", "expected"),
    [
        ((100, 10), (1.1, 1.1), (110, 11)),  # 110.00000000000001 and 11.000000000000002
        ((7, 9), (0.5, 1 / 3), (4, 3)),
        ((5, 5), (1.5, 2.01), (8, 11)),
    ],
)
def test_output_size_rounds_up_but_not_rounding_errors(shape, scale, expected):
    assert output_size(shape, scale) == expected


@pytest.mark.parametrize("method", ["cubic", "box"])
@pytest.mark.parametrize("factor", [1.3, 0.37])
def test_banded_path_equals_the_dense_matrix(method, factor):
    """Long axes take another path; both axes, with batch axes in front."""
    n = resizing.DENSE_LIMIT + 30
    out = output_size((n, n), (factor, factor))[0]
    matrix = _reference_matrix(n, out, factor, method)
    tall, wide = _image(2, n, 3, 2), _image(2, 3, n, 2)
    for got, spec, x in (
        (resize(tall, scale=(factor, 1), method=method), "oi,biwc->bowc", tall),
        (resize(wide, scale=(1, factor), method=method), "oi,bhic->bhoc", wide),
    ):
        np.testing.assert_allclose(got, np.einsum(spec, matrix, x), atol=3e-6)


@pytest.mark.parametrize("limit", [0, 512])
def test_gradient_is_the_transpose(monkeypatch, limit):
    monkeypatch.setattr(resizing, "DENSE_LIMIT", limit)
    x, g = _image(7, 10, 2), _image(11, 5, 2, seed=1)
    pull = jax.jit(lambda x, g: jax.vjp(lambda x: resize(x, scale=(1.5, 0.5)), x)[1](g)[0])
    rows, columns = _reference_matrix(7, 11, 1.5), _reference_matrix(10, 5, 0.5)
    expected = np.einsum("oh,opc,pw->hwc", rows, g, columns)
    np.testing.assert_allclose(pull(x, g), expected, atol=3e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [0.3, 0.5, 1.7, 3.0])
def test_constants_stay_constant(method, scale):
    x = np.full((11, 8, 1), 0.7, np.float32)
    np.testing.assert_allclose(resize(x, scale=scale, method=method), 0.7, atol=1e-6)


@pytest.mark.parametrize("method", ["cubic", "linear"])
@pytest.mark.parametrize("scale", [2.0, 2.5, 3.0])
def test_a_ramp_stays_a_ramp(method, scale):
    """Away from the border, output pixel o shows the value at (o + 0.5) / scale - 0.5."""
    ramp = np.arange(20, dtype=np.float32)
    x = (ramp[:, None] + 2 * ramp)[..., None]
    at = (np.arange(math.ceil(20 * scale)) + 0.5) / scale - 0.5
    inside = (at > 2) & (at < 17)
    got = np.asarray(resize(x, scale=scale, method=method))[..., 0]
    expected = at[:, None] + 2 * at
    mask = np.ix_(inside, inside)
    np.testing.assert_allclose(got[mask], expected[mask], rtol=1e-6)


def test_leading_axes_jit_and_vmap():
    x = _image(2, 3, 6, 7, 3)
    got = resize(x, scale=(2, 0.5))
    assert got.shape == (2, 3, 12, 4, 3)
    for i in np.ndindex(2, 3):
        np.testing.assert_allclose(got[i], _reference(x[i], (2, 0.5), (12, 4)), atol=2e-6)
    both = jax.jit(jax.vmap(jax.vmap(lambda x: resize(x, scale=(2, 0.5)))))(x)
    np.testing.assert_allclose(both, got, atol=1e-6)


def test_scale_one_returns_the_image_itself():
    x = _image(6, 7, 3)
    np.testing.assert_array_equal(resize(x, scale=1), x)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_mirror_index_repeats_the_edge(length):
    reach = 3 * length
    expected = np.pad(np.arange(length), reach, mode="symmetric")
    index = np.arange(-reach, length + reach)
    np.testing.assert_array_equal(mirror_index(index, length), expected)
    np.testing.assert_array_equal(mirror_index(jnp.asarray(index), length), expected)


@functools.cache
def _on_canvas(limit, scale, shape, method, antialias):
    """Compiled once for a limit and settings; sizes are arrays."""
    del limit
    options = {"scale": scale, "output_shape": shape, "method": method, "antialias": antialias}
    return jax.jit(lambda x, size: resize(x, size=size, **options))


@pytest.mark.parametrize("limit", [0, 512])
@pytest.mark.parametrize("size", [(17, 22), (24, 9), (3, 1)])
@pytest.mark.parametrize(
    ("scale", "method", "antialias"),
    [
        ((2.0, 1.5), "cubic", True),
        ((0.5, 0.37), "cubic", True),
        ((1.0, 0.3), "box", True),
        ((0.4, 1.0), "lanczos3", False),
    ],
)
def test_an_image_on_a_canvas(monkeypatch, limit, size, scale, method, antialias):
    """The surroundings of the image have no effect."""
    monkeypatch.setattr(resizing, "DENSE_LIMIT", limit)
    (h, w), shape = size, output_size(size, scale)
    x = _image(*size, 2)
    expected = _reference(x, scale, shape, method, antialias)
    canvas_shape = output_size((24, 22), scale)
    for seed in (1, 2):
        canvas = 1e6 * _image(24, 22, 2, seed=seed)
        canvas[:h, :w] = x
        got = _on_canvas(limit, scale, canvas_shape, method, antialias)(canvas, np.array(size))
        assert got.shape == (*canvas_shape, 2)
        assert np.all(np.isfinite(got))
        np.testing.assert_allclose(got[: shape[0], : shape[1]], expected, atol=3e-6)


def test_images_on_canvases_side_by_side():
    x, sizes = _image(3, 12, 14, 1), np.array([(12, 9), (7, 14), (10, 10)])
    got = jax.jit(jax.vmap(lambda x, size: resize(x, scale=1.5, size=size)))(x, sizes)
    for image, (h, w), result in zip(x, sizes, got):
        shape = output_size((h, w), (1.5, 1.5))
        expected = _reference(image[:h, :w], (1.5, 1.5), shape)
        np.testing.assert_allclose(result[: shape[0], : shape[1]], expected, atol=2e-6)


def test_bad_arguments_are_refused():
    x = _image(4, 4, 1)
    with pytest.raises(ValueError, match="with a size it needs a scale"):
        resize(x, output_shape=(8, 8), size=(3, 3))
    with pytest.raises(ValueError, match=r"'bicubic'.*cubic, linear, box, lanczos2, lanczos3"):
        resize(x, scale=2, method="bicubic")
    with pytest.raises(ValueError, match="scale or an output_shape"):
        resize(x)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, bool])
@pytest.mark.parametrize("scale", [1, 2])
def test_integers_are_refused(dtype, scale):
    """They would round the weights to whole numbers."""
    x = np.ones((4, 4, 1), dtype)
    with pytest.raises(ValueError, match=f"image of floats, not {x.dtype}"):
        resize(x, scale=scale)
    with pytest.raises(ValueError, match=f"image of floats, not {x.dtype}"):
        jax.jit(functools.partial(resize, scale=scale))(x)


@pytest.mark.parametrize("to", [(9, 40), (33, 12), (20, 31)])
def test_traced_sizes_within_canvases(to):
    """The surroundings of the image have no effect."""
    image = np.random.default_rng(0).random((20, 31, 2), np.float32)
    canvas = np.full((24, 40, 2), 7, np.float32)
    canvas[:20, :31] = image
    made = resize_within(canvas, np.array([20, 31]), np.array(to))
    assert made.shape == (36, 44, 2)
    expected = _reference(image, [n / m for n, m in zip(to, (20, 31))], to)
    np.testing.assert_allclose(made[: to[0], : to[1]], expected, atol=1e-5)
