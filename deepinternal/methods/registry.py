"""Recipes by name: built in, registered, named by 'package.module:RECIPE', or of an entry point.

A built-in method's module is imported when it is first asked for.
"""

import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

import jax

from deepinternal.config import Config, did_you_mean
from deepinternal.recipe import Recipe
from deepinternal.types import InputError, Method, PyTree, input_spec

GROUP = "deepinternal.methods"  # of the entry points by which packages offer recipes
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
}
_registered: dict[str, Recipe] = {}


def names() -> tuple[str, ...]:
    """The names of all methods: built in, registered, and of entry points."""
    return tuple(dict.fromkeys((*_BUILT_IN, *_registered, *_entry_points())))


def register(recipe: Recipe) -> Recipe:
    """Makes a recipe known by its name, for this process.

    Args:
        recipe: takes the place of an earlier one of that name.

    Returns:
        The recipe.

    Raises:
        InputError: the name is that of a built-in method, or no identifier.
    """
    if recipe.name in _BUILT_IN or not recipe.name.isidentifier():
        raise InputError(f"method name {recipe.name!r}: give an identifier that is not taken yet")
    _registered[recipe.name] = recipe
    return recipe


def find(name: str) -> Recipe:
    """The recipe of a method.

    Args:
        name: of a built-in or registered method or an entry point, or 'package.module:RECIPE'.

    Raises:
        InputError: there is none.
    """
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
            f"method {name!r}: is a {type(found).__name__}; give a deepinternal Recipe"
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
    """A method for inputs of given shapes.

    Args:
        name: as for `find`.
        fields: those that differ from the defaults and the preset; or a whole config.
        spec: the inputs' shapes, as `input_spec(inputs)` returns them; the inputs themselves, or the
            shape of the image alone, will do, too.
        preset: names of presets, joined by commas.
        **injected: the user's functions or modules that the method takes, such as `net` of 'zssr'.

    Returns:
        Pure functions: see `deepinternal.types.Method`.

    Raises:
        InputError: unknown name, preset or field; a value or a shape that the method cannot work with.

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
    spec = input_spec(jax.tree.map(as_struct, dict(spec), is_leaf=is_shape))
    if isinstance(fields, Config):
        config = fields
    else:
        config = recipe.build(preset, **{**recipe.given(_sides(recipe, spec)), **(fields or {})})
    return recipe.method(config, spec, **injected)


def _sides(recipe: Recipe, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {field: spec[field] for field in recipe.side_inputs if field in spec}
