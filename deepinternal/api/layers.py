"""Decomposition of images into layers with Double-DIP."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from deepinternal.in_memory import Outputs, run
from deepinternal.recipe import preset_names
from deepinternal.result import Result
from deepinternal.task import Image, as_array
from deepinternal.types import Callback


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
    start: Result | None = None,
    **options: Any,
) -> Outputs:
    """Segments an image or a video into foreground and background with Double-DIP.

    Args:
        image: (H, W[, C]), or a video (T, H, W, C).
        foreground: (H, W), 1 where a pixel certainly belongs to the foreground; for a video, (H, W)
            for its first frame, or (T, H, W). In an array of labels, 0 is the background, and the
            option `label` selects a label; for `background`, the option is `background_label`. If both
            hints are None, they are derived from the image.
        background: (H, W), 1 where a pixel certainly belongs to the background; as for `foreground`.
        preset: 'fast'; 'preview' for the mask of an image alone; or '' for the published settings.
        seed: The seed of all random draws.
        progress: See `run`.
        callback: See `run`.
        full: Whether to return a `Result`; see `run`.
        start: The result of an earlier call with `full=True` on the same image, from whose weights
            this call continues with other hints.
        **options: Fields of the config; see `fields("segmentation")` and
            `fields("video_segmentation")`.

    Returns:
        `mask` (H, W) of zeros and ones, the two layers `foreground` and `background`, and `result`,
        the image where the mask is one; for a video, each has a leading axis T. For an image also
        `alpha` (H, W) in [0, 1], the mask with a soft outline.

    Raises:
        InputError: The image, a hint or an option cannot be used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.full((32, 32, 3), 40, np.uint8)
        >>> image[8:24, 8:24] = [220, 120, 20]
        >>> hints = np.zeros((2, 32, 32), bool)
        >>> hints[0, 12:20, 12:20], hints[1, :4] = True, True
        >>> mask = di.segment(image, *hints, preset="preview")["mask"]
        >>> float(mask[16, 16]), float(mask[2, 2])
        (1.0, 0.0)

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
        start=start,
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
    """Removes haze from an image.

    Args:
        image: (H, W[, C]).
        airlight: The initial colour of the haze, (red, green, blue) in [0, 1]; 'auto' or
            'dark_channel' to estimate it.
        preset: 'fast', which trains nothing; 'uniform'; or '' for the published settings.
        seed: The seed of all random draws.
        progress: See `run`.
        callback: See `run`.
        full: Whether to return a `Result`; see `run`.
        **options: Fields of the config; see `fields("dehazing")`.

    Returns:
        The haze-free `result`, `transmission` (H, W), `airlight` (H, W, C) and its mean
        `airlight_colour` (C,). With 'fast' also scalars: `confidence` of the airlight, `haziness` and
        `amount`, the fraction of the haze that is removed.

    Raises:
        InputError: The image, the airlight or an option cannot be used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> scene = np.random.default_rng(0).uniform(size=(40, 40, 3)) ** 3
        >>> made = di.dehaze(0.4 * scene + 0.6, airlight=(1, 1, 1))
        >>> made["result"].shape, made["transmission"].shape
        ((40, 40, 3), (40, 40))
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
    """Separates two transparent layers.

    Args:
        image: The sum (H, W[, C]) of two layers; a list of two mixtures of the same layers; or, for
            'frames', a list of three or more.
        preset: 'fast'; 'reflection', a soft reflection in a window; 'frames', a still background behind
            a reflection that moves; or '' for the published settings.
        seed: The seed of all random draws.
        progress: See `run`.
        callback: See `run`.
        full: Whether to return a `Result`; see `run`.
        **options: Fields of the config; see `fields("transparency")`.

    Returns:
        `layer1` and `layer2`; `result`, which equals `layer1`; for two mixtures also `alphas` (2,),
        the weight of `layer1` in each mixture.

    Raises:
        InputError: The image or an option cannot be used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> background = np.random.default_rng(0).uniform(0, 0.5, (32, 32, 1))
        >>> frames = [background.copy() for _ in range(3)]
        >>> for number, frame in enumerate(frames):
        ...     frame[10 * number : 10 * number + 10] += 0.25  # a reflection that moves
        >>> made = di.separate(frames, preset="frames")
        >>> made["layer1"].shape
        (32, 32, 1)
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
    """Removes a watermark.

    Args:
        image: (H, W[, C]), or a list of images with the same watermark.
        mask: (H, W), 1 in the approximate region of the watermark; for a single image. Without `mask`
            and `box`, 'fast' searches for a mark that repeats over the image.
        box: (y0, x0, y1, x1), the region in pixels without its end; instead of `mask`.
        preset: 'fast', or '' for the published settings.
        seed: The seed of all random draws.
        progress: See `run`.
        callback: See `run`.
        full: Whether to return a `Result`; see `run`.
        **options: Fields of the config; see `fields("watermark")`.

    Returns:
        `result`, the clean (first) image; for several images also `clean1`, `clean2`, ...;
        `watermark`, and its opacity `mask`.

    Raises:
        InputError: The image, the region or an option cannot be used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.full((48, 48, 3), 80, np.uint8)
        >>> image[20:28, 8:40] = 168  # white with an opacity of 0.5
        >>> made = di.remove_watermark(image, box=(16, 4, 32, 44))
        >>> made["result"].shape
        (48, 48, 3)
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
    """Whether the argument holds several images or a video."""
    return isinstance(image, list | tuple) or as_array(image, "image").ndim == 4
