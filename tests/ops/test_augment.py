"""Random views against np.rot90 and np.fliplr, and against the distributions they are drawn from."""

import functools

import jax
import numpy as np
import pytest

from deepinternal.ops import augment
from deepinternal.ops.resizing import output_size
from deepinternal.ops.warping import warp

KEYS = jax.random.split(jax.random.key(7), 4000)
SIZE, CROP = (60, 80), (20, 24)


def _image(h, w, c=1):
    """Every sample is another whole number, so that equal crops are equal places."""
    values = np.random.default_rng(0).permutation(h * w * c)
    return values.reshape(h, w, c).astype(np.float32)


def _dihedral_group(x):
    turned = [np.rot90(x, k) for k in range(4)]
    return turned + [np.fliplr(t) for t in turned]


@functools.partial(jax.jit, static_argnames="upright")
def _fathers(keys, size, crop, upright=False, **options):
    turn = {"turn": False} if upright else {}
    return jax.vmap(lambda k: augment.draw_father(k, size, crop, **turn, **options)[1])(keys)


@jax.jit
def _affines(keys, size, crop, options):
    draw = functools.partial(augment.draw_father, p_as_is=0, p_dihedral=0, **options)
    return jax.vmap(lambda key: draw(key, size, crop)[1])(keys)


def _father(upright=False, p_as_is=0.05, p_dihedral=0.45, **affine):
    """float64 matrices (keys, 3, 3), crop coordinates -> image coordinates."""
    affine = {"scale": (0.5, 1.0), "scale_difference": 0.25, "shear": 0.1} | affine
    options = {"p_as_is": p_as_is, "p_dihedral": p_dihedral} | affine
    return np.asarray(_fathers(KEYS, SIZE, CROP, upright, **options), np.float64)


@functools.cache
def _affine(size=SIZE, crop=CROP, **options):
    """The same; everything is traced, so that one compiled program serves all tests."""
    defaults = {"scale": (0.5, 1.0), "scale_difference": 0.25, "shear": 0.1, "turn": True}
    return np.asarray(_affines(KEYS, size, crop, defaults | options), np.float64)


def _linear_part(matrices):
    """The forward maps (image -> crop) without their shift."""
    return np.linalg.inv(matrices[:, :2, :2])


@pytest.mark.parametrize("shape", [(5, 7, 2), (6, 6, 1)])
def test_dihedral_is_rot90_and_fliplr(shape):
    x = _image(*shape)
    expected = _dihedral_group(x)
    got = [np.asarray(augment.dihedral(x, i)) for i in range(8)]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len({(a.shape, a.tobytes()) for a in got}) == 8


def test_dihedral_on_other_axes():
    x = _image(4, 5, 3)
    for i in range(8):
        got = augment.dihedral(np.moveaxis(x, 2, 0), i, axes=(1, 2))
        expected = np.moveaxis(np.asarray(augment.dihedral(x, i)), 2, 0)
        np.testing.assert_array_equal(got, expected)


def _locate(crop, group):
    """(element, row, column) of a crop in the 8 transformed images, None if it is in none."""
    h, w = crop.shape[:2]
    for element, image in enumerate(group):
        for row, column in np.argwhere(image[..., 0] == crop[0, 0, 0]):
            if np.array_equal(image[row : row + h, column : column + w], crop):
                return element, int(row), int(column)
    return None


@jax.jit
def _dihedral_crops(image, keys, keep):
    def one(key):
        kinds = {"p_as_is": 1.0 * keep, "p_dihedral": 1.0 - keep}
        _, matrix = augment.draw_father(key, (8, 11), (5, 6), **kinds)
        return warp(image, matrix, (5, 6), method="linear", boundary="zero")

    return jax.vmap(one)(keys)


def _dihedral_places(keep):
    """Where in the 8 transformed images each of 1200 crops of 5x6 out of 8x11 is from."""
    image = _image(8, 11)
    group = _dihedral_group(image)
    return [_locate(c, group) for c in np.asarray(_dihedral_crops(image, KEYS[:1200], keep))]


def test_dihedral_crops_are_literal_parts_of_transformed_images():
    size, crop = (8, 11), (5, 6)
    places = _dihedral_places(keep=False)
    assert None not in places
    counts = np.bincount([p[0] for p in places], minlength=8)
    # 1200 draws: 150 expected each, standard deviation 11.5.
    assert counts.min() > 100
    assert counts.max() < 200
    for element in range(8):
        h, w = size if element % 2 == 0 else size[::-1]
        rows, columns = ({p[i] for p in places if p[0] == element} for i in (1, 2))
        assert rows == set(range(h - crop[0] + 1))
        assert columns == set(range(w - crop[1] + 1))


def test_keep_is_a_plain_crop():
    places = _dihedral_places(keep=True)
    counts = {}
    for element, row, column in places:
        assert element == 0
        counts[row, column] = counts.get((row, column), 0) + 1
    # All 4 x 6 places, evenly: 50 expected each, standard deviation 7.
    assert len(counts) == 24
    assert min(counts.values()) > 22
    assert max(counts.values()) < 80


def test_a_crop_larger_than_the_image_is_centred():
    draw = jax.jit(lambda key: augment.draw_father(key, (4, 9), (7, 12), p_as_is=1.0)[1])
    for key in KEYS[:5]:
        # -3 / 2 rounded down, on both axes.
        np.testing.assert_array_equal(draw(key), [[1, 0, -2], [0, 1, -2], [0, 0, 1]])


def test_affine_without_extras_is_a_scaling():
    """Uniform scale; the crop lies inside the scaled frame and reaches both of its ends."""
    low, high = 0.6, 1.1
    m = _affine(scale=(low, high), scale_difference=0.0, shear=0.0, turn=False)
    np.testing.assert_allclose(m[:, [0, 1, 2, 2], [1, 0, 0, 1]], 0, atol=1e-6)
    np.testing.assert_allclose(m[:, 0, 0], m[:, 1, 1], rtol=1e-6)
    scale = 1 / m[:, 0, 0]
    assert low <= scale.min() < low + 0.005
    assert high - 0.005 < scale.max() <= high + 1e-6
    ranks = np.sort((scale - low) / (high - low))
    assert np.abs(ranks - np.linspace(0, 1, len(ranks))).max() < 0.03  # Kolmogorov-Smirnov
    for axis, side, crop in ((0, SIZE[1], CROP[1]), (1, SIZE[0], CROP[0])):
        # Outer corners of the crop, in units of image pixels from the image's outer corner.
        start = m[:, axis, axis] * -0.5 + m[:, axis, 2] + 0.5
        end = m[:, axis, axis] * (crop - 0.5) + m[:, axis, 2] + 0.5
        assert start.min() > -1e-4
        assert end.max() < side + 1e-4
        position = np.sort(start / (start + side - end))
        assert np.abs(position - np.linspace(0, 1, len(position))).max() < 0.03


def test_affine_crop_larger_than_the_scaled_image_starts_at_its_corner():
    """No room to shift: the crop's corner is the frame's."""
    plain = {"scale_difference": 0.0, "shear": 0.0, "turn": False}
    corner = _affine(size=(20, 30), crop=(40, 50), **plain) @ [-0.5, -0.5, 1]
    np.testing.assert_allclose(corner[:, :2], -0.5, atol=1e-5)


def test_scale_difference_has_its_spread():
    forward = _linear_part(_affine(scale=(1.5, 1.5001), shear=0.0, turn=False))
    np.testing.assert_allclose(forward[:, [0, 1], [1, 0]], 0, atol=1e-6)
    x, y = forward[:, 0, 0], forward[:, 1, 1]
    assert abs((x - y).std() / 0.25 - 1) < 0.05
    assert abs((x - y).mean()) < 0.02
    np.testing.assert_allclose(x + y, 3, atol=1e-3)  # what one gains the other loses


def test_scale_difference_under_rotation():
    """Singular values: rotation and mirroring do not touch the two scales."""
    scales = np.linalg.svd(_linear_part(_affine(scale=(1.5, 1.5001), shear=0.0)))[1]
    difference = scales[:, 0] - scales[:, 1]
    assert abs(np.sqrt((difference**2).mean()) / 0.25 - 1) < 0.05


@pytest.mark.parametrize("shear", [0.1, 0.03])
def test_shears_have_their_spread(shear):
    forward = _linear_part(_affine(scale=(1.0, 2.0), shear=shear, scale_difference=0.0, turn=False))
    np.testing.assert_allclose(forward[:, 0, 0], forward[:, 1, 1], rtol=1e-5)
    x, y = (forward[:, 0, 1] / forward[:, 0, 0], forward[:, 1, 0] / forward[:, 0, 0])
    for s in (x, y):
        assert abs(s.std() / shear - 1) < 0.05
        assert abs(s.mean()) < 0.06 * shear
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.06


def test_the_maps_act_in_their_order():
    """Scale and mirror first, then rotation, then shear: F = shear @ rotation @ scale.

    Without a scale difference F / scale is shear @ (rotation or reflection), so that F F^T /
    scale^2 = shear @ shear^T: (1 + x^2, x + y; x + y, 1 + y^2). With it and without shear
    F^T F is the diagonal of the squared scales.
    """
    forward = _linear_part(_affine(scale=(1.0, 1.00001), scale_difference=0.0))
    gram = forward @ forward.transpose(0, 2, 1)
    assert gram[:, [0, 1], [0, 1]].min() > 1 - 1e-4
    np.testing.assert_allclose(gram[:, 0, 1].std(), np.sqrt(2) * 0.1, rtol=0.05)
    forward = _linear_part(_affine(scale=(1.5, 1.5001), shear=0.0))
    gram = forward.transpose(0, 2, 1) @ forward
    np.testing.assert_allclose(gram[:, 0, 1], 0, atol=1e-5)


def test_turning_is_uniform_and_mirrors_half():
    forward = _linear_part(_affine(shear=0.0, scale_difference=0.0))
    mirrored = np.linalg.det(forward) < 0
    assert abs(mirrored.mean() - 0.5) < 0.03
    angle = np.arctan2(forward[:, 1, 1], forward[:, 0, 1])  # where the y axis goes to
    ranks = np.sort((angle / (2 * np.pi)) % 1)
    assert np.abs(ranks - np.linspace(0, 1, len(ranks))).max() < 0.03
    # Columns are mirrored, before the rotation.
    x = forward[:, :, 0] * np.where(mirrored, -1, 1)[:, None]
    np.testing.assert_allclose(x[:, 0], forward[:, 1, 1], atol=1e-5)


def test_turn_off_keeps_the_image_upright():
    forward = _linear_part(_affine(turn=False))
    assert np.linalg.det(forward).min() > 0
    u, s, vt = np.linalg.svd(forward)
    del s
    polar = u @ vt  # the nearest rotation
    angle = np.degrees(np.arctan2(polar[:, 1, 0], polar[:, 0, 0]))
    assert np.abs(angle).max() < 25  # what shears of 0.1 alone can do
    assert abs(angle.mean()) < 0.5


def test_the_image_centre_maps_to_the_frame_centre():
    """Scaled, turned and sheared about its centre, where the crop leaves no room to shift."""
    matrices = _affine(crop=(1000, 1000), scale=(1, 1.00001))
    centre = np.array([SIZE[1] / 2 - 0.5, SIZE[0] / 2 - 0.5, 1])
    np.testing.assert_allclose(matrices @ centre, np.tile(centre, (4000, 1)), atol=2e-3)


def _kinds(matrices):
    """Shares of (identity, other signed permutations, anything else)."""
    linear = matrices[:, :2, :2]
    identity = (linear == np.eye(2)).all((1, 2))
    whole = (np.isin(linear, [-1, 0, 1]) & (matrices[:, :2, 2:] % 1 == 0)).all((1, 2))
    assert not (identity & ~whole).any()
    return np.array([identity.mean(), (whole & ~identity).mean(), (~whole).mean()])


def test_father_shares():
    # One dihedral transform in eight is the identity. Standard deviations: at most 0.008.
    expected = [0.05 + 0.45 / 8, 0.45 * 7 / 8, 0.5]
    np.testing.assert_allclose(_kinds(_father()), expected, atol=0.025)
    shares = _kinds(_father(p_as_is=0.3, p_dihedral=0.0))
    np.testing.assert_allclose(shares, [0.3, 0, 0.7], atol=0.025)
    assert shares[1] == 0


def test_father_upright():
    matrices = _father(upright=True)
    np.testing.assert_allclose(_kinds(matrices), [0.5, 0, 0.5], atol=0.025)
    assert np.linalg.det(matrices[:, :2, :2]).min() > 0


def test_father_passes_the_affine_options_on():
    plain = {"scale": (0.75, 1.0), "shear": 0.0, "scale_difference": 0.0}
    scales = np.linalg.svd(_linear_part(_father(p_as_is=0.0, p_dihedral=0.0, **plain)))[1]
    np.testing.assert_allclose(scales[:, 0], scales[:, 1], rtol=1e-4)
    assert 0.75 - 1e-5 <= scales.min() < 0.755
    assert 0.995 < scales.max() <= 1 + 1e-5


def test_the_key_decides():
    """One by one, with static sizes and default options, the same as all at once."""
    draw = jax.jit(lambda key: augment.draw_father(key, SIZE, CROP)[1])
    single = [draw(key) for key in KEYS[:40]]
    for key, one, other in zip(KEYS[:40], single, _father(), strict=False):
        np.testing.assert_array_equal(draw(key), one)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-5)
    assert len({np.asarray(m).tobytes() for m in single}) > 30


POOL = ((1.0, 1.0), (1.0, 1.5), (1.5, 1.0), (1.5, 1.5), (2.0, 2.5))


@functools.partial(jax.jit, static_argnames="turn")
def _draws(keys, size, crop, factors, turn, options):
    draw = functools.partial(augment.draw_father, turn=turn, factors=factors, **options)
    return jax.vmap(lambda key: draw(key, size, crop))(keys)


def _pool_fathers(
    factors=POOL, size=SIZE, crop=CROP, turn=True, p_as_is=0.0, p_dihedral=0.0, **affine
):
    """Indices (keys,) and float64 matrices (keys, 3, 3); one program for each number of images."""
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
    np.testing.assert_allclose(matrices, _father(**kinds), rtol=1e-6, atol=1e-5)


def test_fathers_as_they_are_come_from_the_first_image():
    index, matrices = _pool_fathers(p_as_is=1.0)
    assert not index.any()
    assert (_kinds(matrices) == [1, 0, 0]).all()
    assert matrices[:, 0, 2].max() == SIZE[1] - CROP[1]
    assert matrices[:, 1, 2].max() == SIZE[0] - CROP[0]


def test_dihedral_fathers_come_from_any_image_whole():
    """Evenly; their corners lie in the image that was chosen, and reach its ends."""
    index, matrices = _pool_fathers(p_dihedral=1.0)
    np.testing.assert_allclose(_shares(index), 0.2, atol=0.025)  # standard deviation 0.006
    np.testing.assert_allclose(_kinds(matrices), [1 / 8, 7 / 8, 0], atol=0.025)
    ends = np.array([[0, 0, 1], [CROP[1] - 1, CROP[0] - 1, 1]]).T
    for i, factor in enumerate(POOL):
        places = (matrices[index == i] @ ends)[:, :2]
        h, w = (n * f for n, f in zip(SIZE, factor))
        np.testing.assert_array_equal(places.min((0, 2)), [0, 0])
        np.testing.assert_array_equal(places.max((0, 2)), [w - 1, h - 1])


def test_upright_pool_fathers_are_plain_crops_of_any_image():
    index, matrices = _pool_fathers(p_dihedral=1.0, turn=False)
    np.testing.assert_allclose(_shares(index), 0.2, atol=0.025)
    assert (_kinds(matrices) == [1, 0, 0]).all()


def test_affine_fathers_come_from_the_first_image_large_enough():
    """Scales are U(0.5, 2): up to 1 the first image has, up to 1.5 the fourth, then the last.

    The second and third are no larger than the first along one of their axes.
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
    """All three kinds together, each in its share."""
    index, _ = _pool_fathers(p_as_is=0.3, p_dihedral=0.4)
    expected = np.array([0.3 + 0.1, 0, 0, 0.1, 0.1]) + 0.4 / 5
    np.testing.assert_allclose(_shares(index), expected, atol=0.03)


def test_the_last_image_widens_the_range_but_never_narrows_it_below_its_lower_end():
    """1.25 times 1.5; with (0.9, 0.9) and an image no larger than the first all scales are 0.9."""
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
    """A smooth picture; x and y in pixel sides of the first image, from its upper left corner."""
    return np.sin(0.11 * x + 0.05 * y) + np.cos(0.09 * y - 0.04 * x) + 0.02 * x


def _view(factor, side):
    """The scene as an image of the pool, exactly, in the upper left of a square array."""
    h, w = output_size(SIZE, factor)
    y, x = np.mgrid[:h, :w] + 0.5
    image = _scene(x / factor[1], y / factor[0])
    return np.pad(image, ((0, side - h), (0, side - w)), constant_values=np.nan)[..., None]


def test_affine_fathers_show_the_same_part_of_any_image():
    """Crops of the chosen image against the scene where the father of a mere base would look."""
    pool = np.stack([_view(f, 200) for f in POOL]).astype(np.float32)
    sizes = np.array([output_size(SIZE, f) for f in POOL])
    index, matrices = _pool_fathers()
    # The same draws, were there the first image alone; it would have to be enlarged up to twofold.
    alone, base = _pool_fathers(factors=POOL[:1], scale=(0.5, 2.0))
    assert not alone.any()

    @jax.jit
    def crops(index, matrices):
        # Keys' own cubic: of third order, unlike the sharper default.
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
    # Half a pixel off would be seen.
    assert np.abs(_scene(u + 1, v + 0.5) - expected)[inside].max() > 0.05


@pytest.mark.parametrize(
    ("size", "factor"),
    [((33, 47), 1.5), ((100, 10), 1.1), ((31, 57), 4 / 3), ((1000, 777), 1.7), ((3000, 4001), 1.3)],
)
def test_pool_images_have_resizes_sizes(size, factor):
    """Whole-pixel crops have just the room that the resized image gives, on both axes."""
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


def test_whether_to_turn_may_be_traced():
    """One program for images with and without; the same draws as where it is known beforehand."""

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
