"""Double-DIP separation of transparent layers (Gandelsman, Shocher, Irani, CVPR 2019, section 5).

From one image, I = y1 + y2: each layer's net likes patches that recur, and the exclusion loss forbids
both layers an edge in the same place. From two mixtures of the same layers,
I_k = a_k * y1 + (1 - a_k) * y2 with unknown constants a_k: far better posed.

Where the paper is in the code: eq. 3 -> `_single_loss`; section 5.2 (two mixtures) -> `_pair_loss`; the
exclusion loss (Zhang, Ng, Chen 2018) -> `losses.exclusion`.

Deliberate deviations from the authors' code: a constant a_k is the centre of what a net of the
published kind makes, as there, but of a small input, for only that pixel counts; the best layers are
those of both mixtures; images that are not square are mirrored, not turned. Beyond the paper, by fields
(preset `fast`): the constants are searched for (`alphas=searched`, see
`estimators.alphas`), and the layers solved for.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
from annotated_types import Ge

from deepinternal.config import Auto, Preset, field
from deepinternal.estimators.alphas import search
from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.exclusion import exclusion
from deepinternal.losses.pixel import l1, l2
from deepinternal.methods import fit
from deepinternal.methods.double_dip import common
from deepinternal.methods.fit_config import FitConfig, Odd
from deepinternal.methods.generator import growing
from deepinternal.ops.mixtures import solve
from deepinternal.recipe import Grouping, Recipe, check_smallest
from deepinternal.types import Example, InputError, Inputs, Method, Output

ALPHA_SIDE = 32  # sides of the nets' inputs that make the constants


class Config(FitConfig):
    """Settings of separation. Fields that are 'auto' follow from `task` and `effort`, see `TASKS`."""

    task: Literal["single", "pair"] = field(
        "single", "one image, or two mixtures of the same layers"
    )
    effort: Literal["published", "fast"] = field(
        "published", "what 'auto' fields stand for: the paper's settings, or fewer steps"
    )
    train_steps: Auto[Annotated[int, Ge(1)]] = field("auto", "steps of the fit", unit="steps")
    exclusion: Auto[Annotated[float, Ge(0)]] = field("auto", "weight of the exclusion loss")
    alphas: Literal["auto", "learned", "searched"] = field(
        "auto", "of pair: constants by nets of their own, or searched for before the fit"
    )
    alpha_until: int = field(
        1000,
        "of pair: steps in which learned constants are pulled to 0.5",
        unit="steps",
        ge=1,
    )
    trust: Auto[Annotated[float, Ge(0)]] = field(
        "auto",
        "of pair: the layers are solved for at last; this is the weight of their distance to those "
        "fitted; 0: they are not solved for",
    )
    flips: Auto[Annotated[int, Ge(0)]] = field(
        "auto", "every so many steps a mirrored or turned variant is fitted; 0: never", unit="steps"
    )
    depth: Auto[Annotated[int, Ge(1)]] = field("auto", "channels of the noise the nets are given")
    filters: Odd = field(5, "side of the kernels of the layers' nets", unit="pixels")
    learning_rate: Auto[Annotated[float, Ge(0)]] = field("auto", "learning rate of Adam")
    schedule: Literal["auto", "constant", "cosine"] = field(
        "auto", "learning rate over the steps; cosine: to zero at the end"
    )

    def standard(self) -> Mapping[str, Any]:
        """What the task and the effort stand for."""
        task = TASKS[self.task]
        return task["published"] | (task["fast"] if self.effort == "fast" else {})


TASKS: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "single": {
        "published": {
            **{"train_steps": 8000, "exclusion": 0.01, "alphas": "learned", "trust": 0.0},
            **{"flips": 2, "depth": 3, "learning_rate": 5e-4, "schedule": "constant"},
        },
        "fast": {"train_steps": 1500, "learning_rate": 3e-3, "schedule": "cosine"},
    },
    "pair": {
        "published": {
            **{"train_steps": 7000, "exclusion": 0.1, "alphas": "learned", "trust": 0.0},
            **{"flips": 0, "depth": 2, "learning_rate": 1e-3, "schedule": "constant"},
        },
        "fast": {
            **{"train_steps": 200, "learning_rate": 3e-3, "schedule": "cosine"},
            **{"alphas": "searched", "trust": 0.003},
        },
    },
}

PRESETS: Mapping[str, Preset] = {
    "single": Preset({"task": "single"}, "one image, the published settings"),
    "pair": Preset({"task": "pair"}, "two mixtures of the same layers"),
    "fast": Preset(
        {
            **{"effort": "fast", "train_steps": "auto", "learning_rate": "auto"},
            **{"schedule": "auto", "alphas": "auto", "trust": "auto"},
        },
        "fewer steps of a higher rate; of two mixtures the constants are searched for",
        "of two mixtures (192x192, weights .7 and .4) weights of .705 and .404, correlations of the "
        "layers 1.00; of one image correlations .77 and .66, in 250 s on two cores of an AMD EPYC",
    ),
    "smoke": Preset(
        {"steps": 10, "channels": "8,16", "skip": "0,4", "filters": 3},
        "a few steps of tiny nets, to see that everything runs",
    ),
}


def example(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    """Mixtures of two parts of the photograph."""
    del sides
    first, second = photo[:160, 160:320], photo[320:480, 40:200]
    if config.task == "pair":
        mixed = [a * first + (1 - a) * second for a in (0.35, 0.65)]
        return Example("skimage.data.astronaut, two mixtures of two parts", mixed, first)
    mixed = 0.5 * (first + second)
    return Example("skimage.data.astronaut, a mixture of two parts", mixed, 0.5 * first)


def prepare(config: Config, image: np.ndarray | Sequence[np.ndarray]) -> Inputs:
    """The inputs of the method from what the user gave; on the host.

    Args:
        config: the settings.
        image: (H, W, C) in [0, 1]; for `pair` a list of two.

    Returns:
        `image`, for `pair` `first` and `second`, each (H, W, C), and `alphas` (2,) where they are
        searched for.

    Raises:
        InputError: an image is too small, or the two are equal.
    """
    images = [np.asarray(x, np.float32) for x in (image if config.task == "pair" else [image])]
    for x in images:
        check_smallest(x, 32)
    if config.task == "single":
        return {"image": images[0]}
    if np.array_equal(*images):
        raise InputError("config.input: the two mixtures are equal: give different ones")
    inputs = dict(zip(("first", "second"), images))
    if config.alphas == "searched":
        inputs["alphas"] = np.asarray(search(*images))
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


def make(config: Config, spec: Inputs) -> Method:
    """Separation for images of one shape.

    Args:
        config: the settings.
        spec: shapes of `prepare`'s inputs.

    Returns:
        The method. Outputs: `layer1`, `layer2` (H, W, C), `result` (the former); of `pair` `alphas`
        (2,), the weight of layer1 in each mixture.
    """
    pair = config.task == "pair"
    *shape, channels = spec["first" if pair else "image"].shape
    layer = common.net(config, channels, filters=config.filters)
    jitter = 0.0 if pair else growing(1e-3, 100)
    generators = {
        name: fit.Generator(layer, depth=config.depth, jitter=jitter)
        for name in ("layer1", "layer2")
    }
    steps = common.limited(config, config.train_steps)
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
        learning_rate=config.rate(steps),
        keep="best" if pair else "last",
        flips=config.flips,
    )
    outputs = functools.partial(_outputs, config)
    return fit.build("transparency", generators, [phase], outputs, shape=shape)


def _grouping(config: Config) -> Grouping:
    """Two files are one job of `pair`."""
    return Grouping("together", least=2, most=2) if config.task == "pair" else Grouping()


RECIPE = Recipe(
    name="transparency",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    grouping=_grouping,
)
