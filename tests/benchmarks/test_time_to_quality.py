"""Measuring a run on the way changes neither its result nor its time."""

import csv
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import common, curve, time_to_quality
from benchmarks.curve import Clock, Measure, Point, Watched
from deepinternal.codecs import image_io
from deepinternal.engine.loop import train
from deepinternal.engine.parallel import Programs
from deepinternal.runs import jobs
from deepinternal.types import InputError
from tests import tiny_methods
from tests.benchmarks import program

pytestmark = pytest.mark.usefixtures("quick_programs")

CONFIG = "tests.benchmarks.tiny_recipe:RECIPE"
INPUTS = {"image": jnp.asarray(tiny_methods.photo())}
NUMBER = Measure(lambda programs, *_: programs.numbers["loss"], lambda made: float(made[-1]), False)


def leaves(tree):
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]


# What is looked at


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [tiny_methods.gan(), tiny_methods.decomposition(8, target=0.0, replicas=1)]
)
def test_measuring_changes_nothing_and_covers_only_the_last_stage(method):
    seen = []
    result = Measure(lambda p, *at: np.asarray(p.outputs(*at)["result"].value), seen.append)
    watched, alone = Watched(method, 6), Programs(method)
    points, run = curve.follow(watched, INPUTS, result, seed=3, clock=Clock())
    before = sum(stage.steps for stage in method.stages[:-1])
    assert [p.steps - before for p in points] == curve.spaced(method.stages[-1].steps, 6)
    assert run.spent.steps == points[-1].steps
    alone._compiled = watched._compiled
    other = train(alone, INPUTS, seed=3)
    for a, b in zip(leaves(run.state), leaves(other.state), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = alone.outputs(other.state, other.inputs)["result"].value
    np.testing.assert_array_equal(seen[-1], expected)


def test_a_point_equals_the_result_of_a_run_with_as_many_steps():
    # Its step depends neither on the number of steps nor on what comes later.
    values = {}
    for steps in (2, 5, 12):
        points, _ = curve.follow(
            Watched(tiny_methods.gan(steps), 12), INPUTS, NUMBER, seed=0, clock=Clock()
        )
        values[steps] = {p.steps: p.value for p in points}
    assert set(values[12]) >= {1, 2, 5, 12}
    assert values[12].items() >= values[5].items() >= values[2].items()


def test_points_are_spaced_geometrically():
    assert curve.spaced(1000, 3) == [10, 100, 1000]
    assert curve.spaced(3, 12) == [1, 2, 3]


# What is counted


class FakeTime:
    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds
        return 0.0


def test_a_clock_stands_while_it_is_paused():
    fake = FakeTime()
    clock = Clock(fake)
    fake.wait(2)
    for _ in range(3):
        with clock.paused():
            fake.wait(10)
        fake.wait(1)
    assert clock.seconds() == 5


def test_making_a_result_counts_once_and_scoring_it_never():
    fake = FakeTime()
    measure = Measure(lambda *_: fake.wait(5), lambda _: fake.wait(100))
    points, _ = curve.follow(
        Watched(tiny_methods.gan(), 4), INPUTS, measure, seed=0, clock=Clock(fake)
    )
    assert len(points) == 4
    assert {p.seconds for p in points} == {5}


def test_compiling_the_outputs_counts_in_every_point():
    began, programs = time.perf_counter(), Watched(tiny_methods.gan(), 4)
    compiled = []

    def make(programs, *at):
        before = programs.seconds
        programs.outputs(*at)
        compiled.append(programs.seconds - before)

    slow = Measure(make, lambda _: time.sleep(0.2) or 0.0)
    points, _ = curve.follow(programs, INPUTS, slow, seed=0, clock=Clock())
    assert compiled[0] > 0
    assert not any(compiled[1:])
    assert all(p.seconds > compiled[0] for p in points)
    assert points[-1].seconds < time.perf_counter() - began - 0.2 * (len(points) - 1)


# When a value is reached


def test_the_first_point_that_reaches_a_value():
    points = [Point(n, 2.0 * n, v) for n, v in ((1, 20), (5, 31), (9, 30), (20, 33))]
    assert curve.first_at(points, 31).steps == 5
    assert curve.first_at(points, 31.5).seconds == 40
    assert curve.first_at(points, 34) is None
    losses = [Point(n, n, v) for n, v in ((1, 0.5), (2, 0.1), (3, 0.2))]
    assert curve.first_at(losses, 0.1, greater=False).steps == 2
    assert curve.first_at(losses, 0.05, greater=False) is None


def cells(text):
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines()]


def test_tables_say_when_and_how_many_times_faster():
    made = {"image": "a", "config": "fast", "compile_seconds": 3.0, "greater": True}
    made["points"] = [Point(5, 10.0, 30.0), Point(9, 20.0, 33.5)]
    other = made | {"image": "b"}
    text = time_to_quality.table([made], "psnr_y", 33)
    assert cells(text)[-1] == ["a", "fast", "9", "20.0", "3.0", "33.50", "9", "20.0"]
    assert cells(time_to_quality.table([made], "psnr_y", 40))[-1][-2:] == ["-", "-"]
    beside = [time_to_quality.parse_beside(t) for t in ("x,50,33", "y,1,40", "z,9,30,b")]
    rows = cells(time_to_quality.beside_table([made, other], beside, "psnr_y"))[2:]
    assert [row[:2] for row in rows] == [["a", "x"], ["a", "y"], ["b", "x"], ["b", "y"], ["b", "z"]]
    assert rows[0][-3:] == ["9", "20.0", "2.5"]
    assert rows[1][-3:] == ["-", "-", "-"]
    assert rows[4][-3:] == ["5", "10.0", "0.9"]


# The command


@pytest.mark.slow
def test_the_command_ends_with_the_figure_of_the_launcher(tmp_path):
    pytest.importorskip("matplotlib")
    data = tmp_path / "data"
    data.mkdir()
    truth = tiny_methods.photo(32)
    image_io.write_image(data / "one.png", np.clip(truth + 0.1, 0, 1))
    image_io.write_image(data / "one_gt.png", truth)
    done = program.run(
        "time_to_quality", f"--data={data}", f"--config={CONFIG}:short", "--points=3",
        "--beside=others,100,5,one",
        f"--out={tmp_path}/out", f"--json={tmp_path}/all.json", "--config.train_steps=5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = json.loads((tmp_path / "all.json").read_text())["runs"]
    (found,) = (tmp_path / "out").glob("*.csv")
    rows = list(csv.DictReader(found.read_text(encoding="utf-8").splitlines()))
    assert [{k: float(v) for k, v in row.items()} for row in rows] == run["points"]
    assert "| one | others |" in " ".join(done.stdout.split())
    drawn = (tmp_path / "out" / "time_to_quality.svg").read_text()
    assert all(text in drawn for text in ("one: seconds", "Y-PSNR", "others"))
    fields = {"input": data / "one.png", "ground_truth": data / "one_gt.png", "train_steps": 5}
    recipe, config, settings = common.load(CONFIG, {}, progress=False, **fields)
    assert jobs.run_all(recipe, config, settings, str(tmp_path / "work")) == 0
    (metrics,) = json.loads((tmp_path / "work" / "summary.json").read_text())["images"]
    assert run["points"][-1]["value"] == metrics["psnr_y"]
    assert run["points"][-1]["steps"] == metrics["steps"] == 5


@pytest.mark.parametrize("text", ["a", "a,1", "a,0,3", "a,1,nan", ",1,2", "a,1,2,b,c", "a,inf,1"])
def test_points_of_others_refused(text):
    with pytest.raises(InputError, match="NAME,SECONDS,VALUE"):
        time_to_quality.parse_beside(text)


@pytest.mark.parametrize(
    ("metric", "words"),
    [("psnr_y", "no ground truth"), ("los", "no such number; .* psnr_y, .* loss, average")],
)
def test_metrics_refused(metric, words):
    with pytest.raises(InputError, match=words):
        curve.figure(metric, tiny_methods.gan(), curve.Given(INPUTS, (24, 24), None))


def test_numbers_of_steps_and_of_outputs_are_figures():
    given = curve.Given(INPUTS, (24, 24), None)
    for metric in ("loss", "average"):
        measure = curve.figure(metric, tiny_methods.gan(), given)
        assert not measure.greater
        watched = Watched(tiny_methods.gan(), 3)
        points, run = curve.follow(watched, INPUTS, measure, seed=0, clock=Clock())
        assert all(np.isfinite(p.value) for p in points)
        if metric == "average":
            assert points[-1].value == float(run.state.model_state["average"])
    assert curve.figure("loss", tiny_methods.decomposition(), given).make


def test_side_inputs_are_refused_with_data():
    recipe, config, _ = common.load("dip:inpaint", {}, mask="mask.png")
    with pytest.raises(InputError, match="with --data"):
        curve.read(recipe, config, ("a.png", "b.png"))
