"""DIP: Deep Image Prior (Ulyanov, Vedaldi, Lempitsky, CVPR 2018), restoration of one image.

An untrained encoder-decoder with a fixed random input is fitted to the one degraded image; structure
comes before noise, so that the fit, ended in time, is the restored image.

Where the paper is in the code: eq. 2 (fit through the known degradation) -> `_loss`; section 2.1 and
the supplement's settings (input, its perturbation, nets) -> `defaults`, `PRESETS`; running average of
the outputs, going back after a collapse -> `methods.fit`. Section 3.1 (denoising), 3.2
(super-resolution, Lanczos2), 3.3 (inpainting), 3.6 (flash) -> the tasks.

Deliberate deviations from the authors' code: sides that do not divide are enlarged for the net and cut
back, instead of layers being cut inside; training ends without ground truth by the moving variance of
the outputs (Wang et al. 2021; `early_stop=False` takes all steps); the Lanczos downsampler mirrors at
borders. `runs` fits are averaged, as the paper's best figures are.

Presets: configs/dip.py.
"""

import functools
import math

import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.losses.pixel import l2, masked_l2
from deepinternal.methods import checks, fit, optimizers
from deepinternal.nets.skip import SkipNet
from deepinternal.ops.resize import output_size, resize
from deepinternal.types import Example, InputError, Inputs, Method, Output

SIDE_INPUTS = {"mask": "mask", "flash": "image"}
TASKS = ("denoise", "inpaint", "sr", "restore", "flash")


def defaults() -> ml_collections.ConfigDict:
    """The published settings for denoising."""
    return ml_collections.ConfigDict(
        {
            "seed": 0,
            "steps": 0,  # at most so many; 0: the task's own number, `task_steps`
            "task_steps": 3000,
            "task": "denoise",  # or inpaint, sr, restore, flash
            "sigma": 0.0,  # of the noise, of 255, if known: the fit ends when no more is left
            "mask": "",  # inpaint, restore: file or folder; white = known. '': black pixels are missing
            "scale": "4",  # of sr: a whole number
            "flash": "",  # photograph with flash, the network's input
            "channels": "128,128,128,128,128",  # of each scale, finest first
            "skip": "4",  # channels of the skip branches, one number or one for each scale
            "filter_down": 3,
            "filter_up": 3,
            "need_1x1": True,
            "upsample": "bilinear",  # or nearest
            "net_input": "noise",  # or meshgrid
            "depth": 32,  # channels of the noise
            "jitter": 1 / 30,  # standard deviation of the noise added to the input at each step
            "learning_rate": 0.01,
            "schedule": "constant",  # or cosine, to zero over all steps
            "average": 0.99,  # decay of the outputs' moving average; 0: the last output
            "backtrack": 5.0,  # dB of PSNR lost within 100 steps that bring back the weights; 0: never
            "early_stop": True,
            "window": 100,  # steps over which the variance of the outputs is taken
            "patience": 500,  # steps after its least value
            "runs": 1,  # fits of different seeds, averaged
        }
    )


_HOLES = {"jitter": 0.03, "backtrack": 0.0, "average": 0.0, "upsample": "nearest"}


def _fast(config: ml_collections.ConfigDict) -> dict:
    """A narrow net, fewer steps, a learning rate that ends at zero."""
    fields = {"schedule": "cosine", "patience": 200, "task_steps": 1800}
    if config.channels == defaults().channels:
        fields["channels"] = "16,32,64,128,128"
    if config.skip == "128":
        fields["skip"] = "4"
    if config.task in ("inpaint", "restore"):
        # Nothing is noisy: the average of the last outputs is the result.
        fields |= {"average": 0.99, "early_stop": False, "task_steps": 1200, "learning_rate": 0.01}
    if config.task == "flash":
        fields["task_steps"] = 400
    return fields


PRESETS = {
    "denoise": {},
    "inpaint": {**_HOLES, "task": "inpaint", "skip": "128", "task_steps": 6001},
    "large_hole": {"net_input": "meshgrid", "skip": "0", "task_steps": 5001},
    "region": {
        **{"channels": "16,32,64,128,128,128", "skip": "0", "filter_down": 5, "need_1x1": False},
        **{"depth": 1, "jitter": 0.0, "task_steps": 3001},
    },
    "sr": {"task": "sr", "jitter": 0.03, "backtrack": 0.0, "average": 0.0, "task_steps": 2000},
    "restore": {
        **{"task": "restore", "jitter": 0.03, "backtrack": 0.0, "average": 0.0},
        **{"learning_rate": 1e-3, "task_steps": 11000},
    },
    "flash": {
        **{"task": "flash", "jitter": 0.0, "backtrack": 0.0, "average": 0.0},
        **{"learning_rate": 0.1, "task_steps": 601},
    },
    "small": {"channels": "8,16,32,64,128", "skip": "0,0,0,4,4", "depth": 3, "task_steps": 2400},
    "fast": _fast,
    "smoke": {"channels": "8,8,8", "skip": "4", "steps": 20, "window": 8, "patience": 8},
}


def example(config: ml_collections.ConfigDict, photo: np.ndarray, **sides) -> Example:
    """The sample photograph degraded as the task supposes, with a mask or a flash photograph."""
    rng = np.random.default_rng(0)
    photo, made = photo[:256, 128:384], {}
    image = photo
    if config.task == "denoise":
        image = photo + rng.normal(0, (config.sigma or 25) / 255, photo.shape)
    elif config.task == "sr":
        factor = _factor(config)
        photo = photo[: 256 // factor * factor, : 256 // factor * factor]
        image = resize(jnp.asarray(photo), scale=(1 / factor,) * 2, method="lanczos2")
    elif config.task == "flash":
        image = photo * np.array([1, 0.8, 0.6]) + rng.normal(0, 0.06, photo.shape)
        made = {"flash": photo}
    else:
        known = rng.random(photo.shape[:2]) < 0.5
        if config.task == "inpaint":
            y, x = np.mgrid[: photo.shape[0], : photo.shape[1]]
            known = np.sin(y / 5) + np.sin((x + y / 2) / 7) < 1.2
        made = {"mask": known.astype(np.float32)}
    image = np.clip(np.asarray(image, np.float32), 0, 1)
    return Example(image, photo, {k: v for k, v in made.items() if k not in sides})


def prepare(config: ml_collections.ConfigDict, image: np.ndarray, mask=None, flash=None) -> Inputs:
    """The inputs of the method from what the user gave; on the host.

    Args:
        config: as `defaults()`.
        image: (H, W, C) in [0, 1].
        mask: (H, W) in [0, 1]: above 0.5 known; for `inpaint` and `restore`. None: pixels of value 0
            in all channels are missing.
        flash: (H, W, C) in [0, 1], for `flash`.

    Returns:
        `image`; with holes `mask` (H, W, 1) of zeros and ones; with flash `flash`.

    Raises:
        InputError: no mask and no black pixel, a mask that leaves nothing to do or to learn from,
            another size, no flash photograph.
    """
    inputs = {"image": np.asarray(image, np.float32)}
    if config.task in ("inpaint", "restore"):
        known = mask > 0.5 if mask is not None else (image > 0).any(axis=-1)
        checks.same_size("mask", known, image)
        if not known.any() or known.all():
            what = "nothing is known" if not known.any() else "nothing is missing"
            way = "the mask is white where the image is known, black where it is to be filled in"
            if mask is None:
                way = "give config.mask: white where the image is known, black where it is missing"
            raise InputError(f"config.task={config.task}: {what}; {way}")
        inputs["mask"] = known[..., None].astype(np.float32)
    if config.task == "flash":
        if flash is None:
            raise InputError("config.flash: give the photograph taken with flash, of the same size")
        checks.same_size("flash", flash, image)
        inputs["flash"] = np.asarray(flash, np.float32)
    return inputs


def _factor(config: ml_collections.ConfigDict) -> int:
    try:
        factor = int(config.scale)
    except ValueError:
        factor = 0
    if not 2 <= factor <= 16:
        raise InputError(f"config.scale={config.scale}: here a whole number from 2 to 16")
    return factor


def _loss(task: str, layers, inputs, step):
    """Squared error after the task's degradation (eq. 2)."""
    del step
    made, image = layers["image"], inputs["image"]
    if task == "sr":
        factor = tuple(n / m for n, m in zip(image.shape[:2], made.shape[:2]))
        made = resize(made, scale=factor, output_shape=image.shape[:2], method="lanczos2")
    error = masked_l2(made, image, inputs["mask"]) if "mask" in inputs else l2(made, image)
    return error, {"psnr": -10 * jnp.log10(error)}


def _outputs(layers, inputs) -> dict[str, Output]:
    """The restored image; what the mask calls known is the input's."""
    result = layers["image"]
    if "mask" in inputs:
        result = inputs["mask"] * inputs["image"] + (1 - inputs["mask"]) * result
    return {"result": Output(jnp.clip(result, 0, 1), "image")}


def _mean(outputs: dict[str, Output]) -> dict[str, Output]:
    return {n: Output(jnp.mean(o.value, axis=0), o.kind, o.size) for n, o in outputs.items()}


def network(config: ml_collections.ConfigDict, channels: int) -> SkipNet:
    """The net of a config, for images of so many channels."""
    down = checks.whole_numbers(config, "channels", at_least=1)
    return SkipNet(
        outputs=channels,
        down=down,
        skip=checks.whole_numbers(config, "skip", at_least=0, length=len(down)),
        filter_down=config.filter_down,
        filter_up=config.filter_up,
        upsample=config.upsample,
        need_1x1=config.need_1x1,
    )


def make(config: ml_collections.ConfigDict, input_spec: Inputs) -> Method:
    """DIP for images of one shape.

    Args:
        config: as `defaults()`.
        input_spec: shapes of `prepare`'s inputs.

    Returns:
        The method. Output: `result` (H, W, C), for `sr` (scale * H, scale * W, C).

    Raises:
        InputError: a field out of range.
    """
    check(config)
    *shape, channels = input_spec["image"].shape
    generator = fit.Generator(
        net=network(config, channels),
        depth=2 if config.net_input == "meshgrid" else config.depth,
        low=0.0,
        high=0.1,
        source=config.net_input,
        jitter=config.jitter,
    )
    if config.task == "flash":
        flash = input_spec["flash"].shape[-1]
        generator = fit.Generator(generator.net, flash, source="flash", jitter=config.jitter)
    baseline = lambda inputs: inputs["image"]
    if config.task == "sr":
        small, factor = tuple(shape), _factor(config)
        shape = output_size(small, (factor, factor))

        def baseline(inputs):
            large = resize(inputs["image"], scale=(factor, factor), output_shape=shape)
            return jnp.clip(large, 0, 1)

    steps = config.steps or config.task_steps
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = optimizers.short_run(steps, rate)
    phase = fit.Phase(
        config.task,
        steps,
        functools.partial(_loss, config.task),
        learning_rate=rate,
        keep="average" if config.average else "last",
        average=config.average,
        backtrack=config.backtrack,
        target=20 * math.log10(255 / config.sigma) if config.sigma else math.inf,
        window=config.window if config.early_stop else 0,
        patience=config.patience,
    )
    many = {"replicas": config.runs, "reduce": _mean} if config.runs > 1 else {}
    return fit.build(
        "dip", {"image": generator}, [phase], _outputs, shape=shape, baseline=baseline, **many
    )


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses settings that work with no image, in one line each.

    Raises:
        InputError: a field out of range.
    """
    checks.choices(
        config,
        {
            "task": TASKS,
            "upsample": ("bilinear", "nearest"),
            "net_input": ("noise", "meshgrid"),
            "schedule": ("constant", "cosine"),
        },
    )
    bounds = {"steps": 0, "task_steps": 1, "sigma": 0, "depth": 1, "jitter": 0, "learning_rate": 0}
    bounds |= {"average": 0, "backtrack": 0, "window": 2, "patience": 1, "runs": 1}
    checks.least(config, bounds | {"filter_down": 1, "filter_up": 1})
    checks.below(config, {"average": 1})
    if config.task == "sr":
        _factor(config)
    network(config, 3)
