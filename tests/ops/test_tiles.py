"""Tiles against the same function of the whole image, and periods against their definition."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from deepinternal.ops import tiles
from deepinternal.ops.resizing import resize

LAYERS = 2
CASES = [  # sizes that are multiples of nothing, and of much
    ((101, 87), (2, 2)),
    ((101, 87), (1.5, 1)),
    ((64, 90), (3, 2)),
    ((65, 91), (1.25, 1.5)),
    ((101, 87), (0.5, 1.2)),
]


def _image(*shape):
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32)


def _kernels():
    rng = np.random.default_rng(1)
    return [rng.normal(0, 1 / 3, (3, 3, 2, 2)).astype(np.float32) for _ in range(LAYERS)]


def _local(x, scale, seen=None):
    """Cubic resizing, convolutions that see zeros outside: images, a map, and a rank-4 array."""
    if seen is not None:
        seen.add(x.shape)
    x = resize(x, scale=scale)[None]
    for kernel in _kernels():
        numbers = ("NHWC", "HWIO", "NHWC")
        x = x + lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)
    x = x[0]
    return {"image": x, "map": x.sum(-1), "pairs": (x[..., None] * jnp.arange(1.0, 4),)}


def _reach(scale):
    """The reach in input pixels of the layers and of the cubic, which is wider if it shrinks."""
    least = min(scale)
    return math.ceil(LAYERS / least) + math.ceil(2 / min(least, 1)) + 1


def _tiled(image, scale, tile, halo):
    """The result in tiles, the result in one piece, and the shapes that the function was given."""
    seen = set()
    function = functools.partial(_local, scale=scale, seen=seen)

    @jax.jit
    def both(x):
        cut = tiles.tiled(function, x, scale=scale, tile=tile, halo=halo)
        return cut, _local(x, scale)

    return *both(image), seen


def _error(got, expected):
    got, expected = jax.device_get((got, expected))
    assert jax.tree.map(np.shape, got) == jax.tree.map(np.shape, expected)
    assert jax.tree.map(lambda x: x.dtype, got) == jax.tree.map(lambda x: x.dtype, expected)
    errors = jax.tree.map(lambda a, b: np.abs(a - b).max(), got, expected)
    return max(map(float, jax.tree.leaves(errors)))


@pytest.mark.parametrize(("size", "scale"), CASES)
def test_tiles_equal_the_whole(scale, size):
    image = _image(*size, 2)
    got, expected, seen = _tiled(image, scale, tile=7, halo=_reach(scale))
    assert _error(got, expected) < 1e-5
    # All windows have one shape, which is smaller than the image.
    (window,) = {shape[:2] for shape in seen}
    assert window[0] < size[0]
    assert window[1] < size[1]
    assert expected["map"].shape == tuple(math.ceil(n * s) for n, s in zip(size, scale))


def test_a_halo_that_is_too_small_makes_errors():
    got, expected, _ = _tiled(_image(101, 87, 2), (2, 2), tile=7, halo=0)
    assert _error(got, expected) > 0.01


@pytest.mark.parametrize("tile", [1, 31])
def test_very_small_and_large_tiles(tile):
    got, expected, _ = _tiled(_image(53, 46, 2), (1.5, 1.25), tile=tile, halo=6)
    assert _error(got, expected) < 1e-5


@pytest.mark.parametrize("size", [(11, 90), (90, 11)])
def test_one_axis_may_be_short(size):
    got, expected, seen = _tiled(_image(*size, 2), (1.5, 2), tile=8, halo=6)
    assert _error(got, expected) < 1e-5
    (window,) = {shape[:2] for shape in seen}
    assert min(window) == 11
    assert max(window) < 90


def test_a_small_image_is_one_tile():
    image = _image(20, 24, 2)
    got, expected, seen = _tiled(image, (1.5, 2), tile=64, halo=6)
    assert seen == {image.shape}
    assert _error(got, expected) == 0


def test_windows_have_borders_only_at_the_border_of_the_image():
    """A function that marks the border of its input marks only the border of the image."""

    def mark(x):
        return jnp.pad(x[1:-1, 1:-1, 0] * 0, 1, constant_values=1.0)

    got = jax.jit(functools.partial(tiles.tiled, mark, scale=(1, 1), tile=6, halo=2))(
        _image(37, 44, 1)
    )
    np.testing.assert_array_equal(got, np.pad(np.zeros((35, 42)), 1, constant_values=1))


def test_integers_keep_their_type():
    image = np.random.default_rng(0).integers(0, 256, (41, 39, 3)).astype(np.uint8)
    got = tiles.tiled(lambda x: x + 1, jnp.asarray(image), scale=(1, 1), tile=5, halo=0)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, image + np.uint8(1))


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(1, 1), (2, 1), (3.0, 1), (1.5, 2), (1.25, 4), (4 / 3, 3), (0.4, 5), (1.1, 10), (65 / 64, 64)],
)
def test_period(scale, expected):
    assert tiles.period(scale) == expected
    # By definition, this is the least number of input pixels after which the pattern repeats.
    shifts = [n for n in range(1, 65) if abs(n * scale - round(n * scale)) < 1e-9]
    assert shifts[0] == expected


@pytest.mark.parametrize("scale", [math.pi, math.sqrt(2), 66 / 65, 2 + 1e-6])
def test_no_period(scale):
    assert tiles.period(scale) is None
    with pytest.raises(ValueError, match="period"):
        tiles.tiled(lambda x: x, _image(30, 30, 1), scale=(2, scale), tile=4, halo=1)
