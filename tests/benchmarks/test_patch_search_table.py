"""The benchmark of patch searches."""

import numpy as np
import pytest

from benchmarks import patch_search
from deepinternal.codecs.image_io import write_image
from deepinternal.types import InputError
from tests.brute_patches import all_patches, brute_force, photo


def test_distances_are_those_of_brute_force():
    a, b = photo(14, 16), photo(15, 13, at=(60, 200))
    rows = [patch_search.rows_of(x, 5) for x in (a, b)]
    np.testing.assert_array_equal(rows[1], all_patches(b, 5, np.float32).reshape(-1, 75))
    every = brute_force(a, b, 5).reshape(len(rows[0]), -1)
    number = np.random.default_rng(0).integers(0, every.shape[1], len(every))
    found = patch_search.mean_distance(*rows, number)
    np.testing.assert_allclose(found, every[np.arange(len(every)), number].mean(), rtol=1e-6)


def test_pairs_are_corners_of_photographs(tmp_path):
    with pytest.raises(InputError, match="no PNG files"):
        next(patch_search.pairs(16, str(tmp_path)))
    picture = np.round(photo(20, 30) * 255) / 255
    write_image(tmp_path / "a.png", picture)
    (pair,) = patch_search.pairs(16, str(tmp_path))
    np.testing.assert_allclose(pair, (picture[:16, :16], picture[:16, -16:]), atol=1e-6)
    with pytest.raises(InputError, match="--size=64: must be less than the sides"):
        next(patch_search.pairs(64, str(tmp_path)))
