"""Statistics of an image for blur kernels: the distributions of its patches at two scales."""

import numpy as np

from deepinternal.estimators import recurrence

FLOOR = 2 / 255  # standard deviation below which no statistic distinguishes patches
MIDDLE = 2048  # side in pixels of the middle of larger images that is used
_PLACES = 4096  # number of crops of each kind


def statistics(
    image: np.ndarray,
    sides: tuple[int, int],
    *,
    kernel_size: int,
    border: int = 0,
    noise_std: float = 0.0,
) -> dict[str, np.ndarray]:
    """Computes the statistics of an image that KernelGAN uses, on the host.

    Args:
        image: (H, W, C) in [0, 1].
        sides: Sides in pixels of the crops that are downscaled, and of the crops to compare with.
        kernel_size: Side in pixels of the kernels to be estimated.
        border: Width in pixels of the border that is ignored. Of larger images, only the middle
            `MIDDLE` pixels of each side are used.
        noise_std: Standard deviation of the image's noise, for images in [0, 1].

    Returns:
        `large` and `small`, the corners (N, 2) of the crops; `coarse`, the covariance of large patches
        from `estimators.recurrence` without the part of the noise; `whitening`, the covariance of small
        patches to the power -1/2; `spread`, the standard deviation in patches with texture;
        `saturated`, the fraction of values at either end of the range; `noise_std`, the noise of the
        colours, and `grey_noise_std`, the noise of their mean. The shapes depend only on `kernel_size`.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.random.default_rng(0).uniform(size=(48, 48, 3))
        >>> found = di.estimators.statistics(image, (24, 16), kernel_size=7)
        >>> found["whitening"].shape, found["coarse"].shape
        ((25, 25), (225, 225))
    """
    size = image.shape[:2]
    corner = np.int32([max(border, (n - MIDDLE) // 2) for n in size])
    inner = image[tuple(slice(b, n - b) for b, n in zip(corner, size))]
    grey = noise_std / np.sqrt(image.shape[-1])
    large, small = recurrence.crop_places(inner, *sides, count=_PLACES)
    fine, coarse = recurrence.patch_covariances(inner, kernel_size)
    return {
        "large": large + corner,
        "small": small + corner,
        "whitening": _whitening(fine),
        "coarse": coarse - np.float32(grey**2) * np.eye(len(coarse), dtype=np.float32),
        "spread": np.float32(np.sqrt(max(np.trace(fine) / len(fine) - grey**2, 0))),
        "saturated": np.float32(np.mean((inner <= 0.5 / 255) | (inner >= 254.5 / 255))),
        "noise_std": np.float32(noise_std),
        "grey_noise_std": np.float32(grey),
    }


def _whitening(covariance: np.ndarray) -> np.ndarray:
    """A covariance with the variance of `FLOOR` added, to the power -1/2."""
    values, vectors = np.linalg.eigh(covariance.astype(np.float64))
    values = np.maximum(values, 0) + FLOOR**2
    return ((vectors / np.sqrt(values)) @ vectors.T).astype(np.float32)
