"""What an image says of blur kernels: how its patches, and those of it downscaled, are distributed."""

import functools

import jax.numpy as jnp
import numpy as np

from deepinternal.estimators import recurrence
from deepinternal.losses.kernel import covariance_divergence
from deepinternal.nets.kernelgan import KERNEL_SIZE
from deepinternal.types import Array, Inputs

FLOOR = 2 / 255  # standard deviation of what no statistic looks below


def statistics(
    image: np.ndarray, sides: tuple[int, int], *, border: int = 0, noise_std: float = 0.0
) -> dict[str, np.ndarray]:
    """What is known of an image before training; on the host.

    Args:
        image: (H, W, C) in [0, 1].
        sides: of the crops that are downscaled, and of those they are compared with.
        border: pixels at each side that are not looked at.
        noise_std: of its noise, in units of [0, 1].

    Returns:
        `large` and `small` (N, 2) corners of crops; `coarse`, the covariance of `estimators.recurrence`
        without what noise adds to it, and `whitening`, the other one to the power -1/2; `spread`, the
        standard deviation in patches where there is texture; `saturated`, the share of values at
        either end of the range; `noise_std` of the colours and `grey_noise_std` of their mean.
    """
    inner = image[border : image.shape[0] - border, border : image.shape[1] - border]
    grey = noise_std / np.sqrt(image.shape[-1])
    large, small = recurrence.crop_places(inner, *sides)
    fine, coarse = recurrence.patch_covariances(inner, KERNEL_SIZE)
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


def divergence(kernel: Array, statistics: Inputs) -> Array:
    """How differently patches of the image and of its downscaled version are distributed.

    Args:
        kernel: (13, 13), or one with zeros around it, centred on K // 2.
        statistics: as of `statistics`.

    Returns:
        `losses.kernel.covariance_divergence` of both, noise added where the kernel took it away.
    """
    size, side = KERNEL_SIZE, recurrence.SIDE
    cut = (kernel.shape[0] - size) // 2
    kernel = kernel[cut : cut + size, cut : cut + size]
    reach = side * 2 - 2 + size
    places = [(2 * i, 2 * j) for i in range(side) for j in range(side)]
    rows = [jnp.pad(kernel, ((i, reach - size - i), (j, reach - size - j))) for i, j in places]
    rows = jnp.stack(rows).reshape(len(rows), -1)
    rows = rows - rows.mean(0)
    product = functools.partial(jnp.matmul, precision="highest")
    made = product(product(rows, statistics["coarse"]), rows.T)
    made = made + (FLOOR**2 + statistics["grey_noise_std"] ** 2) * jnp.eye(side * side)
    whitening = statistics["whitening"]
    return covariance_divergence(product(product(whitening, made), whitening))
