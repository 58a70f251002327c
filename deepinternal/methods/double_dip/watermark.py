"""Double-DIP watermark removal (Gandelsman, Shocher, Irani, CVPR 2019, section 5.3).

I = m * w + (1 - m) * c: nets for the clean image c, the watermark w and its opacity m. Of one image the
user gives a rough region; of several images with the same mark nothing: w and m are common to them.

Where the paper is in the code: one image -> `_clean_loss` (outside of the region only), then
`_single_loss`; several -> `_many_loss`; the median of three fits, and the input's values where there is
no mark (public code) -> `_finish`.

Deliberate deviations from the authors' code: images of different sizes are cut to the common centre for
the fit only; `margin` fits no more than the region's surroundings, for the rest stays as it is. Beyond
the paper, by fields (preset `fast`): the mark's colour is searched for (`colour=searched`, `marks`),
`sparsity` and `edges`; without them the mark's nets may make the whole region, or nothing.

Presets: configs/watermark.py.
"""

import functools
import math

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.estimators import marks
from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.pixel import hinted_l1, l1
from deepinternal.losses.smoothness import gradient_l1
from deepinternal.methods import checks, fit
from deepinternal.methods.double_dip import common
from deepinternal.types import Example, InputError, Inputs, Method, Output

SIDE_INPUTS = {"mask": "mask"}
THRESHOLD = 0.1  # less opacity than this is no mark
SURE = 15.0  # the score from which a colour that was found is taken


def defaults() -> ml_collections.ConfigDict:
    """The published settings for one image."""
    return ml_collections.ConfigDict(
        {
            "seed": 0,
            "steps": 0,  # at most so many in each phase; 0: as below
            "task": "single",  # or many
            "clean_steps": 4000,  # of single: fitting what is outside of the region
            "fit_steps": 7000,
            "mask": "",  # of single: file or folder; white = there is the mark, roughly
            "box": "",  # or y0,x0,y1,x1 in pixels, the end excluded
            "margin": 0,  # pixels around the region that are fitted; 0: the whole image
            "colour": "learned",  # or searched: one colour, and how opaque it is at most
            "sparsity": 0.0,  # weight of the mark's mean opacity, of single within the region
            "edges": 0.0,  # weight of the mean gradient of the clean image, of single within the region
            "runs": 3,  # fits of different seeds, of which the median is taken
            "flips": 4,  # of single: every so many steps a mirrored variant; 0: never
            "jitter_every": "300,700",  # steps in which the inputs' noise grows by 1e-3, in each phase
            "channels": "8,16,32,64,128",
            "skip": "0,0,0,4,4",
            "filters": 5,  # sides of the layers' filters
            "learning_rate": 1e-3,
            "schedule": "constant",  # or cosine
        }
    )


PRESETS = {
    "single": {},
    "many": {
        **{"task": "many", "fit_steps": 4000, "filters": 3, "flips": 0, "jitter_every": "400,400"},
    },
    "fast": {
        **{"margin": 48, "runs": 1, "clean_steps": 300, "fit_steps": 700, "flips": 0},
        **{"learning_rate": 4e-3, "schedule": "cosine"},
        **{"sparsity": 0.01, "edges": 0.03, "colour": "searched"},
    },
    "smoke": {"steps": 8, "runs": 1, "channels": "8,16", "skip": "0,4", "filters": 3},
}


def grouping(config: ml_collections.ConfigDict) -> str:
    """All files are one job of `many`."""
    return "together" if config.task == "many" else "single"


def counts(config: ml_collections.ConfigDict) -> tuple[int, int | None]:
    """How many files make a job of `many`."""
    del config
    return 2, None


def any_size(config: ml_collections.ConfigDict) -> bool:
    """The images of `many` may differ in size: they share their centre."""
    return config.task == "many"


def example(config: ml_collections.ConfigDict, photo: np.ndarray, **sides) -> Example:
    """Parts of the sample photograph with a ring drawn over them, and the ring's surroundings."""
    y, x = np.mgrid[:160, :160]
    mark = 0.6 * (np.abs(np.hypot(y - 80, x - 80) - 24) < 4)[..., None].astype(np.float32)
    if config.task == "many":
        parts = [photo[:160, 160:320], photo[320:480, 40:200]]
        return Example([mark + (1 - mark) * part for part in parts], parts[0], sides)
    part = photo[:160, 160:320]
    if not config.box:
        rough = np.zeros((160, 160), np.float32)
        rough[48:112, 48:112] = 1
        sides = {"mask": rough, **sides}
    return Example(mark + (1 - mark) * part, part, sides)


def prepare(config: ml_collections.ConfigDict, image, mask=None) -> Inputs:
    """The inputs of the method from what the user gave; on the host.

    Args:
        config: as `defaults()`.
        image: (H, W, C) in [0, 1]; for `many` a list of such.
        mask: (H, W), above 0.5 where the mark is, roughly; for `single` only.

    Returns:
        Of `single` `full` (H, W, C), `image` (h, w, C) to be fitted, `hint` (h, w, 1) of zeros and
        ones, `corner` (2,) int32, where the latter lies in the former, and, where they are searched
        for, the mark's `colour` (1, 1, C) and greatest `opacity`, and whether they were `found`; of
        `many` likewise `full1`, ..., `image1`, ... of one size, `corner1`, ..., and `corner` in the
        common centre; `hint` only where it is searched for.

    Raises:
        InputError: no region, an empty one, all of the image, one outside of it, or both forms of it;
            an image that is too small.
    """
    if config.task == "many":
        return _prepare_many(image, mask, config)
    checks.smallest(image, 32)
    if mask is not None and config.box:
        raise InputError("config.mask and config.box exclude each other: give one of them")
    if config.box:
        y0, x0, y1, x1 = common.pixel_box(config.box, image.shape[:2])
        hint = np.zeros(image.shape[:2], bool)
        hint[y0:y1, x0:x1] = True
    elif mask is not None:
        checks.same_size("mask", mask, image)
        hint = mask > 0.5
    else:
        raise InputError(
            "config.mask or config.box: say where the mark is: an image, white there, or y0,x0,y1,x1"
        )
    if not hint.any() or hint.all():
        what = "nothing is white" if not hint.any() else "all of the image"
        field = "box" if config.box else "mask"
        raise InputError(
            f"config.{field}: {what}: give the region of the mark, with clean pixels around"
        )
    window = common.surroundings(hint, config.margin)
    return {
        "full": np.asarray(image, np.float32),
        "image": np.asarray(image[window], np.float32),
        "corner": np.array([s.start for s in window], np.int32),
        "hint": hint[window][..., None].astype(np.float32),
        **(_found(marks.search(image, hint)) if config.colour == "searched" else {}),
    }


def _found(mark: marks.Mark) -> Inputs:
    """What the fit is told of a mark that was searched for."""
    sure = mark.score >= SURE
    # Soft edges make the estimate a little low.
    opacity = min(1.2 * mark.opacity, 1.0) if sure else 1.0
    told = {"colour": mark.colour.reshape(1, 1, -1), "opacity": opacity, "found": sure}
    return {name: np.asarray(value, np.float32) for name, value in told.items()}


def _prepare_many(images, mask, config) -> Inputs:
    """The images, and their common centre."""
    if mask is not None or config.box:
        raise InputError("config.mask, config.box: several images need none; leave them empty")
    for image in images:
        checks.smallest(image, 32)
    size = tuple(min(image.shape[axis] for image in images) for axis in (0, 1))
    corners = [[(n - m) // 2 for n, m in zip(image.shape[:2], size)] for image in images]
    cut = lambda x, y0, x0, h, w: np.asarray(x[y0 : y0 + h, x0 : x0 + w], np.float32)
    parts = [cut(image, *corner, *size) for image, corner in zip(images, corners)]
    hint, found = np.ones(size, bool), {}
    if config.colour == "searched":
        mark, region = marks.search_common(parts)
        found = _found(mark)
        if found["found"] and region.any():
            hint = region
    window = common.surroundings(hint, config.margin)
    start = np.array([s.start for s in window], np.int32)
    if found:
        found["hint"] = hint[window][..., None].astype(np.float32)
    inputs: dict = {"corner": start, **found}
    for number, (image, part, corner) in enumerate(zip(images, parts, corners), 1):
        inputs[f"full{number}"] = np.asarray(image, np.float32)
        inputs[f"image{number}"] = part[window]
        inputs[f"corner{number}"] = start + np.array(corner, np.int32)
    return inputs


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
        "edges": sum(gradient_l1(layers[name], hint) for name in cleans) / share,
    }
    used = [name for name in terms if config[name]]
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


def make(config: ml_collections.ConfigDict, input_spec: Inputs) -> Method:
    """Watermark removal for images of given shapes.

    Args:
        config: as `defaults()`.
        input_spec: shapes of `prepare`'s inputs.

    Returns:
        The method. Outputs: `result` (H, W, C), the clean image, of `many` also `clean1`, ...;
        `watermark` (H, W, C) and its opacity `mask` (H, W), of `many` at the common size.

    Raises:
        InputError: a field out of range.
    """
    check(config)
    many = config.task == "many"
    count = sum(name.startswith("image") for name in input_spec) if many else 1
    first = input_spec["image1" if many else "image"].shape
    cleans = [f"clean{n}" for n in range(1, count + 1)] if many else ["clean"]
    layer = common.net(config, first[2], filters=config.filters)
    opacity = common.net(config, 1, scales=0 if many else 4)
    generators = {name: fit.Generator(layer) for name in [*cleans, "watermark"]}
    generators["mask"] = fit.Generator(opacity)
    noisy = [*cleans, "watermark"]
    phases = _phases(config, count, noisy)
    outputs, finish = _single_outputs, _finish_single
    if many:
        outputs, finish = (functools.partial(f, count) for f in (_many_outputs, _finish_many))
    runs: dict = {}
    if config.runs > 1:
        runs = {"replicas": config.runs, "reduce": lambda made: finish(common.median(made))}
        last = outputs
    else:
        last = lambda layers, inputs: finish(outputs(layers, inputs))
    baseline = lambda inputs: inputs["full1" if many else "full"]
    return fit.build(
        "watermark", generators, phases, last, shape=first[:2], baseline=baseline, **runs
    )


def _phases(config: ml_collections.ConfigDict, count: int, noisy: list[str]) -> list[fit.Phase]:
    """The phases; never is the mask's input perturbed."""
    every = checks.whole_numbers(config, "jitter_every", at_least=1, length=2)
    jitters = [dict.fromkeys(noisy, fit.growing(1e-3, n, math.inf)) for n in every]
    steps = common.limited(config, config.fit_steps)
    if config.task == "many":
        loss = functools.partial(_many_loss, config, count)
        rate = common.rate(config, steps)
        return [fit.Phase("fit", steps, loss, learning_rate=rate, jitter=jitters[0])]
    loss = functools.partial(_single_loss, config)

    def phase(name, count, loss, jitter, **more):
        count = common.limited(config, count)
        rate = common.rate(config, count)
        more |= {"learning_rate": rate, "flips": config.flips, "jitter": jitter}
        return fit.Phase(name, count, loss, **more)

    return [
        phase("outside", config.clean_steps, _clean_loss, jitters[0], nets=("clean",)),
        phase("fit", config.fit_steps, loss, jitters[1]),
    ]


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses settings that work with no image, in one line each."""
    common.check(config, ("clean_steps", "fit_steps"))
    checks.choices(config, {"task": ("single", "many"), "colour": ("learned", "searched")})
    checks.least(config, {"runs": 1, "flips": 0, "margin": 0, "filters": 1, "sparsity": 0})
    checks.least(config, {"edges": 0})
    checks.whole_numbers(config, "jitter_every", at_least=1, length=2)
