"""The module of a tiny method that estimates a kernel: its result is smaller than its input.

What it estimates is a gaussian that grows wider with every step.
"""

import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.ops.kernels import gaussian_kernel
from deepinternal.ops.resize import resize
from deepinternal.types import Method, Output, Stage, TrainState

SIDE_INPUTS = {"kernel": "kernel", "reference_kernel": "kernel"}
SCORED = False
SIZE = 13


def defaults():
    fields = {"seed": 0, "steps": 4, **dict.fromkeys(SIDE_INPUTS, "")}
    return ml_collections.ConfigDict(fields)


def check(config):
    del config


def example(config, photo, **sides):
    del config, sides
    return np.asarray(photo)[::32, ::32]


def prepare(config, image, kernel=None, reference_kernel=None):
    del config
    sides = {"kernel": kernel, "reference_kernel": reference_kernel}
    found = {name: jnp.asarray(value) for name, value in sides.items() if value is not None}
    return {"image": jnp.asarray(image), **found}


def remarks(config, inputs, figures):
    del config
    said = [f"<b>Rows</b> &\n{inputs['image'].shape[0]} of them."]
    return said if figures is None else (*said, f"Width {figures['width']:.2f} of {list(figures)}.")


def estimate(width):
    """The kernel (SIZE, SIZE) after so many steps."""
    return gaussian_kernel(SIZE, (1.0 + 0.25 * width, 0.8), theta=np.pi / 6)


def make(config, spec):
    del spec

    def init(key, inputs):
        del inputs
        return TrainState(jnp.zeros((), jnp.int32), key, {"width": jnp.zeros(())}, {}, {})

    def step(state, inputs, variant):
        del inputs, variant
        width = state.params["width"] + 1
        return state.replace(step=state.step + 1, params={"width": width}), {"loss": -width}

    def outputs(state, inputs):
        image = inputs["image"]
        half = tuple(side // 2 for side in image.shape[:2])
        kernels = {"kernel": estimate(state.params["width"])}
        if "reference_kernel" in inputs:
            kernels["reference_kernel"] = inputs["reference_kernel"]
        return {
            "result": Output(resize(image, output_shape=half, method="box"), "image"),
            **{name: Output(value, "kernel") for name, value in kernels.items()},
            "width": Output(state.params["width"], "scalar"),
        }

    return Method("tiny_kernels", init, (Stage("only", config.steps, step),), outputs)
