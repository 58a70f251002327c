"""Better images, and the kernels by which images were downscaled."""

from collections.abc import Callable
from typing import Any, Literal

from numpy.typing import ArrayLike

from deepinternal.in_memory import Outputs, run
from deepinternal.recipe import preset_names
from deepinternal.task import Image
from deepinternal.types import Array, Callback, InputError


def super_resolve(
    image: Image,
    scale: float | tuple[float, float] | str | None = None,
    *,
    output_shape: tuple[int, int] | None = None,
    kernel: ArrayLike | None = None,
    down: Callable[[Array], Array] | None = None,
    net: Any = None,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Outputs:
    """Super-resolves an image with ZSSR, which trains a small network on that image alone.

    With preset='deblur' it removes a known blur at the same size; with preset='video' it enlarges the
    frames of a clip with one network.

    Args:
        image: (H, W) or (H, W, C), C = 1 to 4; with 2 or 4 channels the last one is alpha, which is
            interpolated and not learned. uint8, uint16, or float in [0, 1]. With preset='video'
            frames (T, H, W[, C]).
        scale: A factor, or (vertical, horizontal) factors, greater than 1 and at most 16; or text
            as in the config, such as '1.5;2' for gradual super-resolution. Default: 2, or the
            preset's factor.
        output_shape: (H', W'), instead of `scale`.
        kernel: The (K, K) blur kernel, with a positive sum, of an image that is not a cubic
            downscaling; with preset='deblur' that of the blur.
        down: The downscaling that is assumed to have made the image, instead of a kernel: any
            differentiable function of a JAX array (h, w, C) in [0, 1], without alpha, that returns
            (ceil(h / scale), ceil(w / scale), C). The positions of its samples count: unless they are
            those of `ops.resize`, the net also learns to shift the image.
        net: A linen module that replaces the network of ZSSR; see `make` of
            `deepinternal.methods.zssr`. It is trained with Adam.
        preset: 'fast', 'ideal' for the published settings, 'best', 'real', 'deblur', 'video', ...;
            see `presets("zssr")`.
        seed: The seed of all random draws.
        progress: See `run`.
        callback: See `run`.
        full: Whether to return a `Result`; see `run`.
        **options: Fields of the config, such as `steps`, `noise_std`, `flips`; see
            `fields("zssr")`.

    Returns:
        `result` (H', W'[, C]) in the dtype of `image` (float32 for floats), and `uncertainty` (H',
        W') float32, the standard deviation over the flips of the image, if flips are used.

    Raises:
        InputError: The image, the scale, the kernel or an option cannot be used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.full((16, 16, 3), 128, np.uint8)
        >>> made = di.super_resolve(image, scale=2, steps=1, crop=16)
        >>> made["result"].shape
        (32, 32, 3)

    References:
        Shocher, Cohen, Irani: "Zero-Shot" Super-Resolution using Deep Internal Learning. CVPR 2018.
    """
    if kernel is not None and down is not None:
        raise InputError("kernel and down exclude each other: give one of them")
    if net is not None and not isinstance(net, str):
        options = {"optimizer": "adam", **options}
    return run(
        "zssr",
        image,
        preset=preset,
        seed=seed,
        progress=progress,
        callback=callback,
        full=full,
        scale=scale,
        output_shape=output_shape,
        kernel=kernel,
        down=down,
        net=net,
        **options,
    )


def estimate_kernel(
    image: Image,
    scale: int | None = None,
    *,
    reference_kernel: ArrayLike | None = None,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Outputs:
    """Estimates the kernel that an image was downscaled with, using KernelGAN.

    Args:
        image: (H, W[, C]), with sides of at least 40 pixels; uint8, uint16, or float in [0, 1].
        scale: The factor of the downscaling, 2 or 4. Default: 2, or the preset's factor.
        reference_kernel: The true kernel (K, K), which the estimate is scored against.
        preset: 'fast', 'x2' or 'x4' for several seeds, 'published', ...; see
            `presets("kernelgan")`.
        seed: The seed of all random draws.
        progress: See `run`.
        callback: See `run`.
        full: Whether to return a `Result`; see `run`.
        **options: Fields of the config; see `fields("kernelgan")`.

    Returns:
        `kernel` (K, K) float32, which sums to 1, is meant for correlation, is centred for `scale`,
        and can be passed to `super_resolve`; `result`, the image downscaled with it;
        `kernel_divergence` of all seeds and `cubic_divergence`, the distances between the patch
        distributions of the image and of its downscaling by the kernel and by the cubic kernel;
        `kernel_agreement`, the lowest correlation between seeds; with a reference also
        `kernel_correlation` and `kernel_psnr`.

    Raises:
        InputError: The image, the scale, the kernel or an option cannot be used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.random.default_rng(0).uniform(size=(40, 40, 3))
        >>> made = di.estimate_kernel(image, scale=2, preset="gaussian")
        >>> made["kernel"].shape, round(float(made["kernel"].sum()), 3)
        ((19, 19), 1.0)

    References:
        Bell-Kligler, Shocher, Irani: Blind Super-Resolution Kernel Estimation using an
        Internal-GAN. NeurIPS 2019.
    """
    return run(
        "kernelgan",
        image,
        preset=preset,
        seed=seed,
        progress=progress,
        callback=callback,
        full=full,
        scale=scale,
        reference_kernel=reference_kernel,
        **options,
    )


def denoise(
    image: Image,
    *,
    method: Literal["denoise", "dip"] = "denoise",
    noise_std: float = 0.0,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Outputs:
    """Denoises an image by its own patches, after measuring its noise.

    Args:
        image: The noisy image (H, W[, C]); uint8, uint16, or float in [0, 1].
        method: 'denoise', which measures the noise and takes seconds; or 'dip', a deep image prior,
            which takes minutes.
        noise_std: The standard deviation of the noise, in [0, 1]; 0 if it is unknown.
        preset: 'fast' or 'auto', which choose the algorithm, or its name, such as 'ridge'; of 'dip',
            'fast', or '' for the published settings. See `presets("denoise")` and `presets("dip")`.
        seed: The seed of all random draws.
        progress: See `run`.
        callback: See `run`.
        full: Whether to return a `Result`, whose remarks tell what the noise is like and how it was
            removed; see `run`.
        **options: Fields of the config, such as `strength`, and `mask`, 1 where the image is known;
            see `fields("denoise")` and `fields("dip")`.

    Returns:
        `result`, in the shape and dtype of `image`; with 'denoise' also `uncertainty` (H, W) float32,
        the expected standard deviation of its errors, and `expected_psnr`. An image without
        measurable noise is returned unchanged.

    Raises:
        InputError: The image or an option cannot be used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.full((16, 16, 3), 128, np.uint8)
        >>> di.denoise(image)["result"].shape
        (16, 16, 3)

    References:
        Herbreteau, Kervrann: A unified framework of non-local parametric methods for image
        denoising. SIAM Journal on Imaging Sciences 2024.
        Ulyanov, Vedaldi, Lempitsky: Deep Image Prior. CVPR 2018.
    """
    _check_method(method, "denoise", "dip")
    return run(
        method,
        image,
        preset=f"denoise,{preset_names(preset)}" if method == "dip" else preset,
        seed=seed,
        progress=progress,
        callback=callback,
        full=full,
        noise_std=noise_std,
        **options,
    )


def inpaint(
    image: Image,
    mask: ArrayLike | None = None,
    *,
    method: Literal["dip", "patches"] = "dip",
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Outputs:
    """Fills in the missing pixels of an image, with a deep image prior or with its own patches.

    Args:
        image: (H, W[, C]); the values where the mask is 0 are ignored.
        mask: (H, W), 1 (or True, or 255) where the image is known. Default: where its alpha is at
            least 0.5 or, if it has no transparent pixels, where it is not black.
        method: 'dip', which suits single pixels, scratches and smooth regions; or 'patches', which
            continues textures and objects into large holes, and takes seconds. It needs a mask or
            transparent pixels.
        preset: 'fast', '' for the published settings, or 'restore' for single missing pixels (only
            'dip'); see `presets("dip")` and `presets("patches")`.
        seed: The seed of all random draws.
        progress: See `run`.
        callback: See `run`.
        full: Whether to return a `Result`; see `run`.
        **options: Fields of the config; see `fields("dip")` and `fields("patches")`.

    Returns:
        `result`, in the shape and dtype of `image`, and equal to it where it is known; opaque where
        it is filled in.

    Raises:
        InputError: The image, the mask or an option cannot be used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image, known = np.full((16, 16, 3), 128, np.uint8), np.ones((16, 16), bool)
        >>> known[6:10, 6:10] = False
        >>> made = di.inpaint(image, known, preset="smoke", steps=1, channels="4", skip="0")
        >>> made["result"].shape
        (16, 16, 3)

    References:
        Ulyanov, Vedaldi, Lempitsky: Deep Image Prior. CVPR 2018.
        Granot, Feinstein, Shocher, Bagon, Irani: Drop the GAN: In Defense of Patches Nearest
        Neighbors as Single Image Generative Models. CVPR 2022.
    """
    _check_method(method, "dip", "patches")
    return run(
        method,
        image,
        preset=f"inpaint,{preset_names(preset)}",
        seed=seed,
        progress=progress,
        callback=callback,
        full=full,
        mask=mask,
        **options,
    )


def _check_method(method: Any, *known: str) -> None:
    if method not in known:
        raise InputError(f"method={method!r}: give {' or '.join(map(repr, known))}")
