"""The kernel that is made from a generator's, and the figures that tell how far to trust it."""

import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from deepinternal.estimators.kernel_statistics import FLOOR
from deepinternal.estimators.recurrence import SIDE
from deepinternal.losses.kernel import covariance_divergence
from deepinternal.nets.kernelgan import KERNEL_SIZE, STRIDE
from deepinternal.ops import kernel_scores, kernels
from deepinternal.types import Array, Inputs

MARGIN = 3  # zeros around the kernel, which allow it to be centred
DOUBT = 0.8  # fraction of the cubic kernel's divergence above which an estimate is no better
FLAT = 6 / 255  # standard deviation of the most textured patches below which there is no texture
SATURATED = 0.1  # fraction of values at the ends of the range above which a remark is made


def divergence(kernel: Array, statistics: Inputs) -> Array:
    """The divergence between the patches of the image and those of its downscaled version.

    Args:
        kernel: (13, 13), or a larger one padded with zeros, centred on K // 2.
        statistics: Those of the image, see `estimators.kernel_statistics`.

    Returns:
        `losses.kernel.covariance_divergence` of both, with the noise that the kernel removes added.
    """
    size, side = KERNEL_SIZE, SIDE
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


def finished(average: Array, faint: str) -> Array:
    """Removes the faint values of a generator's kernel (13, 13) and centres it: (19, 19).

    Args:
        average: The kernel, averaged over steps.
        faint: The rule for faint values, see `kernels.faint_level`.

    Returns:
        (19, 19), centred for a factor of 2.
    """
    kernel = kernels.without_faint(average, kernels.faint_level(average, rule=faint))
    return kernels.centre_kernel(kernel, STRIDE, pad=MARGIN)


def figures(average: Array, statistics: Inputs, faint: str) -> dict[str, Array]:
    """Returns the kernel that is used, and how well it explains the image.

    Args:
        average: (13, 13), averaged over steps.
        statistics: Those of the image, see `divergence`.
        faint: The rule for faint values, see `kernels.faint_level`.

    Returns:
        `kernel` (19, 19), centred for a factor of 2; `kernel_divergence`, its divergence;
        `uncut_divergence`, that before faint and negative values are removed; `cubic_divergence`, that
        of cubic downscaling, whose kernel also has negative values.
    """
    kernel, cubic = finished(average, faint), kernels.cubic_kernel(STRIDE, KERNEL_SIZE)
    return {
        "kernel": kernel,
        "kernel_divergence": divergence(kernel, statistics),
        "uncut_divergence": divergence(average, statistics),
        "cubic_divergence": divergence(jnp.asarray(cubic), statistics),
    }


def for_scale(scale: int, kernel: Array) -> Array:
    """Returns the kernel for a factor of 2 or 4, centred for it, from the kernel for 2."""
    if scale == 2:
        return kernel
    return kernels.centre_kernel(kernels.doubled_kernel(kernel), scale, pad=1)


def kernel_size(scale: int) -> int:
    """The side of the kernel that `for_scale` returns for one that `finished` returned."""
    size = KERNEL_SIZE + 2 * MARGIN
    return size if scale == 2 else 3 * size - 2 - 2 * (size // 2) + 2


def scores(kernel: Array, reference: Array) -> dict[str, Array]:
    """Scores of a kernel (K, K) compared with a reference (L, L)."""
    return {
        "kernel_correlation": kernel_scores.correlation(kernel, reference),
        "kernel_psnr": kernel_scores.kernel_psnr(kernel, reference),
    }


def remarks(statistics: Inputs, figures: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Sentences about doubts in an estimate.

    Args:
        statistics: Those of the image.
        figures: The scalar outputs, as Python numbers and lists; None before there are any.
    """
    spread, saturated = float(statistics["spread"]), float(statistics["saturated"])
    said = ()
    if saturated > SATURATED:
        said = (
            f"{100 * saturated:.0f} % of the values are saturated: the kernel may be too sharp",
        )
    if spread <= FLAT:
        said += (
            "the image has little texture for the estimate of a kernel (a standard deviation of "
            f"{spread:.3f} in patches): the kernel may be wrong",
        )
    if figures and figures["uncut_divergence"] > DOUBT * figures["cubic_divergence"]:
        said += (
            "the estimated kernel explains the image no better than the cubic one (patches differ by "
            f"{figures['uncut_divergence']:.3f} between scales, and by "
            f"{figures['cubic_divergence']:.3f} with the cubic kernel): it may be wrong",
        )
    if figures and figures["kernel_agreement"] < 0.9:
        said += (
            f"the seeds disagree (correlation {figures['kernel_agreement']:.2f}): the estimate is "
            "uncertain",
        )
    return said
