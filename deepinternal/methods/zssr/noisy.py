"""Noise that is removed before an image is super-resolved, by the method `denoise`."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from deepinternal.methods import denoise
from deepinternal.types import Array, Inputs, input_spec

REST = 0.3  # standard deviation of the noise that remains, relative to the noise before


def denoised(image: np.ndarray) -> np.ndarray:
    """Removes the noise of an image, which is measured, on the host.

    Args:
        image: (H, W, C) in [0, 1].

    Returns:
        (H, W, C) float32 in [0, 1].
    """
    config = denoise.RECIPE.build("fast")
    inputs = denoise.prepare(config, image)
    leaves, tree = jax.tree.flatten(input_spec(inputs))
    return np.asarray(_program(config, tuple(leaves), tree)(inputs), np.float32)


@functools.lru_cache(maxsize=4)
def _program(config: Any, leaves: tuple, tree: Any) -> Callable[[Inputs], Array]:
    """Returns the whole method as one function, which is compiled once for inputs of a shape."""
    method = denoise.RECIPE.method(config, jax.tree.unflatten(tree, leaves))

    def run(inputs: Inputs) -> Array:
        state = method.init(jax.random.key(0), inputs)
        for stage in method.stages:
            step = lambda _, state, stage=stage, given=inputs: stage.step(state, given, None)[0]
            state = jax.lax.fori_loop(0, stage.steps, step, state)
            if stage.advance:
                state, inputs = stage.advance(state, inputs)
        return method.outputs(state, inputs)["result"].value

    return jax.jit(run)
