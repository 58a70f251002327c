"""PSNR, SSIM and the papers' protocol against scikit-image and float64 NumPy."""

import functools

import jax
import numpy as np
import pytest
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deepinternal.ops import metrics

SSIM = functools.partial(
    structural_similarity,
    gaussian_weights=True,
    sigma=1.5,
    use_sample_covariance=False,
)


jit_ssim = jax.jit(metrics.ssim)


def _pair(spread, seed=0):
    """A photo and a disturbed copy, both on the 8-bit grid, in [0, 1]."""
    truth = data.astronaut()[20:110, 170:270].astype(np.float64)
    noise = np.random.default_rng(seed).normal(0, spread, truth.shape)
    result = np.clip(np.round(truth + noise), 0, 255)
    return (result / 255).astype(np.float32), (truth / 255).astype(np.float32)


@pytest.mark.parametrize("spread", [2, 10, 60])
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_psnr_and_ssim_equal_scikit_image(spread, data_range):
    a, b = (data_range * x[..., 1].astype(np.float64) for x in _pair(spread))
    expected = peak_signal_noise_ratio(b, a, data_range=data_range)
    a32, b32 = a.astype(np.float32), b.astype(np.float32)
    assert abs(float(metrics.psnr(a32, b32, data_range=data_range)) - expected) < 1e-3
    got = jit_ssim(a32, b32, data_range=data_range)
    assert abs(float(got) - SSIM(a, b, data_range=data_range)) < 2e-5


def test_ssim_of_a_bright_flat_image():
    """Of a small structure on a large offset, float32 moments lose their digits."""
    rng = np.random.default_rng(1)
    b = 250 + 0.5 * rng.standard_normal((90, 100))
    a = b + 0.3 * rng.standard_normal(b.shape)
    expected = SSIM(a, b, data_range=255)
    got = jit_ssim(a.astype(np.float32), b.astype(np.float32), data_range=255.0)
    assert abs(float(got) - expected) < 2e-5


def test_ssim_of_the_smallest_image():
    a, b = (x[:11, :12, 0] for x in _pair(20))
    expected = SSIM(a.astype(np.float64), b.astype(np.float64), data_range=1.0)
    assert abs(float(jit_ssim(a, b, data_range=1.0)) - expected) < 2e-5


@pytest.mark.parametrize("rows", [1, 16, 79])
def test_ssim_of_a_large_image_is_computed_in_bands(monkeypatch, rows):
    a, b = (x[..., 1] for x in _pair(20))
    monkeypatch.setattr(metrics, "_BAND", rows * (a.shape[1] - 10) + 5)
    got = jax.jit(lambda a, b: metrics.ssim(a, b))(a, b)  # noqa: PLW0108 (compiled anew)
    expected = SSIM(a.astype(np.float64), b.astype(np.float64), data_range=1.0)
    assert abs(float(got) - expected) < 2e-5


def test_equal_images():
    b = _pair(1)[1][..., 0]
    assert metrics.psnr(b, b) == np.inf
    assert abs(float(jit_ssim(b, b, data_range=1.0)) - 1) < 1e-6
    assert metrics.mse(b, b) == 0


def test_mse():
    a, b = _pair(10)
    expected = ((a.astype(np.float64) - b) ** 2).mean()
    np.testing.assert_allclose(metrics.mse(a, b), expected, rtol=1e-5)


@pytest.mark.parametrize(("border", "channels"), [((0, 0), 3), ((4, 3), 3), ((2, 2), 1)])
def test_quality_follows_the_protocol(border, channels):
    result, truth = (x[..., :channels] for x in _pair(12))
    # A spoiled border reveals crops of other widths.
    result = result.copy()
    v, h = border
    result[:v], result[:, :h], result[result.shape[0] - v :] = 0, 0, 0
    result[:, result.shape[1] - h :] = 0
    rows, columns = slice(v, result.shape[0] - v), slice(h, result.shape[1] - h)
    a, b = (x[rows, columns].astype(np.float64) for x in (result, truth))
    luma = [
        (np.broadcast_to(x, (*x.shape[:2], 3)) @ [65.481, 128.553, 24.966]) + 16 for x in (a, b)
    ]
    got = jax.jit(functools.partial(metrics.quality, border=border))(result, truth)
    assert set(got) == {"psnr_y", "ssim_y", "psnr_rgb"}
    psnr_y = 10 * np.log10(255**2 / ((luma[0] - luma[1]) ** 2).mean())
    assert abs(float(got["psnr_y"]) - psnr_y) < 1e-3
    assert abs(float(got["ssim_y"]) - SSIM(*luma, data_range=255)) < 2e-5
    assert abs(float(got["psnr_rgb"]) - 10 * np.log10(1 / ((a - b) ** 2).mean())) < 1e-3


def test_bad_images_are_refused():
    a = np.zeros((20, 24, 3), np.float32)
    with pytest.raises(ValueError, match=r"\(20, 24, 3\).*\(20, 23, 3\).*equal"):
        metrics.quality(a, a[:, :-1])
    jax.eval_shape(functools.partial(metrics.quality, border=(4, 6)), a, a)
    for border in ((5, 6), (4, 7)):
        with pytest.raises(ValueError, match="20x24 is too small"):
            metrics.quality(a, a, border=border)
    with pytest.raises(ValueError, match="at least 11"):
        metrics.ssim(a[:10, :, 0], a[:10, :, 0])
