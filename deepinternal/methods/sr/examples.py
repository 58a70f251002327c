"""What stands for the user's image where there is none."""

import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.methods import kernel_inputs
from deepinternal.methods.sr.jumps import target_size
from deepinternal.ops import kernels, resize
from deepinternal.types import Array, Example


def example(
    config: ml_collections.ConfigDict, photo: np.ndarray, kernel=None, reference_kernel=None
) -> Array | Example:
    """A low-resolution image made from a photograph, as the method supposes images to be made.

    Args:
        config: the method's config; with an `output_shape` the factor is 2.
        photo: (H, W, C) in [0, 1]: the ground truth, where its sides are multiples of the factor.
        kernel: blur kernel, or None for cubic downscaling.
        reference_kernel: with `blind` the kernel it is made with; None: a slanted gaussian.

    Returns:
        (ceil(H / scale), ceil(W / scale), C) in [0, 1], rounded to 8 bits; with `blind` and no kernel
        also the reference kernel.
    """
    if config.blind and kernel is None:
        made = kernel_inputs.example(config, photo, reference_kernel)
        return Example(made.image, photo, made.sides)
    scale = (2.0, 2.0) if config.output_shape else target_size(config, (1, 1))[0]
    photo = jnp.asarray(photo)
    if kernel is None:
        small = resize.resize(photo, scale=tuple(1 / s for s in scale))
    else:
        small = kernels.downscale(photo, kernels.centre_kernel(kernel, scale), scale)
    return jnp.round(jnp.clip(small, 0, 1) * 255) / 255
