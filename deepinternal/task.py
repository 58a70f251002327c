"""What a user has asked for, from arrays: read, prepared, and its outputs as arrays again."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.codecs.image_io import ImageFile, from_float
from deepinternal.config import GIVEN, MethodConfig
from deepinternal.files import reason
from deepinternal.ops.resizing import resize
from deepinternal.recipe import Recipe, SideKind
from deepinternal.runs.results import cut
from deepinternal.runs.sources import Source, check_sides, from_memory, to_side
from deepinternal.types import InputError, Inputs, Method, Output, input_spec

Image = Any  # an array of an image, or a sequence of such


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What a user has asked for, ready to be trained on.

    Attributes:
        recipe: of the method.
        config: of the method.
        injected: functions and modules of the user's that its `make` takes.
        source: the image or images.
        sides: side inputs by field, as `prepare` takes them.
        like: of each image an array in the dtype and rank of results.
    """

    recipe: Recipe
    config: MethodConfig
    injected: Mapping[str, Any]
    source: Source
    sides: Mapping[str, np.ndarray]
    like: Sequence[np.ndarray]

    def inputs(self) -> Inputs:
        """The method's inputs, on the host."""
        return self.recipe.prepare(self.config, self.source.given, **self.sides)

    def method(self, inputs: Inputs) -> Method:
        """The method for such inputs."""
        return self.recipe.method(self.config, input_spec(inputs), **self.injected)

    def remarks(self, inputs: Inputs, outputs: Mapping[str, Output]) -> tuple[str, ...]:
        """What was decided for the image, and why."""
        figures = {
            n: np.asarray(o.value).tolist() for n, o in outputs.items() if o.kind == "scalar"
        }
        found = self.recipe.remarks(self.config, inputs, figures)
        return tuple(" ".join(remark.split()) for remark in found)

    def formed(self, outputs: Mapping[str, Output]) -> dict[str, Any]:
        """Outputs as arrays: images in the dtype and the rank of the user's."""
        images = self.source.images
        return {name: _made(cut(output), images, self.like) for name, output in outputs.items()}

    def for_image(self, image: Image, sides: Mapping[str, Any]) -> "Task":
        """The same asked of another image; kernels that are not given stay."""
        kinds = self.recipe.side_inputs
        for name in sides:
            if name not in kinds:
                known = ", ".join(kinds) or "none"
                raise InputError(
                    f"{self.recipe.name}: takes no side input {name}; there are: {known}"
                )
        kernels = {f: x for f, x in self.sides.items() if kinds[f] == "kernel"}
        new = {**kernels, **{field: x for field, x in sides.items() if x is not None}}
        config = self.config.replace(**{f: GIVEN if f in new else "" for f in kinds})
        task = read(self.recipe, config, image, new, self.injected)
        have, wants = (t.source.images[0].pixels.shape[-1] for t in (task, self))
        if have != wants:
            raise InputError(
                f"image: has {have} channels, the net was trained on {wants}: give an image of as many"
            )
        return task


def read(
    recipe: Recipe,
    config: MethodConfig,
    image: Image,
    sides: Mapping[str, Any],
    injected: Mapping[str, Any],
) -> Task:
    """A task from arrays as users have them.

    Raises:
        InputError: an image or a side input that cannot be used.
    """
    grouping = recipe.grouping(config)
    if isinstance(image, list | tuple) and grouping.kind != "single":
        image = [as_array(x, f"image[{i}]") for i, x in enumerate(image)]
    else:
        image = as_array(image, "image")
    source = from_memory(image, grouping)
    kinds = recipe.side_inputs
    sides = {field: _side(kinds[field], x, field) for field, x in sides.items()}
    check_sides(sides, kinds, source, {})
    like = [image] if grouping.kind == "single" else image
    return Task(recipe, config, injected, source, sides, like)


def as_array(value: Any, name: str) -> np.ndarray:
    """A NumPy array of numbers from what a user gave.

    Args:
        value: an array of NumPy, JAX, PyTorch or the like, or nested sequences of numbers.
        name: what to call it in messages.

    Raises:
        InputError: something else.
    """
    if value is None or isinstance(value, str | bytes | os.PathLike | Mapping | set):
        what = "None" if value is None else f"of type {type(value).__name__}"
        raise InputError(f"{name}: is {what}; give an array")
    try:
        array = np.asarray(value)
    except Exception as error:  # ragged lists, tensors on a device, ...
        raise InputError(
            f"{name}: cannot be made an array ({reason(error)}); give a NumPy array"
        ) from None
    if array.dtype == jnp.bfloat16:
        return array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: values of type {array.dtype}; give an array of real numbers")
    return array


def _side(kind: SideKind, value: Any, field: str) -> np.ndarray:
    """A side input in the form in which `prepare` takes it."""
    if isinstance(value, str | os.PathLike):
        raise InputError(f"{field}={value}: give an array; only the command line reads files")
    if kind == "masks" and isinstance(value, list | tuple):
        value = [as_array(x, f"{field}[{i}]") for i, x in enumerate(value)]
    else:
        value = as_array(value, field)
    return to_side(kind, value, name=field)


def _made(output: Output, read: Sequence[ImageFile], images: Sequence[np.ndarray]) -> Any:
    """The value of an output in the dtype and rank of the user's images, where it is images.

    Args:
        output: as the method made it, on the host.
        read: the user's images as they were read, of a video the first frame.
        images: the user's images or frames.
    """
    if output.kind == "frames":
        return np.stack([from_float(frame, images[0]) for frame in output.value])
    if output.kind not in ("image", "images"):
        return output.value
    alpha, like = read[output.source].alpha, images[output.source]
    return jax.tree.map(lambda made: _like(made, alpha, like), output.value)


def _like(pixels: np.ndarray, alpha: np.ndarray | None, image: np.ndarray) -> np.ndarray:
    """A result in the dtype and rank of the user's image, with its alpha interpolated."""
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        height, width = pixels.shape[:2]
        large = resize(jnp.asarray(alpha)[..., None], output_shape=(height, width))
        alpha = np.asarray(large)[..., 0]
    return from_float(pixels, image, alpha=alpha)
