"""The module of a tiny method whose input is an image, several images, or a video.

It pulls each pixel from grey to the input's, where a mask does not hold it back; so after many steps
its result is the input.
"""

import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.types import Example, InputError, Method, Output, Stage, TrainState

SIDE_INPUTS = {"mask": "mask", "flash": "image", "hints": "masks"}
COUNTS = {"single": (1, 1), "together": (2, 3), "video": (2, None)}


def defaults():
    fields = {"seed": 0, "steps": 60, "group": "single", "rate": 0.2, "frame_rate": 0.0}
    return ml_collections.ConfigDict({**fields, **dict.fromkeys(SIDE_INPUTS, "")})


def check(config):
    if config.group not in COUNTS:
        raise InputError(f"config.group={config.group!r}: choose one of {', '.join(COUNTS)}")


def grouping(config):
    return config.group


def counts(config):
    return COUNTS[config.group]


def example(config, photo, **sides):
    small = np.asarray(photo)[::32, ::32]
    if config.group == "single":
        return Example(small, sides={"mask": np.ones(small.shape[:2], np.float32)})
    if config.group == "together":
        return Example([small, small[::-1]])
    return Example(
        np.round(np.stack([np.roll(small, i, 1) for i in range(3)]) * 255).astype("uint8")
    )


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
            made = {"result": Output(pixels, "frames"), "first": Output(pixels[0], "image")}
            return made | {"alpha": Output(pixels.mean(-1), "frames")}
        made = {"result": Output(pixels[0], "image")}
        if several:
            made |= {f"clean{i}": Output(p, "image", source=i) for i, p in enumerate(pixels)}
        made |= {name: Output(inputs[name], "image") for name in ("flash",) if name in inputs}
        return made

    stage = Stage("only", config.steps, step)
    return Method("tiny_sets", init, (stage,), outputs)
