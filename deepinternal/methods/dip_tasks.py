"""DIP's settings, and the degradations that it undoes, each with a degraded sample.

To add a degradation, add an entry to `TASKS` and its name to `Config.task`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from deepinternal.config import Auto, MaskConfig, NoiseStd, Preset, Text, field
from deepinternal.methods.fit_config import Channels, FitConfig, Odd, Skip
from deepinternal.ops.resizing import resize
from deepinternal.types import Array, Example, Inputs


class Config(FitConfig, MaskConfig):
    """Settings of DIP. `task` and `effort` replace the fields that are 'auto', see `TASKS`."""

    task: Literal["denoise", "inpaint", "sr", "restore", "flash"] = field(
        "denoise", "degradation of the image that is undone"
    )
    effort: Literal["published", "fast"] = field(
        "published",
        "values of the fields that are auto: the paper's, or those of a narrower net and fewer steps",
    )
    train_steps: Auto[Annotated[int, Ge(1)]] = field(
        "auto", "number of steps of the fit; auto: set by task and effort", unit="steps"
    )
    noise_std: NoiseStd = field(
        0.0,
        "standard deviation of the image's noise; the fit ends when its error is as small; 0: "
        "unknown",
    )
    mask: Text = field(
        "",
        "file or folder of masks for inpaint and restore, white where the image is known; '': "
        "transparent pixels are missing, or black ones in an image without any",
    )
    scale: int = field(4, "factor by which sr enlarges the image", ge=2, le=16)
    flash: Text = field(
        "",
        "file or folder of photographs with flash, which the task flash needs as the net's input",
    )
    channels: Auto[Channels] = field(
        "auto",
        "channels of the net at each scale, the finest scale first; auto: set by task and effort",
    )
    skip: Auto[Skip] = field(
        "auto",
        "channels of the skip branches, one number for all scales or one for each; 0: no branch; "
        "auto: set by task and effort",
    )
    filter_down: Odd = field(3, "side of the encoder's kernels", unit="pixels")
    filter_up: Odd = field(3, "side of the decoder's kernels", unit="pixels")
    need_1x1: bool = field(True, "add a 1x1 convolution after each convolution of the decoder")
    upsample: Literal["auto", "bilinear", "nearest"] = field(
        "auto", "interpolation in the decoder; auto: set by task and effort"
    )
    net_input: Literal["noise", "meshgrid"] = field(
        "noise", "input of the net: noise, or the coordinates of the pixels"
    )
    depth: int = field(32, "channels of the noise that is the net's input", ge=1)
    jitter: Auto[Annotated[float, Ge(0)]] = field(
        "auto",
        "standard deviation of the noise added to the net's input at each step; auto: set by task "
        "and effort",
    )
    learning_rate: Auto[Annotated[float, Ge(0)]] = field(
        "auto", "learning rate of Adam; auto: set by task and effort"
    )
    schedule: Literal["auto", "constant", "cosine"] = field(
        "auto",
        "learning rate over the steps; cosine: it falls to 0 at the last step; auto: set by task and "
        "effort",
    )
    average: Auto[Annotated[float, Ge(0), Lt(1)]] = field(
        "auto",
        "decay of the moving average of the outputs; 0: the last output is used; auto: set by task "
        "and effort",
    )
    backtrack: Auto[Annotated[float, Ge(0)]] = field(
        "auto",
        "drop of the PSNR within 100 steps after which the earlier weights are restored; 0: never; "
        "auto: set by task and effort",
        unit="dB",
    )
    early_stop: Auto[bool] = field(
        "auto",
        "end the fit at the least error of pixels that are held out of it; auto: set by task and "
        "effort",
    )
    held_out: Annotated[float, Gt(0), Le(0.5)] = field(
        0.05, "share of the pixels that early_stop holds out of the fit, chosen at random"
    )
    patience: Auto[Annotated[int, Ge(1)]] = field(
        "auto",
        "steps without a smaller error of the held-out pixels after which early_stop ends the fit; "
        "auto: set by task and effort",
        unit="steps",
    )
    replicas: int = field(1, "number of seeds that are fitted side by side and averaged", ge=1)
    fit_pixels: int = field(
        1_200_000,
        "greatest number of pixels that are fitted at once, for sr pixels of the result; larger images "
        "are fitted in windows, one after another, and for inpaint and restore only in windows with "
        "missing pixels; 0: no limit",
        unit="pixels",
        ge=0,
    )

    def standard(self) -> Mapping[str, Any]:
        """The values of the task and the effort."""
        task = TASKS[self.task]
        fast = {**_FAST, **task.fast} if self.effort == "fast" else {}
        return {**_PUBLISHED, **task.published, **fast}


@dataclasses.dataclass(frozen=True)
class Task:
    """A degradation that DIP undoes.

    Attributes:
        example: `(config, photo, rng) -> (image, truth, side inputs)`.
        published: The values of 'auto' fields that differ from those of denoising.
        fast: The values that `effort=fast` changes in addition.
        observe: `(made, inputs) -> image`: applies the degradation to the net's image.
        has_holes: Whether parts of the image are missing, as marked by a mask.
        needs: The side inputs that must be given.
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
    **{"train_steps": 2400, "channels": (16, 32, 64, 128, 128), "skip": (4,)},
    **{"patience": 200},
}
# The preset of a task resets these fields, which earlier presets may have set.
_OF_TASK = {"jitter": "auto", "backtrack": "auto", "average": "auto"}
_UNAVERAGED = {"jitter": 0.03, "backtrack": 0.0, "average": 0.0}
# Images with missing parts have no noise to stop at: the result is the average of the last outputs.
_FAST_HOLES = {
    **{"average": 0.99, "early_stop": False, "train_steps": 1200, "learning_rate": 0.01},
    **{"schedule": "cosine"},
}


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
    "sr": Task(
        _small,
        published={**_UNAVERAGED, "train_steps": 2000},
        fast={"train_steps": 1800, "schedule": "cosine"},
        observe=_downscaled,
    ),
    "restore": Task(
        _half_missing,
        published={**_UNAVERAGED, "learning_rate": 1e-3, "train_steps": 11000},
        fast=_FAST_HOLES,
        has_holes=True,
    ),
    "flash": Task(
        _without_flash,
        published={**_UNAVERAGED, "jitter": 0.0, "learning_rate": 0.1, "train_steps": 601},
        fast={"train_steps": 400, "schedule": "cosine"},
        needs=("flash",),
    ),
}

PRESETS: Mapping[str, Preset] = {
    "denoise": Preset(
        {"task": "denoise"},
        "removal of noise, with the paper's settings (the default of `train`; verbs and calls use "
        "`fast`)",
    ),
    "inpaint": Preset(
        {"task": "inpaint", **_OF_TASK, "upsample": "auto", "skip": "auto"},
        "inpainting of the pixels that are black in the mask or, without a mask, transparent or black "
        "in the image",
    ),
    "large_hole": Preset(
        {"net_input": "meshgrid", "skip": "0", "train_steps": 5001},
        "settings for one large hole, together with inpaint",
    ),
    "region": Preset(
        {
            **{"channels": "16,32,64,128,128,128", "skip": "0", "filter_down": 5},
            **{"need_1x1": False, "depth": 1, "jitter": 0.0, "train_steps": 3001},
        },
        "settings for very large holes, together with inpaint",
    ),
    "sr": Preset({"task": "sr", **_OF_TASK}, "super-resolution by a whole-number factor"),
    "restore": Preset(
        {"task": "restore", **_OF_TASK, "learning_rate": "auto"},
        "inpainting of single missing pixels",
    ),
    "flash": Preset(
        {"task": "flash", **_OF_TASK, "learning_rate": "auto"},
        "a photograph without flash, restored with the help of one with flash",
    ),
    "small": Preset(
        {"channels": "8,16,32,64,128", "skip": "0,0,0,4,4", "depth": 3, "train_steps": 2400},
        "a small net, which the authors published for JPEG artefacts",
    ),
    "fast": Preset(
        {
            **{"effort": "fast", "train_steps": "auto", "learning_rate": "auto"},
            **{"schedule": "auto", "average": "auto", "early_stop": "auto", "patience": "auto"},
        },
        "a narrower net and fewer steps, for every task",
    ),
    "smoke": Preset(
        {"channels": "8,8,8", "skip": "4", "train_steps": 20, "patience": 8},
        "a few steps of a tiny net, to check that everything runs",
    ),
}


def example(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    """Returns the photograph with the task's degradation, and the mask or the flash photograph."""
    photo = photo[:256, 128:384]
    image, truth, made = TASKS[config.task].example(config, photo, np.random.default_rng(0))
    image = np.clip(np.asarray(image, np.float32), 0, 1)
    sides = {name: value for name, value in made.items() if name not in sides}
    return Example(f"skimage.data.astronaut, degraded for {config.task}", image, truth, sides)
