"""Photographs with unknown blur, noise and compression, which are estimated and decide how ZSSR works.

Noise and JPEG blocks are measured on the host before training. KernelGAN estimates the kernel in a
stage of its own before ZSSR's. The decisions are arrays among the inputs (`decisions`), so that images
for which they differ share programs:

* noise_std: the noise added to sons, so that the net learns to enlarge such images without their noise;
* refine: whether results are back-projected, which would restore noise and blocks;
* flips: whether fathers are rotated and mirrored, which an asymmetric kernel does not allow;
* estimated: whether the estimated kernel replaces the cubic one.

Fields can set each of them instead: `noise_std`, `back_projection`, `flips`, `kernel_use`, `jpeg`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.estimators import image_facts
from deepinternal.methods import kernelgan
from deepinternal.methods.kernelgan import estimate
from deepinternal.methods.kernelgan import inputs as kernel_inputs
from deepinternal.methods.zssr.config import Config
from deepinternal.ops import kernels
from deepinternal.recipe import Figures
from deepinternal.replicas import over_replicas
from deepinternal.types import Array, Inputs, Output, Stage, TrainState

# Divergence above which the cubic kernel does not explain an image. Of 15 photographs downscaled with
# it, 14 are below; of the same photographs with kernels by DIV2KRK's recipe, 14 are above (0.25 to
# 2.7).
UNEXPLAINED = 0.25
_FIGURES = ("kernel", "kernel_divergence", "kernel_seed", "kernel_agreement")
_FIGURES += ("uncut_divergence", "cubic_divergence")
SATURATED = 0.5  # fraction of values at the ends of the range at which no estimate is trusted


def _settings(config: Config) -> kernelgan.Config:
    """KernelGAN's config."""
    own = {"scale": config.factor, "precision": config.precision}
    return kernelgan.Config(**config.estimation.plain(), **own)


def estimates_kernel(config: Config, size: tuple[int, int], given: bool) -> bool:
    """Whether a stage estimates the kernel for an image of size (H, W)."""
    small = min(size) - 2 * config.estimation.border < kernel_inputs.LEAST
    return config.blind and not given and config.kernel_use != "cubic" and not small


def prepare(config: Config, image: np.ndarray, kernel, reference) -> Inputs:
    """Makes the inputs that `blind` adds, on the host.

    Args:
        config: The settings, with `blind`.
        image: (H, W, C) in [0, 1].
        kernel: (K, K), the user's kernel, centred, or None.
        reference: (K, K), or None.

    Returns:
        `kernel`, initially the cubic one if none is given; `decisions`; `statistics` if the kernel is
        to be estimated; `reference_kernel` if there is one.
    """
    given = kernel is not None
    facts = image_facts.measure(image, compressed=config.jpeg)
    if config.noise_std != "auto":
        facts["noise_std"] = config.noise_std
    if not given:
        kernel = kernels.cubic_kernel(config.factor, estimate.kernel_size(config.factor))
    inputs = {"kernel": kernel}
    inputs["decisions"] = {
        **{name: np.float32(value) for name, value in facts.items()},
        "refine": np.bool_(config.back_projection != "auto" or not facts["noise_std"] > 0),
        "flips": np.bool_({"on": True, "off": False, "auto": not given}[config.flips]),
        "estimated": np.bool_(False),
    }
    if estimates_kernel(config, image.shape[:2], given):
        inputs["statistics"] = kernel_inputs.statistics(
            _settings(config), image, facts["noise_std"]
        )
    if reference is not None:
        inputs["reference_kernel"] = np.asarray(reference, np.float32)
    return inputs


def stage(
    config: Config, spec: Inputs, begin: Callable[[Array, Inputs], TrainState]
) -> tuple[Callable[[Array, Inputs], TrainState], Stage]:
    """Makes KernelGAN the first stage.

    Args:
        config: The settings.
        spec: The shapes of the inputs.
        begin: `(key, inputs) -> state`, ZSSR's `init`.

    Returns:
        The `init` of the method, and the stage.
    """
    own = lambda inputs: {name: inputs[name] for name in ("image", "statistics")}
    method = over_replicas(kernelgan.make(_settings(config), own(spec)))

    def advance(state: TrainState, inputs: Inputs) -> tuple[TrainState, Inputs]:
        made = method.outputs(state, own(inputs))
        figures = {name: made[name].value for name in _FIGURES}
        figures["kernel_divergence"] = jnp.min(figures["kernel_divergence"])
        figures["kernel_steps"] = jnp.max(state.step)
        use = (
            (figures["cubic_divergence"] > UNEXPLAINED)
            & (figures["uncut_divergence"] < estimate.DOUBT * figures["cubic_divergence"])
            & (inputs["statistics"]["spread"] > estimate.FLAT)
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
        key = state.key.reshape(-1)[0]  # that of the first replica
        return begin(jax.random.fold_in(key, 1), new), new

    init = lambda key, inputs: method.init(key, own(inputs))
    return init, dataclasses.replace(method.stages[0], advance=advance)


def outputs(inputs: Inputs) -> dict[str, Output]:
    """The kernel that was used, and the figures behind the decisions."""
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
        figures |= estimate.scores(kernel, reference)
    return made | {name: Output(value, "scalar") for name, value in figures.items()}


def remarks(config: Config, inputs: Inputs, figures: Figures) -> Sequence[str]:
    """Sentences about the decisions and their reasons; see `recipe.Recipe`."""
    facts = {name: float(x) for name, x in inputs["decisions"].items()}
    tiny = min(inputs["image"].shape[:2]) < image_facts.TINY
    said = [_on_noise(config, facts, tiny=tiny), _on_refinement(config, facts)]
    if "statistics" not in inputs:
        said.append(_without_estimate(config, inputs))
    elif (share := float(inputs["statistics"]["saturated"])) > estimate.SATURATED:
        said.append(f"{100 * share:.0f} % of the values are saturated: the kernel may be too sharp")
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


def _on_noise(config: Config, facts: dict[str, float], *, tiny: bool) -> str:
    std, measured = facts["noise_std"], facts["measured_std"]
    if config.noise_std != "auto":
        return f"noise of {std:.3f} is added to the sons: set by config.noise_std"
    if tiny:
        least = image_facts.TINY
        return f"noise and compression are not measured: a side is shorter than {least} pixels"
    if facts["jpeg_quality"]:
        what = f"noise of {std:.3f}, as large as its errors, is added to the sons"
        if not std:
            least = image_facts.QUIET
            what = f"its errors are below {least:.3f}, which is negligible"
        how = "set by config.jpeg" if config.jpeg == "on" else "blocks of 8x8 pixels were found"
        return (
            f"the image is treated as a JPEG of quality {facts['jpeg_quality']:.0f} ({how}, score "
            f"{facts['jpeg_score']:.0f}): {what}"
        )
    what = "; as much is added to the sons" if std else ", which is negligible"
    return f"noise of {measured:.3f} was measured{what}"


def _on_refinement(config: Config, facts: dict[str, float]) -> str:
    if config.back_projection != "auto":
        count = config.plain()["back_projection"]
        return f"{count} iterations of back-projection: set by config.back_projection"
    if facts["refine"]:
        return "the result is back-projected: the image has no noise or compression to restore"
    return "no back-projection: it would restore noise and compression"


def _without_estimate(config: Config, inputs: Inputs) -> str:
    h, w = inputs["image"].shape[:2]
    if config.kernel:
        return "the kernel is the one given by config.kernel"
    if config.kernel_use == "cubic":
        return "the kernel is the cubic one: set by config.kernel_use"
    return (
        f"the kernel is the cubic one: the image is {h}x{w}, and the estimation of a kernel needs "
        f"sides of at least {kernel_inputs.LEAST} pixels"
    )


def _on_kernel(config: Config, figures: dict[str, Any]) -> str:
    ours, cubic = figures["uncut_divergence"], figures["cubic_divergence"]
    spread = figures["kernel_spread"]
    between = (
        f"patches differ by {ours:.3f} between scales, and by {cubic:.3f} with the cubic kernel"
    )
    if config.kernel_use == "estimated":
        return f"the estimated kernel is used: set by config.kernel_use; {between}"
    if figures["kernel_estimated"]:
        return f"the estimated kernel is used: {between}"
    if spread <= estimate.FLAT:
        return (
            "the cubic kernel is used: the image has too little texture for an estimate (a standard "
            f"deviation of {spread:.3f} in patches)"
        )
    if figures["saturated"] >= SATURATED:
        return "the cubic kernel is used: too many values are saturated for an estimate"
    if cubic <= UNEXPLAINED:
        return f"the cubic kernel is used, because it explains the image: {between}"
    return (
        "the cubic kernel is used, because the estimated one explains the image no better: "
        f"{between}"
    )
