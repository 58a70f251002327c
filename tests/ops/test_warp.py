"""Warps against a float64 loop of Keys' cubic, against scipy, and against exact pixel copies."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from deepinternal.ops import warping
from deepinternal.ops.warping import warp

jit_warp = functools.partial(jax.jit, static_argnames=("output_shape", "method", "boundary"))(warp)

AFFINE = np.array([[0.8, -0.35, 2.3], [0.3, 0.9, -1.7], [0, 0, 1]], np.float32)
PERSPECTIVE = np.array([[0.9, 0.2, 1.1], [-0.1, 1.2, 0.4], [0.02, 0.01, 1]], np.float32)


def _image(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def _keys(x, a):
    """Keys 1981: 1 at 0, 0 at the other integers, slope continuous for any a."""
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def _fold(i, n):
    while not 0 <= i < n:
        i = -1 - i if i < 0 else 2 * n - 1 - i
    return i


def _positions(matrix, shape):
    """Input (x, y) of every output pixel, row by row, in float64."""
    for row, column in np.ndindex(*shape):
        p = matrix.astype(np.float64) @ [column, row, 1]
        yield p[:2] / p[2]


def _reference_matrix(size, matrix, shape, kernel, radius, boundary):
    """The warp as a dense matrix, output pixels by input pixels."""
    h, w = size
    rows = []
    for x, y in _positions(matrix, shape):
        line = np.zeros((h, w))
        for j in range(math.floor(y) - radius + 1, math.floor(y) + radius + 1):
            for i in range(math.floor(x) - radius + 1, math.floor(x) + radius + 1):
                weight = kernel(y - j) * kernel(x - i)
                if boundary == "mirror":
                    line[_fold(j, h), _fold(i, w)] += weight
                elif 0 <= j < h and 0 <= i < w:
                    line[j, i] += weight
        rows.append(line.ravel())
    return np.stack(rows)


def _reference(image, matrix, shape, **options):
    operator = _reference_matrix(image.shape[:2], matrix, shape, **options)
    return (operator @ image.reshape(-1, image.shape[2])).reshape(*shape, -1)


@pytest.mark.parametrize("method", ["cubic", "linear"])
@pytest.mark.parametrize("boundary", ["mirror", "zero"])
def test_whole_pixel_shifts_copy(method, boundary):
    image = _image(9, 11, 3)
    padded = np.pad(
        image,
        [(30, 30), (30, 30), (0, 0)],
        mode="symmetric" if boundary == "mirror" else "constant",
    )
    for x, y in ((0, 0), (2, 1), (-3, 4), (5, -7), (-25, 22)):
        got = jit_warp(image, warping.translation(x, y), (8, 7), method=method, boundary=boundary)
        np.testing.assert_array_equal(got, padded[30 + y :, 30 + x :][:8, :7])


@pytest.mark.parametrize("method", ["cubic", "linear"])
@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns_copy(method, turns):
    """The matrix goes from output to input: the image turns the other way round."""
    image = _image(8, 11, 2)
    expected = np.rot90(image, turns)
    (h, w), (height, width) = image.shape[:2], expected.shape[:2]
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
    matrix = warping.compose(
        warping.translation((w - 1) / 2, (h - 1) / 2),
        warping.linear_map(c, -s, s, c),
        warping.translation(-(width - 1) / 2, -(height - 1) / 2),
    )
    got = jit_warp(image, matrix, (height, width), method=method, boundary="zero")
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("boundary", ["mirror", "zero"])
@pytest.mark.parametrize("a", [-0.5, -0.75])
@pytest.mark.parametrize("matrix", [AFFINE, PERSPECTIVE], ids=["affine", "perspective"])
def test_cubic_equals_keys(matrix, a, boundary):
    image = _image(9, 12, 2)
    kernel = functools.partial(_keys, a=a)
    expected = _reference(image, matrix, (11, 10), kernel=kernel, radius=2, boundary=boundary)
    got = jit_warp(image, matrix, (11, 10), boundary=boundary, cubic_a=a)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_default_is_the_published_cubic_with_mirror():
    image = _image(9, 12, 2)
    kernel = functools.partial(_keys, a=-0.75)
    expected = _reference(image, AFFINE, (11, 10), kernel=kernel, radius=2, boundary="mirror")
    np.testing.assert_allclose(jit_warp(image, AFFINE, (11, 10)), expected, atol=1e-5)


@pytest.mark.parametrize("matrix", [AFFINE, PERSPECTIVE], ids=["affine", "perspective"])
def test_linear_equals_scipy(matrix):
    image = _image(9, 12, 2)
    x, y = np.stack(list(_positions(matrix, (13, 14))), 1).reshape(2, 13, 14)
    expected = [
        ndimage.map_coordinates(image[..., c].astype(np.float64), (y, x), order=1, mode="reflect")
        for c in range(2)
    ]
    got = jit_warp(image, matrix, (13, 14), method="linear")
    np.testing.assert_allclose(got, np.stack(expected, -1), atol=1e-5)


def test_linear_with_zeros_outside():
    image = _image(6, 7, 1)
    options = {"kernel": lambda x: max(0.0, 1 - abs(x)), "radius": 1, "boundary": "zero"}
    expected = _reference(image, AFFINE, (12, 13), **options)
    got = jit_warp(image, AFFINE, (12, 13), method="linear", boundary="zero")
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert (expected == 0).mean() > 0.2


@pytest.mark.parametrize(("method", "boundary"), [("cubic", "zero"), ("linear", "mirror")])
def test_gradient_is_the_transpose(method, boundary):
    """Linear in the image: every column of the float64 operator is an exact difference."""
    image, g = _image(6, 7, 2), _image(5, 8, 2, seed=1)
    kernel, radius = (
        (functools.partial(_keys, a=-0.75), 2)
        if method == "cubic"
        else (lambda x: max(0.0, 1 - abs(x)), 1)
    )
    operator = _reference_matrix((6, 7), PERSPECTIVE, (5, 8), kernel, radius, boundary)
    options = {"method": method, "boundary": boundary}
    gradient = jax.jit(jax.grad(lambda x: (g * warp(x, PERSPECTIVE, (5, 8), **options)).sum()))(
        image
    )
    expected = (operator.T @ g.reshape(-1, 2)).reshape(6, 7, 2)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_gradient_by_the_matrix():
    """Smooth in the positions too: against central differences of the float64 loop."""
    image = _image(8, 8, 1)
    g = _image(5, 5, 1, seed=1)
    gradient = jax.jit(jax.grad(lambda m: (g * warp(image, m, (5, 5))).sum()))(PERSPECTIVE)
    options = {"kernel": functools.partial(_keys, a=-0.75), "radius": 2, "boundary": "mirror"}
    for i in ((0, 2), (1, 0), (2, 1)):
        step = np.zeros((3, 3))
        step[i] = 1e-5
        up, down = (
            (g * _reference(image, PERSPECTIVE.astype(np.float64) + s, (5, 5), **options)).sum()
            for s in (step, -step)
        )
        np.testing.assert_allclose(gradient[i], (up - down) / 2e-5, rtol=2e-3)


def test_vmap_over_matrices():
    image = _image(7, 8, 1)
    matrices = np.stack([AFFINE, PERSPECTIVE, np.eye(3, dtype=np.float32)])
    got = jax.jit(jax.vmap(lambda m: warp(image, m, (6, 5))))(matrices)
    for matrix, result in zip(matrices, got, strict=True):
        np.testing.assert_allclose(result, jit_warp(image, matrix, (6, 5)), atol=1e-6)


@pytest.mark.parametrize(
    ("matrix", "method", "boundary"),
    [
        (AFFINE, "cubic", "mirror"),
        (AFFINE, "linear", "zero"),
        (PERSPECTIVE, "cubic", "zero"),
        (PERSPECTIVE, "linear", "mirror"),
    ],
    ids=["affine-mirror", "affine-zero", "perspective-zero", "perspective-mirror"],
)
def test_size_of_an_image_in_a_larger_array(matrix, method, boundary):
    """The result is the same to the bit, and the padding, which holds NaN, is never read."""
    image = _image(9, 12, 2)
    padded = np.pad(image, ((0, 4), (0, 7), (0, 0)), constant_values=np.nan)
    options = {"method": method, "boundary": boundary}
    expected = jit_warp(image, matrix, (14, 15), **options)
    traced = jit_warp(padded, matrix, (14, 15), size=jnp.array([9, 12]), **options)
    np.testing.assert_array_equal(traced, expected)
    # The crop reaches beyond the image on its lower right, where the padding is.
    x, y = np.stack(list(_positions(matrix, (14, 15))), 1)
    assert x.max() > 11.5
    assert y.max() > 8.5


def test_size_picks_from_a_pool():
    """Images of several sizes in one array, chosen by a traced index, in one program."""
    images = [_image(9, 12, 1), _image(13, 8, 1, seed=1), _image(11, 11, 1, seed=2)]
    sizes = jnp.array([x.shape[:2] for x in images])
    fill = [((0, 13 - x.shape[0]), (0, 12 - x.shape[1]), (0, 0)) for x in images]
    pool = jnp.stack([np.pad(x, f, constant_values=np.nan) for x, f in zip(images, fill)])
    pick = jax.jit(jax.vmap(lambda i: warp(pool[i], AFFINE, (10, 10), size=sizes[i])))
    for image, got in zip(images, pick(jnp.arange(3)), strict=True):
        kernel = functools.partial(_keys, a=-0.75)
        expected = _reference(image, AFFINE, (10, 10), kernel=kernel, radius=2, boundary="mirror")
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_matrices():
    point = np.array([3.0, 2.0, 1.0])
    np.testing.assert_allclose(warping.translation(5, -1) @ point, [8, 1, 1])
    np.testing.assert_allclose(warping.linear_map(1, 2, 3, 4) @ point, [7, 17, 1])
    # A quarter turn takes the x axis to the y axis.
    np.testing.assert_allclose(
        warping.rotation(np.pi / 2) @ np.array([1.0, 0, 1]), [0, 1, 1], atol=1e-6
    )
    parts = [np.asarray(AFFINE), np.asarray(PERSPECTIVE), np.asarray(warping.rotation(0.3))]
    expected = parts[0].astype(np.float64) @ parts[1] @ parts[2]
    np.testing.assert_allclose(warping.compose(*map(jnp.asarray, parts)), expected, atol=1e-5)


def test_numpy_images_are_accepted():
    image, matrix = _image(4, 5, 1), np.eye(3, dtype=np.float32)
    assert jax.eval_shape(lambda: warp(image, matrix, (6, 7))).shape == (6, 7, 1)


def test_integers_are_sampled_in_float32():
    image = np.random.default_rng(0).integers(0, 256, (7, 8, 2), np.uint8)
    got = jit_warp(image, AFFINE, (6, 5))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, jit_warp(np.float32(image), AFFINE, (6, 5)), rtol=1e-5)


def test_unknown_options_are_refused():
    image, eye = _image(4, 4, 1), jnp.eye(3)
    with pytest.raises(ValueError, match=r"'nearest'.*linear, cubic"):
        jit_warp(image, eye, (4, 4), method="nearest")
    with pytest.raises(ValueError, match=r"'wrap'.*mirror, zero"):
        jit_warp(image, eye, (4, 4), boundary="wrap")
