"""InGAN: a GAN that retargets one image (Shocher, Bagon, Isola, Irani, ICCV 2019).

A generator makes the image at another size or shape, a discriminator tells the patches of the result
from those of the image at many scales, and the same generator must map the result back to the image.

Where the paper is in the code: nets (section 4) -> `nets.ingan`; the sum over scales and their weights
over time -> `scales`; adversarial and reconstruction loss (eq. 1 to 3), extra update for the inverse
(public code) -> `training`; the growing range of sizes (supplement) -> `sizes`; two swapped rectangles
-> `crops.swapped`; applications of a trained net (section 5) -> `retargeting`. The detail of results is
not from the paper: patches of the image, matched from coarse to fine -> `ops.patches.sharpening`.

Deliberate deviations from the authors' code: sizes come from a finite set, each with a compiled
program of its own; the inverse transformation is exact, with the same alignment of pixels everywhere;
normalisations use the statistics of each image separately; a step takes one power iteration of the
spectral normalisation. Beyond the paper, by fields (presets `lite` and `fast`): large images are
reduced for the net (`fit_side`, `fit_pixels`), and results are made sharp by patches of the full image
(`detail`); images are smoothed for the discriminator's scales (`antialias`); the generator is averaged
(`average`).
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepinternal.methods.ingan import retargeting, training
from deepinternal.methods.ingan.config import PRESETS, Config
from deepinternal.ops import fitting
from deepinternal.recipe import Figures, Grouping, Recipe
from deepinternal.types import Example, InputError, Inputs, Method, Stage

_SMALLEST = 40  # least side of an image, for the discriminator's scales


def grouping(config: Config) -> Grouping:
    """With `together`, all files are one job; their sizes may differ, since crops have one size."""
    return Grouping("together", least=2, any_size=True) if config.together else Grouping()


def example(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    """Returns scikit-image's coins; with `together`, two parts of the photograph."""
    del sides
    if config.together:
        parts = [photo[:160, 160:320], photo[160:320, 160:320]]
        return Example("skimage.data.astronaut, two parts", parts)
    import skimage.data

    coins = skimage.data.coins()[..., None].astype(np.float32) / 255
    return Example("skimage.data.coins", coins)


def prepare(config: Config, image: np.ndarray | Sequence[np.ndarray]) -> Inputs:
    """Makes the method's inputs from the user's image or images, on the host.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1]; with `together` a list of images.

    Returns:
        `full1` (H, W, C), ..., and `image1` (h, w, C), ..., from which the net learns.

    Raises:
        InputError: An image is too small.
    """
    inputs = {}
    for number, full in enumerate(image if config.together else [image], 1):
        inputs[f"full{number}"] = np.asarray(full, np.float32)
        inputs[f"image{number}"] = reduced(config, full)
    return inputs


def reduced(config: Config, full: np.ndarray) -> np.ndarray:
    """Returns the image (h, w, C) that the net learns from and is applied to, from the full (H, W, C).

    Raises:
        InputError: The image is too small.
    """
    small = fitting.reduced(full, side=config.fit_side, pixels=config.fit_pixels)
    small = np.asarray(small, np.float32)
    for which, x in (("the image", full), ("the image reduced by config.fit_side", small)):
        if min(x.shape[:2]) < _SMALLEST:
            h, w = x.shape[:2]
            raise InputError(
                f"{which} is {h}x{w}: its sides must be at least {_SMALLEST} pixels for the "
                "discriminator's scales"
            )
    return small


def remarks(config: Config, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
    """Says that the net learns from a large image at a smaller size; see `recipe.Recipe`."""
    del figures
    said = []
    pairs = zip(*(retargeting.images(inputs, name=name) for name in ("full", "image")))
    for full, small in pairs:
        if fitting.factor(full.shape, pixels=config.fit_pixels) == 1:
            continue
        (h, w), (y, x) = full.shape[:2], small.shape[:2]
        by = "fit_pixels"
        if config.fit_side and max(y, x) <= config.fit_side:
            by = "fit_side"
        how = (
            "take their detail from the full image"
            if config.detail
            else "are enlarged by cubic interpolation, config.detail=4 gives them the image's detail"
        )
        said.append(
            f"the net learns from an image that is reduced from {h}x{w} to {y}x{x} pixels, because "
            f"of config.{by}={getattr(config, by)}; results {how}"
        )
    return tuple(said)


def make(config: Config, spec: Inputs) -> Method:
    """Makes InGAN for images of given shapes.

    Args:
        config: The settings.
        spec: The shapes of the inputs that `prepare` returns.

    Returns:
        The method. Its outputs are `result` at `result_scale`; `cycle`, the image reconstructed from
        it; the images themselves (`input`, ...); the further `samples`; and the scalars of
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
        outputs := functools.partial(retargeting.outputs, config),
        baseline=functools.partial(retargeting.stretched, config),
        lanes="map",  # a batched kernel's gradient would be a convolution with an image-sized filter
        final_params=lambda state: {"generator": retargeting.trained(state)},
        apply=outputs,
    )


RECIPE = Recipe(
    name="ingan",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    grouping=grouping,
    remarks=remarks,
    smaller="a smaller config.fit_pixels or config.result_scale",
)
