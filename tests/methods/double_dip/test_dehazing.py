"""Dehazing without training: it approaches the truth, and keeps skies and clear images."""

import numpy as np
import pytest
import skimage.data

from deepinternal import methods
from deepinternal.methods.double_dip import dehazing
from deepinternal.ops.atmosphere import haze

from .shared import fitted, photograph, prepared, refused

LIGHT = np.array([0.8, 0.84, 0.88], np.float32)


def _psnr(made, truth):
    return -10 * np.log10(np.mean((made - truth) ** 2))


def _photo():
    return skimage.data.astronaut()[:256:2, 128:384:2].astype(np.float32) / 255


def _remarks(image, **fields):
    config = dehazing.RECIPE.build("fast", **fields)
    return " ".join(dehazing.RECIPE.remarks(config, dehazing.prepare(config, image), None))


def _bend(image):
    """The greatest second difference."""
    return max(np.abs(np.diff(image, 2, axis=axis)).max() for axis in (0, 1))


@pytest.mark.parametrize("fields", [{}, {"airlight": LIGHT}, {"airlight": "dark_channel"}])
def test_the_result_is_nearer_to_the_truth_and_explains_the_input(fields):
    truth = _photo()
    t = np.linspace(0.25, 0.8, len(truth), dtype=np.float32)[:, None, None]
    hazy = np.asarray(haze(truth, t, LIGHT), np.float32)
    out = fitted("dehazing", hazy, "fast", **fields)
    assert _psnr(out["result"], truth) > _psnr(hazy, truth) + 3
    mixed = haze(out["result"], out["transmission"][..., None], out["airlight"])
    inside = (out["result"] > 0.01) & (out["result"] < 0.99)
    np.testing.assert_allclose(mixed[inside], hazy[inside], atol=1e-4)
    np.testing.assert_allclose(out["airlight"], out["airlight_colour"] + 0 * hazy, atol=1e-6)
    grey = fitted("dehazing", hazy[..., :1], "fast")["result"]
    assert _psnr(grey, truth[..., :1]) > _psnr(hazy[..., :1], truth[..., :1]) + 3


def test_a_photograph_without_haze_is_changed_little():
    photo = _photo()
    out = fitted("dehazing", photo, "fast")
    assert _psnr(out["result"], photo) > 30
    assert "there is hardly any haze" in _remarks(photo)
    assert "config.airlight=R,G,B" in _remarks(photo, amount=1)
    assert not _remarks(photo, airlight=LIGHT, amount=1)
    forced = fitted("dehazing", photo, "fast", amount=1, airlight=LIGHT)
    assert forced["amount"] == 1
    assert _psnr(forced["result"], photo) < _psnr(out["result"], photo)


def test_a_smooth_sky_stays_smooth_up_to_the_border():
    """Haze that gets denser towards the horizon, over a sky without edges, above a dark ground."""
    y, x = np.mgrid[:120, :160] / 160
    ground = np.random.default_rng(0).uniform(0, 0.5, (120, 160, 3))
    sky = np.array([0.3, 0.5, 0.8]) * (1 - 0.3 * x)[..., None]
    scene = np.where((y > 0.5)[..., None], ground, sky)
    t = np.where(y > 0.5, 0.25 + 0.6 * (y - 0.5) / 0.25, 0.75 - y)[..., None]
    hazy = np.float32(t * scene + (1 - t) * LIGHT)
    for fields in ({}, {"amount": 1, "airlight": 0.9 * LIGHT}):
        out = fitted("dehazing", hazy, "fast", **fields)
        assert out["transmission"].min() < 0.6
        above = out["result"][:70]
        assert _bend(above) < 0.006
        steps = np.abs(np.diff(above, axis=0)), np.abs(np.diff(above, axis=1))
        assert steps[0][:4].max() < 1.5 * steps[0][4:-4].max() + 1e-3
        assert steps[1][:, :4].max() < 1.5 * steps[1][:, 4:-4].max() + 1e-3


def test_a_sky_alone_is_no_haze():
    y, x = np.mgrid[:60, :80] / 80
    sky = np.float32(np.array([0.55, 0.7, 0.9]) + 0.1 * (x * y)[..., None])
    np.testing.assert_allclose(fitted("dehazing", sky, "fast")["result"], sky, atol=1e-5)


def test_a_large_image_has_the_transmission_of_the_reduced_one():
    truth = _photo()
    hazy = np.asarray(haze(truth, np.float32(0.4), LIGHT), np.float32)
    fields = {"airlight": LIGHT, "amount": 1}
    full, small = (fitted("dehazing", hazy, "fast", fit_pixels=n, **fields) for n in (0, 4000))
    assert small["result"].shape == truth.shape
    assert np.abs(full["transmission"] - small["transmission"]).mean() < 0.05
    assert "config.fit_pixels=4000" in _remarks(hazy, fit_pixels=4000)


def test_nothing_is_trained_and_nothing_is_drawn():
    method, inputs = prepared("dehazing", photograph(), "fast")
    assert [stage.steps for stage in method.stages] == [1]
    assert not method.init(0, inputs).params
    assert methods.find("dehazing").build("").transmission == "learned"


@pytest.mark.parametrize("amount", ["much", "-0.1", "1.5", "nan"])
def test_amounts_that_are_refused(amount):
    text = refused("dehazing", photograph(), "fast", amount=amount)
    assert text == f"dehazing: config.amount={amount}: must be auto or a number from 0 to 1"
