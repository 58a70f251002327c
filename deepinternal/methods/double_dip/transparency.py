"""Double-DIP separation of transparent layers (Gandelsman, Shocher, Irani, CVPR 2019, section 5).

From one image, I = y1 + y2: each layer's net likes patches that recur, and the exclusion loss forbids
both layers an edge in the same place. From two mixtures of the same layers,
I_k = a_k * y1 + (1 - a_k) * y2 with unknown constants a_k: far better posed.

Where the paper is in the code: eq. 3 -> `_single_loss`; section 5.2 (two mixtures) -> `_pair_loss`; the
exclusion loss (Zhang, Ng, Chen 2018) -> `losses.exclusion`.

Deliberate deviations from the authors' code: a constant a_k is the centre of what a net of the
published kind makes, as there, but of a small input, for only that pixel counts; the best layers are
those of both mixtures; images that are not square are mirrored, not turned. Beyond the paper, by fields
(preset `fast`): the constants are searched for (`alphas=searched`, see `alphas`), and the layers solved
for.

Presets: configs/transparency.py.
"""

import functools

import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.estimators.alphas import search, solve
from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.exclusion import exclusion
from deepinternal.losses.pixel import l1, l2
from deepinternal.methods import checks, fit
from deepinternal.methods.double_dip import common
from deepinternal.types import Example, InputError, Inputs, Method, Output

SIDE_INPUTS = {}
ALPHA_SIDE = 32  # sides of the nets' inputs that make the constants


def defaults() -> ml_collections.ConfigDict:
    """The published settings for one image."""
    return ml_collections.ConfigDict(
        {
            "seed": 0,
            "steps": 0,  # at most so many; 0: as below
            "task": "single",  # or pair
            "fit_steps": 8000,
            "exclusion": 0.01,  # weight of the loss
            "alphas": "learned",  # of pair: constants by nets of their own; or searched, before the fit
            "alpha_until": 1000,  # of pair: steps in which learned constants are pulled to 0.5
            "trust": 0.0,  # of pair: the layers are solved for at last, near those fitted; 0: not
            "flips": 2,  # of single: every so many steps a mirrored or turned variant; 0: never
            "depth": 3,  # channels of the nets' inputs
            "channels": "8,16,32,64,128",
            "skip": "0,0,0,4,4",
            "filters": 5,  # sides of the layers' filters
            "learning_rate": 5e-4,
            "schedule": "constant",  # or cosine
        }
    )


def _fast(config: ml_collections.ConfigDict) -> dict:
    """Fewer steps of a higher rate; of two mixtures the constants are searched for."""
    fields = {"fit_steps": 1500, "learning_rate": 3e-3, "schedule": "cosine"}
    if config.task == "pair":
        fields |= {"fit_steps": 200, "alphas": "searched", "trust": 0.003}
    return fields


PRESETS = {
    "single": {},
    "pair": {
        **{"task": "pair", "fit_steps": 7000, "exclusion": 0.1, "flips": 0, "depth": 2},
        **{"learning_rate": 1e-3},
    },
    "fast": _fast,
    "smoke": {"steps": 10, "channels": "8,16", "skip": "0,4", "filters": 3},
}


def grouping(config: ml_collections.ConfigDict) -> str:
    """Two files are one job of `pair`."""
    return "together" if config.task == "pair" else "single"


def counts(config: ml_collections.ConfigDict) -> tuple[int, int]:
    """How many files make a job of `pair`."""
    del config
    return 2, 2


def example(config: ml_collections.ConfigDict, photo: np.ndarray, **sides) -> Example:
    """Mixtures of two parts of the sample photograph."""
    first, second = photo[:160, 160:320], photo[320:480, 40:200]
    mixed = [a * first + (1 - a) * second for a in (0.35, 0.65)]
    if config.task == "pair":
        return Example(mixed, first, sides)
    return Example(0.5 * (first + second), 0.5 * first, sides)


def prepare(config: ml_collections.ConfigDict, image) -> Inputs:
    """The inputs of the method from what the user gave; on the host.

    Args:
        config: as `defaults()`.
        image: (H, W, C) in [0, 1]; for `pair` a list of two.

    Returns:
        `image`, for `pair` `first` and `second`, each (H, W, C), and `alphas` (2,) where they are
        searched for.

    Raises:
        InputError: an image is too small, or the two are equal.
    """
    images = [np.asarray(x, np.float32) for x in (image if config.task == "pair" else [image])]
    for x in images:
        checks.smallest(x, 32)
    if config.task == "single":
        return {"image": images[0]}
    if np.array_equal(*images):
        raise InputError("config.input: the two mixtures are equal: give different ones")
    inputs = dict(zip(("first", "second"), images))
    if config.alphas == "searched":
        inputs["alphas"] = np.asarray(search(*map(jnp.asarray, images)))
    return inputs


def _single_loss(config, layers, inputs, step):
    """The sum of the layers is the image (eq. 3); no edge in both."""
    del step
    made = layers["layer1"] + layers["layer2"]
    terms = {
        "reconstruction": l1(made, inputs["image"]),
        "exclusion": exclusion(layers["layer1"], layers["layer2"]),
    }
    loss = weighted_sum(terms, {"reconstruction": 1.0, "exclusion": config.exclusion})
    return loss, {**terms, "psnr": common.reconstruction_psnr(made, inputs["image"])}


def constants(layers, inputs):
    """The constants (2,): centre pixel * 0.9 + 0.05 of what their nets make, or those found."""
    if "alphas" in inputs:
        return inputs["alphas"]
    half = ALPHA_SIDE // 2
    return jnp.stack([0.9 * layers[n][half, half, 0] + 0.05 for n in ("alpha1", "alpha2")])


def _pair_loss(config, until: int, layers, inputs, step):
    """Both mixtures, no edge in both layers, constants near 0.5 at first."""
    y1, y2, alphas = layers["layer1"], layers["layer2"], constants(layers, inputs)
    images = inputs["first"], inputs["second"]
    errors = [l2(a * y1 + (1 - a) * y2, x) for a, x in zip(alphas, images)]
    terms = {"reconstruction": sum(errors), "exclusion": exclusion(y1, y2)}
    weights = {"reconstruction": 1.0, "exclusion": config.exclusion}
    if config.alphas == "learned":
        terms["alphas"] = jnp.sum(jnp.square(alphas - 0.5))
        weights["alphas"] = jnp.where(step < until, 1.0, 0.0)
    known = {"alpha1": alphas[0], "alpha2": alphas[1]}
    psnr = -10 * jnp.log10(terms["reconstruction"] / 2)
    return weighted_sum(terms, weights), {**terms, **known, "psnr": psnr}


def _outputs(config, layers, inputs) -> dict[str, Output]:
    """The two layers; the first one is the result."""
    made, scalars = (layers["layer1"], layers["layer2"]), {}
    if config.task == "pair":
        alphas = constants(layers, inputs)
        scalars["alphas"] = Output(alphas, "scalar")
        if config.trust:
            made = solve(inputs["first"], inputs["second"], alphas, near=made, trust=config.trust)
    first, second = (Output(jnp.clip(x, 0, 1), "image") for x in made)
    return {"result": first, "layer1": first, "layer2": second, **scalars}


def make(config: ml_collections.ConfigDict, input_spec: Inputs) -> Method:
    """Separation for images of one shape.

    Args:
        config: as `defaults()`.
        input_spec: shapes of `prepare`'s inputs.

    Returns:
        The method. Outputs: `layer1`, `layer2` (H, W, C), `result` (the former); of `pair` `alphas`
        (2,), the weight of layer1 in each mixture.

    Raises:
        InputError: a field out of range.
    """
    check(config)
    pair = config.task == "pair"
    *shape, channels = input_spec["first" if pair else "image"].shape
    layer = common.net(config, channels, filters=config.filters)
    jitter = 0.0 if pair else fit.growing(1e-3, 100)
    generators = {
        name: fit.Generator(layer, depth=config.depth, jitter=jitter)
        for name in ("layer1", "layer2")
    }
    steps = common.limited(config, config.fit_steps)
    loss = functools.partial(_single_loss, config)
    if pair:
        if config.alphas == "learned":
            constant = common.net(config, 1, filters=config.filters)
            small = fit.Generator(constant, depth=config.depth, size=(ALPHA_SIDE, ALPHA_SIDE))
            generators |= {"alpha1": small, "alpha2": small}
        loss = functools.partial(_pair_loss, config, max(min(config.alpha_until, steps), 1))
    phase = fit.Phase(
        config.task,
        steps,
        loss,
        learning_rate=common.rate(config, steps),
        keep="best" if pair else "last",
        flips=config.flips,
    )
    outputs = functools.partial(_outputs, config)
    return fit.build("transparency", generators, [phase], outputs, shape=shape)


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses settings that work with no image, in one line each."""
    common.check(config, ("fit_steps", "alpha_until"))
    checks.choices(config, {"task": ("single", "pair"), "alphas": ("learned", "searched")})
    checks.least(config, {"exclusion": 0, "depth": 1, "filters": 1, "flips": 0, "trust": 0})
