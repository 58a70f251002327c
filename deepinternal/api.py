"""One call per task, for notebooks and scripts: arrays in, arrays out, no files."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.codecs.image_io import from_float
from deepinternal.engine.loop import train
from deepinternal.engine.parallel import Programs
from deepinternal.engine.progress import Progress
from deepinternal.methods import registry
from deepinternal.ops.resize import resize
from deepinternal.runs.sources import check_sides, from_memory, to_side
from deepinternal.types import InputError, Inputs, Method, Output, input_spec


def super_resolve(
    image: np.ndarray,
    scale: float | tuple[float, float] | str | None = None,
    *,
    output_shape: tuple[int, int] | None = None,
    kernel: np.ndarray | None = None,
    down: Callable[[jax.Array], jax.Array] | None = None,
    preset: str = "ideal",
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Super-resolves an image with ZSSR, training a small network on that image alone.

    Args:
        image: (H, W) or (H, W, C), C = 1 to 4 (the last of 2 or 4 is alpha, which is interpolated,
            not learned); uint8, uint16, or float in [0, 1].
        scale: factor, or (vertical, horizontal) factors, greater than 1 and at most 16; or text, as
            the config has it: '1.5;2' for gradual steps. Default: 2, or the preset's.
        output_shape: (H', W') instead of `scale`.
        kernel: (K, K) blur kernel of positive sum, if the image is not a cubic downscaling.
        down: instead of a kernel, how the image is supposed to have been made: any differentiable
            function of a JAX array (h, w, C) in [0, 1], alpha apart, that returns
            (ceil(h / scale), ceil(w / scale), C).
        preset: 'ideal' (the published settings), 'fast', 'best', ...: see
            `deepinternal.methods.sr.presets`.
        seed: of all random draws.
        progress: whether to show progress on stderr.
        **options: fields of the method's config, such as `steps`, `noise_std`, `flips`: see
            `deepinternal.methods.zssr.defaults`.

    Returns:
        `result` (H', W'[, C]) in the dtype of `image` (float32 for floats); `uncertainty` (H', W')
        float32, the standard deviation over flips of the image, where they are used.

    Raises:
        InputError: an image, scale, kernel or option that cannot be used.

    References:
        Shocher, Cohen, Irani: "Zero-Shot" Super-Resolution using Deep Internal Learning. CVPR 2018.
    """
    fields = {"preset": preset, "output_shape": output_shape, "seed": seed, **options}
    if scale is not None:
        fields["scale"] = scale
    if kernel is not None and down is not None:
        raise InputError("kernel and down exclude each other: give one of them")
    return _run("zssr", fields, image, {"kernel": kernel}, {"down": down}, progress=progress)


def estimate_kernel(
    image: np.ndarray,
    scale: int | None = None,
    *,
    reference_kernel: np.ndarray | None = None,
    preset: str = "x2",
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Estimates the kernel that an image was downscaled with, by KernelGAN.

    Args:
        image: (H, W[, C]), sides of at least 40 pixels; uint8, uint16, or float in [0, 1].
        scale: of the downscaling, 2 or 4. Default: 2, or the preset's.
        reference_kernel: (K, K), what the estimate is scored against.
        preset: 'x2', 'fast', 'published', ...: see `deepinternal.methods.kernelgan`.
        seed: of all random draws.
        progress: whether to show it on stderr.
        **options: fields of `methods.kernelgan.defaults`.

    Returns:
        `kernel` (K, K) float32 that sums to 1, for correlation, centred for `scale`, as
        `super_resolve` takes it; `result`, the image downscaled with it; `kernel_divergence` of all
        seeds and `cubic_divergence`, how differently patches of the image and of `result` are
        distributed, with it and with cubic downscaling; `kernel_agreement`, the least correlation
        between seeds; with a reference `kernel_correlation` and `kernel_psnr`.

    Raises:
        InputError: an image, scale, kernel or option that cannot be used.

    References:
        Bell-Kligler, Shocher, Irani: Blind Super-Resolution Kernel Estimation using an Internal-GAN.
        NeurIPS 2019.
    """
    fields = {"preset": preset, "seed": seed, **options}
    if scale is not None:
        fields["scale"] = scale
    sides = {"reference_kernel": reference_kernel}
    return _run("kernelgan", fields, image, sides, {}, progress=progress)


def denoise(
    image: np.ndarray,
    *,
    sigma: float = 0.0,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Denoises an image with a deep image prior.

    Args:
        image: (H, W[, C]) noisy; uint8, uint16, or float in [0, 1].
        sigma: the noise's standard deviation, of 255, if it is known; 0: it is not.
        preset: 'fast', or '' for the published settings; see `deepinternal.methods.dip`.
        seed: of all random draws.
        progress: whether to show it on stderr.
        **options: fields of `methods.dip.defaults`.

    Returns:
        `result`, in the form of `image`.

    Raises:
        InputError: an image or an option that cannot be used.

    References:
        Ulyanov, Vedaldi, Lempitsky: Deep Image Prior. CVPR 2018.
    """
    fields = {"preset": f"denoise,{preset}", "sigma": sigma, "seed": seed, **options}
    return _run("dip", fields, image, {}, {}, progress=progress)


def inpaint(
    image: np.ndarray,
    mask: np.ndarray,
    *,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Fills in what is missing of an image with a deep image prior.

    Args:
        image: (H, W[, C]); what lies where the mask is 0 does not count.
        mask: (H, W), 1 (or True, or 255) where the image is known.
        preset: 'fast'; '' for the published settings; 'restore' for single missing pixels; see
            `deepinternal.methods.dip`.
        seed: of all random draws.
        progress: whether to show it on stderr.
        **options: fields of `methods.dip.defaults`.

    Returns:
        `result`, in the form of `image`; equal to it where it is known.

    Raises:
        InputError: an image, mask or option that cannot be used.
    """
    fields = {"preset": f"inpaint,{preset}", "seed": seed, **options}
    return _run("dip", fields, image, {"mask": mask}, {}, progress=progress)


def segment(
    image: np.ndarray,
    foreground: np.ndarray | None = None,
    background: np.ndarray | None = None,
    *,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Segments an image, or a video, into foreground and background with Double-DIP.

    Args:
        image: (H, W[, C]); a video (T, H, W, C).
        foreground: (H, W), 1 where it surely is foreground; for a video of its first frame, or
            (T, H, W). None for both: found from the image itself.
        background: likewise.
        preset: 'fast', or '' for the published settings.
        seed: of all random draws.
        progress: whether to show it on stderr.
        **options: fields of `methods.double_dip.segmentation.defaults` or `.video.defaults`.

    Returns:
        `mask` (H, W) of zeros and ones, `foreground` and `background`, the two layers, and `result`,
        the image where the mask is one; each with a leading axis T for a video.

    Raises:
        InputError: an image, hint or option that cannot be used.

    References:
        Gandelsman, Shocher, Irani: "Double-DIP": Unsupervised Image Decomposition via Coupled
        Deep-Image-Priors. CVPR 2019.
    """
    name = "video_segmentation" if np.ndim(image) == 4 else "segmentation"
    fields = {"preset": preset, "seed": seed, **options}
    sides = {"foreground": foreground, "background": background}
    return _run(name, fields, image, sides, {}, progress=progress)


def dehaze(
    image: np.ndarray,
    *,
    airlight: str | Sequence[float] = "auto",
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Removes haze from an image with Double-DIP.

    Args:
        image: (H, W[, C]).
        airlight: the colour of the haze to begin with, (red, green, blue) in [0, 1]; 'auto' or
            'dark_channel' to estimate it.
        preset: 'fast', 'uniform,fast', or '' for the published settings.
        seed: of all random draws.
        progress: whether to show it on stderr.
        **options: fields of `methods.double_dip.dehazing.defaults`.

    Returns:
        `result`, haze-free; `transmission` (H, W); `airlight` (H, W, C) and its mean
        `airlight_colour` (C,).

    Raises:
        InputError: an image, airlight or option that cannot be used.
    """
    fields = {"preset": preset, "airlight": airlight, "seed": seed, **options}
    return _run("dehazing", fields, image, {}, {}, progress=progress)


def separate(
    image: np.ndarray | Sequence[np.ndarray],
    *,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Separates transparent layers with Double-DIP.

    Args:
        image: (H, W[, C]), the sum of two layers; or a list of two mixtures of the same layers.
        preset: 'fast', or '' for the published settings.
        seed: of all random draws.
        progress: whether to show it on stderr.
        **options: fields of `methods.double_dip.transparency.defaults`.

    Returns:
        `layer1`, `layer2`, and `result`, which is the former; of two mixtures `alphas` (2,), the
        weight of layer1 in each.

    Raises:
        InputError: an image or option that cannot be used.
    """
    kind = "single" if isinstance(image, np.ndarray) and image.ndim < 4 else "pair"
    fields = {"preset": f"{kind},{preset}", "seed": seed, **options}
    return _run("transparency", fields, image, {}, {}, progress=progress)


def remove_watermark(
    image: np.ndarray | Sequence[np.ndarray],
    mask: np.ndarray | None = None,
    *,
    box: Sequence[int] | None = None,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Removes a watermark with Double-DIP.

    Args:
        image: (H, W[, C]); or a list of images with the same mark.
        mask: (H, W), 1 where the mark is, roughly; for one image, or
        box: (y0, x0, y1, x1) in pixels, the end excluded.
        preset: 'fast', or '' for the published settings.
        seed: of all random draws.
        progress: whether to show it on stderr.
        **options: fields of `methods.double_dip.watermark.defaults`.

    Returns:
        `result`, the clean (first) image; of several also `clean1`, ...; `watermark`, and `mask`, its
        opacity.

    Raises:
        InputError: an image, region or option that cannot be used.
    """
    kind = "single" if isinstance(image, np.ndarray) and image.ndim < 4 else "many"
    fields = {"preset": f"{kind},{preset}", "box": box, "seed": seed, **options}
    return _run("watermark", fields, image, {"mask": mask}, {}, progress=progress)


def fit(
    method: Method,
    inputs: Mapping[str, np.ndarray],
    *,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """Runs any method, such as a decomposition of one's own, on its inputs.

    Args:
        method: as `deepinternal.methods.fit.build` makes it.
        inputs: arrays by name, in the form that the method takes.
        seed: of all random draws.
        progress: whether to show progress on stderr.

    Returns:
        The method's outputs, float32.
    """
    inputs = {name: np.asarray(x) for name, x in inputs.items()}
    outputs = _train(Programs(method), inputs, seed, progress)
    return {key: np.asarray(output.value) for key, output in outputs.items()}


def _run(
    name: str,
    fields: dict[str, Any],
    image: np.ndarray | Sequence[np.ndarray],
    sides: dict[str, Any],
    functions: dict[str, Any],
    *,
    progress: bool,
) -> dict[str, np.ndarray]:
    """Trains a method on an image in memory and returns its outputs as arrays.

    Args:
        name: the method's.
        fields: of its config; 'preset', names of its presets, joined by commas.
        image: as users have it; a sequence of images, or frames (T, H, W[, C]), for a method that
            takes these.
        sides: side inputs as users have them, by field; None for none.
        functions: further arguments of the method's `make`.
        progress: whether to show it.
    """
    module = registry.get(name)
    config = registry.configured(name, fields.pop("preset", ""), fields)
    source = from_memory(image, module, config)
    kinds = module.SIDE_INPUTS
    sides = {f: to_side(kinds[f], x, name=f) for f, x in sides.items() if x is not None}
    check_sides(sides, kinds, source, {})
    inputs = module.prepare(config, source.given, **sides)
    programs = Programs(module.make(config, input_spec(inputs), **functions))
    outputs = _train(programs, inputs, config.seed, progress)
    arrays = {key: np.asarray(output.value) for key, output in outputs.items()}
    for key, output in outputs.items():
        if output.kind == "image":
            alpha = source.images[output.source].alpha
            like = image if source.grouping != "single" else [image]
            arrays[key] = _like(arrays[key], alpha, like[output.source])
        elif output.kind == "frames":
            values = [from_float(frame, image[0]) for frame in arrays[key]]
            arrays[key] = np.stack(values)
    return arrays


def _train(programs: Programs, inputs: Inputs, seed: int, progress: bool) -> dict[str, Output]:
    """Trains to the end and makes the outputs."""
    method = programs.method
    limit = sum(stage.steps for stage in method.stages)
    shown = Progress(method.name, limit, enabled=progress)
    run = train(programs, inputs, seed=seed, progress=shown)
    outputs = programs.outputs(run.state, run.inputs)
    shown.close(f"done, {run.steps} steps, {run.seconds:.0f} s")
    return outputs


def _like(pixels: np.ndarray, alpha: np.ndarray | None, image: np.ndarray) -> np.ndarray:
    """A result in the dtype and rank of the user's image, with its alpha interpolated."""
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        alpha = resize(jnp.asarray(alpha)[..., None], output_shape=pixels.shape[:2])[..., 0]
    return from_float(pixels, image, alpha=alpha)
