"""One call per task, for notebooks and scripts: arrays in, arrays out, no files.

`run` takes any method, also one of your own; the functions that are named by a task are `run` with the
arguments of that task spelled out. All return a dict of arrays by name; with `full=True` a `Result`,
which also has the method, the parameters, the history of the metrics and the remarks. All use the
preset 'fast' unless told otherwise; the commands' configs have the published settings as defaults.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import ArrayLike

from deepinternal import methods
from deepinternal.config import FieldInfo, Preset, describe, merge
from deepinternal.in_memory import Outputs, fit, run
from deepinternal.loading import load
from deepinternal.recipe import preset_names
from deepinternal.result import Result
from deepinternal.task import Image, as_array
from deepinternal.types import Array, Callback, InputError

__all__ = [
    "Result",
    "dehaze",
    "denoise",
    "estimate_kernel",
    "fields",
    "fit",
    "inpaint",
    "load",
    "presets",
    "remove_watermark",
    "run",
    "segment",
    "separate",
    "super_resolve",
]


def presets(name: str) -> dict[str, Preset]:
    """The presets of a method.

    Args:
        name: as for `run`.

    Returns:
        By name what each sets, what it is for and what it reaches.

    Example:
        >>> import deepinternal as di
        >>> "inpaint" in di.presets("dip")
        True
    """
    return dict(methods.find(name).presets)


def fields(name: str, *, preset: str = "") -> dict[str, FieldInfo]:
    """The fields of a method's config.

    Args:
        name: as for `run`.
        preset: names of presets joined by commas; the values are those after them.

    Returns:
        By name value, default, description, unit and what is allowed.

    Raises:
        InputError: an unknown method or preset.

    Example:
        >>> import deepinternal as di
        >>> di.fields("dip", preset="fast")["train_steps"].value
        1800
    """
    recipe = methods.find(name)
    config = recipe.config(**merge(recipe.presets, preset_names(preset)))
    with contextlib.suppress(InputError):  # presets may need a field that only the user knows
        config = config.resolved()
    return describe(config)


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
    """Super-resolves an image with ZSSR, training a small network on that image alone.

    Args:
        image: (H, W) or (H, W, C), C = 1 to 4 (the last of 2 or 4 is alpha, which is interpolated,
            not learned); uint8, uint16, or float in [0, 1].
        scale: factor, or (vertical, horizontal) factors, greater than 1 and at most 16; or text, as
            the config has it: '1.5;2' for gradual steps. Default: 2, or the preset's.
        output_shape: (H', W') instead of `scale`.
        kernel: (K, K) blur kernel of positive sum, if the image is not a cubic downscaling.
        down: instead of a kernel, how the image is supposed to have been made: any differentiable
            function of a JAX array (h, w, C) in [0, 1], alpha apart, that returns
            (ceil(h / scale), ceil(w / scale), C).
        net: a linen module that takes the place of ZSSR's, see `make` of `deepinternal.methods.zssr`;
            it is trained with Adam.
        preset: 'fast'; 'ideal' for the published settings, 'best', 'real', ...: see `presets("zssr")`.
        seed: of all random draws.
        progress: as of `run`.
        callback: as of `run`.
        full: whether to return a `Result`, as of `run`.
        **options: fields of the config, such as `steps`, `noise_std`, `flips`: see `fields("zssr")`.

    Returns:
        `result` (H', W'[, C]) in the dtype of `image` (float32 for floats); `uncertainty` (H', W')
        float32, the standard deviation over flips of the image, where they are used.

    Raises:
        InputError: an image, scale, kernel or option that cannot be used.

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
    """Estimates the kernel that an image was downscaled with, by KernelGAN.

    Args:
        image: (H, W[, C]), sides of at least 40 pixels; uint8, uint16, or float in [0, 1].
        scale: of the downscaling, 2 or 4. Default: 2, or the preset's.
        reference_kernel: (K, K), what the estimate is scored against.
        preset: 'fast'; 'x2' or 'x4' for several seeds, 'published', ...: see `presets("kernelgan")`.
        seed: of all random draws.
        progress: as of `run`.
        callback: as of `run`.
        full: whether to return a `Result`, as of `run`.
        **options: fields of the config, see `fields("kernelgan")`.

    Returns:
        `kernel` (K, K) float32 that sums to 1, for correlation, centred for `scale`, as
        `super_resolve` takes it; `result`, the image downscaled with it; `kernel_divergence` of all
        seeds and `cubic_divergence`, how differently patches of the image and of `result` are
        distributed, with it and with cubic downscaling; `kernel_agreement`, the least correlation
        between seeds; with a reference `kernel_correlation` and `kernel_psnr`.

    Raises:
        InputError: an image, scale, kernel or option that cannot be used.

    References:
        Bell-Kligler, Shocher, Irani: Blind Super-Resolution Kernel Estimation using an Internal-GAN.
        NeurIPS 2019.
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
    noise_std: float = 0.0,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Outputs:
    """Denoises an image with a deep image prior.

    Args:
        image: (H, W[, C]) noisy; uint8, uint16, or float in [0, 1].
        noise_std: the noise's standard deviation, in [0, 1], if it is known; 0: it is not.
        preset: 'fast', or '' for the published settings; see `presets("dip")`.
        seed: of all random draws.
        progress: as of `run`.
        callback: as of `run`.
        full: whether to return a `Result`, as of `run`.
        **options: fields of the config, see `fields("dip")`.

    Returns:
        `result`, in the form of `image`.

    Raises:
        InputError: an image or an option that cannot be used.

    References:
        Ulyanov, Vedaldi, Lempitsky: Deep Image Prior. CVPR 2018.
    """
    return run(
        "dip",
        image,
        preset=f"denoise,{preset_names(preset)}",
        seed=seed,
        progress=progress,
        callback=callback,
        full=full,
        noise_std=noise_std,
        **options,
    )


def inpaint(
    image: Image,
    mask: ArrayLike,
    *,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Outputs:
    """Fills in what is missing of an image with a deep image prior.

    Args:
        image: (H, W[, C]); what lies where the mask is 0 does not count.
        mask: (H, W), 1 (or True, or 255) where the image is known.
        preset: 'fast'; '' for the published settings; 'restore' for single missing pixels; see
            `presets("dip")`.
        seed: of all random draws.
        progress: as of `run`.
        callback: as of `run`.
        full: whether to return a `Result`, as of `run`.
        **options: fields of the config, see `fields("dip")`.

    Returns:
        `result`, in the form of `image`; equal to it where it is known.

    Raises:
        InputError: an image, mask or option that cannot be used.
    """
    return run(
        "dip",
        image,
        preset=f"inpaint,{preset_names(preset)}",
        seed=seed,
        progress=progress,
        callback=callback,
        full=full,
        mask=mask,
        **options,
    )


def segment(
    image: Image,
    foreground: ArrayLike | None = None,
    background: ArrayLike | None = None,
    *,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Outputs:
    """Segments an image, or a video, into foreground and background with Double-DIP.

    Args:
        image: (H, W[, C]); a video (T, H, W, C).
        foreground: (H, W), 1 where it surely is foreground; for a video of its first frame, or
            (T, H, W). None for both: found from the image itself.
        background: likewise.
        preset: 'fast', or '' for the published settings.
        seed: of all random draws.
        progress: as of `run`.
        callback: as of `run`.
        full: whether to return a `Result`, as of `run`.
        **options: fields of the config, see `fields("segmentation")`, `fields("video_segmentation")`.

    Returns:
        `mask` (H, W) of zeros and ones, `foreground` and `background`, the two layers, and `result`,
        the image where the mask is one; each with a leading axis T for a video.

    Raises:
        InputError: an image, hint or option that cannot be used.

    References:
        Gandelsman, Shocher, Irani: "Double-DIP": Unsupervised Image Decomposition via Coupled
        Deep-Image-Priors. CVPR 2019.
    """
    return run(
        "video_segmentation" if _are_several(image) else "segmentation",
        image,
        preset=preset,
        seed=seed,
        progress=progress,
        callback=callback,
        full=full,
        foreground=foreground,
        background=background,
        **options,
    )


def dehaze(
    image: Image,
    *,
    airlight: str | Sequence[float] = "auto",
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Outputs:
    """Removes haze from an image with Double-DIP.

    Args:
        image: (H, W[, C]).
        airlight: the colour of the haze to begin with, (red, green, blue) in [0, 1]; 'auto' or
            'dark_channel' to estimate it.
        preset: 'fast', 'uniform,fast', or '' for the published settings.
        seed: of all random draws.
        progress: as of `run`.
        callback: as of `run`.
        full: whether to return a `Result`, as of `run`.
        **options: fields of the config, see `fields("dehazing")`.

    Returns:
        `result`, haze-free; `transmission` (H, W); `airlight` (H, W, C) and its mean
        `airlight_colour` (C,).

    Raises:
        InputError: an image, airlight or option that cannot be used.
    """
    return run(
        "dehazing",
        image,
        preset=preset,
        seed=seed,
        progress=progress,
        callback=callback,
        full=full,
        airlight=airlight,
        **options,
    )


def separate(
    image: Image,
    *,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Outputs:
    """Separates transparent layers with Double-DIP.

    Args:
        image: (H, W[, C]), the sum of two layers; or a list of two mixtures of the same layers.
        preset: 'fast', or '' for the published settings.
        seed: of all random draws.
        progress: as of `run`.
        callback: as of `run`.
        full: whether to return a `Result`, as of `run`.
        **options: fields of the config, see `fields("transparency")`.

    Returns:
        `layer1`, `layer2`, and `result`, which is the former; of two mixtures `alphas` (2,), the
        weight of layer1 in each.

    Raises:
        InputError: an image or option that cannot be used.
    """
    kind = "pair" if _are_several(image) else "single"
    return run(
        "transparency",
        image,
        preset=f"{kind},{preset_names(preset)}",
        seed=seed,
        progress=progress,
        callback=callback,
        full=full,
        **options,
    )


def remove_watermark(
    image: Image,
    mask: ArrayLike | None = None,
    *,
    box: Sequence[int] | None = None,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Outputs:
    """Removes a watermark with Double-DIP.

    Args:
        image: (H, W[, C]); or a list of images with the same mark.
        mask: (H, W), 1 where the mark is, roughly; for one image, or
        box: (y0, x0, y1, x1) in pixels, the end excluded.
        preset: 'fast', or '' for the published settings.
        seed: of all random draws.
        progress: as of `run`.
        callback: as of `run`.
        full: whether to return a `Result`, as of `run`.
        **options: fields of the config, see `fields("watermark")`.

    Returns:
        `result`, the clean (first) image; of several also `clean1`, ...; `watermark`, and `mask`, its
        opacity.

    Raises:
        InputError: an image, region or option that cannot be used.
    """
    kind = "many" if _are_several(image) else "single"
    return run(
        "watermark",
        image,
        preset=f"{kind},{preset_names(preset)}",
        seed=seed,
        progress=progress,
        callback=callback,
        full=full,
        mask=mask,
        box=box,
        **options,
    )


def _are_several(image: Image) -> bool:
    """Whether a user has given several images, or a video."""
    return isinstance(image, list | tuple) or as_array(image, "image").ndim == 4
