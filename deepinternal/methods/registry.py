"""Finds recipes by name: built-in, registered, 'package.module:RECIPE', or from an entry point.

The module of a built-in method is imported when the method is first looked up.
"""

import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

import jax

from deepinternal.config import Config
from deepinternal.field_forms import did_you_mean
from deepinternal.recipe import Recipe
from deepinternal.types import InputError, Method, PyTree, input_spec

GROUP = "deepinternal.methods"  # the group of the entry points with which packages offer recipes
_BUILT_IN = {
    "zssr": "deepinternal.methods.zssr",
    "dip": "deepinternal.methods.dip",
    "segmentation": "deepinternal.methods.double_dip.segmentation",
    "video_segmentation": "deepinternal.methods.double_dip.video",
    "dehazing": "deepinternal.methods.double_dip.dehazing",
    "transparency": "deepinternal.methods.double_dip.transparency",
    "watermark": "deepinternal.methods.double_dip.watermark",
    "ingan": "deepinternal.methods.ingan",
    "kernelgan": "deepinternal.methods.kernelgan",
    "patches": "deepinternal.methods.patches",
    "denoise": "deepinternal.methods.denoise",
}
_registered: dict[str, Recipe] = {}


def names() -> tuple[str, ...]:
    """Returns the names of all methods: built-in, registered, and from entry points."""
    return tuple(dict.fromkeys((*_BUILT_IN, *_registered, *_entry_points())))


def register(recipe: Recipe) -> Recipe:
    """Registers a recipe under its name, for this process.

    Args:
        recipe: The recipe; it replaces an earlier one of the same name.

    Returns:
        The recipe.

    Raises:
        InputError: The name is that of a built-in method, or it is not an identifier.
    """
    if not isinstance(recipe, Recipe):
        raise InputError(f"recipe: is of type {type(recipe).__name__}; give a deepinternal Recipe")
    if recipe.name in _BUILT_IN or not recipe.name.isidentifier():
        raise InputError(
            f"method name {recipe.name!r}: must be an identifier other than those of built-in methods"
        )
    _registered[recipe.name] = recipe
    return recipe


def find(name: str) -> Recipe:
    """Returns the recipe of a method.

    Args:
        name: The name of a built-in or registered method or of an entry point, or
            'package.module:RECIPE'.

    Raises:
        InputError: There is no such recipe.
    """
    if not isinstance(name, str):
        raise InputError(f"method {name!r}: give its name as text, such as 'zssr'")
    if name in _registered:
        return _registered[name]
    if name in _BUILT_IN:
        return importlib.import_module(_BUILT_IN[name]).RECIPE
    try:
        if ":" in name:
            module, _, attribute = name.partition(":")
            found = getattr(importlib.import_module(module), attribute)
        elif name in (points := _entry_points()):
            found = points[name].load()
        else:
            known = names()
            hint = did_you_mean(name, known)
            raise InputError(f"no method {name!r}{hint}; there are: {', '.join(known)}")
    except (ImportError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"method {name!r}: cannot be loaded ({error}); give package.module:RECIPE"
        ) from None
    if not isinstance(found, Recipe):
        raise InputError(
            f"method {name!r}: is of type {type(found).__name__}; give a deepinternal Recipe"
        )
    return found


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


def make(
    name: str,
    fields: Mapping[str, Any] | Config | None = None,
    spec: PyTree = None,
    *,
    preset: str = "",
    **injected: Any,
) -> Method:
    """Makes a method for inputs of given shapes.

    Args:
        name: The name of a method, as for `find`.
        fields: The fields that differ from the defaults and the presets, or a whole config.
        spec: The shapes of the inputs, as `input_spec(inputs)` returns them, the inputs themselves, or
            the shape of the image alone.
        preset: The names of presets, joined by commas.
        **injected: Functions or modules of the user's own that the method accepts, such as `net` for
            'zssr'.

    Returns:
        The method, a set of pure functions: see `deepinternal.types.Method`.

    Raises:
        InputError: The name, a preset or a field is unknown, or a value or a shape is not possible.

    Example:
        >>> from deepinternal import methods
        >>> methods.make("zssr", {"features": 8}, (32, 48, 3), preset="fast").name
        'zssr'
    """
    recipe = find(name)
    if not isinstance(spec, Mapping):
        spec = {"image": spec}
    is_shape = lambda s: isinstance(s, tuple) and all(isinstance(n, int) for n in s)
    as_struct = lambda s: jax.ShapeDtypeStruct(s, "float32") if is_shape(s) else s
    spec = jax.tree.map(as_struct, dict(spec), is_leaf=is_shape)
    for key, value in spec.items():
        leaves = jax.tree.leaves(value)
        if not leaves or not all(hasattr(x, "shape") and hasattr(x, "dtype") for x in leaves):
            raise InputError(
                f"spec: {key} is {value!r}; give arrays or shapes, such as (256, 256, 3)"
            )
    spec = input_spec(spec)
    if not (fields is None or isinstance(fields, Mapping | Config)):
        raise InputError(
            f"fields: is of type {type(fields).__name__}; give a dict by name, or a config"
        )
    if isinstance(fields, Config):
        config = fields
    else:
        config = recipe.build(
            preset,
            **{
                **recipe.given(_sides(recipe, spec)),
                **{str(n): x for n, x in (fields or {}).items()},
            },
        )
    return recipe.method(config, spec, **injected)


def _sides(recipe: Recipe, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {field: spec[field] for field in recipe.side_inputs if field in spec}
