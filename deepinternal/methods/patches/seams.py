"""Retargeting by seam carving: first the width changes, then the height, by one seam in each step.

To become narrower, the image loses seams. To become wider, it gets copies of the seams that it would
lose first; since these are found by removing them, a step that widens an image removes a seam from a
copy of it, too. An axis that grows by more than half grows in rounds of at most one half.

References:
    Avidan, Shamir: Seam Carving for Content-Aware Image Resizing. SIGGRAPH 2007, sections 3 and 4.3
    (energy e1).
"""

import functools

import jax.numpy as jnp
from jax import lax

from deepinternal.methods.patches import pyramid
from deepinternal.methods.patches.config import Config, Size
from deepinternal.ops.seams import double_seams, least_seam, remove_seam, seam_energy
from deepinternal.types import Array, Inputs, Metrics, PyTree, Stage, TrainState


def _round(image: Array, width: Array | int) -> dict[str, PyTree]:
    """The state before the first seam of a round, for a canvas (H, W, C) with a valid width."""
    h, w = image.shape[:2]
    return {
        "image": image,
        "width": jnp.asarray(width, jnp.int32),
        "carved": image,  # the image without the seams that were removed
        "columns": jnp.broadcast_to(jnp.arange(w, dtype=jnp.int32), (h, w)),  # their origin
        "removed": jnp.zeros((), jnp.int32),
    }


def _begin(image: Array, width: int) -> dict[str, PyTree]:
    """The first state of a stage that brings an image (H, W, C) to a width."""
    room = max(width - image.shape[1], 0)
    return _round(jnp.pad(image, ((0, 0), (0, room), (0, 0))), image.shape[1])


def _end(model_state: dict[str, PyTree], start: int, width: int) -> Array:
    """The image (H, width, C) after a stage that began with a width of `start`."""
    return model_state["image" if width > start else "carved"][:, :width]


def _step(
    start: int, target: int, state: TrainState, inputs: Inputs, variant: None = None
) -> tuple[TrainState, Metrics]:
    """Removes a seam. When a round that widens the image is over, doubles its seams."""
    del inputs, variant
    old = state.model_state
    energy = seam_energy(old["carved"], width=old["width"] - old["removed"])
    seam = least_seam(energy)
    new = old | {name: remove_seam(old[name], seam) for name in ("carved", "columns")}
    new["removed"] += 1

    def doubled():
        count, width = new["removed"], new["width"]
        return _round(double_seams(new["image"], new["columns"], count, width=width), width + count)

    if target > start:
        planned = jnp.minimum(target - new["width"], jnp.maximum(new["width"] // 2, 1))
        new = lax.cond(new["removed"] == planned, doubled, lambda: new)
    loss = jnp.mean(jnp.take_along_axis(energy, seam[:, None], axis=1))
    return state.replace(step=state.step + 1, model_state=new), {"loss": loss}


def parts(config: Config, source: Size, result: Size):
    """Returns the parts of the method; see `gpnn.parts`."""
    del config
    pyramid.check(source, result)
    turned = lambda image: jnp.swapaxes(image, 0, 1)
    zero = functools.partial(jnp.zeros, (), jnp.int32)
    (height, width), (new_height, new_width) = source, result

    def init(key: Array, inputs: Inputs) -> TrainState:
        return TrainState(zero(), key, {}, {}, _begin(inputs["image"], new_width))

    def advance(state: TrainState, inputs: Inputs) -> tuple[TrainState, Inputs]:
        image = turned(_end(state.model_state, width, new_width))
        return state.replace(step=zero(), model_state=_begin(image, new_height)), inputs

    def results(state: TrainState, inputs: Inputs) -> Array:
        del inputs
        return turned(_end(state.model_state, height, new_height))[None]

    def stage(name: str, start: int, target: int, **options) -> Stage:
        step = functools.partial(_step, start, target)
        return Stage(name, abs(target - start), step, **options)

    stages = (
        stage("width", width, new_width, advance=advance),
        stage("height", height, new_height),
    )
    return init, stages, results
