"""From a generator's kernel to the one that is used, and what speaks for it or against it."""

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

MARGIN = 3  # zeros around the kernel, so that it can be centred
DOUBT = 0.8  # part of the cubic kernel's divergence above which an estimate is no better
FLAT = 6 / 255  # standard deviation in patches with most texture under which there is none
SATURATED = 0.1  # share of values at the ends of the range that is worth a word


def divergence(kernel: Array, statistics: Inputs) -> Array:
    """How differently patches of the image and of its downscaled version are distributed.

    Args:
        kernel: (13, 13), or one with zeros around it, centred on K // 2.
        statistics: of the image, see `estimators.kernel_statistics`.

    Returns:
        `losses.kernel.covariance_divergence` of both, noise added where the kernel took it away.
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
    """A generator's kernel (13, 13) without its faint values, centred for a factor of 2: (19, 19).

    Args:
        average: the kernel, averaged over steps.
        faint: what is faint, see `kernels.faint_level`.
    """
    kernel = kernels.without_faint(average, kernels.faint_level(average, rule=faint))
    return kernels.centre_kernel(kernel, STRIDE, pad=MARGIN)


def figures(average: Array, statistics: Inputs, faint: str) -> dict[str, Array]:
    """The kernel that is used, and what speaks for it.

    Args:
        average: (13, 13), averaged over steps.
        statistics: of the image, see `divergence`.
        faint: what is faint, see `kernels.faint_level`.

    Returns:
        `kernel` (19, 19), centred for a factor of 2; its `kernel_divergence`; `uncut_divergence`, the
        one before its faint and negative values were cut off; `cubic_divergence`, that of cubic
        downscaling, which has negative values, too.
    """
    kernel, cubic = finished(average, faint), kernels.cubic_kernel(STRIDE, KERNEL_SIZE)
    return {
        "kernel": kernel,
        "kernel_divergence": divergence(kernel, statistics),
        "uncut_divergence": divergence(average, statistics),
        "cubic_divergence": divergence(jnp.asarray(cubic), statistics),
    }


def for_scale(scale: int, kernel: Array) -> Array:
    """The kernel for a factor of 2 or 4, centred for it, from one for 2."""
    if scale == 2:
        return kernel
    return kernels.centre_kernel(kernels.doubled_kernel(kernel), scale, pad=1)


def kernel_size(scale: int) -> int:
    """Side of what `for_scale` returns of kernels as `finished` makes them."""
    size = KERNEL_SIZE + 2 * MARGIN
    return size if scale == 2 else 3 * size - 2 - 2 * (size // 2) + 2


def scores(kernel: Array, reference: Array) -> dict[str, Array]:
    """Figures of a kernel (K, K) against a reference (L, L)."""
    return {
        "kernel_correlation": kernel_scores.correlation(kernel, reference),
        "kernel_psnr": kernel_scores.kernel_psnr(kernel, reference),
    }


def remarks(statistics: Inputs, figures: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Sentences on what speaks against an estimate.

    Args:
        statistics: of the image.
        figures: what was found, as Python numbers and lists; None before it has.
    """
    spread, saturated = float(statistics["spread"]), float(statistics["saturated"])
    said = ()
    if saturated > SATURATED:
        said = (
            f"{100 * saturated:.0f} % of the values are saturated: the kernel may be too sharp",
        )
    if spread <= FLAT:
        said += (
            "there is little texture to estimate a kernel from (a standard deviation of "
            f"{spread:.3f} in patches): it may be wrong",
        )
    if figures and figures["uncut_divergence"] > DOUBT * figures["cubic_divergence"]:
        said += (
            "the estimated kernel explains the image no better than the cubic one does (patches "
            f"differ by {figures['uncut_divergence']:.3f} between scales, with the cubic one by "
            f"{figures['cubic_divergence']:.3f}): it may be wrong",
        )
    if figures and figures["kernel_agreement"] < 0.9:
        said += (
            f"the seeds disagree (correlation {figures['kernel_agreement']:.2f}): the estimate is "
            "uncertain",
        )
    return said
