"""How public functions take their arguments, and what their docstrings say."""

import inspect

from tests import doctesting

# Why a function takes arguments with defaults by position as well.
EXCEPTIONS = {
    "deepinternal.api.restoration.super_resolve": "the factor says what is asked for",
    "deepinternal.api.restoration.estimate_kernel": "likewise",
    "deepinternal.api.restoration.inpaint": "the mask is an image, as the first argument is",
    "deepinternal.api.layers.segment": "likewise",
    "deepinternal.api.layers.remove_watermark": "likewise",
}


FUNCTIONS = {}  # public functions by their full names, each where it is defined
for package in ("api", "ops", "losses", "estimators"):
    FUNCTIONS |= doctesting.public(package)


def _parameters(function):
    return list(inspect.signature(function).parameters.values())


def test_functions_of_all_packages_are_found():
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


def test_docstrings_describe_arguments_and_results():
    """Under 'Args:' and 'Returns:', or in one line before the example if the function is simple."""
    short = []
    for name, function in FUNCTIONS.items():
        text = inspect.getdoc(function) or ""
        summary = text.partition("\n\nExample:\n")[0]
        in_one_line = summary and "\n" not in summary and len(_parameters(function)) <= 4
        if not in_one_line and not ("Args:" in text and "Returns:" in text):
            short.append(name)
    assert short == []
