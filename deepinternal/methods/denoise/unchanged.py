"""The algorithm for images without noise: the result is the image itself."""

import jax.numpy as jnp

from deepinternal.methods.denoise.config import Config
from deepinternal.methods.denoise.parts import Parts
from deepinternal.types import Array, Inputs, Metrics, Output, Stage, TrainState


def _init(key: Array, inputs: Inputs) -> TrainState:
    del inputs
    return TrainState(jnp.zeros((), jnp.int32), key, {}, {}, {})


def _step(state: TrainState, inputs: Inputs, variant=None) -> tuple[TrainState, Metrics]:
    del inputs, variant
    return state.replace(step=state.step + 1), {"loss": jnp.zeros(())}


def _outputs(state: TrainState, inputs: Inputs) -> dict[str, Output]:
    """The image; its errors are those of its own noise, at least those of rounding to 8 bits."""
    del state
    image, size = inputs["image"], inputs.get("size")
    std = jnp.maximum(jnp.sqrt(jnp.mean(inputs["noise"]["std"] ** 2)), 12**-0.5 / 255)
    return {
        "result": Output(jnp.clip(image, 0, 1), size=size),
        "uncertainty": Output(jnp.full(image.shape[:2], std), "map", size),
        "expected_psnr": Output(-20 * jnp.log10(std), "scalar"),
    }


def parts(config: Config, shape: tuple[int, int, int], level: str) -> Parts:
    """Returns the parts of the method; see `denoise.ALGORITHMS`."""
    del config, shape, level
    return Parts(_init, (Stage("unchanged", 1, _step),), _outputs)
