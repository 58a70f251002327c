"""Helpers for the tests of the decompositions: small images, fits, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

from deepinternal import methods
from deepinternal.types import InputError, input_spec

TINY = {"channels": "4", "skip": "0"}
TOP = slice(0, 5)


def prepared(name, image, presets="", sides=None, **fields):
    """A method for an image, and its inputs."""
    recipe, sides = methods.find(name), sides or {}
    config = recipe.build(presets, **recipe.given(sides), **fields)
    inputs = recipe.prepare(config, image, **sides)
    return recipe.method(config, input_spec(inputs)), jax.tree.map(jnp.asarray, dict(inputs))


def fitted(name, image, presets="", sides=None, losses=None, **fields):
    """The outputs of a method after all steps, as arrays by name; `losses` gets that of each step."""
    method, inputs = prepared(name, image, presets, sides, **fields)
    state = jax.jit(method.init)(jax.random.key(0), inputs)
    for stage in method.stages:
        step = jax.jit(stage.step).lower(state, inputs, None).compile()
        for _ in range(stage.steps):
            state, metrics = step(state, inputs, None)
            if losses is not None:
                losses.append(float(metrics["loss"]))
        if stage.advance:
            state, inputs = jax.jit(stage.advance)(state, inputs)
    outputs = jax.jit(method.outputs)(state, inputs)
    return {name: np.asarray(output.value) for name, output in outputs.items()}


def photograph(y=60, x=160, side=32):
    """A part of a photograph, (side, side, 3) in [0, 1]."""
    return (
        skimage.data.astronaut()[y : y + 4 * side : 4, x : x + 4 * side : 4].astype(np.float32)
        / 255
    )


def refused(name, image, presets="", sides=None, **fields):
    """Asserts that an image is refused, and returns the message, which has one line."""
    with pytest.raises(InputError) as caught:
        prepared(name, image, presets, sides, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def white_rows(size=(32, 32), rows=TOP):
    """A mask that is 1 in some rows and 0 elsewhere."""
    mask = np.zeros(size, np.float32)
    mask[rows] = 1
    return mask
