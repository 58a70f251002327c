"""What an image says of blur kernels: how its patches, and those of it downscaled, are distributed."""

import numpy as np

from deepinternal.estimators import recurrence

FLOOR = 2 / 255  # standard deviation of what no statistic looks below
_PLACES = 4096  # crops of each kind


def statistics(
    image: np.ndarray,
    sides: tuple[int, int],
    *,
    kernel_size: int,
    border: int = 0,
    noise_std: float = 0.0,
) -> dict[str, np.ndarray]:
    """What is known of an image before training; on the host.

    Args:
        image: (H, W, C) in [0, 1].
        sides: of the crops that are downscaled, and of those they are compared with, in pixels.
        kernel_size: side of the kernels that are looked for, in pixels.
        border: pixels at each side that are not looked at.
        noise_std: of its noise, in units of [0, 1].

    Returns:
        `large` and `small` (N, 2) corners of crops; `coarse`, the covariance of `estimators.recurrence`
        without what noise adds to it, and `whitening`, the other one to the power -1/2; `spread`, the
        standard deviation in patches where there is texture; `saturated`, the share of values at
        either end of the range; `noise_std` of the colours and `grey_noise_std` of their mean. Their
        shapes depend on `kernel_size` alone.
    """
    inner = image[border : image.shape[0] - border, border : image.shape[1] - border]
    grey = noise_std / np.sqrt(image.shape[-1])
    large, small = recurrence.crop_places(inner, *sides, count=_PLACES)
    fine, coarse = recurrence.patch_covariances(inner, kernel_size)
    return {
        "large": large + np.int32(border),
        "small": small + np.int32(border),
        "whitening": _whitening(fine),
        "coarse": coarse - np.float32(grey**2) * np.eye(len(coarse), dtype=np.float32),
        "spread": np.float32(np.sqrt(max(np.trace(fine) / len(fine) - grey**2, 0))),
        "saturated": np.float32(np.mean((inner <= 0.5 / 255) | (inner >= 254.5 / 255))),
        "noise_std": np.float32(noise_std),
        "grey_noise_std": np.float32(grey),
    }


def _whitening(covariance: np.ndarray) -> np.ndarray:
    """A covariance with `FLOOR` added, to the power -1/2."""
    values, vectors = np.linalg.eigh(covariance.astype(np.float64))
    values = np.maximum(values, 0) + FLOOR**2
    return ((vectors / np.sqrt(values)) @ vectors.T).astype(np.float32)
