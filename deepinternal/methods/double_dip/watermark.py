"""Double-DIP watermark removal (Gandelsman, Shocher, Irani, CVPR 2019, section 5.3).

I = m * w + (1 - m) * c: nets for the clean image c, the watermark w and its opacity m. Of one image the
user gives a rough region; of several images with the same mark nothing: w and m are common to them.

Where the paper is in the code: one image -> `_clean_loss` (outside of the region only), then
`_single_loss`; several -> `_many_loss`; the median of three fits, and the input's values where there is
no mark (public code) -> `_finish`.

Deliberate deviations from the authors' code: images of different sizes are cut to the common centre for
the fit only; `margin` fits no more than the region's surroundings, for the rest stays as it is. Beyond
the paper, by fields (preset `fast`): the mark's colour is searched for (`colour=searched`, see
`estimators.marks`), `sparsity` and `edges`; without them the mark's nets may make the whole region, or
nothing.
"""

import functools
import math

import jax
import jax.numpy as jnp

from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.pixel import hinted_l1, l1
from deepinternal.losses.smoothness import gradient_l1
from deepinternal.methods import fit
from deepinternal.methods.double_dip import common
from deepinternal.methods.double_dip.watermark_inputs import PRESETS, Config, example, prepare
from deepinternal.methods.generator import growing
from deepinternal.recipe import Grouping, Recipe
from deepinternal.types import Inputs, Method, Output

THRESHOLD = 0.1  # less opacity than this is no mark


def _clean_loss(layers, inputs, step):
    """The clean image outside of the region."""
    del step
    loss = hinted_l1(layers["clean"], inputs["image"], 1 - inputs["hint"])
    return loss, {"outside": loss}


def _mark(layers, inputs):
    """Colours (H, W, C) and opacity (H, W, 1) of the mark; what was found of them instead."""
    colour, opacity = layers["watermark"], layers["mask"]
    if "hint" in inputs:
        opacity = inputs["hint"] * opacity
    if "colour" in inputs:
        colour = jnp.where(inputs["found"] > 0, inputs["colour"] + 0 * colour, colour)
        opacity = inputs["opacity"] * opacity
    return colour, opacity


def _mark_terms(config, layers, inputs, opacity, cleans):
    """Beyond the paper: little opacity, few edges left; terms and their weights.

    With a colour of its own everywhere the mark would take any edge, so that they are not counted.
    """
    hint = inputs.get("hint", jnp.ones_like(opacity))
    weights = {"sparsity": config.sparsity}
    if config.edges:
        weights["edges"] = config.edges * inputs.get("found", 1.0)
    share = jnp.mean(hint)
    terms = {
        "sparsity": jnp.mean(hint * opacity) / share,
        "edges": sum(gradient_l1(layers[name], weight=hint) for name in cleans) / share,
    }
    used = [name for name in terms if getattr(config, name)]
    return {n: terms[n] for n in used}, {n: weights[n] for n in used}


def _single_loss(config, layers, inputs, step):
    """The same, and the whole image from all three."""
    del step
    image, (colour, mask) = inputs["image"], _mark(layers, inputs)
    made = mask * colour + (1 - mask) * layers["clean"]
    terms = {
        "outside": hinted_l1(layers["clean"], image, 1 - inputs["hint"]),
        "reconstruction": l1(made, image),
    }
    more, weights = _mark_terms(config, layers, inputs, mask, ["clean"])
    terms |= more
    loss = weighted_sum(terms, {"outside": 1.0, "reconstruction": 0.5, **weights})
    return loss, {**terms, "psnr": common.reconstruction_psnr(made, image)}


def _many_loss(config, count: int, layers, inputs, step):
    """Every image from its clean layer and the common mark."""
    del step
    colour, mask = _mark(layers, inputs)
    numbers = range(1, count + 1)
    made = [mask * colour + (1 - mask) * layers[f"clean{n}"] for n in numbers]
    terms = {f"image{n}": l1(x, inputs[f"image{n}"]) for n, x in zip(numbers, made)}
    cleans = [f"clean{n}" for n in numbers]
    more, weights = _mark_terms(config, layers, inputs, mask, cleans)
    weights |= dict.fromkeys(terms, 1.0)
    return weighted_sum(terms | more, weights), terms | more


def _single_outputs(layers, inputs) -> dict[str, Output]:
    """The layers of one fit, and what `_finish` needs besides."""
    colour, mask = _mark(layers, inputs)
    return {
        "clean": Output(layers["clean"], "image"),
        "watermark": Output(colour, "image"),
        "mask": Output(mask[..., 0], "mask"),
        **{name: Output(inputs[name]) for name in ("full", "image", "corner")},
    }


def _pasted(part, whole, corner):
    """`whole` with `part` put into it at (row, column) `corner`."""
    return jax.lax.dynamic_update_slice(whole, part, (*corner, *[0] * (part.ndim - 2)))


def _finish_single(outputs: dict[str, Output]) -> dict[str, Output]:
    """The clean image: the input where there is no mark, to the bit."""
    value = {name: output.value for name, output in outputs.items()}
    marked = value["mask"][..., None] >= THRESHOLD
    part = jnp.where(marked, jnp.clip(value["clean"], 0, 1), value["image"])
    corner, full = value["corner"], value["full"]
    shown = jnp.where(marked, jnp.clip(value["watermark"], 0, 1), 0)
    return {
        "result": Output(_pasted(part, full, corner), "image"),
        "watermark": Output(_pasted(shown, jnp.zeros_like(full), corner), "image"),
        "mask": Output(_pasted(value["mask"], jnp.zeros(full.shape[:2]), corner), "mask"),
    }


def _many_outputs(count: int, layers, inputs) -> dict[str, Output]:
    """As `_single_outputs`, of several images."""
    made = {f"clean{n}": Output(layers[f"clean{n}"]) for n in range(1, count + 1)}
    made |= {name: Output(x) for name, x in inputs.items()}
    colour, mask = _mark(layers, inputs)
    return {
        **made,
        "mark": Output(mask * colour),
        "watermark": Output(colour, "image"),
        "mask": Output(mask[..., 0], "mask"),
    }


def _finish_many(count: int, outputs: dict[str, Output]) -> dict[str, Output]:
    """The clean images, the first of them the result too."""
    value = {name: output.value for name, output in outputs.items()}
    made = {}
    for n in range(1, count + 1):
        full, image = value[f"full{n}"], value[f"image{n}"]
        clean = jnp.clip(value[f"clean{n}"], 0, 1)
        part = jnp.where(value["mark"] < THRESHOLD, image, clean)
        pasted = _pasted(part, full, value[f"corner{n}"])
        made[f"clean{n}"] = Output(pasted, "image", source=n - 1)
    fulls = [value[f"full{n}"].shape for n in range(1, count + 1)]
    common_size = tuple(min(shape[axis] for shape in fulls) for axis in (0, 1))
    zeros = jnp.zeros((*common_size, fulls[0][2]))
    mark = jnp.clip(value["watermark"], 0, 1)
    return {
        "result": made["clean1"],
        **made,
        "watermark": Output(_pasted(mark, zeros, value["corner"]), "image"),
        "mask": Output(_pasted(value["mask"], zeros[..., 0], value["corner"]), "mask"),
    }


def make(config: Config, spec: Inputs) -> Method:
    """Watermark removal for images of given shapes.

    Args:
        config: the settings.
        spec: shapes of `prepare`'s inputs.

    Returns:
        The method. Outputs: `result` (H, W, C), the clean image, of `many` also `clean1`, ...;
        `watermark` (H, W, C) and its opacity `mask` (H, W), of `many` at the common size.
    """
    many = config.task == "many"
    count = sum(name.startswith("image") for name in spec) if many else 1
    first = spec["image1" if many else "image"].shape
    cleans = [f"clean{n}" for n in range(1, count + 1)] if many else ["clean"]
    layer = common.net(config, first[2], filters=config.filters)
    opacity = common.net(config, 1, scales=0 if many else 4)
    generators = {name: fit.Generator(layer) for name in [*cleans, "watermark"]}
    phases = _phases(config, count, list(generators))
    generators["mask"] = fit.Generator(opacity)
    outputs, finish = _single_outputs, _finish_single
    if many:
        outputs, finish = (functools.partial(f, count) for f in (_many_outputs, _finish_many))
    replicas = {}
    last = lambda layers, inputs: finish(outputs(layers, inputs))
    if config.replicas > 1:
        reduce = lambda made: finish(common.median(made))
        last, replicas = outputs, {"replicas": config.replicas, "reduce": reduce}
    baseline = lambda inputs: inputs["full1" if many else "full"]
    return fit.build(
        "watermark", generators, phases, last, shape=first[:2], baseline=baseline, **replicas
    )


def _phases(config: Config, count: int, noisy: list[str]) -> list[fit.Phase]:
    """The phases; only the inputs of the nets called `noisy` are perturbed."""
    every = config.jitter_every * 2
    jitters = [dict.fromkeys(noisy, growing(1e-3, n, math.inf)) for n in every]

    def phase(name, steps, loss, jitter, **more):
        steps = common.limited(config, steps)
        more |= {"learning_rate": config.rate(steps), "jitter": jitter}
        return fit.Phase(name, steps, loss, **more)

    if config.task == "many":
        loss = functools.partial(_many_loss, config, count)
        return [phase("fit", config.fit_steps, loss, jitters[0])]
    loss, how = functools.partial(_single_loss, config), {"flips": config.flips}
    return [
        phase("clean", config.clean_steps, _clean_loss, jitters[0], nets=("clean",), **how),
        phase("fit", config.fit_steps, loss, jitters[1], **how),
    ]


def _grouping(config: Config) -> Grouping:
    """All files are one job of `many`; they may differ in size, for they share their centre."""
    return Grouping("together", least=2, any_size=True) if config.task == "many" else Grouping()


RECIPE = Recipe(
    name="watermark",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    side_inputs={"mask": "mask"},
    grouping=_grouping,
)
