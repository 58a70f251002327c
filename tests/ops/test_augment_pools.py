"""Random fathers from a pool of images, against their distributions and a smooth scene."""

import functools

import jax
import numpy as np
import pytest

from deepinternal.ops import augment
from deepinternal.ops.resizing import output_size
from deepinternal.ops.warping import warp
from tests.fathers import CROP, KEYS, SIZE, father, kinds

POOL = ((1.0, 1.0), (1.0, 1.5), (1.5, 1.0), (1.5, 1.5), (2.0, 2.5))


@functools.partial(jax.jit, static_argnames="turn")
def _draws(keys, size, crop, factors, turn, options):
    draw = functools.partial(augment.draw_father, turn=turn, factors=factors, **options)
    return jax.vmap(lambda key: draw(key, size, crop))(keys)


def _pool_fathers(
    factors=POOL, size=SIZE, crop=CROP, turn=True, p_as_is=0.0, p_dihedral=0.0, **affine
):
    """Indices and float64 matrices, one for each key; each number of images has its program."""
    affine = {"scale": (0.5, 1.0), "scale_difference": 0.25, "shear": 0.1} | affine
    options = {"p_as_is": p_as_is, "p_dihedral": p_dihedral, **affine}
    index, matrix = _draws(KEYS, size, crop, np.array(factors, np.float32), turn, options)
    return np.asarray(index), np.asarray(matrix, np.float64)


def _shares(index):
    return np.bincount(index, minlength=len(POOL)) / len(index)


def test_a_pool_of_one_is_one_image():
    kinds = {"p_as_is": 0.05, "p_dihedral": 0.45}
    index, matrices = _pool_fathers(factors=POOL[:1], **kinds)
    assert not index.any()
    np.testing.assert_allclose(matrices, father(**kinds), rtol=1e-6, atol=1e-5)


def test_fathers_as_they_are_come_from_the_first_image():
    index, matrices = _pool_fathers(p_as_is=1.0)
    assert not index.any()
    assert (kinds(matrices) == [1, 0, 0]).all()
    assert matrices[:, 0, 2].max() == SIZE[1] - CROP[1]
    assert matrices[:, 1, 2].max() == SIZE[0] - CROP[0]


def test_dihedral_fathers_come_from_any_image():
    """Images are drawn uniformly; crops lie inside the chosen image and reach its ends."""
    index, matrices = _pool_fathers(p_dihedral=1.0)
    np.testing.assert_allclose(_shares(index), 0.2, atol=0.025)  # standard deviation 0.006
    np.testing.assert_allclose(kinds(matrices), [1 / 8, 7 / 8, 0], atol=0.025)
    ends = np.array([[0, 0, 1], [CROP[1] - 1, CROP[0] - 1, 1]]).T
    for i, factor in enumerate(POOL):
        places = (matrices[index == i] @ ends)[:, :2]
        h, w = (n * f for n, f in zip(SIZE, factor))
        np.testing.assert_array_equal(places.min((0, 2)), [0, 0])
        np.testing.assert_array_equal(places.max((0, 2)), [w - 1, h - 1])


def test_upright_pool_fathers_are_plain_crops_of_any_image():
    index, matrices = _pool_fathers(p_dihedral=1.0, turn=False)
    np.testing.assert_allclose(_shares(index), 0.2, atol=0.025)
    assert (kinds(matrices) == [1, 0, 0]).all()


def test_affine_fathers_come_from_the_first_image_large_enough():
    """Of scales from U(0.5, 2), the first image serves up to 1, the fourth up to 1.5, then the last.

    The second and the third image are not larger than the first along one axis.
    """
    plain = {"scale_difference": 0.0, "shear": 0.0, "turn": False}
    index, matrices = _pool_fathers(**plain)
    np.testing.assert_allclose(_shares(index), [1 / 3, 0, 0, 1 / 3, 1 / 3], atol=0.03)
    # Crop pixels per pixel of the first image, along x and y: the scale that was drawn.
    factors = np.array(POOL)[index]
    scales = factors / matrices[:, [1, 0], [1, 0]]
    np.testing.assert_allclose(scales[:, 0], scales[:, 1], rtol=1e-5)
    ranks = np.sort((scales[:, 0] - 0.5) / 1.5)
    assert np.abs(ranks - np.linspace(0, 1, len(ranks))).max() < 0.03
    wanted = np.where(scales[:, 0] <= 1, 0, np.where(scales[:, 0] <= 1.5, 3, 4))
    clear = np.abs(scales[:, :1] - [[1, 1.5]]).min(1) > 1e-4
    np.testing.assert_array_equal(index[clear], wanted[clear])


def test_shares_of_a_pool():
    """With all three kinds of fathers together."""
    index, _ = _pool_fathers(p_as_is=0.3, p_dihedral=0.4)
    expected = np.array([0.3 + 0.1, 0, 0, 0.1, 0.1]) + 0.4 / 5
    np.testing.assert_allclose(_shares(index), expected, atol=0.03)


def test_the_last_image_only_widens_the_range_of_scales():
    """To 1.25 times 1.5; with a range of (0.9, 0.9) and equal images, all scales are 0.9."""
    plain = {"scale_difference": 0.0, "shear": 0.0, "turn": False}
    pool = (*POOL[:4], (2.0, 1.5))
    index, matrices = _pool_fathers(factors=pool, scale=(1.0, 1.25), **plain)
    scales = (np.array(pool)[index] / matrices[:, [1, 0], [1, 0]])[:, 0]
    assert 1 <= scales.min() < 1.005
    assert 1.87 < scales.max() <= 1.875 + 1e-5
    index, matrices = _pool_fathers(factors=((1.0, 1.0),) * 5, scale=(0.9, 0.9), **plain)
    assert not index.any()
    np.testing.assert_allclose(matrices[:, 0, 0], 1 / 0.9, rtol=1e-5)


def _scene(x, y):
    """A smooth image; x and y are in pixels of the first image, from its upper left corner."""
    return np.sin(0.11 * x + 0.05 * y) + np.cos(0.09 * y - 0.04 * x) + 0.02 * x


def _view(factor, side):
    """The scene sampled as an image of the pool, in the upper left of a square array."""
    h, w = output_size(SIZE, factor)
    y, x = np.mgrid[:h, :w] + 0.5
    image = _scene(x / factor[1], y / factor[0])
    return np.pad(image, ((0, side - h), (0, side - w)), constant_values=np.nan)[..., None]


def test_affine_fathers_show_the_same_part_of_any_image():
    """Crops of the chosen image, against the scene where the first image alone would be sampled."""
    pool = np.stack([_view(f, 200) for f in POOL]).astype(np.float32)
    sizes = np.array([output_size(SIZE, f) for f in POOL])
    index, matrices = _pool_fathers()
    # The same draws for the first image alone, which would be enlarged up to twofold.
    alone, base = _pool_fathers(factors=POOL[:1], scale=(0.5, 2.0))
    assert not alone.any()

    @jax.jit
    def crops(index, matrices):
        # The cubic with a = -0.5 is of third order, unlike the sharper default.
        cut = lambda i, m: warp(pool_[i], m, CROP, size=sizes_[i], cubic_a=-0.5)
        return jax.vmap(cut)(index, matrices)

    pool_, sizes_ = jax.numpy.asarray(pool), jax.numpy.asarray(sizes)
    y, x = np.mgrid[: CROP[0], : CROP[1]]
    grid = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    some = np.concatenate([np.flatnonzero(index == i)[:20] for i in (0, 3, 4)])
    assert len(some) == 60
    got = np.asarray(crops(index[some], matrices[some].astype(np.float32))).reshape(60, -1)
    u, v = (base[some] @ grid)[:, :2].transpose(1, 0, 2)
    expected = _scene(u + 0.5, v + 0.5)
    inside = (u > 2) & (u < SIZE[1] - 3) & (v > 2) & (v < SIZE[0] - 3)
    assert inside.mean() > 0.5
    assert np.abs(got - expected)[inside].max() < 0.002
    # The test would detect an error of half a pixel.
    assert np.abs(_scene(u + 1, v + 0.5) - expected)[inside].max() > 0.05


@pytest.mark.parametrize(
    ("size", "factor"),
    [((33, 47), 1.5), ((100, 10), 1.1), ((31, 57), 4 / 3), ((1000, 777), 1.7), ((3000, 4001), 1.3)],
)
def test_pool_images_have_the_sizes_of_resizing(size, factor):
    """Whole-pixel crops reach the ends of an image of the size that `resize` gives it."""
    pool = ((1.0, 1.0),) * 4 + ((factor, factor),)
    h, w = output_size(size, (factor, factor))
    for room in (0, 1):
        crop = (h - room, w - 2 * room)
        index, matrices = _pool_fathers(pool, size, crop, turn=False, p_dihedral=1.0)
        places = matrices[index == 4, :2, 2]
        np.testing.assert_array_equal(places.min(0), [0, 0])
        np.testing.assert_array_equal(places.max(0), [2 * room, room])


@pytest.mark.parametrize("size", [(21, 24), (60, 80), (33, 100)])
def test_a_father_as_large_as_the_image_is_the_image(size):
    index, matrices = _pool_fathers(POOL[:1], size, size, p_as_is=1.0)
    assert not index.any()
    np.testing.assert_array_equal(matrices, np.tile(np.eye(3), (len(KEYS), 1, 1)))


def test_turn_may_be_traced():
    """One program serves both cases, with the draws of programs for one case."""

    @jax.jit
    def traced(turn):
        options = {"p_as_is": 0.2, "p_dihedral": 0.4, "turn": turn, "factors": POOL}
        return jax.vmap(lambda key: augment.draw_father(key, SIZE, CROP, **options))(KEYS)

    results = {}
    for turn in (True, False):
        index, matrices = traced(np.bool_(turn))
        expected_index, expected = _pool_fathers(p_as_is=0.2, p_dihedral=0.4, turn=turn)
        np.testing.assert_array_equal(index, expected_index)
        np.testing.assert_allclose(matrices, expected, atol=1e-3)
        results[turn] = np.asarray(matrices)
    turned = np.abs(results[True] - results[False]).max((1, 2)) > 0.1
    # All but a fifth, and an eighth of the two fifths that could have been turned by quarters.
    np.testing.assert_allclose(turned.mean(), 0.75, atol=0.03)
