"""Super-resolution of a video: ZSSR with one net for all frames of a clip.

The fathers of each step are cut from a random frame, so that details that are small in one frame are
learned from the frames in which they are larger. The net is trained once, for as many steps as a few
single frames take, and then enlarges each frame. Frames that share a net flicker less than frames with
separate nets.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.methods.zssr import enlarge, task, training
from deepinternal.methods.zssr.jumps import target_size
from deepinternal.ops import resizing
from deepinternal.types import Array, Example, Inputs, Method, Output, Stage, TrainState


def prepare(image: np.ndarray) -> Inputs:
    """Returns the method's inputs for frames (T, H, W, C) uint8, without the kernel."""
    return {"frames": np.asarray(image, np.uint8)}


def example(config: Any, photo: np.ndarray) -> Example:
    """Returns four frames, downscaled, of a window that moves over a photograph."""
    scale = (2.0, 2.0) if config.output_shape else config.scale[-1]
    frames = [photo[64 : 64 + 96, x : x + 128] for x in range(128, 144, 4)]
    small = [resizing.resize(jnp.asarray(x), scale=tuple(1 / s for s in scale)) for x in frames]
    made = np.round(255 * np.clip(np.stack(small), 0, 1)).astype(np.uint8)
    return Example("skimage.data.astronaut, a window that moves over it", made)


def _frame(inputs: Inputs, number: Array | int) -> Inputs:
    """The inputs of ZSSR for one frame."""
    new = {name: x for name, x in inputs.items() if name != "frames"}
    return {**new, "image": _pixels(inputs["frames"][number])}


def _pixels(frame: Array) -> Array:
    """A frame in [0, 1]; enlarged frames, which later jumps begin with, are floats already."""
    return frame / jnp.float32(255) if frame.dtype == jnp.uint8 else frame


def _enlarged(jump: task.Task, state: TrainState, inputs: Inputs) -> Array:
    """All frames, (T, H', W', C)."""
    weights = training.weights(state)

    def one(frame: Array) -> Array:
        given = {**inputs, "image": _pixels(frame)}
        return enlarge.enlarge(jump, weights, given)["result"]

    return jax.lax.map(one, inputs["frames"])


def _stage(jump: task.Task, following: task.Task | None, stage: Stage, count: int) -> Stage:
    """A stage of ZSSR for a clip of `count` frames; each step takes one frame."""

    def step(state: TrainState, inputs: Inputs, variant=None):
        key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), count)
        drawn = jax.random.randint(key, (), 0, count)
        return stage.step(state, _frame(inputs, drawn), variant)

    def evaluate(state: TrainState, inputs: Inputs):
        return stage.evaluate(state, _frame(inputs, count // 2))

    def advance(state: TrainState, inputs: Inputs):
        new_state, new = stage.advance(state, _frame(inputs, count // 2))
        del new["image"]
        frames = _enlarged(jump, state, inputs) if jump.jump.rebase else inputs["frames"]
        return new_state, {**new, "frames": frames}

    return dataclasses.replace(
        stage,
        step=step,
        evaluate=evaluate if stage.evaluate else None,
        advance=advance if following else None,
    )


def make(config: Any, spec: Inputs) -> Method:
    """Makes super-resolution for clips of one shape.

    Args:
        config: The settings.
        spec: The shapes of `frames` (T, H, W, C) and, if it is known, of the blur `kernel`.

    Returns:
        The method. Its output is `result`, frames (T, H', W', C).

    Raises:
        InputError: See `zssr.make`.
    """
    count, *shape = spec["frames"].shape
    single = {name: x for name, x in spec.items() if name != "frames"}
    single["image"] = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
    tasks = task.build(config, single)
    begin, stages = training.stages(tasks)
    followings = [*tasks[1:], None]
    made = tuple(_stage(*each, count) for each in zip(tasks, followings, stages))

    def outputs(state: TrainState, inputs: Inputs) -> dict[str, Output]:
        return {"result": Output(_enlarged(tasks[-1], state, inputs), "frames")}

    def baseline(inputs: Inputs) -> Array:
        scale, size = target_size(config, tuple(shape[:2]))
        first = _pixels(inputs["frames"][0])
        return jnp.clip(resizing.resize(first, scale=scale, output_shape=size), 0, 1)

    return Method(
        "zssr",
        lambda key, inputs: begin(key, _frame(inputs, 0)),
        made,
        outputs,
        baseline=baseline,
        progress="test_psnr",
        final_params=lambda state: {"net": training.weights(state)},
    )
