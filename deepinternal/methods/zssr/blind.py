"""Photographs with unknown blur, noise and compression, which are estimated and decide how ZSSR works.

Noise, JPEG blocks and the kernel, a Gaussian, are estimated on the host before training. The decisions
are arrays among the inputs (`decisions`), so that images for which they differ share programs:

* noise_std: the noise added to sons, so that the net learns to enlarge such images without their noise;
  unless the image is a JPEG, its noise is removed first, and only the rest is added;
* refine: whether results are back-projected, which would restore noise and blocks;
* flips: whether fathers are rotated and mirrored, which an asymmetric kernel does not allow;
* estimated: whether the estimated kernel replaces the cubic one.

Fields can set each of them instead: `noise_std`, `back_projection`, `flips`, `kernel_use`, `jpeg`,
`denoise`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepinternal.estimators import gaussian_blur, image_facts
from deepinternal.methods.kernelgan import estimate, gaussian
from deepinternal.methods.zssr import noisy
from deepinternal.methods.zssr.config import Config
from deepinternal.ops import kernels
from deepinternal.recipe import Figures
from deepinternal.types import Inputs, Output

# The greater width at which patches recur (see `gaussian_blur.Blur`) is 0.2 to 1.02 for cubic
# downscalings, and up to 1.15 for JPEGs of quality 40.
WIDE, WIDE_JPEG = 1.05, 1.25
# Least confidence of a kernel that is used. With less, three motion blurs lost 0.1 to 0.7 dB compared
# with the cubic kernel.
CONFIDENT = 0.5
SATURATED = 0.5  # fraction of values at the ends of the range at which no estimate is trusted


def estimates_kernel(config: Config, size: tuple[int, int], given: bool) -> bool:
    """Whether the kernel of an image of size (H, W) is estimated."""
    small = min(size) < gaussian_blur.LEAST
    return config.blind and not given and config.kernel_use != "cubic" and not small


def prepare(config: Config, image: np.ndarray, kernel, reference) -> Inputs:
    """Makes the inputs that `blind` adds, on the host.

    Args:
        config: The settings, with `blind`.
        image: (H, W, C) in [0, 1].
        kernel: (K, K), the user's kernel, centred, or None.
        reference: (K, K), or None.

    Returns:
        `kernel`, the user's, the estimated or the cubic one; `decisions`; `estimate`, the estimated
        kernel and the figures behind its use, if it was estimated; `reference_kernel` if there is one;
        `observed`, the image, and if its noise is removed first, `image` without it.
    """
    given = kernel is not None
    facts = image_facts.measure(image, compressed=config.jpeg)
    if config.noise_std != "auto":
        facts["noise_std"] = config.noise_std
    inputs, use = {}, False
    if not given:
        kernel = kernels.cubic_kernel(config.factor, estimate.kernel_size(config.factor))
    if estimates_kernel(config, image.shape[:2], given):
        inputs["estimate"] = gaussian.figures(
            image,
            scale=config.factor,
            noise_std=facts["noise_std"],
            compressed=facts["jpeg_quality"] > 0,
        )
        use = config.kernel_use == "estimated" or bool(_convinces(inputs["estimate"], facts))
        kernel = inputs["estimate"]["kernel"] if use else kernel
    flips = not (given or use)
    inputs["observed"] = np.asarray(image, np.float32)
    if _removes(config, facts):
        inputs["image"] = noisy.denoised(image)
        facts["noise_std"] *= noisy.REST
    inputs["kernel"] = kernel
    inputs["decisions"] = {
        **{name: np.float32(value) for name, value in facts.items()},
        "refine": np.bool_(config.back_projection != "auto" or not facts["noise_std"] > 0),
        "flips": np.bool_({"on": True, "off": False, "auto": flips}[config.flips]),
        "estimated": np.bool_(use),
    }
    if reference is not None:
        inputs["reference_kernel"] = np.asarray(reference, np.float32)
    return inputs


def _removes(config: Config, facts: dict[str, float]) -> bool:
    """Whether the noise is removed before training, rather than only added to the sons."""
    measured = config.noise_std == "auto" and facts["noise_std"] > 0
    wanted = {"on": True, "off": False, "auto": not facts["jpeg_quality"]}[config.denoise]
    return measured and wanted


def _convinces(figures: Inputs, facts: dict[str, float]) -> bool:
    """Whether the blur is too wide for a cubic downscaling, and was reliably estimated."""
    wide = figures["kernel_greatest"] > (WIDE_JPEG if facts["jpeg_quality"] else WIDE)
    textured = figures["kernel_spread"] > estimate.FLAT and figures["saturated"] < SATURATED
    return wide and textured and figures["kernel_confidence"] > CONFIDENT


def outputs(inputs: Inputs) -> dict[str, Output]:
    """The kernel that was used, and the figures behind the decisions."""
    decisions = inputs["decisions"]
    made = {"kernel": Output(inputs["kernel"], "kernel")}
    names = ("noise_std", "measured_std", "jpeg_score", "jpeg_quality", "refine", "flips")
    figures = {name: decisions[name] for name in names}
    figures["kernel_estimated"] = decisions["estimated"]
    figures |= {name: x for name, x in inputs.get("estimate", {}).items() if name != "kernel"}
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
    if "estimate" not in inputs:
        said.append(_without_estimate(config, inputs))
    elif (share := float(inputs["estimate"]["saturated"])) > estimate.SATURATED:
        said.append(f"{100 * share:.0f} % of the values are saturated: the kernel may be too sharp")
    if figures is None:
        return said
    if "estimate" in inputs:
        said.append(_on_kernel(config, figures))
    if figures["kernel_estimated"] and not config.steps:
        least = min(config.blind_steps, config.train_steps)
        said.append(f"training ends after {least} steps: more would amplify errors of the kernel")
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
        return f"noise of {std:.3f} is added to the small images: set by config.noise_std"
    if tiny:
        least = image_facts.TINY
        return f"noise and compression are not measured: a side is shorter than {least} pixels"
    if facts["jpeg_quality"]:
        what = f"noise of {std:.3f}, as large as its errors, is added to the small images"
        if _removes(config, facts):
            what = f"its errors are removed first; noise of {std:.3f} is added to the small images"
        if not std:
            least = image_facts.QUIET
            what = f"its errors are below {least:.3f}, which is negligible"
        how = "set by config.jpeg" if config.jpeg == "on" else "blocks of 8x8 pixels were found"
        return (
            f"the image is treated as a JPEG of quality {facts['jpeg_quality']:.0f} ({how}, score "
            f"{facts['jpeg_score']:.0f}): {what}"
        )
    what = ", which is negligible"
    if std:
        what = "; as much is added to the small images"
        if _removes(config, facts):
            what = f" and removed first; noise of {std:.3f} is added to the small images"
    return f"noise of {measured:.3f} was measured{what}"


def _on_refinement(config: Config, facts: dict[str, float]) -> str:
    if config.back_projection != "auto":
        count = config.plain()["back_projection"]
        return f"{count} iterations of back-projection: set by config.back_projection"
    if facts["refine"]:
        return "back-projection makes the result agree with the input, because the input is clean"
    return "no back-projection, because it would bring back noise and compression errors"


def _without_estimate(config: Config, inputs: Inputs) -> str:
    h, w = inputs["image"].shape[:2]
    if config.kernel:
        return "the kernel is the one given by config.kernel"
    if config.kernel_use == "cubic":
        return "the kernel is the cubic one: set by config.kernel_use"
    return (
        f"the kernel is the cubic one: the image is {h}x{w}, and the estimation of a kernel needs "
        f"sides of at least {gaussian_blur.LEAST} pixels"
    )


def _on_kernel(config: Config, figures: dict[str, Any]) -> str:
    least, greatest = figures["kernel_least"], figures["kernel_greatest"]
    widths = f"patches recur at widths of {least:.2f} and {greatest:.2f}"
    confidence = figures["kernel_confidence"]
    trust = (
        f"a probability of {confidence:.2f} that its correlation with the true one is at least .95"
    )
    if config.kernel_use == "estimated":
        return f"the estimated kernel is used: set by config.kernel_use; {widths}; {trust}"
    if figures["kernel_estimated"]:
        return f"the estimated kernel is used, with {trust}; {widths}"
    if (spread := figures["kernel_spread"]) <= estimate.FLAT:
        return (
            "the cubic kernel is used: the image has too little texture for an estimate (a standard "
            f"deviation of {spread:.3f} in patches)"
        )
    if figures["saturated"] >= SATURATED:
        return "the cubic kernel is used: too many values are saturated for an estimate"
    if greatest <= (WIDE_JPEG if figures["jpeg_quality"] else WIDE):
        return f"the cubic kernel is used, because it explains the image: {widths}"
    return (
        f"the cubic kernel is used, because the estimated one has only {trust}; {widths}; if the "
        "result is too soft, set config.kernel_use=estimated"
    )
