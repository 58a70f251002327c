"""Double-DIP watermark removal (Gandelsman, Shocher, Irani, CVPR 2019, section 5.3).

I = m * w + (1 - m) * c: nets for the clean image c, the watermark w and its opacity m. For a single
image the user gives a rough region. Several images with the same mark need none: they share w and m.

Where the paper is in the code: one image -> `_clean_loss` (only outside the region), then
`_single_loss`; several -> `_many_loss`; the median of three fits, and the input's values where there is
no mark (public code) -> `_finish_single`, `_finish_many`.

Deliberate deviations from the authors' code: images of different sizes are cropped to their common
centre for the fit only; `margin`, and in large images `fit_pixels`, limit the fit to the region and its
surroundings, since the rest does not change; a region that is too large is reduced (`_grown`); and
several images may have a dark mark, which the authors' test of mask * watermark misses (`_strength`).
Beyond the paper, `solver=cuts` (preset `fast`) uses no nets (`watermark_cuts`).
"""

import functools
import math

import jax
import jax.numpy as jnp

from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.pixel import hinted_l1, l1
from deepinternal.methods import fit
from deepinternal.methods.double_dip import common, watermark_cuts
from deepinternal.methods.double_dip.watermark_config import PRESETS, Config
from deepinternal.methods.double_dip.watermark_inputs import example, prepare
from deepinternal.methods.generator import growing
from deepinternal.ops import fitting
from deepinternal.ops.metrics import mse, mse_to_psnr
from deepinternal.recipe import Figures, Grouping, Recipe
from deepinternal.types import Inputs, Method, Output

THRESHOLD = 0.1  # least opacity (`many`: least strength) of the pixels that belong to the mark
LET_THROUGH = 0.6  # transparency of a mark from which the details behind it are used
DETAIL = 1  # radius in pixels of the fitted part of the windows that enlarge the opacity
_TAKEN = ("full", "image", "corner", "part", "part_region")  # inputs that `_finish_single` needs


def _clean_loss(layers, inputs, step):
    """The loss of the first phase: the clean image outside the region."""
    del step
    loss = hinted_l1(layers["clean"], inputs["image"], 1 - inputs["region"])
    return loss, {"outside": loss}


def _mark(layers, inputs):
    """Colour (H, W, C) and opacity (H, W, 1) of the mark."""
    opacity = layers["mask"]
    return layers["watermark"], inputs["region"] * opacity if "region" in inputs else opacity


def _single_loss(layers, inputs, step):
    """The loss of the second phase: as in the first, and the whole image from all three layers."""
    del step
    image, (colour, opacity) = inputs["image"], _mark(layers, inputs)
    made = opacity * colour + (1 - opacity) * layers["clean"]
    terms = {
        "outside": hinted_l1(layers["clean"], image, 1 - inputs["region"]),
        "reconstruction": l1(made, image),
    }
    loss = weighted_sum(terms, {"outside": 1.0, "reconstruction": 0.5})
    return loss, {**terms, "psnr": mse_to_psnr(mse(made, image))}


def _many_loss(count: int, layers, inputs, step):
    """The loss for several images: each from its clean layer and the common mark."""
    del step
    colour, opacity = _mark(layers, inputs)
    numbers = range(1, count + 1)
    made = [opacity * colour + (1 - opacity) * layers[f"clean{n}"] for n in numbers]
    terms = {f"image{n}": l1(x, inputs[f"image{n}"]) for n, x in zip(numbers, made)}
    return weighted_sum(terms, dict.fromkeys(terms, 1.0)), terms


def _single_outputs(layers, inputs) -> dict[str, Output]:
    """The layers of one fit, and the inputs that `_finish_single` needs."""
    colour, opacity = _mark(layers, inputs)
    return {
        "clean": Output(layers["clean"], "image"),
        "watermark": Output(colour, "image"),
        "mask": Output(opacity[..., 0], "mask"),
        **{name: Output(inputs[name]) for name in _TAKEN if name in inputs},
    }


def _pasted(part, whole, corner):
    """Returns `whole` with `part` pasted at (row, column) `corner`."""
    return jax.lax.dynamic_update_slice(whole, part, (*corner, *[0] * (part.ndim - 2)))


def _finish_single(outputs: dict[str, Output]) -> dict[str, Output]:
    """The clean image, which equals the input to the bit where there is no mark."""
    value = {name: output.value for name, output in outputs.items()}
    image, clean, colour, opacity = (value[n] for n in ("image", "clean", "watermark", "mask"))
    if "part" in value:
        image, small = value["part"], image
        clean, colour, opacity = _grown(image, small, clean, colour, opacity)
        opacity = opacity * value["part_region"][..., 0]
    marked = opacity[..., None] >= THRESHOLD
    part = jnp.where(marked, jnp.clip(clean, 0, 1), image)
    corner, full = value["corner"], value["full"]
    shown = jnp.where(marked, jnp.clip(colour, 0, 1), 0)
    return {
        "result": Output(_pasted(part, full, corner), "image"),
        "watermark": Output(_pasted(shown, jnp.zeros_like(full), corner), "image"),
        "mask": Output(_pasted(opacity, jnp.zeros(full.shape[:2]), corner), "mask"),
    }


def _grown(image, small, clean, colour, opacity):
    """Returns the layers of a reduced part at the size of the part.

    Where the mark lets enough through, the clean image is the part without it, so that its details are
    those of the part. Elsewhere it is enlarged.

    Args:
        image: (H, W, C), the part.
        small: (h, w, C), the reduced part.
        clean: (h, w, C), the clean image.
        colour: (h, w, C), the colour of the mark.
        opacity: (h, w), its opacity.

    Returns:
        `clean`, `colour` and `opacity` of the size (H, W).
    """
    clean, colour = (fitting.enlarged(x, image.shape[:2]) for x in (clean, colour))
    opacity = jnp.clip(common.applied(opacity, small, image, radius=DETAIL), 0, 1)
    rest = 1 - opacity[..., None]
    freed = jnp.clip((image - (1 - rest) * colour) / jnp.maximum(rest, LET_THROUGH / 2), 0, 1)
    share = jnp.clip(2 * rest / LET_THROUGH - 1, 0, 1)  # 0 at half of LET_THROUGH, 1 from it on
    return share * freed + (1 - share) * clean, colour, opacity


def _many_outputs(count: int, layers, inputs) -> dict[str, Output]:
    """The layers of one fit of several images, and the inputs that `_finish_many` needs."""
    made = {f"clean{n}": Output(layers[f"clean{n}"]) for n in range(1, count + 1)}
    made |= {name: Output(x) for name, x in inputs.items()}
    colour, opacity = _mark(layers, inputs)
    return {
        **made,
        "strength": Output(_strength(colour, opacity)),
        "watermark": Output(colour, "image"),
        "mask": Output(opacity[..., 0], "mask"),
    }


def _strength(colour, opacity):
    """The strength (H, W, C) of a mark: in channels in which it is bright, opacity * colour.

    This is the rule of the public code. It misses a dark mark, whose product is small everywhere, so
    that a channel in which the mark is dark is inverted first. The mean colour decides, weighted by
    the squared opacity.
    """
    weight = jnp.square(opacity)
    mean = jnp.sum(weight * colour, axis=(0, 1)) / jnp.maximum(jnp.sum(weight), 1e-6)
    return opacity * jnp.where(mean >= 0.5, colour, 1 - colour)


def _finish_many(count: int, outputs: dict[str, Output]) -> dict[str, Output]:
    """The clean images, of which the first one is also the result."""
    value = {name: output.value for name, output in outputs.items()}
    made = {}
    for n in range(1, count + 1):
        full, image = value[f"full{n}"], value[f"image{n}"]
        clean, strength = value[f"clean{n}"], value["strength"]
        if f"part{n}" in value:
            image, small = value[f"part{n}"], image
            clean, colour, opacity = _grown(image, small, clean, value["watermark"], value["mask"])
            strength = _strength(colour, opacity[..., None])
        part = jnp.where(strength < THRESHOLD, image, jnp.clip(clean, 0, 1))
        pasted = _pasted(part, full, value[f"corner{n}"])
        made[f"clean{n}"] = Output(pasted, "image", source=n - 1)
    fulls = [value[f"full{n}"].shape for n in range(1, count + 1)]
    common_size = tuple(min(shape[axis] for shape in fulls) for axis in (0, 1))
    zeros = jnp.zeros((*common_size, fulls[0][2]))
    colour, opacity = jnp.clip(value["watermark"], 0, 1), value["mask"][..., None]
    if "part1" in value:
        size = value["part1"].shape[:2]
        colour, opacity = fitting.enlarged(colour, size), fitting.enlarged(opacity, size)
    return {
        "result": made["clean1"],
        **made,
        "watermark": Output(_pasted(colour, zeros, value["corner"]), "image"),
        "mask": Output(_pasted(opacity[..., 0], zeros[..., 0], value["corner"]), "mask"),
    }


def make(config: Config, spec: Inputs) -> Method:
    """Makes watermark removal for images of given shapes.

    Args:
        config: The settings.
        spec: The shapes of the inputs that `prepare` returns.

    Returns:
        The method. Its outputs are `result` (H, W, C), the clean image; for `many` also `clean1`, ...;
        `watermark` (H, W, C) and its opacity `mask` (H, W), for `many` at the common size.
    """
    if config.solver == "cuts":
        return watermark_cuts.make(spec)
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
    seeds = common.over_seeds(config.replicas, (*cleans, "watermark", "mask", "strength"), finish)
    last = outputs if seeds else lambda layers, inputs: finish(outputs(layers, inputs))
    baseline = lambda inputs: inputs["full1" if many else "full"]
    return fit.build(
        "watermark", generators, phases, last, shape=first[:2], baseline=baseline, **seeds
    )


def _phases(config: Config, count: int, noisy: list[str]) -> list[fit.Phase]:
    """The phases. Noise is added to the inputs of the nets named in `noisy` only."""
    every = config.jitter_every * 2
    jitters = [dict.fromkeys(noisy, growing(1e-3, n, math.inf)) for n in every]

    def phase(name, steps, loss, jitter, **more):
        steps = common.limited(config, steps)
        more |= {"learning_rate": config.rate(steps), "jitter": jitter}
        return fit.Phase(name, steps, loss, **more)

    if config.task == "many":
        loss = functools.partial(_many_loss, count)
        return [phase("fit", config.fit_steps, loss, jitters[0])]
    how = {"flips": config.flips}
    return [
        phase("clean", config.clean_steps, _clean_loss, jitters[0], nets=("clean",), **how),
        phase("fit", config.fit_steps, _single_loss, jitters[1], **how),
    ]


def _grouping(config: Config) -> Grouping:
    """With `many`, all files are one job; their sizes may differ, since the common centre is used."""
    return Grouping("together", least=2, any_size=True) if config.task == "many" else Grouping()


def _remarks(config: Config, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
    """Says which part of a large image was fitted at which size, or, without nets, what was found."""
    if config.solver == "cuts":
        return watermark_cuts.remarks(inputs, figures)
    many = config.task == "many"
    full, image = (inputs[f"{name}1" if many else name].shape for name in ("full", "image"))
    part = inputs.get("part1" if many else "part")
    if part is not None:
        how = "details behind the mark are those of the full image where it lets enough through"
        return common.remarks(config, part.shape, image, how)
    if many or config.margin or not common.is_large(config, full):
        return ()
    return (
        f"a part of {image[0]}x{image[1]} pixels around the mark is fitted, because of "
        f"config.fit_pixels={config.fit_pixels}; the rest does not change",
    )


def _equations(config: Config, inputs: Inputs) -> tuple[str, ...]:
    """The equation of the layers; with `many`, one for each image."""
    if config.task == "single":
        return ("input = mask * watermark + (1 - mask) * result",)
    count = sum(name.startswith("full") for name in inputs)
    form = "input{} = mask * watermark + (1 - mask) * clean{}"
    return tuple(form.format(n, n) for n in range(1, count + 1))


RECIPE = Recipe(
    name="watermark",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    side_inputs={"mask": "mask"},
    grouping=_grouping,
    remarks=_remarks,
    equations=_equations,
    smaller=common.SMALLER,
)
