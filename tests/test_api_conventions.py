"""How public functions take their arguments, and what their docstrings say."""

import importlib
import inspect
import pkgutil

from deepinternal import api, estimators, losses, ops

# Why a function takes arguments with defaults by position as well.
EXCEPTIONS = {
    "deepinternal.api.restoration.super_resolve": "the factor says what is asked for",
    "deepinternal.api.restoration.estimate_kernel": "likewise",
    "deepinternal.api.restoration.inpaint": "the mask is an image, as the first argument is",
    "deepinternal.api.layers.segment": "likewise",
    "deepinternal.api.layers.remove_watermark": "likewise",
}


def _modules():
    for package in (api, ops, losses, estimators):
        prefix = f"{package.__name__}."
        yield from (m.name for m in pkgutil.walk_packages(package.__path__, prefix))


def _functions():
    """Public functions by their full names, each where it is defined."""
    found = {}
    for name in _modules():
        for key, value in vars(importlib.import_module(name)).items():
            own = callable(value) and not inspect.isclass(value)
            if own and not key.startswith("_") and getattr(value, "__module__", None) == name:
                found[f"{name}.{key}"] = value
    return found


FUNCTIONS = _functions()


def _parameters(function):
    return list(inspect.signature(function).parameters.values())


def test_all_rooms_are_walked():
    assert len(FUNCTIONS) > 80
    assert {"deepinternal.ops.kernels.shift_kernel", *EXCEPTIONS} <= set(FUNCTIONS)


def test_a_key_comes_first():
    """Or it is passed by its name."""
    names = {
        name: [p.name for p in _parameters(f) if p.kind is not p.KEYWORD_ONLY]
        for name, f in FUNCTIONS.items()
    }
    assert [name for name, parameters in names.items() if "key" in parameters[1:]] == []


def test_options_are_keyword_only():
    positional = {
        name
        for name, function in FUNCTIONS.items()
        for p in _parameters(function)
        if p.default is not p.empty and p.kind is not p.KEYWORD_ONLY
    }
    assert positional == set(EXCEPTIONS)


def test_docstrings_say_what_goes_in_and_comes_out():
    """Under 'Args:' and 'Returns:'; all in one line where the function is as plain as that."""
    short = []
    for name, function in FUNCTIONS.items():
        text = inspect.getdoc(function) or ""
        in_one_line = text and "\n" not in text and len(_parameters(function)) <= 4
        if not in_one_line and not ("Args:" in text and "Returns:" in text):
            short.append(name)
    assert short == []
