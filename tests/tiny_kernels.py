"""A tiny method that estimates a kernel: its result is smaller than its input.

The estimate is a Gaussian that grows wider with every step.
"""

import jax.numpy as jnp
import numpy as np

from deepinternal.config import MethodConfig, Text, field
from deepinternal.ops.kernels import gaussian_kernel
from deepinternal.ops.resizing import resize
from deepinternal.recipe import Recipe
from deepinternal.types import Example, Method, Output, Stage, TrainState

SIZE = 13


class Config(MethodConfig):
    train_steps: int = field(4, "steps", ge=1)
    kernel: Text = field("", "a kernel")
    reference_kernel: Text = field("", "what is drawn beside the estimate")


def example(config, photo, **sides):
    del config, sides
    return Example("a small photograph", np.asarray(photo)[::32, ::32], photo[:8, :8])


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

    return Method(
        "tiny_kernels", init, (Stage("only", config.steps or config.train_steps, step),), outputs
    )


SIDES = {"kernel": "kernel", "reference_kernel": "kernel"}
RECIPE = Recipe(
    "tiny_kernels",
    Config,
    {},
    prepare,
    make,
    example,
    SIDES,
    scored=False,
    remarks=remarks,
    equations=lambda config, inputs: ("width * input = kernel * result",),
)
