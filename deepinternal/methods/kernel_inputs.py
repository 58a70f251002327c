"""The inputs of KernelGAN, from what the user gave; `config` is that of `kernelgan.defaults()`."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.estimators import image_facts
from deepinternal.methods.kernel_statistics import statistics
from deepinternal.nets.kernelgan import KERNEL_SIZE, STRIDE
from deepinternal.ops import kernels
from deepinternal.types import Example, InputError, Inputs

LEAST = 40  # smallest side of an image


def sides(config: ml_collections.ConfigDict, size: tuple[int, int]) -> tuple[int, int]:
    """Sides of the crops that are downscaled, and of the results, for an image or canvas (H, W)."""
    crop = min(config.crop, *(n - 2 * config.border for n in size)) // 2 * 2
    return crop, (crop - KERNEL_SIZE) // STRIDE + 1


def prepare(config: ml_collections.ConfigDict, image: np.ndarray, reference_kernel=None) -> Inputs:
    """The inputs of the method from what the user gave; on the host.

    Args:
        config: as `kernelgan.defaults()`.
        image: (H, W, C) in [0, 1].
        reference_kernel: (K, K), or None.

    Returns:
        `image`, `statistics` (see `statistics`), and `reference_kernel` where there is one.

    Raises:
        InputError: the image is too small.
    """
    b = config.border
    inner = image[b : image.shape[0] - b, b : image.shape[1] - b]
    if min(inner.shape[:2]) < LEAST:
        h, w = inner.shape[:2]
        raise InputError(
            f"the image is {h}x{w}{' inside config.border' if b else ''}: its sides must be at least "
            f"{LEAST} pixels, for there must be patches to compare"
        )
    inputs = {"image": np.asarray(image, np.float32)}
    std = config.noise_std
    if std < 0:
        std = image_facts.measure(image)["noise_std"]
    crops = sides(config, image.shape[:2])
    inputs["statistics"] = statistics(image, crops, border=b, noise_std=std)
    if reference_kernel is not None:
        inputs["reference_kernel"] = np.asarray(reference_kernel, np.float32)
    return inputs


def with_statistics(config: ml_collections.ConfigDict, inputs: Inputs) -> Inputs:
    """Inputs with their `statistics`; where they lack them a call of the host finds them each time."""
    if "statistics" in inputs:
        return inputs
    image = inputs["image"]
    crops = sides(config, image.shape[:2])
    function = lambda x: statistics(np.asarray(x), crops, border=config.border)
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
        function(np.zeros(image.shape, np.float32)),
    )
    made = jax.pure_callback(function, shapes, image, vmap_method="sequential")
    return {**inputs, "statistics": made}


def canvas_group(config: ml_collections.ConfigDict, spec: Inputs):
    """Images whose crops have one size share a canvas."""
    reference = spec["reference_kernel"].shape if "reference_kernel" in spec else None
    return spec["image"].shape[-1], sides(config, spec["image"].shape[:2]), reference


def pad(config: ml_collections.ConfigDict, inputs: Inputs, canvas: tuple[int, int]) -> Inputs:
    """Puts an image on a canvas; on the host. Crops lie inside of the image proper."""
    del config
    size = inputs["image"].shape[:2]
    room = [(0, c - n) for c, n in zip(canvas, size)]
    image = np.pad(inputs["image"], [*room, (0, 0)])
    return {**inputs, "image": image, "size": np.asarray(size, np.int32)}


def example(config: ml_collections.ConfigDict, photo: np.ndarray, reference_kernel=None) -> Example:
    """A photograph downscaled with a slanted gaussian kernel, or another, to be found again."""
    scale = factor(config)
    if reference_kernel is None:
        gaussian = kernels.gaussian_kernel(11 * scale // 2, (scale, 0.4 * scale), theta=np.pi / 6)
        reference_kernel = np.asarray(kernels.centre_kernel(np.asarray(gaussian), scale))
    small = kernels.downscale(jnp.asarray(photo), jnp.asarray(reference_kernel), scale)
    small = np.round(np.clip(np.asarray(small), 0, 1) * 255) / 255
    return Example(small, None, {"reference_kernel": reference_kernel})


def factor(config: ml_collections.ConfigDict) -> int:
    """The whole factor of `scale`.

    Raises:
        InputError: it is neither 2 nor 4.
    """
    try:
        factors = {float(part) for part in str(config.scale).replace("x", ",").split(",")}
    except ValueError:
        factors = set()
    if factors not in ({2.0}, {4.0}):
        raise InputError(f"config.scale={config.scale}: kernels are estimated for 2 and for 4")
    return int(factors.pop())
