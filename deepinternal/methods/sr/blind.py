"""Images as they come: their kernel, noise and compression are estimated, and ZSSR set accordingly.

Noise and JPEG blocks are looked for on the host before training; the kernel is found by KernelGAN, a
stage of its own before ZSSR's. What follows from them are arrays among the inputs (`decisions`), so
that images that differ in them share programs:

* noise_std: added to sons, so that the net learns to enlarge such images without their noise;
* refine: whether results are back-projected, which would bring noise and blocks back;
* flips: whether fathers are rotated and mirrored, which an asymmetric kernel does not allow;
* estimated: whether the estimated kernel takes the cubic one's place.

Each can be set by a field instead: `noise_std`, `back_projection`, `flips`, `kernel_use`, `jpeg`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.estimators import image_facts
from deepinternal.methods import kernel_estimate, kernel_inputs, kernel_statistics, kernelgan
from deepinternal.ops import kernels
from deepinternal.types import Array, InputError, Inputs, Output, Stage, TrainState

# Divergence over which the cubic kernel does not explain an image. Of 15 photographs reduced by it 14
# are below; of the same with kernels by DIV2KRK's recipe 14 are above (0.25 to 2.7).
UNEXPLAINED = 0.25
SATURATED = 0.5  # share of values at the ends of the range from which on no estimate is trusted
_OWN = ("seed", "steps", "scale", "reference_kernel", "noise_std")  # fields that ZSSR's config has


def defaults() -> dict[str, Any]:
    """The fields of ZSSR's config."""
    estimation = kernelgan.defaults().to_dict()
    return {
        "blind": False,  # kernel, noise and compression are estimated, as far as they are not given
        "kernel_use": "auto",  # of blind: estimated, cubic
        "jpeg": "auto",  # of blind, whether the image is treated as compressed: on, off
        "reference_kernel": "",  # file or folder: what the estimate is scored against
        "estimation": {k: v for k, v in estimation.items() if k not in _OWN},
    }


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses settings that work with no image. Raises InputError."""
    if not config.blind:
        if not config.noise_std >= 0:
            raise InputError(
                f"config.noise_std={config.noise_std}: must be at least 0 without config.blind"
            )
        return
    kernel_inputs.factor(config)
    if config.output_shape:
        raise InputError("config.output_shape: with config.blind give config.scale, 2 or 4")
    try:
        kernelgan.check(_estimation(config))
    except InputError as error:
        raise InputError(str(error).replace("config.", "config.estimation.", 1)) from None


def _estimation(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """KernelGAN's config."""
    merged = kernelgan.defaults()
    merged.update({**config.estimation, "scale": config.scale})
    return merged


def estimates_kernel(config: ml_collections.ConfigDict, size: tuple[int, int], given: bool) -> bool:
    """Whether there is a stage that estimates the kernel of an image (H, W)."""
    small = min(size) - 2 * config.estimation.border < kernel_inputs.LEAST
    return config.blind and not given and config.kernel_use != "cubic" and not small


def prepare(config: ml_collections.ConfigDict, image: np.ndarray, kernel, reference) -> Inputs:
    """What joins the inputs; on the host.

    Args:
        config: as `zssr.defaults()`, with `blind`.
        image: (H, W, C) in [0, 1].
        kernel: (K, K), given by the user and centred, or None.
        reference: (K, K), or None.

    Returns:
        `kernel`, to begin with the cubic one where none is given; `decisions`; `statistics` where
        the kernel is estimated; `reference_kernel`.
    """
    scale, given = kernel_inputs.factor(config), kernel is not None
    facts = image_facts.measure(image, config.jpeg)
    if config.noise_std >= 0:
        facts["noise_std"] = config.noise_std
    inputs = {
        "kernel": kernel
        if given
        else kernels.cubic_kernel(scale, kernel_estimate.kernel_size(scale))
    }
    estimated = estimates_kernel(config, image.shape[:2], given)
    spoilt = bool(facts["noise_std"] > 0)
    refine = not spoilt if not config.back_projection.strip() else True
    inputs["decisions"] = {
        **{name: np.float32(value) for name, value in facts.items()},
        "refine": np.bool_(refine),
        "flips": np.bool_({"on": True, "off": False, "auto": not given}[config.flips]),
        "estimated": np.bool_(False),
    }
    if estimated:
        own = _estimation(config)
        inputs["statistics"] = kernel_statistics.statistics(
            image,
            kernel_inputs.sides(own, image.shape[:2]),
            border=own.border,
            noise_std=facts["noise_std"],
        )
    if reference is not None:
        inputs["reference_kernel"] = np.asarray(reference, np.float32)
    return inputs


def stage(
    config: ml_collections.ConfigDict,
    size: tuple[int, int],
    begin: Callable[[Array, Inputs], TrainState],
) -> tuple[Callable[[Array, Inputs], TrainState], Stage]:
    """KernelGAN as the first stage.

    Args:
        config: as `zssr.defaults()`.
        size: (H, W) of the image or canvas.
        begin: ZSSR's first state from a key and inputs.

    Returns:
        `init` of the method, and the stage.
    """
    own = ml_collections.FrozenConfigDict(_estimation(config))
    task, scale = (
        kernelgan.Estimation(own, *kernel_inputs.sides(own, size)),
        kernel_inputs.factor(own),
    )

    def advance(state: TrainState, inputs: Inputs) -> tuple[TrainState, Inputs]:
        figures = kernel_estimate.estimate(
            state.model_state["average"], inputs["statistics"], own.faint, scale
        )
        figures |= {
            "kernel_divergence": jnp.min(figures["kernel_divergence"]),
            "kernel_steps": state.step,
        }
        use = (
            (figures["cubic_divergence"] > UNEXPLAINED)
            & (figures["uncut_divergence"] < kernel_estimate.DOUBT * figures["cubic_divergence"])
            & (inputs["statistics"]["spread"] > kernel_estimate.FLAT)
            & (inputs["statistics"]["saturated"] < SATURATED)
        )
        use = jnp.ones_like(use) if config.kernel_use == "estimated" else use
        decisions = {**inputs["decisions"], "estimated": use}
        if config.flips == "auto":
            decisions["flips"] = ~use
        new = {
            **inputs,
            "kernel": jnp.where(use, figures["kernel"], inputs["kernel"]),
            "decisions": decisions,
            "estimate": figures,
        }
        return begin(jax.random.fold_in(state.key, 1), new), new

    first = kernelgan.stage(task)
    init = lambda key, inputs: kernelgan.init(task, key, inputs)
    return init, dataclasses.replace(first, advance=advance)


def outputs(inputs: Inputs) -> dict[str, Output]:
    """The kernel that was used, and the figures that speak for the decisions."""
    decisions = inputs["decisions"]
    made = {"kernel": Output(inputs["kernel"], "kernel")}
    names = ("noise_std", "measured_std", "jpeg_score", "jpeg_quality", "refine", "flips")
    figures = {name: decisions[name] for name in names}
    figures["kernel_estimated"] = decisions["estimated"]
    if "estimate" in inputs:
        figures |= {name: x for name, x in inputs["estimate"].items() if name != "kernel"}
        figures["kernel_spread"] = inputs["statistics"]["spread"]
        figures["saturated"] = inputs["statistics"]["saturated"]
    if (reference := inputs.get("reference_kernel")) is not None:
        made["reference_kernel"] = Output(reference, "kernel")
        kernel = inputs["estimate"]["kernel"] if "estimate" in inputs else inputs["kernel"]
        figures |= kernel_estimate.scores(kernel, reference)
    return made | {name: Output(value, "scalar") for name, value in figures.items()}


def remarks(
    config: ml_collections.ConfigDict, inputs: Inputs, figures: dict[str, Any] | None
) -> Sequence[str]:
    """What was decided and why, in sentences; see `methods.registry`."""
    facts = {name: float(x) for name, x in inputs["decisions"].items()}
    tiny = min(inputs["image"].shape[:2]) < image_facts.TINY
    said = [_on_noise(config, facts, tiny=tiny), _on_refinement(config, facts)]
    if "statistics" not in inputs:
        said.append(_without_estimate(config, inputs))
    elif (share := float(inputs["statistics"]["saturated"])) > kernel_estimate.SATURATED:
        said.append(f"{100 * share:.0f} % of the values are saturated: a kernel may be too sharp")
    if figures is None:
        return said
    if "statistics" in inputs:
        said.append(_on_kernel(config, figures))
    rotated = "are" if figures["flips"] else "are not"
    why = (
        "set by config.flips"
        if config.flips != "auto"
        else ("the kernel is symmetric" if figures["flips"] else "the kernel may be asymmetric")
    )
    return [*said, f"training pairs {rotated} rotated and mirrored: {why}"]


def _on_noise(config, facts: dict[str, float], *, tiny: bool) -> str:
    std, measured = 255 * facts["noise_std"], 255 * facts["measured_std"]
    if config.noise_std >= 0:
        return f"noise of {std:.1f} of 255 is added to sons: set by config.noise_std"
    if tiny:
        return (
            f"noise and compression are not looked for: a side is under {image_facts.TINY} pixels"
        )
    if facts["jpeg_quality"]:
        least = 255 * image_facts.QUIET
        what = f"noise of {std:.1f} of 255, as large as its errors, is added to sons"
        if not std:
            what = f"its errors are under {least:.0f} of 255, which is too little to care for"
        how = "set by config.jpeg" if config.jpeg == "on" else "blocks of 8x8 pixels were found"
        return (
            f"the image is taken for a JPEG of quality {facts['jpeg_quality']:.0f} ({how}, score "
            f"{facts['jpeg_score']:.0f}): {what}"
        )
    if std:
        return f"noise of {measured:.1f} of 255 was measured; as much is added to sons"
    return f"noise of {measured:.1f} of 255 was measured, which is too little to care for"


def _on_refinement(config, facts: dict[str, float]) -> str:
    if config.back_projection.strip():
        return (
            f"{config.back_projection} iterations of back-projection: set by config.back_projection"
        )
    if facts["refine"]:
        return "the result is back-projected: the image can be trusted to the pixel"
    return "no back-projection: it would bring noise and compression back"


def _without_estimate(config, inputs: Inputs) -> str:
    h, w = inputs["image"].shape[:2]
    if config.kernel:
        return "the kernel is the one given by config.kernel"
    if config.kernel_use == "cubic":
        return "the kernel is the cubic one: set by config.kernel_use"
    return (
        f"the kernel is the cubic one: the image is {h}x{w}, and to estimate a kernel its sides must "
        f"be at least {kernel_inputs.LEAST} pixels"
    )


def _on_kernel(config, figures: dict[str, Any]) -> str:
    ours, cubic = figures["uncut_divergence"], figures["cubic_divergence"]
    spread = 255 * figures["kernel_spread"]
    between = f"patches differ by {ours:.3f} between scales, with the cubic one by {cubic:.3f}"
    if config.kernel_use == "estimated":
        return f"the estimated kernel is used: set by config.kernel_use; {between}"
    if figures["kernel_estimated"]:
        return f"the estimated kernel is used: {between}"
    if spread <= 255 * kernel_estimate.FLAT:
        return (
            f"the cubic kernel is used: there is too little texture to estimate one (a standard "
            f"deviation of {spread:.1f} of 255 in patches)"
        )
    if figures["saturated"] >= SATURATED:
        return "the cubic kernel is used: too much is saturated to estimate one"
    if cubic <= UNEXPLAINED:
        return f"the cubic kernel is used, for it explains the image: {between}"
    return (
        f"the cubic kernel is used, for the estimated one explains the image no better: {between}"
    )


def shared(config: ml_collections.ConfigDict, spec: Inputs) -> tuple:
    """What images on one canvas must have in common."""
    size = spec["image"].shape[:2]
    sides = kernel_inputs.sides(config.estimation, size) if "statistics" in spec else None
    reference = spec["reference_kernel"].shape if "reference_kernel" in spec else None
    return sides, reference
