"""Estimation of the kernel as a Gaussian, without training.

The estimate is the kernel of the downscaling under which patches of the image recur best across scales;
see `estimators.gaussian_blur`.
"""

import jax.numpy as jnp
import numpy as np

from deepinternal.estimators import gaussian_blur
from deepinternal.methods import untrained
from deepinternal.methods.kernelgan import estimate
from deepinternal.methods.kernelgan.config import Config
from deepinternal.ops import kernels
from deepinternal.types import InputError, Inputs, Method, Output


def figures(image: np.ndarray, *, scale: int, noise_std: float, compressed: bool) -> Inputs:
    """Estimates the Gaussian, on the host.

    Args:
        image: (H, W, C) in [0, 1].
        scale: Factor of the downscaling, 2 or 4.
        noise_std: Standard deviation of the image's noise or JPEG errors, in [0, 1].
        compressed: Whether the image is a JPEG.

    Returns:
        `kernel` (K, K), and scalars: `kernel_divergence`, `kernel_deviation`, `kernel_confidence`,
        `kernel_least`, `kernel_greatest`, `kernel_spread`, see `gaussian_blur.Blur`; `saturated`, the
        fraction of values at either end of the range.
    """
    found = gaussian_blur.blur(image, noise_std=noise_std, compressed=compressed)
    made = {
        "kernel_divergence": found.divergence,
        "kernel_deviation": found.deviation,
        "kernel_confidence": found.confidence,
        "kernel_least": found.widths[0],
        "kernel_greatest": found.widths[1],
        "kernel_spread": found.spread,
        "saturated": np.mean((image <= 0.5 / 255) | (image >= 254.5 / 255)),
    }
    kernel = gaussian_blur.kernel(found, scale=scale, size=estimate.kernel_size(scale))
    return {"kernel": kernel, **{name: np.float32(value) for name, value in made.items()}}


def make(config: Config, spec: Inputs) -> Method:
    """Makes the method, which trains nothing.

    Args:
        config: The settings.
        spec: The shapes of the inputs that `prepare` or `pad` returns.

    Returns:
        The method. Its outputs are those of KernelGAN.

    Raises:
        InputError: The inputs were not prepared.
    """
    if "estimate" not in spec:
        raise InputError("kernelgan: the inputs lack `estimate`; take the inputs from `prepare`")

    def outputs(inputs: Inputs) -> dict[str, Output]:
        found, size = dict(inputs["estimate"]), inputs.get("size")
        kernel = jnp.asarray(found.pop("kernel"))
        small = kernels.downscale(inputs["image"], kernel, config.scale, size=size)
        made = {
            "result": Output(
                jnp.clip(small, 0, 1), size=None if size is None else -(-size // config.scale)
            ),
            "kernel": Output(kernel, "kernel"),
        }
        if (reference := inputs.get("reference_kernel")) is not None:
            found |= estimate.scores(kernel, reference)
            made["reference_kernel"] = Output(reference, "kernel")
        return made | {name: Output(value, "scalar") for name, value in found.items()}

    divergence = lambda inputs: {"loss": jnp.asarray(inputs["estimate"]["kernel_divergence"])}
    return untrained.build("kernelgan", outputs, metrics=divergence)


def remarks(inputs: Inputs) -> tuple[str, ...]:
    """Sentences about doubts in the estimate."""
    found = {name: float(x) for name, x in inputs["estimate"].items() if np.ndim(x) == 0}
    said = (
        f"a probability of {found['kernel_confidence']:.2f} that the kernel's correlation with the "
        "true one is at least .95",
    )
    if found["saturated"] > estimate.SATURATED:
        share = 100 * found["saturated"]
        said += (f"{share:.0f} % of the values are saturated: the kernel may be too sharp",)
    if found["kernel_spread"] <= estimate.FLAT:
        said += (
            "the image has little texture for the estimate of a kernel (a standard deviation of "
            f"{found['kernel_spread']:.3f} in patches): the kernel may be wrong",
        )
    return said
