"""Denoising of a single image, without a data set: by its own patches, or by training on itself.

Where the papers are in the code: NL-Ridge (Herbreteau and Kervrann 2024) -> `ridge`; multiscale
denoising (Facciolo et al. 2017) -> `scales`; zero-shot Noise2Noise (Mansour and Heckel 2023) and
Pixel2Pixel (Ma et al. 2025) -> `pairs`; NL-Bayes (Lebrun et al. 2013) -> `bayes`; Self2Self (Quan et
al. 2020) -> `blindspot`. The noise of each image is measured, and `decisions` chooses how to remove it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from deepinternal.methods.denoise import bayes, blindspot, canvas, pairs, ridge, scales, unchanged
from deepinternal.methods.denoise.config import PRESETS, Config
from deepinternal.methods.denoise.decisions import decide
from deepinternal.methods.denoise.fill import filled
from deepinternal.methods.denoise.parts import Parts
from deepinternal.methods.denoise.sentences import remarks
from deepinternal.recipe import Canvas, Recipe, check_size
from deepinternal.types import Example, InputError, Inputs, Method

# `(config, (H, W, C), variant) -> Parts`, see `decisions.Decision`.
ALGORITHMS: Mapping[str, Callable[[Config, tuple[int, int, int], str], Parts]] = {
    "ridge": ridge.parts,
    "pairs": pairs.parts,
    "blindspot": blindspot.parts,
    "bayes": bayes.parts,
    "unchanged": unchanged.parts,
}


def example(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    """Returns a part of the photograph with gaussian noise."""
    del sides
    photo = photo[:256, 128:384]
    std = config.noise_std or 25 / 255
    noise = np.random.default_rng(0).normal(0, std, photo.shape)
    image = np.clip(photo + noise, 0, 1).astype(np.float32)
    return Example(f"skimage.data.astronaut with noise of {255 * std:.3g} / 255", image, photo)


def prepare(config: Config, image: np.ndarray, mask: np.ndarray | None = None) -> Inputs:
    """Makes the method's inputs from the user's arrays, on the host.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1].
        mask: (H, W) in [0, 1], above 0.5 where the image is known. None: all of it.

    Returns:
        `image`, without missing and wrong pixels; `noise` and `facts`, the model of its noise as
        arrays, see `decisions.Decision`; `algorithm`, whose only name is the algorithm's, with its
        variant below it; for `ridge` on images with white noise, `mosaic` and `share`, see
        `scales.mosaic`; and if pixels were missing or wrong, `mask` (H, W, 1), 1 at all others.

    Raises:
        InputError: The mask has another size than the image, or no pixel is known.
    """
    image, known = np.asarray(image, np.float32), np.ones(image.shape[:2], bool)
    if mask is not None:
        check_size("mask", mask, image)
        known = np.asarray(mask > 0.5)
        if not known.any():
            raise InputError(
                "config.mask: nothing is known; the mask must be white where the image is known"
            )
        image = filled(image, known)
    found = decide(config, image, known)
    if found.wrong is not None:
        known &= ~found.wrong
    inputs = {
        "image": np.asarray(found.image, np.float32),
        "noise": found.noise,
        "facts": found.facts,
        "algorithm": {found.algorithm: {found.variant: np.zeros((), np.int32)}},
    }
    if found.variant.endswith(ridge.MOSAIC):
        inputs["mosaic"], inputs["share"] = scales.mosaic(inputs["image"])
    return inputs if known.all() else inputs | {"mask": known[..., None].astype(np.float32)}


def make(config: Config, spec: Inputs) -> Method:
    """Makes the method for images of one shape.

    Args:
        config: The settings.
        spec: The shapes of the inputs that `prepare` or, on a canvas, `canvas.pad` returns.

    Returns:
        The method. Its outputs are `result` (H, W, C) in [0, 1], `uncertainty` (H, W), the expected
        standard deviation of its errors, and the scalar `expected_psnr`.
    """
    ((name, variants),) = spec["algorithm"].items()
    (variant,) = variants
    found = ALGORITHMS[name](config, spec["image"].shape, variant)
    baseline = lambda inputs: jnp.clip(inputs["image"], 0, 1)
    return Method("denoise", found.init, found.stages, found.outputs, baseline=baseline)


RECIPE = Recipe(
    name="denoise",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    side_inputs={"mask": "mask"},
    canvas=Canvas(canvas.group, canvas.pad),
    remarks=remarks,
    holes=lambda config: "mask" if config.mask else "",
)
