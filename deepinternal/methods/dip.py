"""DIP: Deep Image Prior (Ulyanov, Vedaldi, Lempitsky, CVPR 2018), restoration of one image.

An untrained encoder-decoder with a fixed random input is fitted to the degraded image. The net learns
structure before noise, so that a fit that ends in time gives the restored image.

Where the paper is in the code: eq. 2 (fit through the known degradation) -> `_loss` with the `observe`
of a task; section 2.1 and the supplement's settings (input, its perturbation, nets) -> `TASKS` and
`PRESETS` of `dip_tasks`; running average of the outputs, recovery from a collapse -> `methods.fit`.
Section 3.1 (denoising), 3.2 (super-resolution, Lanczos2), 3.3 (inpainting), 3.6 (flash) -> `TASKS`.

Deliberate deviations from the authors' code: if the image's sides are not multiples of what the net
needs, its input is enlarged and its output is cropped, while the authors crop layers; a few pixels,
chosen at random, are held out of the fit, which ends at their least error (`early_stop=False` fits all
pixels and takes all steps); the Lanczos downsampler mirrors at borders; an image of more than
`fit_pixels` is fitted in windows, one after another (`dip_windows`). The fits of several `replicas` are
averaged, as for the paper's best figures.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.losses.pixel import masked_l2
from deepinternal.methods import dip_windows, fit
from deepinternal.methods.dip_tasks import PRESETS, TASKS, Config, example
from deepinternal.methods.holes import known_pixels
from deepinternal.nets.skip import SkipNet
from deepinternal.ops.metrics import mse_to_psnr
from deepinternal.ops.resizing import output_size, resize
from deepinternal.recipe import Figures, Recipe, check_size
from deepinternal.types import Array, InputError, Inputs, Method, Output


def prepare(
    config: Config,
    image: np.ndarray,
    mask: np.ndarray | None = None,
    flash: np.ndarray | None = None,
) -> Inputs:
    """Makes the method's inputs from the user's arrays, on the host.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1].
        mask: (H, W) in [0, 1], above 0.5 where the image is known, for tasks with missing pixels. None:
            pixels that are 0 in all channels are missing.
        flash: (H, W, C) in [0, 1], the photograph with flash, for the task `flash`.

    Returns:
        `image`; for tasks with missing pixels `mask` (H, W, 1) of zeros and ones; with `early_stop`
        `held_out` (H, W, 1), 1 for the pixels that are not fitted; for the task `flash` also `flash`.
        For a large image, those of its first window, and the further inputs of `dip_windows.split`.

    Raises:
        InputError: No pixel is missing or no pixel is known, a side input has another size than the
            image, or the photograph with flash is not given.
    """
    inputs = {"image": np.asarray(image, np.float32)}
    task = TASKS[config.task]
    if task.has_holes:
        known = known_pixels(image, mask, task=config.task)
        inputs["mask"] = known[..., None].astype(np.float32)
    if config.early_stop:
        known = inputs.get("mask", np.ones(image.shape[:2]))
        inputs["held_out"] = _chosen(known.reshape(image.shape[:2]) > 0, config.held_out)
    if "flash" in task.needs:
        if flash is None:
            raise InputError("config.flash: give the photograph taken with flash, of the same size")
        check_size("flash", flash, image)
        inputs["flash"] = np.asarray(flash, np.float32)
    scale = _scale(config)
    if dip_windows.is_large(tuple(scale * n for n in image.shape[:2]), config.fit_pixels):
        return dip_windows.split(inputs, pixels=config.fit_pixels, scale=scale)
    return inputs


def _chosen(known: np.ndarray, share: float) -> np.ndarray:
    """Marks a share of the known pixels (H, W), at least one: (H, W, 1)."""
    places = np.flatnonzero(known)
    chosen = np.random.default_rng(0).choice(places, max(1, round(share * len(places))), False)
    marks = np.zeros((*known.shape, 1), np.float32)
    marks.reshape(-1)[chosen] = 1
    return marks


def _scale(config: Config) -> int:
    """The factor from the image to the result."""
    return config.scale if config.task == "sr" else 1


def _loss(observe, data, regularizer, layers, inputs, step):
    """The squared error after the task's degradation (eq. 2), or the terms that the user injected."""
    del step
    observed, image = observe(layers["image"], inputs), inputs["image"]
    weight = inputs.get("mask", 1.0)
    if "held_out" in inputs:
        fitted = 1 - inputs["held_out"]
        weight = weight * fitted * lax.rsqrt(jnp.mean(fitted))
    error = masked_l2(observed, image, weight)
    terms = {"psnr": mse_to_psnr(error)}
    loss = error
    if data is not None:
        loss = terms["data"] = data(layers["image"], inputs)
    if regularizer is not None:
        terms["regularizer"] = regularizer(layers["image"])
        loss = loss + terms["regularizer"]
    return loss, terms


def _held_out_error(observe, layers, inputs) -> Array:
    """The squared error of the pixels that are not fitted."""
    return masked_l2(observe(layers["image"], inputs), inputs["image"], inputs["held_out"])


def _outputs(layers, inputs) -> dict[str, Output]:
    """The restored image; known pixels are those of the input."""
    result, full = layers["image"], ""
    if "corners" in inputs:
        result, full = dip_windows.blended(result, inputs), "full_"
    if "mask" in inputs:
        mask, image = (inputs[f"{full}{name}"] for name in ("mask", "image"))
        result = mask * image + (1 - mask) * result
    return {"result": Output(jnp.clip(result, 0, 1), "image")}


def _mean(outputs: dict[str, Output]) -> dict[str, Output]:
    return {n: Output(jnp.mean(o.value, axis=0), o.kind, o.size) for n, o in outputs.items()}


def network(config: Config, channels: int) -> SkipNet:
    """Returns the net of a config for images with `channels` channels."""
    return config.net(
        channels,
        filter_down=config.filter_down,
        filter_up=config.filter_up,
        upsample=config.upsample,
        need_1x1=config.need_1x1,
    )


def make(
    config: Config,
    spec: Inputs,
    *,
    data: Callable[[Array, Inputs], Array] | None = None,
    regularizer: Callable[[Array], Array] | None = None,
) -> Method:
    """Makes DIP for images of one shape.

    Args:
        config: The settings.
        spec: The shapes of the inputs that `prepare` returns; without `held_out`, all steps are taken.
        data: Replaces the squared error: `(image, inputs) -> scalar`, where `image` (H, W, C) is the
            net's output before the degradation. It must leave out the pixels of `held_out`, if that is
            one of the inputs.
        regularizer: A term that is added to the loss: `image -> scalar`, including its weight.

    Returns:
        The method. Its output is `result` (H, W, C), for `sr` (scale * H, scale * W, C).

    Example:
        >>> from deepinternal import methods
        >>> from deepinternal.losses.smoothness import gradient_l1
        >>> smooth = lambda image: 0.1 * gradient_l1(image)
        >>> methods.make("dip", {}, (32, 32, 3), preset="smoke", regularizer=smooth).stages[0].steps
        20
    """
    task = TASKS[config.task]
    *shape, _ = spec["image"].shape
    shape = tuple(_scale(config) * n for n in shape)
    steps = config.steps or config.train_steps
    validate = functools.partial(_held_out_error, task.observe)
    phase = fit.Phase(
        config.task,
        steps,
        functools.partial(_loss, task.observe, data, regularizer),
        learning_rate=config.rate(steps),
        keep="average" if config.average else "last",
        average=config.average,
        backtrack=config.backtrack,
        target=-20 * math.log10(config.noise_std) if config.noise_std else math.inf,
        validate=validate if "held_out" in spec else None,
        patience=config.patience,
    )
    phases = _phases(phase, spec["corners"].shape[0]) if "corners" in spec else [phase]
    many = {"replicas": config.replicas, "reduce": _mean} if config.replicas > 1 else {}
    many["baseline"] = _baseline(config, spec)
    return fit.build(
        "dip", {"image": _generator(config, spec)}, phases, _outputs, shape=shape, **many
    )


def _generator(config: Config, spec: Inputs) -> fit.Generator:
    """The net and its input, which is the photograph with flash if the task needs one."""
    net = network(config, spec["image"].shape[-1])
    if "flash" in TASKS[config.task].needs:
        depth = spec["flash"].shape[-1]
        return fit.Generator(net, depth, source="flash", jitter=config.jitter)
    return fit.Generator(
        net,
        depth=2 if config.net_input == "meshgrid" else config.depth,
        low=0.0,
        high=0.1,
        source=config.net_input,
        jitter=config.jitter,
    )


def _phases(phase: fit.Phase, count: int) -> list[fit.Phase]:
    """A phase for each of `count` windows."""
    again = dataclasses.replace(phase, restart=("image",), carry=dip_windows.following)
    phases = [dataclasses.replace(again, name=f"window {n}") for n in range(1, count + 1)]
    phases[-1] = dataclasses.replace(phases[-1], carry=None)
    return phases


def _baseline(config: Config, spec: Inputs) -> Callable[[Inputs], Array]:
    """The degraded image, for `sr` enlarged by cubic interpolation."""
    full = "full_image" if "corners" in spec else "image"
    if config.task != "sr":
        return lambda inputs: inputs[full]
    factor = (config.scale, config.scale)
    shape = output_size(spec[full].shape[:2], factor)

    def enlarged(inputs: Inputs) -> Array:
        return jnp.clip(resize(inputs[full], scale=factor, output_shape=shape), 0, 1)

    return enlarged


def _remarks(config: Config, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
    """Says into how many windows a large image was split, and what fills in single pixels better."""
    del figures
    said = [dip_windows.remark(inputs, config.fit_pixels)] if "corners" in inputs else []
    if config.task == "restore":
        said.append("denoise fills in single missing pixels better, in seconds; give it the mask")
    return tuple(said)


RECIPE = Recipe(
    name="dip",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    side_inputs={"mask": "mask", "flash": "image"},
    remarks=_remarks,
    smaller="a smaller config.fit_pixels",
    holes=lambda config: "mask" if TASKS[config.task].has_holes else "",
)
