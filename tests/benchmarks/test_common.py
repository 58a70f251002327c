"""Command lines, and timing in turns."""

import pytest

from benchmarks import common, timing
from deepinternal.types import InputError
from tests import tiny_methods


def test_fields_decide_over_presets_and_are_parsed():
    fields = common.given_fields(["train_steps=7", "progress=false", "parallel.devices=2"])
    recipe, config, settings = common.load("configs/dip.py:fast", fields, input="a.png")
    assert recipe.name == "dip"
    assert (config.train_steps, config.effort) == (7, "fast")
    assert (settings.progress, settings.parallel.devices, settings.input) == (False, 2, "a.png")
    assert common.load("dip:fast", fields, input="a.png")[1:] == (config, settings)


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("dip", "stepz=3", "stepz.*did you mean steps"),
        ("dip", "steps=many", "steps=many: must be a whole number"),
        ("dip", "steps", "give FIELD=VALUE"),
        ("configs/none.py", "steps=1", "none.py: no such file"),
        ("configs/dip.py:nonsense", "steps=1", "no preset 'nonsense'"),
        ("benchmarks/roofline.py", "steps=1", "no function get_config"),
    ],
)
def test_configs_refused(text, field, words):
    with pytest.raises(InputError, match=words):
        common.load(text, common.given_fields([field]))


def test_launcher_style_fields():
    given = ["prog", "--config=a.py:x", "--config.steps=3", "--json=f"]
    assert common.as_fields(given) == ["prog", "--config=a.py:x", "--field=steps=3", "--json=f"]


def test_turns_rotate_and_ratios_are_taken_within_a_round():
    order = []
    clock = {"a": iter([2.0, 6.0, 4.0]), "b": iter([1.0, 2.0, 4.0])}

    def turn(name):
        def run():
            order.append(name)
            return next(clock[name])

        return run

    taken = timing.take_turns({name: turn(name) for name in clock}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert timing.ratios(taken["a"], taken["b"]) == {"median": 2.0, "min": 1.0, "max": 3.0}


def test_a_method_step_trains_all_replicas():
    method = tiny_methods.decomposition(4, target=0.0, replicas=3)
    step = timing.MethodStep(method, {"image": tiny_methods.photo()})
    assert step.run(2) > 0
    assert step._state.step.tolist() == [2, 2, 2]
    assert step.compile_seconds > 0
