"""The inputs of ZSSR, made from the user's arrays, and its sample."""

import jax.numpy as jnp
import numpy as np

from deepinternal.methods.kernelgan.inputs import blurred
from deepinternal.methods.zssr import blind, deblur, video
from deepinternal.methods.zssr.config import Config
from deepinternal.methods.zssr.jumps import target_size
from deepinternal.ops import kernels, resizing
from deepinternal.types import Example, Inputs

_ROOM = 2  # zeros around a kernel in the array that it is centred in


def prepare(
    config: Config,
    image: np.ndarray,
    kernel: np.ndarray | None = None,
    reference_kernel: np.ndarray | None = None,
) -> Inputs:
    """Makes the method's inputs from the user's arrays, on the host.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1], C = 1 or 3; with mode=video (T, H, W, C) uint8.
        kernel: (K, K) blur kernel, summing to 1, or None.
        reference_kernel: (K, K), the kernel with which an estimate is compared, or None.

    Returns:
        `image`; `kernel`, centred for the scale factor, if one is given; with `blind` also the inputs
        that `zssr.blind.prepare` returns. With mode=deblur, what `zssr.deblur.prepare` returns; with
        mode=video, `frames` instead of `image`.
    """
    if config.mode == "deblur":
        return deblur.prepare(config, image, kernel)
    clip = config.mode == "video"
    inputs = video.prepare(image) if clip else {"image": np.asarray(image, np.float32)}
    if kernel is not None:
        size = image.shape[1:3] if clip else image.shape[:2]
        inputs["kernel"] = _centred(kernel, target_size(config, size)[0])
    if config.blind:
        inputs |= blind.prepare(config, image, inputs.get("kernel"), reference_kernel)
    return inputs


def _centred(kernel: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Centres a kernel (K, K) in an array whose side depends only on K, unless it does not fit."""
    made = np.asarray(kernels.centre_kernel(np.asarray(kernel, np.float32), scale))
    extra = (made.shape[0] - kernel.shape[0]) // 2 - _ROOM
    if extra <= 0:
        return np.pad(made, -extra)
    inner = made[extra:-extra, extra:-extra]
    return inner / inner.sum() if np.abs(made).sum() - np.abs(inner).sum() < 1e-3 else made


def example(
    config: Config,
    photo: np.ndarray,
    kernel: np.ndarray | None = None,
    reference_kernel: np.ndarray | None = None,
) -> Example:
    """Makes a low-resolution image from a photograph with the degradation that the method assumes.

    Args:
        config: The settings; with an `output_shape` the factor is 2.
        photo: (H, W, C) in [0, 1]; it is the ground truth if its sides are multiples of the factor.
        kernel: Blur kernel, or None for cubic downscaling.
        reference_kernel: The blur kernel of the degradation with `blind`; None: a slanted Gaussian.

    Returns:
        An image (ceil(H / scale), ceil(W / scale), C) in [0, 1], rounded to 8 bits; with `blind` and
        without `kernel` also the reference kernel.
    """
    if config.mode == "deblur":
        return deblur.example(photo, kernel)
    if config.mode == "video":
        return video.example(config, photo)
    if config.blind and kernel is None:
        made = blurred(config.factor, photo, reference_kernel)
        return Example(made.name, made.image, photo, made.sides)
    scale = (2.0, 2.0) if config.output_shape else config.scale[-1]
    by = "the cubic kernel" if kernel is None else "the user's kernel"
    name = f"skimage.data.astronaut, downscaled by {scale[0]:g}x{scale[1]:g} with {by}"
    photo = jnp.asarray(photo)
    if kernel is None:
        small = resizing.resize(photo, scale=tuple(1 / s for s in scale))
    else:
        small = kernels.downscale(photo, kernels.centre_kernel(kernel, scale), scale)
    return Example(name, np.asarray(jnp.round(jnp.clip(small, 0, 1) * 255) / 255), photo)
