"""InGAN: a GAN that retargets one image (Shocher, Bagon, Isola, Irani, ICCV 2019).

A GAN of one image. The generator makes the image anew at another size or shape; a discriminator of
patches at many scales tells the result's patches from the image's; and the same generator must lead
back to the image.

Where the paper is in the code: nets (section 4) -> `nets.ingan`; the sum over scales and their weights
over time -> `scales`; adversarial and reconstruction loss (eq. 1 to 3), extra update for the way back
(public code) -> `training`; the growing range of sizes (supplement) -> `sizes`; two rectangles swapped
-> `crops.swapped`; what a trained net makes (section 5) -> `retargeting`.

Deliberate deviations from the authors' code: sizes come from a finite set, each with its compiled
program; the way back is the exact inverse of the transformation, which has one alignment of pixels
everywhere; normalisations take the statistics of each image by itself; one power iteration of the
spectral normalisation in a step. Beyond the paper, by fields (presets `lite` and `fast`): large images
are fitted smaller (`fit_side`), and results then take their detail from the full image (`detail`); the
discriminator's scales are smoothed when shrunk (`antialias`); the generator is averaged (`average`).
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepinternal.methods.ingan import retargeting, training
from deepinternal.methods.ingan.config import PRESETS, Config
from deepinternal.ops import fitting
from deepinternal.recipe import Grouping, Recipe
from deepinternal.types import Example, InputError, Inputs, Method, Stage

_SMALLEST = 40  # least side of an image, for the discriminator's scales


def grouping(config: Config) -> Grouping:
    """All files are one job of `many`, images of any size, for crops have the same."""
    return Grouping("together", least=2, any_size=True) if config.together else Grouping()


def example(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    """Scikit-image's coins; with `many`, two parts of the photograph."""
    del sides
    if config.together:
        parts = [photo[:160, 160:320], photo[160:320, 160:320]]
        return Example("skimage.data.astronaut, two parts", parts)
    import skimage.data

    coins = skimage.data.coins()[..., None].astype(np.float32) / 255
    return Example("skimage.data.coins", coins)


def prepare(config: Config, image: np.ndarray | Sequence[np.ndarray]) -> Inputs:
    """The inputs of the method from what the user gave; on the host.

    Args:
        config: the settings.
        image: (H, W, C) in [0, 1]; a list of such with `together`.

    Returns:
        `full1` (H, W, C), ... and `image1` (h, w, C), ..., to be learned from.

    Raises:
        InputError: an image is too small.
    """
    inputs = {}
    for number, full in enumerate(image if config.together else [image], 1):
        inputs[f"full{number}"] = np.asarray(full, np.float32)
        inputs[f"image{number}"] = reduced(config, full)
    return inputs


def reduced(config: Config, full: np.ndarray) -> np.ndarray:
    """The image (h, w, C) that a net learns from and is applied to, from the full one (H, W, C).

    Raises:
        InputError: it is too small.
    """
    small = fitting.reduced(full, config.fit_side)
    for which, x in (("the image", full), ("the image reduced to config.fit_side", small)):
        if min(x.shape[:2]) < _SMALLEST:
            h, w = x.shape[:2]
            raise InputError(
                f"{which} is {h}x{w}: its sides must be at least {_SMALLEST} pixels, for the "
                "discriminator's scales"
            )
    return small


def make(config: Config, spec: Inputs) -> Method:
    """InGAN for images of given shapes.

    Args:
        config: the settings.
        spec: shapes of `prepare`'s inputs.

    Returns:
        The method. Outputs: `result` at `result_scale`, `cycle`, which the way back makes of it, the
        images themselves (`input`, ...), what is made at the other `samples`; figures, see
        `retargeting.outputs`.
    """
    if "image1" not in spec:
        raise InputError("ingan: the inputs lack 'image1'; take their shapes from `prepare`")
    task = training.training(config, [x.shape[:2] for x in retargeting.images(spec)])
    stage = Stage(
        "ingan",
        task.steps,
        functools.partial(training.step, task),
        evaluate=functools.partial(retargeting.evaluate, config),
        evaluate_every=config.picture_every,
        variant=functools.partial(training.variant, task),
    )
    return Method(
        "ingan",
        functools.partial(training.init, task),
        (stage,),
        functools.partial(retargeting.outputs, config),
        baseline=functools.partial(retargeting.stretched, config),
    )


RECIPE = Recipe(
    name="ingan",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    grouping=grouping,
)
