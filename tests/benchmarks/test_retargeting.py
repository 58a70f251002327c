"""Classical retargeting: least seams, exact sizes, a distance that falls."""

import itertools
import json

import jax
import numpy as np
import pytest
import skimage.data

from benchmarks import retargeters, retargeting
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.ops.patches.measures import bidirectional_similarity
from deepinternal.types import InputError
from tests.benchmarks import program


def photo(height=24, width=30):
    return np.float32(skimage.data.astronaut()[20 : 20 + height, 180 : 180 + width]) / 255


def all_seams(height, width):
    """Every connected path, by trying all."""
    for start in range(width):
        for steps in itertools.product((-1, 0, 1), repeat=height - 1):
            seam = start + np.cumsum((0, *steps))
            if seam.min() >= 0 and seam.max() < width:
                yield seam


def test_the_seam_removed_is_the_least_of_all():
    image = photo(6, 7)
    cost = retargeters.energy(image)
    rows = np.arange(6)
    least = min(all_seams(6, 7), key=lambda seam: cost[rows, seam].sum())
    np.testing.assert_array_equal(retargeters.least_seam(cost), least)
    narrow, columns = retargeters.remove_seams(image, 1)
    expected = np.stack([np.delete(image[y], least[y], axis=0) for y in range(6)])
    np.testing.assert_array_equal(narrow, expected)
    np.testing.assert_array_equal(image[rows[:, None], columns], narrow)


def test_energy_by_loops():
    image = photo(5, 6)
    expected = np.zeros((5, 6))
    for y, x in np.ndindex(5, 6):
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            inside = 0 <= y + dy < 5 and 0 <= x + dx < 6
            v, u = (y + dy, x + dx) if inside else (y - dy, x - dx)
            expected[y, x] += np.abs(image[y, x] - image[v, u]).sum()
    np.testing.assert_allclose(retargeters.energy(image), expected, rtol=1e-5)


def test_a_doubled_pixel_is_averaged_with_its_neighbours():
    image = np.float32([[0.0, 0.1, 0.1, 0.9, 0.2]])[..., None]
    seam = retargeters.least_seam(retargeters.energy(image))[0]
    wide = retargeters.insert_seams(image, 1)[0, :, 0]
    assert wide.shape == (6,)
    row = image[0, :, 0]
    left, right = row[max(seam - 1, 0)], row[min(seam + 1, 4)]
    expected = [*row[:seam], (left + row[seam]) / 2, (row[seam] + right) / 2, *row[seam + 1 :]]
    np.testing.assert_allclose(wide, expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(24, 60), (31, 11)])
@pytest.mark.parametrize("name", retargeting.METHODS)
def test_sizes_are_exact(name, size):
    made = retargeting.METHODS[name](photo(), size)
    assert made.shape == (*size, 3)
    assert made.min() >= 0
    assert made.max() <= 1


@pytest.mark.parametrize("name", ["stretched", "tiled", "seam carving"])
def test_the_same_size_is_the_same_image(name):
    np.testing.assert_array_equal(retargeting.METHODS[name](photo(), (24, 30)), photo())


@pytest.mark.slow
def test_bidirectional_lowers_its_own_distance():
    image = photo(28, 32)
    similarity = jax.jit(lambda x: bidirectional_similarity(image, x, scales=(1.0,), stride=1))
    start = similarity(retargeting.stretched(image, (28, 56)))
    end = similarity(retargeters.bidirectional(image, (28, 56)))
    assert end.coherence + end.completeness < 0.7 * (start.coherence + start.completeness)


def test_the_source_is_where_the_iteration_stays():
    image = photo()
    for stride in (1, 3):
        np.testing.assert_allclose(retargeters.improve(image, image, 7, stride), image, atol=1e-6)


@pytest.mark.parametrize(("text", "scale"), [("1,2", (1, 2)), ("0.5", (0.5, 0.5))])
def test_scales(text, scale):
    assert retargeting.parse_scale(text) == scale


@pytest.mark.parametrize("text", ["", "a", "1,2,3", "0,1", "-1,1", "inf"])
def test_scales_are_checked(text):
    with pytest.raises(InputError, match="--scale"):
        retargeting.parse_scale(text)


@pytest.mark.slow
def test_command(tmp_path):
    write_image(tmp_path / "small.png", photo(28, 30))
    write_image(tmp_path / "net.png", retargeting.stretched(photo(28, 30), (28, 45)))
    out = tmp_path / "figures.json"
    flags = [f"--input={tmp_path / 'small.png'}", "--scale=1,1.5", f"--json={out}"]
    done = program.run(
        "retargeting", *flags, f"--ours={tmp_path / 'net.png'}", f"--out={tmp_path / 'made'}"
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["methods"]
    assert list(rows) == ["stretched", "stretched, detail", "tiled", "seam carving", "bidir", "net"]
    assert rows["net"]["seconds"] is None
    assert rows["net"]["coherence"] == pytest.approx(rows["stretched"]["coherence"], rel=1e-5)
    for name in rows:
        assert f"| {name} " in done.stdout
        assert read_image(tmp_path / "made" / f"{name.replace(' ', '_')}.png").pixels.shape[1] == 45


def test_a_result_of_another_size_is_refused(tmp_path):
    write_image(tmp_path / "small.png", photo(32, 40))
    with pytest.raises(InputError, match="is 32x40x3, must be 32x80x3"):
        retargeting.read_ours(tmp_path / "small.png", (32, 80, 3))
