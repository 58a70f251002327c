"""What DIP undoes, task by task: the settings, the degradations, and samples that are degraded so.

A further degradation is an entry of `TASKS` and a name in `Config.task`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Lt

from deepinternal.config import Auto, NoiseStd, Preset, Text, field
from deepinternal.methods.fit_config import Channels, FitConfig, Odd, Skip
from deepinternal.ops.resize import resize
from deepinternal.types import Array, Example, Inputs


class Config(FitConfig):
    """Settings of DIP. Fields that are 'auto' follow from `task` and `effort`, see `TASKS`."""

    task: Literal["denoise", "inpaint", "sr", "restore", "flash"] = field(
        "denoise", "what was done to the image and is to be undone"
    )
    effort: Literal["published", "fast"] = field(
        "published",
        "what 'auto' fields stand for: the paper's settings, or fewer steps of a narrow net",
    )
    train_steps: Auto[Annotated[int, Ge(1)]] = field("auto", "steps of the fit", unit="steps")
    noise_std: NoiseStd = field(
        0.0,
        "standard deviation of the noise, if it is known: the fit ends when no more is left; 0: "
        "not known",
    )
    mask: Text = field(
        "",
        "of inpaint and restore: file or folder, white where the image is known; '': black pixels "
        "are missing",
    )
    scale: int = field(4, "of sr: factor by which the image is enlarged", ge=2, le=16)
    flash: Text = field(
        "", "of flash: the photograph with flash, which is the net's input; file or folder"
    )
    channels: Auto[Channels] = field("auto", "channels of each scale of the net, the finest first")
    skip: Auto[Skip] = field(
        "auto", "channels of the skip branches, one number or one for each scale; 0: none"
    )
    filter_down: Odd = field(3, "side of the kernels on the way down", unit="pixels")
    filter_up: Odd = field(3, "side of the kernels on the way up", unit="pixels")
    need_1x1: bool = field(True, "whether a 1x1 convolution follows each one on the way up")
    upsample: Literal["auto", "bilinear", "nearest"] = field(
        "auto", "how the net doubles its layers"
    )
    net_input: Literal["noise", "meshgrid"] = field("noise", "what the net is given")
    depth: int = field(32, "channels of the noise that the net is given", ge=1)
    jitter: Auto[Annotated[float, Ge(0)]] = field(
        "auto", "standard deviation of the noise added to the net's input at each step"
    )
    learning_rate: Auto[Annotated[float, Ge(0)]] = field("auto", "learning rate of Adam")
    schedule: Literal["auto", "constant", "cosine"] = field(
        "auto", "learning rate over the steps; cosine: to zero at the end"
    )
    average: Auto[Annotated[float, Ge(0), Lt(1)]] = field(
        "auto", "decay of the moving average of the outputs; 0: the last output"
    )
    backtrack: Auto[Annotated[float, Ge(0)]] = field(
        "auto",
        "loss of PSNR within 100 steps that brings back the weights before; 0: never",
        unit="dB",
    )
    early_stop: Auto[bool] = field(
        "auto", "whether the fit ends where the outputs' variance is least"
    )
    window: int = field(100, "steps over which that variance is taken", unit="steps", ge=2)
    patience: Auto[Annotated[int, Ge(1)]] = field(
        "auto", "steps after its least value at which the fit ends", unit="steps"
    )
    replicas: int = field(1, "fits of different seeds, side by side, which are averaged", ge=1)

    def standard(self) -> Mapping[str, Any]:
        """What the task and the effort stand for."""
        task = TASKS[self.task]
        fast = {**_FAST, **task.fast} if self.effort == "fast" else {}
        return {**_PUBLISHED, **task.published, **fast}


@dataclasses.dataclass(frozen=True)
class Task:
    """A degradation that DIP undoes.

    Attributes:
        published: what 'auto' fields stand for, where that differs from denoising.
        fast: likewise with `effort=fast`, beside the published settings.
        observe: `(made, inputs) -> image`: what the degradation makes of the net's image.
        example: `(config, photo, rng) -> (image, truth, side inputs)`.
        has_holes: whether parts of the image are missing, which a mask says.
        needs: side inputs that must be given.
    """

    example: Callable[[Config, np.ndarray, np.random.Generator], tuple[Any, Any, dict]]
    published: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fast: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    observe: Callable[[Array, Inputs], Array] = lambda made, inputs: made
    has_holes: bool = False
    needs: tuple[str, ...] = ()


_PUBLISHED = {
    **{"train_steps": 3000, "channels": (128,) * 5, "skip": (4,), "upsample": "bilinear"},
    **{"jitter": 1 / 30, "learning_rate": 0.01, "schedule": "constant", "average": 0.99},
    **{"backtrack": 5.0, "early_stop": True, "patience": 500},
}
_FAST = {
    **{"train_steps": 1800, "channels": (16, 32, 64, 128, 128), "skip": (4,)},
    **{"schedule": "cosine", "patience": 200},
}
# With these a task takes back what presets before it have set.
_OF_TASK = {"jitter": "auto", "backtrack": "auto", "average": "auto"}
_UNAVERAGED = {"jitter": 0.03, "backtrack": 0.0, "average": 0.0}
# Nothing is noisy where parts are missing: the average of the last outputs is the result.
_FAST_HOLES = {"average": 0.99, "early_stop": False, "train_steps": 1200, "learning_rate": 0.01}


def _noisy(config: Config, photo: np.ndarray, rng: np.random.Generator):
    return photo + rng.normal(0, config.noise_std or 25 / 255, photo.shape), photo, {}


def _written_over(config: Config, photo: np.ndarray, rng: np.random.Generator):
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]]
    known = np.sin(y / 5) + np.sin((x + y / 2) / 7) < 1.2
    return photo, photo, {"mask": known.astype(np.float32)}


def _half_missing(config: Config, photo: np.ndarray, rng: np.random.Generator):
    known = rng.random(photo.shape[:2]) < 0.5
    return photo, photo, {"mask": known.astype(np.float32)}


def _small(config: Config, photo: np.ndarray, rng: np.random.Generator):
    factor = config.scale
    photo = photo[: 256 // factor * factor, : 256 // factor * factor]
    return resize(jnp.asarray(photo), scale=(1 / factor,) * 2, method="lanczos2"), photo, {}


def _without_flash(config: Config, photo: np.ndarray, rng: np.random.Generator):
    image = photo * np.array([1, 0.8, 0.6]) + rng.normal(0, 0.06, photo.shape)
    return image, photo, {"flash": photo}


def _downscaled(made: Array, inputs: Inputs) -> Array:
    shape = inputs["image"].shape[:2]
    factor = tuple(n / m for n, m in zip(shape, made.shape[:2]))
    return resize(made, scale=factor, output_shape=shape, method="lanczos2")


TASKS: Mapping[str, Task] = {
    "denoise": Task(_noisy),
    "inpaint": Task(
        _written_over,
        published={**_UNAVERAGED, "upsample": "nearest", "skip": (128,), "train_steps": 6001},
        fast={**_FAST_HOLES, "skip": (4,)},
        has_holes=True,
    ),
    "sr": Task(_small, published={**_UNAVERAGED, "train_steps": 2000}, observe=_downscaled),
    "restore": Task(
        _half_missing,
        published={**_UNAVERAGED, "learning_rate": 1e-3, "train_steps": 11000},
        fast=_FAST_HOLES,
        has_holes=True,
    ),
    "flash": Task(
        _without_flash,
        published={**_UNAVERAGED, "jitter": 0.0, "learning_rate": 0.1, "train_steps": 601},
        fast={"train_steps": 400},
        needs=("flash",),
    ),
}

PRESETS: Mapping[str, Preset] = {
    "denoise": Preset({"task": "denoise"}, "remove noise, the paper's settings (default)"),
    "inpaint": Preset(
        {"task": "inpaint", **_OF_TASK, "upsample": "auto", "skip": "auto"},
        "fill in what a mask or black pixels leave out",
    ),
    "large_hole": Preset(
        {"net_input": "meshgrid", "skip": "0", "train_steps": 5001},
        "with inpaint: one hole of many pixels",
    ),
    "region": Preset(
        {
            **{"channels": "16,32,64,128,128,128", "skip": "0", "filter_down": 5},
            **{"need_1x1": False, "depth": 1, "jitter": 0.0, "train_steps": 3001},
        },
        "with inpaint: very large holes",
    ),
    "sr": Preset({"task": "sr", **_OF_TASK}, "super-resolution by a whole factor"),
    "restore": Preset(
        {"task": "restore", **_OF_TASK, "learning_rate": "auto"}, "fill in single missing pixels"
    ),
    "flash": Preset(
        {"task": "flash", **_OF_TASK, "learning_rate": "auto"},
        "a photograph without flash, by way of one with flash",
    ),
    "small": Preset(
        {"channels": "8,16,32,64,128", "skip": "0,0,0,4,4", "depth": 3, "train_steps": 2400},
        "a small net, published for the cleaning of a JPEG",
    ),
    "fast": Preset(
        {
            **{"effort": "fast", "train_steps": "auto", "learning_rate": "auto"},
            **{"schedule": "auto", "average": "auto", "early_stop": "auto", "patience": "auto"},
        },
        "a narrower net and fewer steps; goes with each task",
        "of 256x256 pixels on two cores of an AMD EPYC: denoising of F16 with noise of 25 / 255 "
        "30.36 dB (noisy 20.30) in 490 s; inpainting of kate 39.73 dB in 313 s; super-resolution x4 "
        "of zebra 24.65 dB Y (bicubic 21.98) in 1070 s; half of barbara's pixels 28.63 dB in 546 s",
    ),
    "smoke": Preset(
        {"channels": "8,8,8", "skip": "4", "train_steps": 20, "window": 8, "patience": 8},
        "a few steps of a tiny net, to see that everything runs",
    ),
}


def example(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    """The photograph degraded as the task supposes, with a mask or a flash photograph."""
    photo = photo[:256, 128:384]
    image, truth, made = TASKS[config.task].example(config, photo, np.random.default_rng(0))
    image = np.clip(np.asarray(image, np.float32), 0, 1)
    sides = {name: value for name, value in made.items() if name not in sides}
    return Example(f"skimage.data.astronaut, degraded for {config.task}", image, truth, sides)
