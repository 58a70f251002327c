"""Double-DIP segmentation of an image or a video (Gandelsman, Shocher, Irani, CVPR 2019, section 4).

I = m * y1 + (1 - m) * y2: one net each for the foreground y1, the background y2 and the mask m. A net
fits a layer with one kind of patches more easily than a mixture of two kinds. Hints, which are pixels
that surely belong to the foreground or to the background, decide which layer is which.

Where the paper is in the code: eq. 1 -> `_fit_loss`; hints and the first phase (public code) ->
`_hint_loss`; the video's coherent inputs (section 4) -> `fit.Generator.drift`.

Deliberate deviations from the authors' code: hints are files or come from a saliency map computed here
(`hints='auto'`), without external tools; frames without hints do not influence the mask. `fit_side` and
`fit_pixels` fit a smaller image, whose mask the guided filter enlarges to full size. Beyond the paper,
by fields (preset `fast`): `spread` classifies each pixel by its appearance and the image's edges
(module `appearance`), and the nets of the two layers then fit the two sides of that mask.
"""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from deepinternal.estimators import saliency_map
from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.pixel import hinted_l1, l1
from deepinternal.losses.smoothness import binarity
from deepinternal.methods import fit, untrained
from deepinternal.methods.double_dip import appearance, common, hints
from deepinternal.methods.double_dip.segmentation_config import CONTINUED, PRESETS, Config
from deepinternal.methods.generator import growing
from deepinternal.ops import fitting
from deepinternal.ops.metrics import mse, mse_to_psnr
from deepinternal.ops.resizing import resize
from deepinternal.recipe import Figures, Recipe, check_smallest
from deepinternal.types import Array, Example, InputError, Inputs, Method, Output

_SPREAD_SIDE = 256  # greatest side in pixels of the image over which hints are spread


def example(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    """Returns a part of the photograph, without hints."""
    del config, sides
    return Example("skimage.data.astronaut, a part", photo[:288, 96:352])


def prepare(
    config: Config,
    image: np.ndarray,
    foreground: np.ndarray | None = None,
    background: np.ndarray | None = None,
) -> Inputs:
    """Makes the method's inputs from the user's arrays, on the host.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1].
        foreground: (H, W), above 0.5 where a pixel is surely foreground.
        background: (H, W), above 0.5 where a pixel is surely background.

    Returns:
        `full` (H, W, C), `image` (h, w, C) to be fitted, and at its size `foreground` and
        `background` (h, w, 1) of zeros and ones, and `prior` (h, w, 1), the mask that they suggest.
        With `config.spread` also `odds` (h', w', 1), the log-odds of the foreground, and `hints`
        (H, W, 1), 1 for foreground, -1 for background, else 0; then `foreground` and `background` are
        the sides of the mask.

    Raises:
        InputError: The image is too small, one hint is missing, a hint is empty or has another size
            than the image, or the hints overlap.
    """
    check_smallest(image, 16)
    small = common.reduced(config, image)
    if foreground is None and background is None:
        given = saliency_map.hints(saliency_map.saliency(small), share=config.hint_share)
    else:
        given = hints.checked(image, foreground, background, hints=config.hints)
    more: Inputs = {}
    if config.spread:
        mask, more = _spread(image, given)
        given = mask, ~mask
    pair = [hints.fitted(hint, small.shape[:2]) for hint in given]
    return {"full": np.asarray(image, np.float32), **hints.inputs(small, pair), **more}


def _spread(image: np.ndarray, given: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, Inputs]:
    """Returns the mask that hints suggest for a reduced image, and the further inputs of `prepare`."""
    small = np.asarray(fitting.reduced(image, side=_SPREAD_SIDE))
    foreground, background = (hints.fitted(hint, small.shape[:2]) for hint in given)
    background = background & ~foreground
    if not background.any():
        h, w = small.shape[:2]
        raise InputError(
            f"config.background: the image is reduced to {h}x{w}, where its hints lie inside those of "
            "config.foreground; make both larger, or move them apart"
        )
    odds, mask = appearance.evidence(small, foreground, background)
    signs = np.zeros(image.shape[:2], np.float32)
    for hint, sign in zip(given, (1, -1)):
        signs[hints.fitted(hint, signs.shape)] = sign
    return mask, {"odds": odds[..., None], "hints": signs[..., None]}


def _hint_loss(layers, inputs, step):
    """The loss of the first phase: each layer fits the image in its hint, the mask fits both hints."""
    del step
    image = inputs["image"]
    terms = {
        "foreground": hinted_l1(layers["foreground"], image, inputs["foreground"]),
        "background": hinted_l1(layers["background"], image, inputs["background"]),
        "mask": _mask_error(layers, inputs),
    }
    return weighted_sum(terms, dict.fromkeys(terms, 1.0)), terms


def _mask_error(layers, inputs):
    """Distance between the mask and the prior, over the frames that have hints."""
    prior = inputs["prior"]
    told = jnp.max(jnp.abs(prior - 0.5), axis=(-3, -2, -1), keepdims=True) > 0
    return hinted_l1(layers["mask"], prior, told + 0 * prior)


def _fit_loss(until: int, layers, inputs, step):
    """The loss of the second phase: reconstruction (eq. 1) and a mask of zeros and ones."""
    image, mask = inputs["image"], layers["mask"]
    made = mask * layers["foreground"] + (1 - mask) * layers["background"]
    hinted = jnp.where(step < until, 1.0, 0.0)
    terms = {
        "foreground": hinted_l1(layers["foreground"], image, inputs["foreground"]),
        "background": hinted_l1(layers["background"], image, inputs["background"]),
        "reconstruction": l1(made, image),
        "binarity": binarity(mask),
    }
    growth = 10 * jnp.minimum(step / until, 1.0)
    weights = {
        "foreground": hinted,
        "background": hinted,
        "reconstruction": 0.5,
        "binarity": 0.001 * jnp.floor(growth),
    }
    return weighted_sum(terms, weights), {
        **terms,
        "psnr": mse_to_psnr(mse(made, image)),
    }


def _side_loss(layers, inputs, step):
    """The loss of two layers, each of which fits its side of a known mask."""
    del step
    terms = {
        n: hinted_l1(layers[n], inputs["image"], inputs[n]) for n in ("foreground", "background")
    }
    return weighted_sum(terms, dict.fromkeys(terms, 1.0)), terms


def phases(config: Config) -> list[fit.Phase]:
    """The phases, for images and for videos. With `spread`, the mask is known before the fit."""
    counts = [common.limited(config, n) for n in (config.hint_steps, config.fit_steps)]
    rates = [config.rate(n) for n in counts]
    if config.spread:
        return [fit.Phase("layers", counts[1], _side_loss, learning_rate=rates[1])]
    until = max(min(config.hints_until, counts[1]), 1)
    return [
        fit.Phase("hints", counts[0], _hint_loss, learning_rate=rates[0]),
        fit.Phase(
            "fit",
            counts[1],
            functools.partial(_fit_loss, until),
            learning_rate=rates[1],
            target=config.target,
        ),
    ]


def more(config: Config) -> int:
    """The number of steps with which a finished run continues after its hints have changed."""
    return common.limited(config, config.more_steps or -(-config.fit_steps // 10))


def generators(
    config: Config, channels: int, *, drift: float = 0.0, **ranges: float
) -> dict[str, fit.Generator]:
    """The generators. Those of the two layers share one input; a known mask needs no generator."""
    jitter = growing(config.jitter, 100) if config.jitter else 0.0
    layer = common.net(config, channels)
    found = {
        "foreground": fit.Generator(layer, jitter=jitter, drift=drift, **ranges),
        "background": fit.Generator(layer, source="=foreground", jitter=jitter),
    }
    if not config.spread:
        mask = common.net(config, 1)
        found["mask"] = fit.Generator(mask, jitter=jitter, drift=drift, **ranges)
    return found


def cut(config: Config, mask: Array, full: Array) -> Array:
    """Turns the layer (h, w, 1) into a mask (H, W) of zeros and ones, refined to the image's edges."""
    guide = fitting.reduced(full, pixels=config.fit_pixels)  # the mask of a large image fits it
    radius = round(config.edges * max(guide.shape[:2]) / max(mask.shape[:2]))
    made = common.refined(mask, guide, radius=radius)[..., None]
    return (fitting.enlarged(made, full.shape[:2])[..., 0] > 0.5).astype(jnp.float32)


def cut_by_odds(config: Config, odds: Array, signs: Array, full: Array) -> tuple[Array, Array]:
    """Makes the mask of an image from the log-odds of its pixels.

    Args:
        config: The settings.
        odds: (h, w, 1), the log-odds of the foreground.
        signs: (H, W, 1), 1 where a pixel is hinted as foreground, -1 as background, else 0.
        full: (H, W, C), the image.

    Returns:
        The mask (H, W) of zeros and ones; and the opacity (H, W) in [0, 1], which is between 0 and 1
        where the image is soft at the mask's outline.
    """
    guide = fitting.reduced(full, pixels=config.fit_pixels)  # the mask of a large image fits it
    size = guide.shape[:2]
    odds = resize(odds, output_shape=size, method="linear")[..., 0]
    signs = signs if size == full.shape[:2] else resize(signs, output_shape=size, method="box")
    sure = [signs[..., 0] > 0.5, signs[..., 0] < -0.5]
    mask = appearance.segmented(guide, odds, *sure).astype(jnp.float32)
    radius = max(round(max(size) / 150), 1)
    alpha = jnp.clip(common.applied(mask, guide, full, radius=radius), 0, 1)
    if size != full.shape[:2]:
        mask = (alpha > 0.5).astype(jnp.float32)
    return mask, alpha


def enlarged(layer: Array, full: Array, where: Array) -> Array:
    """Enlarges a layer (h, w, C) of a smaller image; it is the image itself `where` it is visible.

    Args:
        layer: (h, w, C); one of the image's size is returned as it is.
        full: (H, W, C), the image.
        where: (H, W) of zeros and ones.
    """
    if layer.shape[:2] == full.shape[:2]:
        return layer
    return jnp.where(where[..., None] > 0.5, full, fitting.enlarged(layer, full.shape[:2]))


def _outputs(config, layers, inputs) -> dict[str, Output]:
    """The mask, the opacity, the two layers, and the image inside the mask."""
    full = inputs["full"]
    if config.spread:
        mask, alpha = cut_by_odds(config, inputs["odds"], inputs["hints"], full)
    else:
        mask = alpha = cut(config, layers["mask"], full)
    made = {
        "result": Output(full * mask[..., None], "image"),
        "mask": Output(mask, "mask"),
        "alpha": Output(alpha, "mask"),
    }
    if config.layers:
        for name, where in (("foreground", mask), ("background", 1 - mask)):
            made[name] = Output(enlarged(layers[name], full, where), "image")
    return made


def make(config: Config, spec: Inputs) -> Method:
    """Makes segmentation for images of one shape.

    Args:
        config: The settings.
        spec: The shapes of the inputs that `prepare` returns.

    Returns:
        The method. Its outputs are `mask` (H, W) of zeros and ones; `alpha` (H, W) in [0, 1], its soft
        form; the layers `foreground` and `background` (H, W, C); and `result` (H, W, C), the image
        multiplied by the mask.
    """
    *shape, channels = spec["image"].shape
    baseline = lambda inputs: inputs["full"]
    if config.spread and not config.layers:
        masks = functools.partial(_outputs, config, {})
        return untrained.build("segmentation", masks, continues=True, baseline=baseline)
    return fit.build(
        "segmentation",
        generators(config, channels),
        phases(config),
        functools.partial(_outputs, config),
        shape=shape,
        more=more(config),
        baseline=baseline,
    )


def _remarks(config: Config, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
    """Tells the confidence of a mask without hints, and whether a large image was fitted smaller."""
    del figures
    told = common.remarks(config, inputs["full"].shape, inputs["image"].shape)
    if config.foreground or not config.spread:
        return told
    sure = float(np.mean(np.abs(np.tanh(np.asarray(inputs["odds"]) / 2))))  # |2 p - 1|
    return (
        "the hints are estimated from the image, and the mask has a confidence of "
        f"{round(100 * sure)} %; below 95 %, it is often wrong: paint your own hints",
        *told,
    )


def equations(config: Config, inputs: Inputs) -> tuple[str, ...]:
    """The equation of the layers of an image or a video."""
    del config, inputs
    return ("input = mask * foreground + (1 - mask) * background",)


RECIPE = Recipe(
    name="segmentation",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    side_inputs={"foreground": "mask", "background": "mask"},
    remarks=_remarks,
    equations=equations,
    continued=CONTINUED,
    smaller=common.SMALLER,
)
