"""Random fathers from one image, against np.rot90 and np.fliplr and their distributions."""

import functools

import jax
import numpy as np
import pytest

from deepinternal.ops import augment
from deepinternal.ops.warping import warp
from tests.fathers import CROP, KEYS, SIZE, father, kinds


def _image(h, w, c=1):
    """An image of different whole numbers, in which a crop occurs only once."""
    values = np.random.default_rng(0).permutation(h * w * c)
    return values.reshape(h, w, c).astype(np.float32)


def _dihedral_group(x):
    turned = [np.rot90(x, k) for k in range(4)]
    return turned + [np.fliplr(t) for t in turned]


@jax.jit
def _affines(keys, size, crop, options):
    draw = functools.partial(augment.draw_father, p_as_is=0, p_dihedral=0, **options)
    return jax.vmap(lambda key: draw(key, size, crop)[1])(keys)


@functools.cache
def _affine(size=SIZE, crop=CROP, **options):
    """Matrices of affine fathers in float64; all options are traced, so that one program serves."""
    defaults = {"scale": (0.5, 1.0), "scale_difference": 0.25, "shear": 0.1, "turn": True}
    return np.asarray(_affines(KEYS, size, crop, defaults | options), np.float64)


def _linear_part(matrices):
    """The linear parts of the maps from image to crop coordinates."""
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
    """The element, row and column of a crop in the 8 transformed images; None: it is in none."""
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
    """The places in the 8 transformed images of 1200 crops of 5x6 pixels from 8x11."""
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


def test_fathers_as_they_are_are_plain_crops():
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
    """The scale is uniform; crops lie inside the scaled frame and reach both of its ends."""
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
    """Without room to shift, the corner of the crop is that of the frame."""
    plain = {"scale_difference": 0.0, "shear": 0.0, "turn": False}
    corner = _affine(size=(20, 30), crop=(40, 50), **plain) @ [-0.5, -0.5, 1]
    np.testing.assert_allclose(corner[:, :2], -0.5, atol=1e-5)


def test_scale_difference_has_its_spread():
    forward = _linear_part(_affine(scale=(1.5, 1.5001), shear=0.0, turn=False))
    np.testing.assert_allclose(forward[:, [0, 1], [1, 0]], 0, atol=1e-6)
    x, y = forward[:, 0, 0], forward[:, 1, 1]
    assert abs((x - y).std() / 0.25 - 1) < 0.05
    assert abs((x - y).mean()) < 0.02
    np.testing.assert_allclose(x + y, 3, atol=1e-3)  # the mean scale is fixed


def test_scale_difference_under_rotation():
    """Rotations and mirrorings do not change the scales, which are singular values."""
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


def test_order_of_the_maps():
    """Scaling and mirroring act first, then rotation, then shear: F = shear @ rotation @ scale.

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


def test_without_turning_the_image_stays_upright():
    forward = _linear_part(_affine(turn=False))
    assert np.linalg.det(forward).min() > 0
    u, s, vt = np.linalg.svd(forward)
    del s
    polar = u @ vt  # the nearest rotation
    angle = np.degrees(np.arctan2(polar[:, 1, 0], polar[:, 0, 0]))
    assert np.abs(angle).max() < 25  # the effect of the shears
    assert abs(angle.mean()) < 0.5


def test_the_image_centre_maps_to_the_frame_centre():
    """If a crop leaves no room to shift, the maps keep the centre of the image."""
    matrices = _affine(crop=(1000, 1000), scale=(1, 1.00001))
    centre = np.array([SIZE[1] / 2 - 0.5, SIZE[0] / 2 - 0.5, 1])
    np.testing.assert_allclose(matrices @ centre, np.tile(centre, (4000, 1)), atol=2e-3)


def test_father_shares():
    # One dihedral transform in eight is the identity. Standard deviations: at most 0.008.
    expected = [0.05 + 0.45 / 8, 0.45 * 7 / 8, 0.5]
    np.testing.assert_allclose(kinds(father()), expected, atol=0.025)
    shares = kinds(father(p_as_is=0.3, p_dihedral=0.0))
    np.testing.assert_allclose(shares, [0.3, 0, 0.7], atol=0.025)
    assert shares[1] == 0


def test_fathers_without_turning():
    matrices = father(upright=True)
    np.testing.assert_allclose(kinds(matrices), [0.5, 0, 0.5], atol=0.025)
    assert np.linalg.det(matrices[:, :2, :2]).min() > 0


def test_father_passes_the_affine_options_on():
    plain = {"scale": (0.75, 1.0), "shear": 0.0, "scale_difference": 0.0}
    scales = np.linalg.svd(_linear_part(father(p_as_is=0.0, p_dihedral=0.0, **plain)))[1]
    np.testing.assert_allclose(scales[:, 0], scales[:, 1], rtol=1e-4)
    assert 0.75 - 1e-5 <= scales.min() < 0.755
    assert 0.995 < scales.max() <= 1 + 1e-5


def test_the_key_determines_the_draw():
    """One draw at a time, with default options, gives the fathers that are drawn all at once."""
    draw = jax.jit(lambda key: augment.draw_father(key, SIZE, CROP)[1])
    single = [draw(key) for key in KEYS[:40]]
    for key, one, other in zip(KEYS[:40], single, father(), strict=False):
        np.testing.assert_array_equal(draw(key), one)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-5)
    assert len({np.asarray(m).tobytes() for m in single}) > 30
