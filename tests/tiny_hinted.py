"""A tiny method with hints, whose finished runs can continue with other hints."""

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.config import Label, MaskConfig, Text, field
from deepinternal.recipe import Recipe
from deepinternal.types import Example, Method, Output, Stage, TrainState

SHAPE = (6, 8)


class Config(MaskConfig):
    """Settings."""

    fit_steps: int = field(8, "steps of the second stage", unit="steps", ge=1)
    more_steps: int = field(4, "steps after a change of the hints", unit="steps", ge=1)
    foreground: Text = field("", "where it is white, the mask should be one")
    background: Text = field("", "where it is white, the mask should be zero")
    background_label: Label = field("any", "the label of background")


def prepare(config, image, foreground=None, background=None):
    """The image and the hints."""
    del config
    none = np.zeros(image.shape[:2], np.float32)
    maps = {"foreground": foreground, "background": background}
    maps = {name: np.float32(none if x is None else x > 0.5) for name, x in maps.items()}
    return {"image": np.float32(image), **maps}


def example(config, photo):
    """A part of the photograph."""
    del config
    return Example("a part", photo[: SHAPE[0], : SHAPE[1]])


def make(config, spec):
    """Noisy gradient descent with momentum: first on the image alone, then also on the hints."""
    shape = spec["image"].shape[:2]

    def begin(key, params):
        zero = jnp.zeros((), jnp.int32)
        return TrainState(zero, key, params, {"momentum": jnp.zeros(shape)}, {})

    def init(key, inputs):
        del inputs
        return begin(key, {"mask": jax.random.normal(key, (shape[0] * shape[1],)).reshape(shape)})

    def again(state, inputs):
        del inputs
        return begin(jax.random.fold_in(state.key, 1), state.params)

    def advance(state, inputs):
        return again(state, inputs), inputs

    def step_of(weight):
        def step(state, inputs, variant):
            del variant
            noise = jax.random.normal(jax.random.fold_in(state.key, state.step), (shape[0],))

            def loss_fn(mask):
                value, grey = jax.nn.sigmoid(mask), inputs["image"].mean(-1)
                told = inputs["foreground"] + inputs["background"]
                error = told * (value - inputs["foreground"]) ** 2
                return jnp.sum(weight * error + 0.1 * (value - grey + 0.01 * noise[:, None]) ** 2)

            loss, grad = jax.value_and_grad(loss_fn)(state.params["mask"])
            momentum = 0.5 * state.opt_state["momentum"] + grad
            params = {"mask": state.params["mask"] - momentum}
            new = state.replace(
                step=state.step + 1, params=params, opt_state={"momentum": momentum}
            )
            return new, {"loss": loss}

        return step

    def outputs(state, inputs):
        mask = jax.nn.sigmoid(state.params["mask"])
        return {"result": Output(inputs["image"] * mask[..., None]), "mask": Output(mask, "mask")}

    hinted = step_of(1.0)
    stages = (
        Stage("first", config.steps or 4, step_of(0.0), advance=advance),
        Stage("fit", config.steps or config.fit_steps, hinted),
    )
    more = Stage("more", config.more_steps, hinted)
    return Method("tiny_hinted", init, stages, outputs, more=more, again=again)


RECIPE = Recipe(
    "tiny_hinted",
    Config,
    {},
    prepare,
    make,
    example,
    side_inputs={"foreground": "mask", "background": "mask"},
    continued=("foreground", "background", "label", "background_label", "more_steps"),
)
