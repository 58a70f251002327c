"""Double-DIP segmentation of an image or a video (Gandelsman, Shocher, Irani, CVPR 2019, section 4).

I = m * y1 + (1 - m) * y2: one net each for the foreground y1, the background y2 and the mask m. Each
makes a layer of one kind of patches more easily than a mixture of two kinds. Hints say which layer is
which: pixels that are surely foreground, and surely background.

Where the paper is in the code: eq. 1 -> `_fit_loss`; hints and the first phase (public code) ->
`_hint_loss`; the video's coherent inputs (section 4) -> `fit.Generator.drift`.

Deliberate deviations from the authors' code: hints are files or come from an internal saliency map
computed here (`hints='auto'`), without external tools; frames without hints do not pull the mask.
`fit_side` fits a smaller image, whose mask the guided filter brings to full size. Beyond the paper, by
fields (preset `fast`): `spread` passes hints on to similar patches and along the image
(`ops/spread.py`), `anchor` keeps the mask near them, `edges` keeps the guided filter local.

Presets: configs/segmentation.py, configs/video_segmentation.py.
"""

import functools

import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.estimators import saliency
from deepinternal.estimators.spread import spread
from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.pixel import hinted_l1, l1
from deepinternal.losses.smoothness import binarity
from deepinternal.methods import checks, fit
from deepinternal.methods.double_dip import common
from deepinternal.ops import fitting
from deepinternal.types import Example, InputError, Inputs, Method, Output

SIDE_INPUTS = {"foreground": "mask", "background": "mask"}


def defaults() -> ml_collections.ConfigDict:
    """The published settings."""
    return ml_collections.ConfigDict(
        {
            "seed": 0,
            "steps": 0,  # at most so many in each phase; 0: as below
            "hint_steps": 2000,  # fitting the hints
            "fit_steps": 4000,  # fitting the image
            "hints_until": 1000,  # steps of the second phase in which the layers' hints go on
            "foreground": "",  # file or folder of masks; white = surely foreground
            "background": "",
            "hints": "",  # 'auto': from the image itself; '': auto where no files are given
            "hint_share": 0.06,  # of the pixels, each of the two, with automatic hints
            "spread": False,  # whether hints are passed on to similar patches and along the image
            "anchor": 0.0,  # weight of the mask's distance from the hints in the second phase
            "edges": 50,  # radius of the mask's guided filter, in pixels of the fit
            "jitter": 1e-3,  # by which the noise added to the inputs grows every 100 steps, up to 1000
            "fit_side": 0,  # the image is fitted with no side over so many pixels; 0: as it is
            "channels": "8,16,32",
            "skip": "0",
            "learning_rate": 1e-3,
            "schedule": "constant",  # or cosine
            "target": 30.0,  # dB of the reconstruction with which the fit ends
        }
    )


PRESETS = {
    "default": {},
    "fast": {
        **{"fit_side": 256, "hint_steps": 100, "fit_steps": 200, "hints_until": 200},
        **{"learning_rate": 4e-3, "schedule": "cosine", "target": 60.0, "jitter": 0.0},
        **{"spread": True, "anchor": 0.5, "edges": 8},
    },
    "smoke": {"steps": 15, "fit_side": 96, "channels": "4,8", "skip": "0"},
}


def example(config: ml_collections.ConfigDict, photo: np.ndarray, **sides) -> Example:
    """Part of the sample photograph; hints are then automatic."""
    del config
    return Example(photo[:288, 96:352], None, sides)


def prepare(
    config: ml_collections.ConfigDict, image: np.ndarray, foreground=None, background=None
) -> Inputs:
    """The inputs of the method from what the user gave; on the host.

    Args:
        config: as `defaults()`.
        image: (H, W, C) in [0, 1].
        foreground: (H, W), above 0.5 surely foreground.
        background: likewise.

    Returns:
        `full` (H, W, C), `image` (h, w, C) to be fitted, and at its size `foreground` and
        `background` (h, w, 1) of zeros and ones, and `prior` (h, w, 1), the mask that they suggest.

    Raises:
        InputError: only one of the hints, empty or overlapping ones, another size.
    """
    checks.smallest(image, 16)
    small = fitting.reduced(image, config.fit_side)
    if foreground is None and background is None:
        hints = saliency.hints(saliency.saliency(jnp.asarray(small)), share=config.hint_share)
        hints = [np.asarray(hint) for hint in hints]
    else:
        hints = check_hints(config, image, foreground, background)
        hints = [shrunk_hint(hint, small.shape[:2]) for hint in hints]
    return {"full": np.asarray(image, np.float32), **hint_inputs(config, small[None], hints, 0)}


def hint_inputs(config, images: np.ndarray, hints, frame=slice(None)) -> Inputs:
    """What the fit needs of images (T, h, w, C) and hints; `frame`, those of the T that are taken."""
    fg, bg = (np.asarray(hint, bool).reshape(images.shape[:3]) for hint in hints)
    prior = (1.0 + fg - bg) / 2
    if config.spread:
        prior = np.where(fg | bg, prior, spread(images, fg, bg))
    maps = {"foreground": fg, "background": bg, "prior": prior}
    maps = {name: np.asarray(x, np.float32)[..., None][frame] for name, x in maps.items()}
    return {"image": images[frame], **maps}


def check_hints(config, image, foreground, background) -> tuple[np.ndarray, np.ndarray]:
    """Hints as booleans (H, W), if they can be used; errors as of `prepare`."""
    given = {"foreground": foreground, "background": background}
    for field, hint in given.items():
        if hint is None:
            other = next(f for f in given if f != field)
            raise InputError(
                f"config.{field}: give a hint for it, too, besides config.{other}; or neither, with "
                "config.hints=auto"
            )
        if config.hints == "auto":
            raise InputError(f"config.hints=auto and config.{field} exclude each other: give one")
        checks.same_size(field, hint, image)
    foreground, background = foreground > 0.5, background > 0.5
    for field, hint in (("foreground", foreground), ("background", background)):
        if not hint.any() or hint.all():
            what = "nothing is white" if not hint.any() else "everything is white"
            raise InputError(
                f"config.{field}: {what}; white pixels are those that surely belong to it"
            )
    if (both := int((foreground & background).sum())) > 0:
        raise InputError(
            f"config.foreground and config.background overlap in {both} pixels: a pixel is one or "
            "the other"
        )
    return foreground, background


def shrunk_hint(hint: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A hint (H, W) at the size of the fit: pixels of which most is hinted."""
    if hint.shape == tuple(size):
        return hint
    factor = -(-hint.shape[0] // size[0])
    rows, columns = (np.arange(0, n, factor) for n in hint.shape)
    sums = np.add.reduceat(np.add.reduceat(hint.astype(np.float32), rows, 0), columns, 1)
    counts = np.outer(*(np.diff(np.append(p, n)) for p, n in zip((rows, columns), hint.shape)))
    kept = sums / counts >= 0.5
    return kept if kept.any() else sums > 0


def _hint_loss(layers, inputs, step):
    """The first phase: each layer on its hint, the mask on both."""
    del step
    image = inputs["image"]
    terms = {
        "foreground": hinted_l1(layers["foreground"], image, inputs["foreground"]),
        "background": hinted_l1(layers["background"], image, inputs["background"]),
        "mask": _mask_error(layers, inputs),
    }
    return weighted_sum(terms, dict.fromkeys(terms, 1.0)), terms


def _mask_error(layers, inputs):
    """The mask's distance from what the hints suggest, over frames of which they say something."""
    prior = inputs["prior"]
    told = jnp.max(jnp.abs(prior - 0.5), axis=(-3, -2, -1), keepdims=True) > 0
    return hinted_l1(layers["mask"], prior, told + 0 * prior)


def _fit_loss(config, until: int, layers, inputs, step):
    """The second phase: reconstruction (eq. 1) and a mask of zeros and ones."""
    image, mask = inputs["image"], layers["mask"]
    made = mask * layers["foreground"] + (1 - mask) * layers["background"]
    hints = jnp.where(step < until, 1.0, 0.0)
    terms = {
        "foreground": hinted_l1(layers["foreground"], image, inputs["foreground"]),
        "background": hinted_l1(layers["background"], image, inputs["background"]),
        "reconstruction": l1(made, image),
        "binarity": binarity(mask),
    }
    growth = 10 * jnp.minimum(step / until, 1.0)
    weights = {
        "foreground": hints,
        "background": hints,
        "reconstruction": 0.5,
        "binarity": 0.001 * jnp.floor(growth),
    }
    if config.anchor:
        terms["mask"] = _mask_error(layers, inputs)
        weights["mask"] = config.anchor
    return weighted_sum(terms, weights), {
        **terms,
        "psnr": common.reconstruction_psnr(made, image),
    }


def phases(config: ml_collections.ConfigDict) -> list[fit.Phase]:
    """The two phases, of images and of videos."""
    counts = [common.limited(config, n) for n in (config.hint_steps, config.fit_steps)]
    until = max(min(config.hints_until, counts[1]), 1)
    rates = [common.rate(config, n) for n in counts]
    return [
        fit.Phase("hints", counts[0], _hint_loss, learning_rate=rates[0]),
        fit.Phase(
            "fit",
            counts[1],
            functools.partial(_fit_loss, config, until),
            learning_rate=rates[1],
            target=config.target,
        ),
    ]


def generators(config: ml_collections.ConfigDict, channels: int, drift: float = 0.0, **ranges):
    """The three nets; the two layers have one input."""
    jitter = fit.growing(config.jitter, 100) if config.jitter else 0.0
    layer = common.net(config, channels)
    return {
        "foreground": fit.Generator(layer, jitter=jitter, drift=drift, **ranges),
        "background": fit.Generator(layer, source="=foreground", jitter=jitter),
        "mask": fit.Generator(common.net(config, 1), jitter=jitter, drift=drift, **ranges),
    }


def cut(config: ml_collections.ConfigDict, mask, full):
    """The mask (H, W) of zeros and ones, from the layer (h, w, 1), with the image's edges."""
    radius = round(config.edges * max(full.shape[:2]) / max(mask.shape[:2]))
    return (common.refined(mask, full, radius) > 0.5).astype(jnp.float32)


def _outputs(config, layers, inputs) -> dict[str, Output]:
    """The mask, the two layers, and what the mask cuts out of the image."""
    full = inputs["full"]
    shape = full.shape[:2]
    mask = cut(config, layers["mask"], full)
    return {
        "result": Output(full * mask[..., None], "image"),
        "mask": Output(mask, "mask"),
        "foreground": Output(fitting.enlarged(layers["foreground"], shape), "image"),
        "background": Output(fitting.enlarged(layers["background"], shape), "image"),
    }


def make(config: ml_collections.ConfigDict, input_spec: Inputs) -> Method:
    """Segmentation of images of one shape.

    Args:
        config: as `defaults()`.
        input_spec: shapes of `prepare`'s inputs.

    Returns:
        The method. Outputs: `mask` (H, W) of zeros and ones, `foreground` and `background`
        (H, W, C), the layers; `result`, the image where the mask is one.

    Raises:
        InputError: a field out of range.
    """
    check(config)
    *shape, channels = input_spec["image"].shape
    return fit.build(
        "segmentation",
        generators(config, channels),
        phases(config),
        functools.partial(_outputs, config),
        shape=shape,
        baseline=lambda inputs: inputs["full"],
    )


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses settings that work with no image, in one line each."""
    common.check(config, ("hint_steps", "fit_steps", "hints_until"))
    checks.choices(config, {"hints": ("", "auto")})
    bounds = {"fit_side": 0, "target": 1, "hint_share": 0.001, "jitter": 0, "anchor": 0, "edges": 1}
    checks.least(config, bounds)
    checks.below(config, {"hint_share": 0.5})
