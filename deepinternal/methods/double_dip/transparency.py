"""Double-DIP separation of transparent layers (Gandelsman, Shocher, Irani, CVPR 2019, section 5).

One image is I = y1 + y2: the net of each layer favours patches that recur, and the exclusion loss
penalises edges that both layers have in the same place. Two mixtures of the same layers are
I_k = a_k * y1 + (1 - a_k) * y2 with unknown constants a_k, which is a far better posed problem.

Where the paper is in the code: eq. 3 -> `_single_loss`; section 5.2 (two mixtures) -> `_pair_loss`; the
exclusion loss (Zhang, Ng, Chen 2018) -> `losses.layers`.

Deliberate deviations from the authors' code: a constant a_k is the centre pixel of the output of a net,
as in their code, but the net has a small input, since no other pixel matters; the best layers are
chosen for both mixtures together; images that are not square are mirrored, not transposed; images of
more than `fit_pixels` are reduced for the fit (see `_outputs` for the full layers). One image does not
determine the means of its layers: `ops.mixtures.balanced` chooses them. Beyond the paper: a reflection
on a window and two regular patterns are found without nets (see `estimated_layers.py`); and by fields
(preset `fast`): the constants are found by a search (`alphas=searched`, see `estimators.alphas`), and
the layers by solving the mixtures for them.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from deepinternal.estimators.alphas import search_alphas
from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.layers import exclusion
from deepinternal.losses.pixel import l1, l2
from deepinternal.methods import fit
from deepinternal.methods.double_dip import common, estimated_layers
from deepinternal.methods.double_dip.transparency_config import PRESETS, TASKS, Config
from deepinternal.methods.generator import growing
from deepinternal.ops import fitting
from deepinternal.ops.metrics import mse, mse_to_psnr
from deepinternal.ops.mixtures import balanced, solve
from deepinternal.recipe import Figures, Grouping, Recipe, check_smallest
from deepinternal.types import Example, InputError, Inputs, Method, Output

ALPHA_SIDE = 32  # side of the inputs of the nets that make the constants


def example(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    """Returns one or several mixtures of two parts of the photograph."""
    del sides
    first, second = photo[:160, 160:320], photo[320:480, 40:200]
    if config.task == "pair":
        mixed = [a * first + (1 - a) * second for a in (0.35, 0.65)]
        return Example("skimage.data.astronaut, two mixtures of two parts", mixed, first)
    if config.task == "frames":
        frames = [0.6 * first + 0.4 * np.roll(second, 9 * n, axis=1) for n in range(5)]
        return Example("skimage.data.astronaut, a part behind a moving one", frames, 0.6 * first)
    if config.task == "reflection":
        mixed = 0.7 * first + 0.3 * ndimage.gaussian_filter(second, (3, 3, 0))
        return Example("skimage.data.astronaut, a part behind a blurred one", mixed, 0.7 * first)
    mixed = 0.5 * (first + second)
    return Example("skimage.data.astronaut, a mixture of two parts", mixed, 0.5 * first)


def prepare(config: Config, image: np.ndarray | Sequence[np.ndarray]) -> Inputs:
    """Makes the method's inputs from the user's image or images, on the host.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1]; for `pair` a list of two, for `frames` of three or more.

    Returns:
        `image` (H, W, C); for `pair` `first` and `second` (H, W, C), and `alphas` (2,) if they are
        searched. Large images are reduced, and `full_image` or `full_first` and `full_second` are the
        user's. Layers that are found without nets: see `estimated_layers`.

    Raises:
        InputError: An image is too small, or the two are equal.
    """
    images = [np.asarray(x, np.float32) for x in (image if _several(config) else [image])]
    for x in images:
        check_smallest(x, 32)
    if config.task == "frames":
        return estimated_layers.of_frames(images)
    if config.task == "reflection":
        return estimated_layers.of_reflection(images[0], strength=config.strength)
    if config.patterns == "search" and (found := estimated_layers.of_patterns(images[0])):
        return found
    names = ("image",) if config.task == "single" else ("first", "second")
    inputs = dict(zip(names, images))
    if common.is_large(config, images[0].shape):
        inputs = {n: common.reduced(config, x) for n, x in inputs.items()}
        inputs |= {f"full_{name}": x for name, x in zip(names, images)}
    if config.task == "single":
        return inputs
    if np.array_equal(*images):
        raise InputError("config.input: the two mixtures are equal; give two different mixtures")
    if config.alphas == "searched":
        inputs["alphas"] = np.asarray(search_alphas(*images))
    return inputs


def _single_loss(config, layers, inputs, step):
    """The loss for one image: the layers add up to it (eq. 3) and share no edges."""
    del step
    made = layers["layer1"] + layers["layer2"]
    terms = {
        "reconstruction": l1(made, inputs["image"]),
        "exclusion": exclusion(layers["layer1"], layers["layer2"]),
    }
    loss = weighted_sum(terms, {"reconstruction": 1.0, "exclusion": config.exclusion})
    return loss, {**terms, "psnr": mse_to_psnr(mse(made, inputs["image"]))}


def constants(layers, inputs):
    """The constants (2,): 0.9 * centre pixel + 0.05 of their nets' outputs, or those searched."""
    if "alphas" in inputs:
        return inputs["alphas"]
    half = ALPHA_SIDE // 2
    return jnp.stack([0.9 * layers[n][half, half, 0] + 0.05 for n in ("alpha1", "alpha2")])


def _pair_loss(config, until: int, layers, inputs, step):
    """The loss for two mixtures: reconstruction, exclusion, and constants near 0.5 at first."""
    y1, y2, alphas = layers["layer1"], layers["layer2"], constants(layers, inputs)
    images = inputs["first"], inputs["second"]
    errors = [l2(a * y1 + (1 - a) * y2, x) for a, x in zip(alphas, images)]
    terms = {"reconstruction": sum(errors), "exclusion": exclusion(y1, y2)}
    weights = {"reconstruction": 1.0, "exclusion": config.exclusion}
    if config.alphas == "learned":
        terms["alphas"] = jnp.sum(jnp.square(alphas - 0.5))
        weights["alphas"] = jnp.where(step < until, 1.0, 0.0)
    known = {"alpha1": alphas[0], "alpha2": alphas[1]}
    psnr = mse_to_psnr(terms["reconstruction"] / 2)
    return weighted_sum(terms, weights), {**terms, **known, "psnr": psnr}


def _outputs(config, layers, inputs) -> dict[str, Output]:
    """The two layers; the first one is the result."""
    made, scalars = (layers["layer1"], layers["layer2"]), {}
    if "full_image" in inputs:
        made = fitting.split_details(*made, inputs["full_image"])
    if config.task == "single":
        made = balanced(*made, inputs.get("full_image", inputs.get("image")))
    else:
        alphas = constants(layers, inputs)
        scalars["alphas"] = Output(alphas, "scalar")
        if "full_first" in inputs:
            made = _full_pair(config, made, alphas, inputs)
        elif config.trust:
            made = solve(inputs["first"], inputs["second"], alphas, near=made, trust=config.trust)
    first, second = (Output(jnp.clip(x, 0, 1), "image") for x in made)
    return {"result": first, "layer1": first, "layer2": second, **scalars}


def _full_pair(config, made, alphas, inputs):
    """Returns the layers of two large mixtures: the solution of these near the enlarged layers."""
    mixtures = inputs["full_first"], inputs["full_second"]
    near = tuple(fitting.enlarged(layer, mixtures[0].shape[:2]) for layer in made)
    return solve(*mixtures, alphas, near=near, trust=config.trust or TASKS["pair"]["fast"]["trust"])


def make(config: Config, spec: Inputs) -> Method:
    """Makes separation for images of one shape.

    Args:
        config: The settings.
        spec: The shapes of the inputs that `prepare` returns.

    Returns:
        The method. Its outputs are `layer1`, `layer2` (H, W, C) and `result`, which is `layer1`; for
        `pair` also `alphas` (2,), the weight of `layer1` in each mixture. Otherwise the layers add up
        to the image.
    """
    pair = config.task == "pair"
    if not pair and "second" in spec:
        return estimated_layers.method()
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
    fitted = ("result", "layer1", "layer2", *(["alphas"] if pair else []))
    seeds = common.over_seeds(config.replicas, fitted)
    return fit.build("transparency", generators, [phase], outputs, shape=shape, **seeds)


def _several(config: Config) -> bool:
    """Whether several files are one job."""
    return config.task in ("pair", "frames")


def _grouping(config: Config) -> Grouping:
    """With `pair`, two files are one job; with `frames`, three or more."""
    if config.task == "frames":
        return Grouping("together", least=3)
    return Grouping("together", least=2, most=2) if config.task == "pair" else Grouping()


def _remarks(config: Config, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
    """Says how layers of a large image or layers without nets were made."""
    del figures
    if config.task != "pair" and "second" in inputs:
        return estimated_layers.remarks(inputs)
    how = "its finer details are shared out in proportion to those of the fitted layers"
    if config.task == "pair":
        how = "the full layers solve the two mixtures near the enlarged ones"
    name = "image" if config.task == "single" else "first"
    full = inputs.get(f"full_{name}", inputs[name])
    return common.remarks(config, full.shape, inputs[name].shape, how)


def _equations(config: Config, inputs: Inputs) -> tuple[str, ...]:
    """The equations of the layers; for `pair`, one for each mixture."""
    del inputs
    if config.task != "pair":
        return (f"input{'1' if _several(config) else ''} = layer1 + layer2",)
    form = "input{} = alphas[{}] * layer1 + (1 - alphas[{}]) * layer2"
    return tuple(form.format(n + 1, n, n) for n in range(2))


RECIPE = Recipe(
    name="transparency",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    grouping=_grouping,
    remarks=_remarks,
    equations=_equations,
    smaller=common.SMALLER,
)
