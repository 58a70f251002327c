"""Cases with haze for `benchmarks.decomposition`."""

import numpy as np
import pytest
import skimage.data

from benchmarks.decomposition import haze
from benchmarks.decomposition.restorations import psnr
from deepinternal.codecs.image_io import write_image
from deepinternal.types import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pair of real haze in a folder, and below it a photograph in colour and one in grey."""
    folder = tmp_path_factory.mktemp("haze")
    photo = skimage.data.astronaut()[:200, 100:340].astype(np.float32) / 255
    (folder / "more").mkdir()
    for path, image in {
        "real.png": 0.5 * photo + 0.4,
        "real_gt.png": photo,
        "more/photo.png": photo[:120, :160],
        "more/grey.png": photo[..., :1] * np.ones(3, np.float32),
    }.items():
        write_image(folder / path, image)
    return folder


def test_cases_of_a_folder(folder):
    cases = {case.name: case for case in haze.find(folder, limit=9)}
    assert [*cases] == ["real", "photo-0.5", "photo-1.0", "photo-1.5"]
    assert cases["real"].facts == {"kind": "real"}
    assert psnr(cases["real"].truth, skimage.data.astronaut()[:200, 100:340] / 255) > 60
    assert [*cases] == [c.name for c in haze.find(folder, limit=9)]
    np.testing.assert_array_equal(cases["photo-1.0"].image, haze.find(folder, limit=9)[2].image)


def test_made_haze_follows_its_model(folder):
    """The transmission that explains a pixel is the same in all channels, and between the bounds."""
    for case in haze.find(folder, limit=9)[1:]:
        light, beta = np.array(case.facts["airlight"]), case.facts["beta"]
        far = np.abs(case.truth - light) > 0.3
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (case.image - light) / (case.truth - light)
        t = np.where(far, t, np.nan)
        assert np.nanmin(t) > np.exp(-1.8 * beta) - 0.02
        assert np.nanmax(t) < np.exp(-0.2 * beta) + 0.02
        known = far.all(axis=-1)
        assert known.any()
        assert np.ptp(t[known], axis=-1).max() < 0.02


def test_the_dark_channel_prior_and_the_scores(folder):
    pytest.importorskip("cv2")
    case = haze.find(folder, limit=9)[2]
    (peer,) = haze.PEERS.values()
    found = haze.score({"result": peer(case)}, case)
    idle = haze.score({"result": case.image}, case)
    assert found["psnr"] > idle["psnr"] + 0.5
    assert "airlight_error" not in found
    colour = np.add(case.facts["airlight"], [0.01, -0.03, 0])
    perfect = haze.score({"result": case.truth, "airlight_colour": colour}, case)
    assert perfect["ssim"] == pytest.approx(1)
    assert perfect["airlight_error"] == pytest.approx(0.03, abs=1e-6)


def test_a_folder_without_photographs(tmp_path):
    with pytest.raises(InputError, match=r"--data=.*: has no \.png"):
        haze.find(tmp_path)
