"""One call per task, for notebooks and scripts: arrays in, arrays out, no files."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.methods import registry
from deepinternal.methods.sr import presets
from deepinternal.ops.resize import resize
from deepinternal.runtime.image_io import from_float, to_array
from deepinternal.runtime.kernel_io import check_kernel
from deepinternal.runtime.loop import train
from deepinternal.runtime.parallel import Programs
from deepinternal.runtime.progress import Progress
from deepinternal.types import InputError, input_spec


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
    fields = {**presets.preset(preset), "output_shape": output_shape, "seed": seed, **options}
    if scale is not None:
        fields["scale"] = scale
    if kernel is not None and down is not None:
        raise InputError("kernel and down exclude each other: give one of them")
    sides = {} if kernel is None else {"kernel": check_kernel(np.asarray(kernel))}
    return _run("zssr", fields, image, sides, {"down": down}, progress=progress)


def _run(
    name: str,
    fields: dict[str, Any],
    image: np.ndarray,
    sides: dict[str, Any],
    functions: dict[str, Any],
    *,
    progress: bool,
) -> dict[str, np.ndarray]:
    """Trains a method on an image in memory and returns its outputs as arrays.

    Args:
        name: the method's.
        fields: of its config.
        image: as users have it.
        sides: further inputs.
        functions: further arguments of the method's `make`.
        progress: whether to show it.
    """
    module, config = registry.get(name), registry.defaults(name)
    unknown = sorted(set(fields) - set(config))
    if unknown:
        raise InputError(
            f"{name}: no option {unknown[0]!r}; there are: {', '.join(sorted(config))}"
        )
    try:
        registry.override(config, fields)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {' '.join(str(error).split())}") from None
    source = to_array(image)
    inputs = module.prepare(config, source.pixels, **sides)
    programs = Programs(module.make(config, input_spec(inputs), **functions))
    limit = sum(stage.steps for stage in programs.method.stages)
    shown = Progress(name, limit, enabled=progress)
    run = train(programs, inputs, seed=config.seed, progress=shown)
    outputs = programs.outputs(run.state, run.inputs)
    shown.close(f"done, {run.steps} steps, {run.seconds:.0f} s")
    arrays = {key: np.asarray(output.value) for key, output in outputs.items()}
    for key, output in outputs.items():
        if output.kind == "image":
            arrays[key] = _like(arrays[key], source.alpha, image)
    return arrays


def _like(pixels: np.ndarray, alpha: np.ndarray | None, image: np.ndarray) -> np.ndarray:
    """A result in the dtype and rank of the user's image, with its alpha interpolated."""
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        alpha = resize(jnp.asarray(alpha)[..., None], output_shape=pixels.shape[:2])[..., 0]
    return from_float(pixels, image, alpha=alpha)
