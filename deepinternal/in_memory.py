"""Methods run on arrays in memory, without files: `run` and `fit`."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal import methods
from deepinternal.codecs.image_io import ImageFile, from_float
from deepinternal.engine.loop import train
from deepinternal.engine.parallel import Programs
from deepinternal.engine.progress import Progress
from deepinternal.ops.resize import resize
from deepinternal.runs.sources import check_sides, from_memory, to_side
from deepinternal.types import InputError, Inputs, Method, Output, input_spec


def run(
    name: str,
    image: np.ndarray | Sequence[np.ndarray],
    *,
    preset: str = "",
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Runs a method on an image in memory.

    Args:
        name: of a method, see `methods.names`; or 'package.module:RECIPE'.
        image: (H, W) or (H, W, C); uint8, uint16, or float in [0, 1]; a sequence of images, or frames
            (T, H, W[, C]), for a method that takes these.
        preset: names of presets joined by commas, see `presets`.
        seed: of all random draws.
        progress: whether to show it on stderr.
        **options: fields of the method's config, see `fields`; arrays for its side inputs, such as
            `kernel`; functions and modules that its `make` takes, such as `net`. None: not given.

    Returns:
        The method's outputs by name: images in the dtype and the rank of `image` (float32 for
        floats), everything else float32; a dict of arrays where an output is several images.

    Raises:
        InputError: an unknown method, preset or option, or a value or an image that cannot be used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> out = di.run("zssr", np.full((16, 16, 3), 128, np.uint8), preset="fast", steps=1, crop=16)
        >>> out["result"].shape, out["result"].dtype
        ((32, 32, 3), dtype('uint8'))
    """
    if image is None:
        raise InputError("image: is None; give an array (H, W) or (H, W, C)")
    recipe = methods.find(name)
    options = {key: value for key, value in options.items() if value is not None}
    take = lambda names: {key: options.pop(key) for key in names if key in options}
    # Text is for the field of the name: `net='subpixel'` of 'zssr', where a module is injected.
    modules = [name for name in recipe.injectable if not isinstance(options.get(name), str)]
    sides, injected = take(recipe.side_inputs), take(modules)
    config = recipe.build(preset, seed=seed, **recipe.given(sides), **options)
    grouping = recipe.grouping(config)
    source = from_memory(image, grouping)
    sides = {field: _side(recipe.side_inputs[field], x, field) for field, x in sides.items()}
    check_sides(sides, recipe.side_inputs, source, {})
    inputs = recipe.prepare(config, source.given, **sides)
    programs = Programs(recipe.method(config, input_spec(inputs), **injected))
    outputs = _train(programs, inputs, config.seed, progress)
    images = [image] if grouping.kind == "single" else image
    return {key: _made(output, source.images, images) for key, output in outputs.items()}


def fit(
    method: Method,
    inputs: Mapping[str, np.ndarray],
    *,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """Runs any method, such as your own decomposition, on its inputs.

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


def _side(kind: str, value: Any, field: str) -> np.ndarray:
    """A side input in the form in which `prepare` takes it."""
    if isinstance(value, str | os.PathLike):
        raise InputError(f"{field}={value}: give an array; only the command line reads files")
    return to_side(kind, value, name=field)


def _train(programs: Programs, inputs: Inputs, seed: int, progress: bool) -> dict[str, Output]:
    """Trains to the end and makes the outputs."""
    method = programs.method
    limit = sum(stage.steps for stage in method.stages)
    shown = Progress(method.name, limit, enabled=progress)
    trained = train(programs, inputs, seed=seed, progress=shown)
    outputs = programs.outputs(trained.state, trained.inputs)
    shown.close(f"done, {trained.steps} steps, {trained.seconds:.0f} s")
    return outputs


def _made(output: Output, read: Sequence[ImageFile], images: Sequence[np.ndarray]) -> Any:
    """The value of an output in the dtype and rank of the user's images, where it is images.

    Args:
        output: as the method made it.
        read: the user's images as they were read, of a video the first frame.
        images: the user's images or frames.
    """
    if output.kind == "frames":
        return np.stack([from_float(np.asarray(frame), images[0]) for frame in output.value])
    if output.kind not in ("image", "images"):
        return jax.tree.map(np.asarray, output.value)
    alpha, like = read[output.source].alpha, images[output.source]
    return jax.tree.map(lambda made: _like(np.asarray(made), alpha, like), output.value)


def _like(pixels: np.ndarray, alpha: np.ndarray | None, image: np.ndarray) -> np.ndarray:
    """A result in the dtype and rank of the user's image, with its alpha interpolated."""
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        alpha = resize(jnp.asarray(alpha)[..., None], output_shape=pixels.shape[:2])[..., 0]
    return from_float(pixels, image, alpha=alpha)
