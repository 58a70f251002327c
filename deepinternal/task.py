"""Tasks that are given as arrays: reads and prepares the image, and converts outputs to arrays."""

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
from deepinternal.recipe import Recipe, SideKind
from deepinternal.runs.results import alpha_of, cut
from deepinternal.runs.sides import Side, joined, to_side
from deepinternal.runs.sources import Source, from_memory
from deepinternal.types import InputError, Inputs, Method, Output, input_spec

Image = Any  # an array of an image, or a sequence of such arrays


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A method, its config and the user's arrays, ready for training.

    Attributes:
        recipe: The recipe of the method.
        config: The config of the method.
        injected: The user's functions and modules that `make` takes.
        source: The image or images.
        sides: The side inputs by field, as `prepare` takes them.
        like: For each image, an array with the dtype and rank of the results.
    """

    recipe: Recipe
    config: MethodConfig
    injected: Mapping[str, Any]
    source: Source
    sides: Mapping[str, np.ndarray]
    like: Sequence[np.ndarray]

    def inputs(self) -> Inputs:
        """Returns the method's inputs, on the host."""
        return self.recipe.prepare(self.config, self.source.given, **self.sides)

    def method(self, inputs: Inputs) -> Method:
        """Returns the method for inputs of these shapes."""
        return self.recipe.method(self.config, input_spec(inputs), **self.injected)

    def remarks(self, inputs: Inputs, outputs: Mapping[str, Output]) -> tuple[str, ...]:
        """Returns the decisions that the method made for the image, with reasons."""
        figures = {
            n: np.asarray(o.value).tolist() for n, o in outputs.items() if o.kind == "scalar"
        }
        found = (*self.source.remarks, *self.recipe.remarks(self.config, inputs, figures))
        return tuple(" ".join(remark.split()) for remark in found)

    def formed(self, outputs: Mapping[str, Output]) -> dict[str, Any]:
        """Returns outputs as arrays; images get the dtype and the rank of the user's image."""
        images = self.source.like
        return {name: _made(cut(output), images, self.like) for name, output in outputs.items()}

    def for_image(self, image: Image, sides: Mapping[str, Any]) -> "Task":
        """Returns the same task for another image; kernels that are not given are kept."""
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
                f"image: has {have} channels, but the net was trained on {wants}; give an image "
                "with the same number"
            )
        return task


def read(
    recipe: Recipe,
    config: MethodConfig,
    image: Image,
    sides: Mapping[str, Any],
    injected: Mapping[str, Any],
) -> Task:
    """Makes a task from the user's arrays.

    Args:
        recipe: The recipe of the method.
        config: The config of the method.
        image: The user's image or images.
        sides: The user's side inputs by field.
        injected: The user's functions and modules that `make` takes.

    Raises:
        InputError: The image or a side input cannot be used.
    """
    grouping = recipe.grouping(config)
    if isinstance(image, list | tuple) and grouping.kind != "single":
        image = [as_array(x, f"image[{i}]") for i, x in enumerate(image)]
    else:
        image = as_array(image, "image")
    source = from_memory(image, grouping)
    kinds = recipe.side_inputs
    found = {field: _side(kinds[field], x, field, config) for field, x in sides.items()}
    source, sides = joined(recipe, config, source, found, {})
    like = [image] if grouping.kind == "single" else image
    return Task(recipe, config, injected, source, sides, like)


def as_array(value: Any, name: str) -> np.ndarray:
    """Converts a user's value to a NumPy array of numbers.

    Args:
        value: An array of NumPy, JAX, PyTorch or a similar library, or nested sequences of numbers.
        name: Its name in messages.

    Raises:
        InputError: The value is anything else.
    """
    if value is None or isinstance(value, str | bytes | os.PathLike | Mapping | set):
        what = "None" if value is None else f"of type {type(value).__name__}"
        raise InputError(f"{name}: is {what}; give an array")
    try:
        array = np.asarray(value)
    except Exception as error:  # ragged lists, tensors on a device, ...
        raise InputError(
            f"{name}: cannot be converted to an array ({reason(error)}); give a NumPy array"
        ) from None
    if array.dtype == jnp.bfloat16:
        return array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: values of type {array.dtype}; give an array of real numbers")
    return array


def _side(kind: SideKind, value: Any, field: str, config: MethodConfig) -> Side:
    """Returns a side input in the form that `prepare` takes."""
    if isinstance(value, str | os.PathLike):
        raise InputError(f"{field}={value}: give an array; only the command line reads files")
    if kind == "masks" and isinstance(value, list | tuple):
        value = [as_array(x, f"{field}[{i}]") for i, x in enumerate(value)]
    else:
        value = as_array(value, field)
    return to_side(kind, value, name=field, config=config)


def _made(output: Output, read: Sequence[ImageFile], images: Sequence[np.ndarray]) -> Any:
    """Returns the value of an output; images get the dtype and rank of the user's images.

    Args:
        output: The output as the method made it, on the host.
        read: The user's images as they were read; for a video, its first frame.
        images: The user's images or frames.
    """
    if output.kind == "frames":
        return np.stack([from_float(frame, images[0]) for frame in output.value])
    if output.kind not in ("image", "images"):
        return output.value
    image, like = read[output.source], images[output.source]
    alpha = lambda made: alpha_of(image, made.shape[:2])
    return jax.tree.map(lambda made: from_float(made, like, alpha=alpha(made)), output.value)
