"""From a generator's kernel to the one that is used, and what speaks for it or against it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from deepinternal.methods.kernel_statistics import divergence
from deepinternal.nets.kernelgan import KERNEL_SIZE, STRIDE
from deepinternal.ops import kernel_scores, kernels
from deepinternal.types import Array, Inputs

MARGIN = 3  # zeros around the kernel, so that it can be centred
DOUBT = 0.8  # part of the cubic kernel's divergence above which an estimate is no better
FLAT = 6 / 255  # standard deviation in patches with most texture under which there is none
SATURATED = 0.1  # share of values at the ends of the range that is worth a word


def finished(averages: Array, statistics: Inputs, faint: str) -> tuple[Array, Array]:
    """Kernels without their faint values, centred for a factor of 2, and their divergences.

    Args:
        averages: (S, 13, 13), of S seeds.
        statistics: of the image, see `kernel_statistics`.
        faint: what is faint, see `kernels.faint_level`.

    Returns:
        (S, 19, 19) and (S,).
    """

    def one(kernel):
        kernel = kernels.without_faint(kernel, kernels.faint_level(kernel, faint))
        return kernels.centre_kernel(kernel, STRIDE, pad=MARGIN)

    made = jax.vmap(one)(averages)
    return made, jax.vmap(divergence, (0, None))(made, statistics)


def estimate(averages: Array, statistics: Inputs, faint: str, scale: int) -> dict[str, Array]:
    """The best kernel, and what speaks for it.

    Args:
        averages: (S, 13, 13), of S seeds.
        statistics: of the image, see `kernel_statistics`.
        faint: what is faint, see `kernels.faint_level`.
        scale: 2 or 4.

    Returns:
        `kernel` (K, K), centred for the scale; `kernel_divergence` (S,) of all seeds; `kernel_seed`,
        the number of the best; `kernel_agreement`, the least correlation of another's with it;
        `uncut_divergence`, the best one's before its faint and negative values were cut off;
        `cubic_divergence`, that of cubic downscaling, which has negative values, too.
    """
    made, errors = finished(averages, statistics, faint)
    best = jnp.argmin(errors)
    flat = made.reshape(len(made), -1)
    flat = flat / jnp.linalg.norm(flat, axis=1, keepdims=True)
    return {
        "kernel": for_scale(scale, made[best]),
        "kernel_divergence": errors,
        "kernel_seed": best,
        "kernel_agreement": jnp.min(flat @ flat[best]),
        "uncut_divergence": divergence(averages[best], statistics),
        "cubic_divergence": divergence(
            jnp.asarray(kernels.cubic_kernel(STRIDE, KERNEL_SIZE)), statistics
        ),
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
        figures: what `estimate` found, as Python numbers and lists; None before it has.
    """
    spread, saturated = 255 * float(statistics["spread"]), float(statistics["saturated"])
    said = ()
    if saturated > SATURATED:
        said = (
            f"{100 * saturated:.0f} % of the values are saturated: the kernel may be too sharp",
        )
    if spread <= 255 * FLAT:
        said += (
            f"there is little texture to estimate a kernel from (a standard deviation of {spread:.1f} "
            "of 255 in patches): it may be wrong",
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
