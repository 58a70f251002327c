"""Other packages that remove noise, each with the settings that suit it best.

What a package leaves open was chosen on the same images as the settings of our own methods, see
`denoising_tables.CHOSEN`. All functions take an image (H, W, C) in about [0, 1] and the noise's
standard deviation in the same unit.
"""

from collections.abc import Callable, Mapping

import numpy as np

from deepinternal.types import InputError

Peer = Callable[[np.ndarray, float], np.ndarray]


def by_bm3d(noisy: np.ndarray, std: float) -> np.ndarray:
    """BM3D (Dabov et al. 2007; Makinen et al. 2020) by the package of its authors."""
    import bm3d

    if noisy.shape[-1] == 3:
        return bm3d.bm3d_rgb(noisy, std)
    return bm3d.bm3d(noisy[..., 0], std)


def by_means(noisy: np.ndarray, std: float) -> np.ndarray:
    """Non-local means (Buades et al. 2005; Darbon et al. 2008) by scikit-image."""
    from skimage import restoration

    return restoration.denoise_nl_means(
        noisy,
        patch_size=5,
        patch_distance=6,
        h=0.6 * std,
        sigma=std,
        fast_mode=True,
        channel_axis=-1,
    )


def by_opencv(noisy: np.ndarray, std: float) -> np.ndarray:
    """Non-local means by OpenCV, which takes 8-bit images: others are rounded and clipped."""
    import cv2

    pixels = np.uint8(np.clip(np.round(255 * noisy), 0, 255))
    if noisy.shape[-1] == 3:
        strength = 255 * 0.6 * std
        made = cv2.fastNlMeansDenoisingColored(pixels, None, strength, strength, 7, 21)
    else:
        made = cv2.fastNlMeansDenoising(pixels, None, 255 * 0.9 * std, 7, 21)
    return made / 255


def by_wavelets(noisy: np.ndarray, std: float, *, method: str) -> np.ndarray:
    """Soft thresholds of wavelet coefficients by scikit-image, channel by channel.

    The conversion to YCbCr that scikit-image offers for colour is left out, because it does not
    convert a noise level that is given: its results are 2 to 9 dB worse.
    """
    from skimage import restoration

    options = {"sigma": std, "method": method, "mode": "soft", "rescale_sigma": False}
    if noisy.shape[-1] == 1:
        return restoration.denoise_wavelet(noisy[..., 0], **options)
    return restoration.denoise_wavelet(noisy, channel_axis=-1, **options)


def by_variation(noisy: np.ndarray, std: float) -> np.ndarray:
    """Total variation (Chambolle 2004) by scikit-image."""
    from skimage import restoration

    options = {"eps": 1e-4, "max_num_iter": 500, "channel_axis": -1}
    return restoration.denoise_tv_chambolle(noisy, weight=0.8 * std, **options)


PEERS: Mapping[str, Peer] = {
    "BM3D": by_bm3d,
    "non-local means, scikit-image": by_means,
    "non-local means, OpenCV": by_opencv,
    "wavelets, BayesShrink": lambda noisy, std: by_wavelets(noisy, std, method="BayesShrink"),
    "wavelets, VisuShrink": lambda noisy, std: by_wavelets(noisy, std, method="VisuShrink"),
    "total variation": by_variation,
}


def check() -> None:
    """Raises InputError if a package is missing."""
    for module in ("bm3d", "pywt", "cv2"):
        try:
            __import__(module)
        except ImportError:
            raise InputError(
                f"--peers: the package with the module {module} is missing; install what they need "
                "with pip install -e '.[bench]'"
            ) from None


def denoise(name: str, noisy: np.ndarray, std: float) -> np.ndarray:
    """Removes noise with another package.

    Args:
        name: A name of `PEERS`.
        noisy: (H, W, C) in about [0, 1].
        std: The standard deviation of the noise, in the same unit.

    Returns:
        (H, W, C), not clipped.
    """
    made = PEERS[name](np.float64(noisy), max(std, 1e-4))
    return np.reshape(np.asarray(made, np.float64), noisy.shape)
