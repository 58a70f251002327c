"""Cases with reflections, their scores, and the peers that remove reflections."""

import numpy as np
import pytest
import scipy.ndimage
import skimage.data

from benchmarks.decomposition import reflection as reflections
from deepinternal.codecs.image_io import write_image
from deepinternal.types import InputError


@pytest.fixture
def folder(tmp_path):
    photo = np.float32(skimage.data.astronaut()[::8, ::8] / 255)
    soft = scipy.ndimage.gaussian_filter(np.float32(photo[::-1]), (2, 2, 0))
    write_image(tmp_path / "a.png", np.clip(0.7 * photo + 0.3 * soft + 0.1, 0, 1))
    write_image(tmp_path / "a_background.png", 0.7 * photo)
    write_image(tmp_path / "alone.png", photo)
    return tmp_path


def test_pairs_are_found_and_scored(folder):
    (case,) = reflections.find(folder)
    assert (case.name, case.image.shape) == ("a", (64, 64, 3))
    same = reflections.score({"result": case.image}, case)
    assert (same["psnr_gain"], same["ssim_gain"]) == (0, 0)
    best = reflections.score({"result": case.truth}, case)
    np.testing.assert_allclose([best["ssim"], best["psnr"]], [1, 120])


@pytest.mark.parametrize("name", reflections.PEERS)
def test_results_of_peers_lie_between_black_and_the_image(folder, name):
    (case,) = reflections.find(folder)
    made = reflections.PEERS[name](case)
    assert made.min() >= 0
    assert (made <= case.image + 1e-6).all()
    assert reflections.score({"result": made}, case)["psnr_gain"] > 1


def test_a_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no pairs; give a folder"):
        reflections.find(tmp_path)
