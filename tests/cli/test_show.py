"""The fields and presets that a user sees, compared with pydantic's schema of the classes."""

import json
import sys

import pytest

from deepinternal import methods
from deepinternal.cli import show
from deepinternal.config import Config
from deepinternal.runs.settings import RunConfig
from deepinternal.types import InputError


def schema(config: type[Config], prefix=""):
    """What pydantic's JSON schema says of each field, nested ones with dots."""
    properties = config.model_json_schema(mode="validation")["properties"]
    found = {}
    for name, spec in config.model_fields.items():
        below = spec.annotation
        if isinstance(below, type) and issubclass(below, Config):
            found |= schema(below, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = properties[name]
    return found


def bound(spec, name):
    """The bound of a number, or of the number in a union."""
    # pydantic calls a bound 'le' that is checked after a function of ours.
    names = (name, f"exclusive{name.capitalize()}", {"minimum": "ge", "maximum": "le"}[name])
    options = [spec, *spec.get("anyOf", ())]
    return next((o[n] for o in options for n in names if n in o), None)


@pytest.mark.parametrize("name", methods.names())
def test_every_field_is_shown_with_its_default_and_its_range(name):
    recipe = methods.find(name)
    known = schema(recipe.config) | schema(RunConfig)
    found = json.loads(show.as_json(recipe))["fields"]
    assert set(known) == {*found, "method", "presets"}
    printed = show.text(recipe).splitlines()
    for field, info in found.items():
        spec = known[field]
        assert info["default"] == spec["default"]
        assert info["doc"] == spec["description"]
        assert info.get("choices", []) == spec.get("enum", [])
        for limit in ("minimum", "maximum"):
            assert info.get(limit) == bound(spec, limit), f"{limit} of {field}"
        line = next(line for line in printed if line.startswith(f"  {field} = "))
        assert f"{info['value']}".lower() in line.lower() or isinstance(info["value"], float)
        assert info["unit"] in line or info["value"] == "auto"


@pytest.mark.parametrize("name", methods.names())
def test_every_preset_is_shown_with_what_it_sets_and_reaches(name):
    recipe = methods.find(name)
    found = json.loads(show.as_json(recipe))["presets"]
    assert list(found) == list(recipe.presets)
    for preset, info in found.items():
        assert info["doc"] == recipe.presets[preset].doc
        assert info["reaches"] == recipe.presets[preset].reaches
    words = " ".join(show.text(recipe).split())
    for preset in recipe.presets.values():
        assert preset.reaches in words


def test_values_are_those_after_presets_and_flags():
    dip = methods.find("dip")
    fields = {"train_steps": "77", "checkpoint_every": 5, "parallel.devices": 2}
    found = json.loads(show.as_json(dip, "inpaint,fast", fields))["fields"]
    value = {name: info["value"] for name, info in found.items()}
    assert value["task"] == "inpaint"
    assert value["train_steps"] == 77
    assert value["learning_rate"] == 0.01
    assert found["learning_rate"]["default"] == "auto"
    assert (value["checkpoint_every"], value["parallel.devices"]) == (5, 2)
    assert found["checkpoint_every"]["unit"] == "seconds"
    assert found["train_steps"]["group"] == "method"
    assert found["input"]["group"] == "run"
    assert "  train_steps = 77 steps   (default: auto; " in show.text(dip, "fast", fields)


def test_what_a_preset_leaves_to_the_user_is_shown():
    found = json.loads(show.as_json(methods.find("zssr"), "kernel"))["fields"]
    assert found["kernel_use"]["value"] == "given"
    assert found["kernel"]["value"] == ""


@pytest.mark.parametrize("columns", [50, 80, 300])
def test_the_text_is_wrapped_to_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = show.text(methods.find("zssr"), "fast").splitlines()
    widths = [len(line) for line in lines if line.startswith("  ")]
    assert min(columns, 100) - 25 < max(widths) <= min(columns, 100)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("dpi", "no method 'dpi', did you mean dip"),
        ("dip:fst", "no preset 'fst', did you mean fast"),
        ("dip --jsn", "--jsn: .* did you mean --json"),
        ("dip zssr", "unexpected argument 'zssr'"),
        ("configs/dip.py:fast", "configs/dip.py:fast: give the method's name"),
        ("dip --markdown", "--markdown"),
    ],
)
def test_mistakes(monkeypatch, words, message):
    monkeypatch.setattr(sys, "argv", ["deepinternal show", *words.split()])
    with pytest.raises(InputError, match=message) as caught:
        show.main()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fields", [{"scale": "100"}, {"featurs": 3}, {"log_every": 0}])
def test_values_that_cannot_be_used_are_refused(fields):
    with pytest.raises(InputError, match=next(iter(fields))):
        show.text(methods.find("zssr"), "fast", fields)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(monkeypatch, capsys, flag):
    monkeypatch.setattr(sys, "argv", ["deepinternal show", flag])
    assert show.main() == 0
    assert "deepinternal show NAME[:PRESET,...]" in capsys.readouterr().out


def test_without_a_name_the_methods_are_listed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["deepinternal show"])
    assert show.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(methods.names())
    assert all(len(line.split()) > 3 for line in lines)
