"""Patches: retargeting, generation and editing of an image by its own patches, without training.

Where the papers are in the code: GPNN (Granot et al., CVPR 2022) -> `gpnn`; its applications (section
5) -> `tasks`; bidirectional similarity (Simakov et al., CVPR 2008) -> `bidirectional`; seam carving
(Avidan and Shamir, SIGGRAPH 2007) -> `seams`. The search for nearest patches is `ops.patches`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from deepinternal.methods.patches import bidirectional, figures, gpnn, seams
from deepinternal.methods.patches.config import PRESETS, Config, Size
from deepinternal.methods.patches.pyramid import limited, resized
from deepinternal.methods.patches.tasks import TASKS, Images
from deepinternal.recipe import Figures, Grouping, Recipe
from deepinternal.types import Array, Example, InputError, Inputs, Method, Output, TrainState

# `(config, source size, result size) -> (init, stages, (state, inputs) -> results)`, see `gpnn.parts`.
ALGORITHMS: Mapping[str, Callable[[Config, Size, Size], tuple]] = {
    "gpnn": gpnn.parts,
    "bidir": bidirectional.parts,
    "seams": seams.parts,
}


_ALIKE, _COPIED = 0.05, 0.7  # a remark is made on less diversity, and on larger verbatim copies


def grouping(config: Config) -> Grouping:
    """Makes several images one job for the tasks that combine them."""
    return TASKS[config.task].grouping(config)


def example(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    """Returns an example for the task."""
    return TASKS[config.task].example(config, photo, **sides)


def prepare(config: Config, image: Images, **sides: np.ndarray) -> Inputs:
    """Makes the method's inputs from the user's arrays, on the host.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1], or a list of such images, as `grouping` says.
        **sides: `mask` (H, W), `layout` (H, W, C).

    Returns:
        The inputs that `tasks.Task` describes.

    Raises:
        InputError: A side input is missing or not possible, or an image is too small.
    """
    task = TASKS[config.task]
    for name in task.needs:
        if sides.get(name) is None:
            raise InputError(f"config.{name}: must be given for task={config.task}")
    return task.prepare(config, image, **sides)


def make(config: Config, spec: Inputs) -> Method:
    """Makes the method for images of given shapes.

    Args:
        config: The settings.
        spec: The shapes of the inputs that `prepare` returns.

    Returns:
        The method. Its outputs are `result` (H, W, C); for several samples and for `generate`,
        `samples` by name, '1', '2', ...; and for `retarget` and `generate` the scalars of
        `figures.compared`.

    Raises:
        InputError: The image or the result is too small, or the result is too large.
    """
    task, given = TASKS[config.task], spec.get("guess")
    size = config.size(spec["image"].shape[:2]) if given is None else given.shape[:2]
    if "scales" in spec:
        config = limited(config, spec["image"].shape[:2], size, spec["scales"].shape[0])
    whole = config.task in ("retarget", "generate")
    init, stages, results = ALGORITHMS[config.algorithm](config, spec["image"].shape[:2], size)

    def outputs(state: TrainState, inputs: Inputs) -> dict[str, Output]:
        made = task.finish(inputs, results(state, inputs))
        found = {"result": Output(made[0])}
        if config.samples > 1 or config.task == "generate":
            found["samples"] = Output({str(n): x for n, x in enumerate(made, 1)}, "images")
        return found | (figures.compared(inputs["image"], made) if whole else {})

    def baseline(inputs: Inputs) -> Array:
        if "shown" in inputs:
            return inputs["shown"]
        return resized(inputs.get("guess", inputs["image"]), size)

    return Method("patches", init, stages, outputs, baseline=baseline)


def remarks(config: Config, inputs: Inputs, found: Figures) -> tuple[str, ...]:
    """Says if samples hardly differ, or if a result is a copy; see `recipe.Recipe`."""
    del inputs
    found = found or {}
    if found.get("diversity", 1) < _ALIKE:
        return (
            "the samples hardly differ from each other; a larger config.shift makes them differ",
        )
    if config.task == "generate" and found.get("verbatim", 0) > _COPIED:
        share = round(100 * found["verbatim"])
        return (
            f"one region of the image makes up {share} % of the result; a larger config.shift or a "
            "smaller config.smallest changes more",
        )
    return ()


RECIPE = Recipe(
    name="patches",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    side_inputs={"mask": "mask", "layout": "picture"},
    grouping=grouping,
    scored=False,
    remarks=remarks,
    smaller="a smaller config.result_scale or config.samples",
    holes=lambda config: "mask" if config.task == "inpaint" else "",
)
