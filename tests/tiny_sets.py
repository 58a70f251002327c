"""A tiny method whose input is an image, several images, or a video.

It pulls each pixel from grey to the input's, where a mask does not hold it back; so after many steps
its result is the input.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np

from deepinternal.config import MethodConfig, Text, field
from deepinternal.recipe import Grouping, Recipe
from deepinternal.types import Example, InputError, Method, Output, Stage, TrainState

GROUPINGS = {
    "single": Grouping(),
    "together": Grouping("together", least=2, most=3),
    "video": Grouping("video", least=2),
}


class Config(MethodConfig):
    group: Literal["single", "together", "video"] = field("single", "how files make jobs")
    rate: float = field(0.2, "part of the difference that a step takes back", gt=0, le=1)
    train_steps: int = field(60, "steps", ge=1)
    frame_rate: float = field(0.0, "of a video made; 0: the input's", ge=0)
    mask: Text = field("", "white where pixels move")
    flash: Text = field("", "an image that is handed on")
    hints: Text = field("", "masks of frames")


def example(config, photo, **sides):
    small = np.asarray(photo)[::32, ::32]
    if config.group == "single":
        mask = np.ones(small.shape[:2], np.float32)
        return Example("a small photograph", small, sides={"mask": mask})
    if config.group == "together":
        return Example("a small photograph, twice", [small, small[::-1]])
    frames = np.stack([np.roll(small, i, 1) for i in range(3)])
    return Example("a moving photograph", np.round(frames * 255).astype("uint8"))


def prepare(config, image, mask=None, flash=None, hints=None):
    if config.group == "together":
        assert isinstance(image, list)
        assert len({x.shape for x in image}) == 1
        values = np.stack(image)
    else:
        values = image[None] if config.group == "single" else image / np.float32(255)
    inputs = {"images": jnp.asarray(values), "mask": jnp.ones(values.shape[1:3])}
    if mask is not None:
        if not mask.any():
            raise InputError("config.mask: is black; make white what counts")
        inputs["mask"] = jnp.asarray(mask)
    if hints is not None:
        inputs["hints"] = jnp.asarray(hints)
    if flash is not None:
        inputs["flash"] = jnp.asarray(flash)
    return inputs


def make(config, spec):
    several = config.group == "together"

    def init(key, inputs):
        pixels = jnp.full_like(inputs["images"], 0.5)
        return TrainState(jnp.zeros((), jnp.int32), key, {"pixels": pixels}, {}, {})

    def step(state, inputs, variant):
        error = inputs["images"] - state.params["pixels"]
        moved = state.params["pixels"] + config.rate * inputs["mask"][..., None] * error
        new = state.replace(step=state.step + 1, params={"pixels": moved})
        return new, {"loss": jnp.mean(error**2)}

    def outputs(state, inputs):
        pixels = state.params["pixels"]
        if config.group == "video":
            result = Output(pixels, "frames", frame_rate=config.frame_rate)
            made = {"result": result, "first": Output(pixels[0], "image")}
            return made | {"alpha": Output(pixels.mean(-1), "frames")}
        made = {"result": Output(pixels[0], "image")}
        if several:
            made |= {f"clean{i}": Output(p, "image", source=i) for i, p in enumerate(pixels)}
        made |= {name: Output(inputs[name], "image") for name in ("flash",) if name in inputs}
        return made

    stage = Stage("only", config.steps or config.train_steps, step)
    return Method("tiny_sets", init, (stage,), outputs)


SIDES = {"mask": "mask", "flash": "image", "hints": "masks"}
RECIPE = Recipe(
    "tiny_sets", Config, {}, prepare, make, example, SIDES, lambda config: GROUPINGS[config.group]
)
