"""`retarget`: makes an image of another size from its patches, or with a trained InGAN."""

from collections.abc import Sequence
from typing import Any, cast

from numpy.typing import ArrayLike

from deepinternal import numerics
from deepinternal.in_memory import run, train_task
from deepinternal.loading import Folder
from deepinternal.methods.ingan import RECIPE, Config
from deepinternal.net_retargeter import Retargeter
from deepinternal.recipe import preset_names
from deepinternal.result import Result
from deepinternal.task import Image, read
from deepinternal.types import Callback, InputError


@numerics.entry
def train_retargeter(
    image: Image,
    *,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Any:
    """Trains an InGAN on one image.

    Args:
        image: (H, W[, C]); uint8, uint16, or float in [0, 1]. Alpha is ignored.
        preset: 'fast'; 'lite', which takes longer; or '' for the published settings; see
            `presets("ingan")`.
        seed: The seed of all random draws.
        progress: See `run`.
        callback: See `run`.
        full: Whether to return a `Result`, which `retarget` also takes. Its `outputs` are computed
            on first access.
        **options: Fields of the config; see `fields("ingan")`.

    Returns:
        A `Retargeter` for `retarget`, or with `full` a `Result`.

    Raises:
        InputError: The image or an option cannot be used.

    References:
        Shocher, Bagon, Isola, Irani: InGAN. ICCV 2019.
    """
    config = RECIPE.build(preset, **{**options, "seed": seed, "together": False})
    task = read(RECIPE, config, image, {}, {})
    result = train_task(task, progress=progress, callback=callback)
    return result if full else of_result(result)


def of_result(result: Result) -> Retargeter:
    """Returns the generator of a run of InGAN, with the (first) image that it was trained on.

    Raises:
        InputError: The run is of another method.
    """
    if result.task is None or result.task.recipe.name != RECIPE.name:
        raise InputError(
            f"trained: is a run of {result.method.name!r}; give the result of train_retargeter, "
            "or of load for 'ingan'"
        )
    config = cast(Config, result.task.config).replace(together=False)
    return Retargeter(config, result.params["generator"], result.task.source.images[0])


def retarget(
    image: Retargeter | Result | ArrayLike,
    size: Sequence[int] | None = None,
    *,
    scale: float | tuple[float, float] | None = None,
    shifts: tuple[float, float] | None = None,
    preset: str = "fast",
    full: bool = False,
    **options: Any,
) -> Any:
    """Makes an image of another size from the patches of an image, or with a trained InGAN.

    Args:
        image: (H, W[, C]); uint8, uint16, or float in [0, 1], for the method 'patches'. Or what
            `train_retargeter` returns, or `load` for a work folder of InGAN.
        size: (H', W') in pixels.
        scale: A factor, or (vertical, horizontal) factors, from 0.05 to 8; instead of `size`.
        shifts: With a trained InGAN, the shifts of two corners, for a shape with white around it;
            see `ops.shear`.
        preset: For an image: 'fast' (the defaults), 'bidir', 'seams', ...; see
            `presets("patches")`.
        full: For an image: whether to return a `Result`; see `run`.
        **options: For an image: `seed`, `progress` and `callback`, see `run`, and fields of the
            config, see `fields("patches")`.

    Returns:
        The image (H', W'[, C]), in the dtype of `image` (float32 for floats), or with `full` a
        `Result`. From a trained InGAN: (H', W', C) float32 in [0, 1], C = 1 or 3.

    Raises:
        InputError: Both or neither of `size` and `scale` are given, or the image or an option cannot
            be used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.tile(np.uint8([[0, 255], [255, 0]]), (24, 30))
        >>> di.retarget(image, scale=(1, 1.5), preset="smoke").shape
        (48, 90)

    References:
        Granot, Feinstein, Shocher, Bagon, Irani: Drop the GAN: In Defense of Patches Nearest
        Neighbors as Single Image Generative Models. CVPR 2022.
    """
    trained = of_result(image) if isinstance(image, Result) else image
    if (size is None) == (scale is None):
        raise InputError("retarget: give size=(H, W) or scale=(vertical, horizontal)")
    if isinstance(trained, Retargeter):
        if full or options:
            name = next(iter(options), "full")
            raise InputError(f"{name}: is for images; a trained InGAN takes size, scale and shifts")
        return trained.make(trained.size(scale) if size is None else size, shifts=shifts)
    if shifts is not None:
        raise InputError("shifts: need a trained InGAN; give the result of train_retargeter")
    options |= {"result_size": size, "result_scale": scale, "full": full}
    made = run("patches", trained, preset=f"retarget,{preset_names(preset)}", **options)
    return made if full else made["result"]


def load(workdir: str, stem: str = "", *, step: int | None = None) -> Retargeter:
    """Loads the trained net of a work folder from its newest readable checkpoint.

    Args:
        workdir: The folder that was given to `launch.main`.
        stem: The name of an image in it; may be empty if there is only one.
        step: The step of a permanent checkpoint (`config.snapshot_every`) to load instead of the
            newest.

    Raises:
        InputError: The folder does not exist or holds no trained InGAN, it holds several and no
            stem is given, or the checkpoint does not exist.
    """
    return of_result(Folder(workdir, dashes="--", method=RECIPE.name).load(stem, step=step))
