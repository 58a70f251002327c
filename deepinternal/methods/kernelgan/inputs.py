"""The inputs of KernelGAN, made from the user's arrays, and its sample."""

from collections.abc import Hashable, Mapping

import jax.numpy as jnp
import numpy as np

from deepinternal.estimators import image_facts, kernel_statistics
from deepinternal.methods.kernelgan import gaussian
from deepinternal.methods.kernelgan.config import Config
from deepinternal.nets.kernelgan import KERNEL_SIZE, STRIDE
from deepinternal.ops import kernels
from deepinternal.types import Example, InputError, Inputs, input_spec

LEAST = 40  # least side of an image


def sides(config: Config, size: tuple[int, int]) -> tuple[int, int]:
    """Returns the sides of the crops before and after downscaling, for an image or canvas (H, W)."""
    crop = min(config.crop, *(n - 2 * config.border for n in size)) // 2 * 2
    return crop, (crop - KERNEL_SIZE) // STRIDE + 1


def statistics(config: Config, image: np.ndarray, noise_std: float) -> Inputs:
    """Computes the statistics of an image (H, W, C) in [0, 1], on the host."""
    return kernel_statistics.statistics(
        image,
        sides(config, image.shape[:2]),
        kernel_size=KERNEL_SIZE,
        border=config.border,
        noise_std=noise_std,
    )


def complete(spec: Inputs) -> Inputs:
    """Returns the shapes of all inputs, if need be from that of the image alone.

    Raises:
        InputError: The statistics are missing although there are other inputs than the image.
    """
    if "statistics" in spec:
        return spec
    if set(spec) != {"image"}:
        raise InputError("kernelgan: the inputs lack `statistics`; take the inputs from `prepare`")
    # Their shapes do not depend on the image.
    made = statistics(Config(), np.zeros((LEAST, LEAST, 1), np.float32), 0.0)
    return input_spec({**spec, "statistics": made})


def prepare(
    config: Config, image: np.ndarray, reference_kernel: np.ndarray | None = None
) -> Inputs:
    """Makes the method's inputs from the user's arrays, on the host.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1].
        reference_kernel: (K, K), or None.

    Returns:
        `image`; `statistics` (see `estimators.kernel_statistics`), or `estimate` (see
        `gaussian.figures`) with `family=gaussian`; and `reference_kernel` if there is one.

    Raises:
        InputError: The image is too small.
    """
    b = config.border
    h, w = (n - 2 * b for n in image.shape[:2])
    if min(h, w) < LEAST:
        raise InputError(
            f"the image is {max(h, 0)}x{max(w, 0)}{' inside config.border' if b else ''}: its sides "
            f"must be at least {LEAST} pixels"
        )
    std, gaussians = config.noise_std, config.family == "gaussian"
    facts = image_facts.measure(image) if gaussians or std == "auto" else {}
    std = facts["noise_std"] if std == "auto" else std
    inputs = {"image": np.asarray(image, np.float32)}
    if gaussians:
        inputs["estimate"] = gaussian.figures(
            image, scale=config.scale, noise_std=std, compressed=facts["jpeg_quality"] > 0
        )
    else:
        inputs["statistics"] = statistics(config, image, std)
    if reference_kernel is not None:
        inputs["reference_kernel"] = np.asarray(reference_kernel, np.float32)
    return inputs


def group(config: Config, shape: tuple[int, ...], given: Mapping[str, tuple[int, ...]]) -> Hashable:
    """Returns a value that images on one canvas have in common; see `recipe.Canvas`."""
    return shape[-1], sides(config, shape[:2]), given.get("reference_kernel")


def pad(config: Config, inputs: Inputs, canvas: tuple[int, int]) -> Inputs:
    """Puts an image on a canvas, on the host. Crops are taken inside the image proper."""
    del config
    size = inputs["image"].shape[:2]
    room = [(0, c - n) for c, n in zip(canvas, size)]
    image = np.pad(inputs["image"], [*room, (0, 0)])
    return {**inputs, "image": image, "size": np.asarray(size, np.int32)}


def example(
    config: Config, photo: np.ndarray, reference_kernel: np.ndarray | None = None
) -> Example:
    """Returns a photograph downscaled with the reference kernel or a slanted Gaussian."""
    return blurred(config.scale, photo, reference_kernel)


def blurred(scale: int, photo: np.ndarray, kernel: np.ndarray | None = None) -> Example:
    """Returns a photograph (H, W, C) downscaled by 2 or 4 and rounded to 8 bits, and the kernel."""
    name = "the user's kernel"
    if kernel is None:
        name = "a slanted Gaussian kernel"
        gaussian = kernels.gaussian_kernel(11 * scale // 2, (scale, 0.4 * scale), theta=np.pi / 6)
        kernel = np.asarray(kernels.centre_kernel(np.asarray(gaussian), scale))
    small = kernels.downscale(jnp.asarray(photo), jnp.asarray(kernel), scale)
    small = np.round(np.clip(np.asarray(small), 0, 1) * 255) / 255
    name = f"skimage.data.astronaut, downscaled by {scale} with {name}"
    return Example(name, small, None, {"reference_kernel": kernel})
