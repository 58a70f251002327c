"""New images that resemble a given one; see also `retargeter`."""

from typing import Any

from deepinternal.in_memory import Outputs, run
from deepinternal.recipe import preset_names
from deepinternal.task import Image
from deepinternal.types import Callback


def generate(
    image: Image,
    *,
    samples: int = 4,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Outputs:
    """Makes random images that consist of the patches of an image, without training.

    Args:
        image: (H, W[, C]); uint8, uint16, or float in [0, 1].
        samples: The number of images, 1 to 64.
        preset: Names of presets joined by commas; see `presets("patches")`.
        seed: The seed of all random draws.
        progress: See `run`.
        callback: See `run`.
        full: Whether to return a `Result`; see `run`.
        **options: Fields of the config, such as `result_size=(H', W')` or `result_scale=(1, 2)` for
            the size of the images, which is that of `image` by default; see `fields("patches")`.

    Returns:
        `samples`, a dict with the images by number, '1', '2', ..., in the dtype of `image`
        (float32 for floats); `result`, the first one; `diversity`, how much they differ from each
        other; and `coherence`, `completeness` and other measures of `ops.patches`.

    Raises:
        InputError: The image or an option cannot be used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.tile(np.uint8([[0, 255], [255, 0]]), (24, 30))
        >>> made = di.generate(image, samples=2, preset="smoke")
        >>> [sample.shape for sample in made["samples"].values()]
        [(48, 60), (48, 60)]

    References:
        Granot, Feinstein, Shocher, Bagon, Irani: Drop the GAN: In Defense of Patches Nearest
        Neighbors as Single Image Generative Models. CVPR 2022.
    """
    return run(
        "patches",
        image,
        preset=f"generate,{preset_names(preset)}",
        seed=seed,
        progress=progress,
        callback=callback,
        full=full,
        samples=samples,
        **options,
    )
