"""A minimal recipe: a 1x1 convolution to and from some features, fitted to the image."""

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.config import MethodConfig, Preset, field
from deepinternal.recipe import Recipe
from deepinternal.types import Example, Method, Output, Stage, TrainState

SIDE = 8
# Of a step with one feature: both layers forward and their kernels' gradients, the second's input's.
FLOPS = 2 * SIDE * SIDE * 3 * 5


class Config(MethodConfig):
    """Settings."""

    train_steps: int = field(12, "steps", unit="steps", ge=1)
    features: int = field(1, "channels between", ge=1)
    scale: int = field(1, "every pixel of the result becomes so many, both ways", ge=1)


def prepare(config, image):
    """The image."""
    del config
    return {"image": np.float32(image)}


def example(config, photo):
    """A part of the photograph."""
    del config
    return Example("a part", photo[:SIDE, :SIDE], truth=photo[:SIDE, :SIDE])


def make(config, spec):
    """Gradient descent on the squared error."""
    del spec

    def made(params, image):
        return image @ params["up"] @ params["down"]

    def init(key, inputs):
        del inputs
        up, down = jax.random.normal(key, (2, 3, config.features))
        zero = jnp.zeros((), jnp.int32)
        return TrainState(zero, key, {"net": {"up": up, "down": down.T}}, {}, {})

    def step(state, inputs, variant):
        del variant
        image = inputs["image"]
        error = lambda params: jnp.mean((made(params, image) - image) ** 2)
        loss, grads = jax.value_and_grad(error)(state.params["net"])
        params = jax.tree.map(lambda p, g: p - 0.1 * g, state.params["net"], grads)
        return state.replace(step=state.step + 1, params={"net": params}), {"loss": loss}

    def evaluate(state, inputs):
        return state, {"greatest": made(state.params["net"], inputs["image"]).max()}

    def outputs(state, inputs):
        result = jnp.clip(made(state.params["net"], inputs["image"]), 0, 1)
        for axis in (0, 1):
            result = jnp.repeat(result, config.scale, axis)
        return {"result": Output(result)}

    stage = Stage("fit", config.steps or config.train_steps, step, evaluate, evaluate_every=10)
    return Method("tiny", init, (stage,), outputs)


RECIPE = Recipe(
    "tiny", Config, {"short": Preset({"train_steps": 6}, "short")}, prepare, make, example
)
