"""The rates of any recipe and arrangement are consistent."""

import json
import math

import pytest

from benchmarks import roofline, throughput, timing
from deepinternal.types import InputError, input_spec
from tests.benchmarks import program, tiny_recipe

pytestmark = pytest.mark.usefixtures("quick_programs")


def test_rates_are_consistent():
    recipe = tiny_recipe.RECIPE
    result = throughput.measure(
        recipe, recipe.build(train_steps=100), images=(1, 2), steps=4, rounds=2,
        multiplied=64, copied=4096,
    )  # fmt: skip
    one, two = result["runs"]
    assert (one["steps"], two["images"], two["lanes"]) == (4, 2, [1, 1])
    step = one["seconds_per_step"]["median"]
    image = 100 * step + 10 * result["evaluate_seconds"] + result["outputs_seconds"]
    assert one["images_per_hour"] == pytest.approx(3600 / image)
    for run in result["runs"]:
        spread = run["seconds_per_step"]
        assert 0 < spread["min"] <= spread["median"] <= spread["max"] < math.inf
        assert run["steps_per_second"] == pytest.approx(1 / spread["median"])
        rate = tiny_recipe.FLOPS / spread["median"]
        assert run["flops_per_second"] == pytest.approx(rate)
        assert run["share_of_peak"] == pytest.approx(rate / result["peak_flops_per_second"])
        assert run["compile_seconds"] > 0
    line = result["roofline"]
    assert line["contractions"] == tiny_recipe.FLOPS < line["flops"]
    least = max(
        line["flops"] / result["peak_flops_per_second"],
        line["bytes"] / result["copy_bytes_per_second"],
    )
    assert line["share"] == pytest.approx(least / step)
    assert f"{one['steps_per_second']:.3f}" in throughput.report([result])


def test_a_run_is_as_long_as_asked_for():
    recipe, config = tiny_recipe.RECIPE, tiny_recipe.RECIPE.build()
    inputs = timing.sample(recipe, config)
    method = recipe.method(config, input_spec(inputs))
    full = timing.FullStep(method, inputs, images=3, lanes=(1, 3), steps_per_dispatch=4)
    full.lengthen(0.02)
    assert full.steps % 4 == 0
    full.set_steps(5)
    _, state = full.train()
    assert (full.steps, int(state.step)) == (8, 8)
    assert roofline.step_cost(full.programs.method, state, inputs).contractions == tiny_recipe.FLOPS


@pytest.mark.slow
def test_the_command_takes_a_custom_recipe(tmp_path):
    out = tmp_path / "figures.json"
    done = program.run(
        "throughput", "--method=tests.benchmarks.tiny_recipe:RECIPE", "--preset=short", "--images=2",
        "--lanes=1x2,2x1", "--steps=2", "--rounds=1", f"--json={out}", "--config.features=3",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text())
    (result,) = written["methods"]
    assert written["machine"]["device_count"] == 2
    assert [run["lanes"] for run in result["runs"]] == [[1, 2], [2, 1]]
    assert result["steps_limit"] == 6
    assert result["roofline"]["contractions"] == 3 * tiny_recipe.FLOPS
    assert "| tiny" in done.stdout


def test_a_mistake_is_one_line():
    done = program.run("throughput", "--images=1,x")
    assert done.returncode == 2
    assert done.stderr == "error: --images=1,x: give numbers, such as 2,3,4\n"


@pytest.mark.parametrize("text", ["", "1", "0x1", "1x0", "ax2", "1x2x3"])
def test_lanes_are_checked(text):
    with pytest.raises(InputError, match="--lanes"):
        throughput.parse_lanes(text)
