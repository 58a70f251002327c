"""Sweeps: their runs and their table, resumption, and mistakes."""

import csv
import json
import os
import signal

import numpy as np
import pytest

from deepinternal.cli import sweep, sweep_table
from deepinternal.cli.sweep_fields import combinations
from deepinternal.methods.zssr import RECIPE
from deepinternal.runs import jobs, records
from deepinternal.runs.settings import to_config_dict
from deepinternal.types import InputError
from tests import tiny_sets
from tests.launch.conftest import SMALL, picture, save

TINY = tiny_sets.RECIPE


def all_runs(seeds, sweeps, *, recipe=RECIPE, **fields):
    """The combinations of values, everything else being small."""
    config = to_config_dict(recipe)
    small = {name: value for name, value in SMALL.items() if name in config}
    config.update({**small, "steps": 2, "progress": False, **fields})
    return combinations(recipe, config, seeds, sweeps)


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "in").mkdir()
    save(tmp_path / "in/a.png", picture())
    save(tmp_path / "in/a_gt.png", 255 - picture())
    return str(tmp_path / "in")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_all_combinations_in_order():
    runs = all_runs("0,1", ["features=4|8", "flips=on", "scale=2|1.5;2"])
    assert list(runs) == [
        f"features={f},flips=on,scale={s},seed={seed}"
        for f in (4, 8)
        for s in ("2", "1.5;2")
        for seed in (0, 1)
    ]
    for run in runs.values():
        plain = run.config.plain()
        assert {name: plain[name] for name in run.fields} == run.fields
        assert (run.config.steps, run.config.layers) == (2, SMALL["layers"])


def test_values_have_their_fields_types():
    sweeps = ["learning_rate=1|1e-4", "parallel.devices=0|1", "config.progress=TRUE| false"]
    runs = list(all_runs("", sweeps).values())
    assert [run.config.learning_rate for run in runs] == [1.0] * 4 + [1e-4] * 4
    assert [run.settings.parallel.devices for run in runs] == [0, 0, 1, 1] * 2
    assert [run.settings.progress for run in runs] == [True, False] * 4
    assert [type(value) for value in runs[0].fields.values()] == [float, int, bool]


@pytest.mark.parametrize(
    ("seeds", "sweeps", "words"),
    [
        ("", [], ["nothing to sweep", "--seeds"]),
        ("", ["feature=4"], ["--sweep=feature=4", "no field feature", "did you mean features?"]),
        ("", ["parallel=4"], ["no field parallel "]),
        ("", ["steps.x=4"], ["no field steps.x"]),
        ("", ["method=zssr"], ["no field method"]),
        ("", ["features"], ["--sweep=features", "FIELD=VALUE"]),
        ("", ["=4"], ["FIELD=VALUE"]),
        ("", ["features=4|x"], ["features=x", "a whole number"]),
        ("", ["features=4|8.5"], ["features=8.5", "a whole number"]),
        ("", ["features="], ["features=''", "a whole number"]),
        ("", ["learning_rate=fast"], ["learning_rate=fast", "a number"]),
        ("", ["progress=maybe"], ["progress=maybe", "true or false"]),
        ("", ["learning_rate=1|1.0"], ["1.0 is given twice"]),
        ("0,1,0", [], ["--seeds=0,1,0", "0 is given twice"]),
        ("0,", [], ["--seeds=0,", "a whole number"]),
        ("", ["steps=1", "steps=2"], ["steps is already swept"]),
        ("0", ["seed=1"], ["--seeds=0", "seed is already swept"]),
        ("", ["scale=2|0.5"], ["scale=0.5"]),
    ],
)
def test_a_mistake_is_found_before_anything_runs(seeds, sweeps, words):
    with pytest.raises(InputError) as caught:
        all_runs(seeds, sweeps)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_names_are_valid_folder_names(tmp_path):
    long = "x" * 300
    inputs = ["../a b/c.png", "../a b_c.png", "écran", long, long + "y", "a\nb", "..", ""]
    runs = all_runs("", ["input=" + "|".join(inputs)])
    assert len(runs) == len(inputs)
    for name in runs:
        (tmp_path / name).mkdir()
        assert (tmp_path / name).parent == tmp_path
        assert name.startswith("input=")
    assert "input=écran" in runs


def test_every_run_and_its_row(tmp_path, photos, capsys):
    runs = all_runs("0", ["rate=0.25|0.5"], recipe=TINY, input=photos)
    assert sweep.run(TINY, runs, str(tmp_path / "out")) == 0
    printed = capsys.readouterr().out.splitlines()
    rows = read(tmp_path / "out/sweep.json")
    assert [(r["run"], r["fields"]) for r in rows] == [(n, run.fields) for n, run in runs.items()]
    for row in rows:
        folder = tmp_path / "out" / row["run"]
        metrics = read(folder / "a/metrics.json")
        assert (row["status"], row["images"], row["done"]) == (0, 1, 1)
        assert row["mean"] == read(folder / "summary.json")["mean"]
        assert row["mean"]["psnr_y"] == metrics["psnr_y"]
        assert metrics["seed"] == row["fields"]["seed"]
        assert read(folder / "config.json")["config"]["rate"] == row["fields"]["rate"]
    with open(tmp_path / "out/sweep.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [float(r["mean_psnr_y"]) for r in table] == [r["mean"]["psnr_y"] for r in rows]
    assert [float(r["rate"]) for r in table] == [0.25, 0.5]
    assert len(printed) == 2 + len(rows)
    columns = [c.strip() for c in printed[0].strip("|").split("|")]
    assert columns[:6] == ["rate", "seed", "done", "psnr_y", "ssim_y", "seconds"]
    best = int(np.argmax([r["mean"]["psnr_y"] for r in rows]))
    marked = [line.split("|")[4].strip().startswith("**") for line in printed[2:]]
    assert marked[best]

    # Again, and with one more value: what is done is not trained again.
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*/a/result.png")}
    assert len(before) == 2
    runs = all_runs("0", ["rate=0.25|0.5|1"], recipe=TINY, input=photos)
    assert sweep.run(TINY, runs, str(tmp_path / "out")) == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(read(tmp_path / "out/sweep.json")) == 3


def test_the_worst_status_counts_and_other_runs_continue(tmp_path, photos, monkeypatch, capsys):
    statuses = iter([0, InputError("b.png: too small"), 1, 0])

    def run_all(*_, **__):
        status = next(statuses)
        if isinstance(status, Exception):
            raise status
        return status

    monkeypatch.setattr(jobs, "run_all", run_all)
    (tmp_path / "out").mkdir()
    runs = all_runs("0,1,2,3", [], input=photos)
    assert sweep.run(RECIPE, runs, str(tmp_path / "out")) == 2
    assert capsys.readouterr().err == "seed=1: b.png: too small\n"
    assert [r["status"] for r in read(tmp_path / "out/sweep.json")] == [0, 2, 1, 0]


def test_an_error_of_all_runs_is_reported_once(tmp_path):
    runs = all_runs("0,1", [], input=str(tmp_path / "nowhere.png"))
    with pytest.raises(InputError, match=r"nowhere\.png"):
        sweep.run(RECIPE, runs, str(tmp_path / "out"))


def test_a_signal_ends_the_sweep(tmp_path, photos, monkeypatch):
    """It comes while the first run's results are written; the second does not begin."""
    original = records.Records.finish

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*args)

    runs = all_runs("0,1", [], recipe=TINY, input=photos)
    with monkeypatch.context() as patch:
        patch.setattr(records.Records, "finish", interrupted)
        assert sweep.run(TINY, runs, str(tmp_path / "out")) == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert [r["run"] for r in read(tmp_path / "out/sweep.json")] == ["seed=0"]
    assert not (tmp_path / "out/seed=1").exists()
    assert sweep.run(TINY, runs, str(tmp_path / "out")) == 0
    assert [r["done"] for r in read(tmp_path / "out/sweep.json")] == [1, 1]


def test_a_signal_between_two_runs(tmp_path, photos, monkeypatch):
    def run_all(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)
        return 0

    monkeypatch.setattr(jobs, "run_all", run_all)
    (tmp_path / "out").mkdir()
    runs = all_runs("0,1", [], input=photos)
    assert sweep.run(RECIPE, runs, str(tmp_path / "out")) == 130
    assert len(read(tmp_path / "out/sweep.json")) == 1


def row(seed, done, **mean):
    return {"run": f"s{seed}", "fields": {"seed": seed}, "images": 2, "done": done, "mean": mean}


def test_the_table():
    rows = [
        row(0, 2, psnr_y=30.0, seconds=4.0, steps=10, baseline_psnr_y=28.0, loss=1.0),
        row(1, 1, psnr_y=31.25, seconds=5.0, steps=10, baseline_psnr_y=29.0, loss=2.0),
        row("a|b", 0),
    ]
    lines = sweep_table.as_markdown(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [
        [c.strip() for c in line[1:-1].split(" | ")] for line in lines if "---" not in line
    ] == [
        ["seed", "done", "psnr_y", "seconds", "baseline_psnr_y", "loss"],
        ["0", "2/2", "30", "**4**", "28", "1"],
        ["1", "1/2", "**31.25**", "5", "29", "2"],
        ["a\\|b", "0/2", "", "", "", ""],
    ]


def test_the_table_of_runs_without_results():
    assert sweep_table.as_markdown([row(0, 0)]).splitlines()[0] == "| seed | done |"


def test_the_program_lists_its_runs(launcher, tmp_path):
    command = ["--config=configs/zssr.py:smoke", "--list", f"--workdir={tmp_path / 'out'}"]
    command += ["--seeds=0,1", "--sweep=scale=2|1.5;2"]
    status, printed = launcher.run(*command, module="launch.sweep")
    assert status == 0
    assert printed.splitlines() == [
        "scale=2,seed=0",
        "scale=2,seed=1",
        "scale=1.5;2,seed=0",
        "scale=1.5;2,seed=1",
    ]
    assert not (tmp_path / "out").exists()
