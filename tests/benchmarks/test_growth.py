"""Growth is measured right: figures are those of the runs' files, slopes those of numpy."""

import contextlib
import csv
import json
import os
import statistics
import subprocess
import sys
import types

import numpy as np
import pytest
import skimage.data

from benchmarks import growth, growth_tables, launched
from deepinternal.types import InputError

ROOT = os.path.dirname(os.path.dirname(growth.__file__))
CONFIG = os.path.join(ROOT, "configs", "zssr.py:smoke")
TINY = ["layers=2", "features=4", "crop=16", "back_projection=1", "ensemble=off"]


# Slopes


def test_the_slope_is_that_of_the_second_half():
    rng = np.random.default_rng(3)
    x = np.cumsum(rng.uniform(0.5, 2, 21))
    y = 500 + 0.3 * x + rng.standard_normal(21)
    y[:10] = 0
    assert growth_tables.slope(x, y) == pytest.approx(np.polyfit(x[10:], y[10:], 1)[0])


@pytest.mark.parametrize("points", [0, 1])
def test_there_is_no_slope_of_a_point(points):
    assert np.isnan(growth_tables.slope([3.0] * points, [5.0] * points))


@pytest.mark.parametrize(("rise", "flat"), [(0, True), (4, True), (-4, True), (6, False)])
def test_flat_is_what_rises_by_less_than_a_hundredth(rise, flat):
    x = np.arange(11)
    memory = 500 + rise * np.maximum(0, x - 5) / 5
    assert growth_tables.is_flat(x, memory) == flat


# Pictures


@pytest.mark.parametrize("side", [16, 400, 700])
def test_pictures_are_photographs_of_different_contents(side):
    made = [launched.picture(side, i) for i in range(6)]
    assert {(x.shape, x.dtype.name) for x in made} == {((side, side, 3), "uint8")}
    assert len({x.tobytes() for x in made}) == 6
    np.testing.assert_array_equal(made[4], launched.picture(side, 4))


def test_a_large_picture_is_the_photograph_to_and_fro():
    period = 2 * skimage.data.astronaut().shape[0]
    large = launched.picture(period + 100)
    np.testing.assert_array_equal(large[:100], large[period:])
    np.testing.assert_array_equal(large[:, :100], large[:, period:])
    tiled = np.pad(skimage.data.astronaut(), [(0, 512), (0, 512), (0, 0)], mode="symmetric")
    rolled = [np.sort(x[:period, :period].sum((1, 2), np.int64)) for x in (large, tiled)]
    np.testing.assert_array_equal(*rolled)


# Processes


def watched(code, folder):
    launched.watched([sys.executable, "-c", code], folder / "figures.json")
    return json.loads((folder / "figures.json").read_text())


def test_the_peak_is_that_of_the_process_alone(tmp_path):
    ballast = np.ones(50_000_000)  # 400 MB of ours
    figures = watched("x = b'1' * 100_000_000; del x", tmp_path)
    assert ballast.all()
    assert figures["status"] == 0
    assert 100 < figures["peak_mb"] < 200


def test_cpu_seconds_are_not_wall_seconds(tmp_path):
    figures = watched("import time; time.sleep(1)", tmp_path)
    assert figures["cpu_seconds"] < 0.9


def test_a_process_that_was_killed(tmp_path):
    assert watched("import os; os.kill(os.getpid(), 9)", tmp_path)["status"] == -9


def test_what_fails_is_said():
    with pytest.raises(InputError, match=r"status 2.*config\.scale"):
        launched.launch(CONFIG, ["scale=0"], [launched.picture(16)])


# Figures


def test_figures_of_many_images_are_those_of_their_files(tmp_path, monkeypatch):
    keep = lambda **_: contextlib.nullcontext(str(tmp_path))
    monkeypatch.setattr(launched.tempfile, "TemporaryDirectory", keep)
    pictures = [launched.picture(32, i) for i in range(4)]
    run = launched.launch(CONFIG, [*TINY, "steps=2"], pictures)
    rows = growth.image_rows(run)
    folders = [tmp_path / "work" / f"0000{i}" for i in range(4)]
    metrics = [json.loads((f / "metrics.json").read_text()) for f in folders]
    assert [m["status"] for m in metrics] == ["done"] * 4
    for i, (row, folder) in enumerate(zip(rows, folders, strict=True)):
        last = json.loads((folder / "train.jsonl").read_text().splitlines()[-1])
        assert row["memory_mb"] == last["memory_mb"]
        assert row["programs"] == sum(m["programs"] for m in metrics[: i + 1])
        # The report, which the image's own figure leaves out, is in it.
        if i < 3:
            assert row["seconds"] > metrics[i]["seconds"]
    assert rows[3]["seconds"] is None
    assert sum(row["seconds"] for row in rows[:3]) < run.seconds
    # XLA's own account: more than the library counts, and nothing for the images after the first.
    assert rows[0]["compilations"] > rows[0]["programs"] > 2
    assert {row["compilations"] for row in rows} == {rows[0]["compilations"]}
    cells = cells_of(growth_tables.image_table(rows))
    middle = statistics.median(row["seconds"] for row in rows[1:3])
    assert cells[0] == "4"
    assert cells[2] == f"{middle:.3f}"
    rise = np.polyfit([3, 4], [1e3 * row["memory_mb"] for row in rows[2:]], 1)[0]
    assert float(cells[7].split(",")[0]) == pytest.approx(rise, abs=0.06)
    count = f"{rows[0]['programs']} + 0, {rows[0]['compilations']} + 0"
    assert cells[8] == count


def cells_of(table):
    return [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]


def test_time_is_divided_without_gap():
    log = [
        {"step": i, "seconds": 2.0 + 0.5 * i + 3 * (i > 1), "compile_seconds": 1.0 + 3 * (i > 1)}
        for i in range(1, 5)
    ]
    metrics = {"compile_seconds": 4.5, "steps": 4, "programs": 3}
    run = launched.Launch(20.0, 1.5, 18.0, 640.0, [metrics], [log], [5])
    row = growth.size_row(run)
    assert row["step_seconds"] == pytest.approx(0.5)
    assert row["rest_seconds"] == pytest.approx(20 - 1.5 - 4.5 - 4 * 0.5)


def test_steps_are_timed_between_lines_without_compiling():
    log = [
        {"step": s, "seconds": t, "compile_seconds": c, "memory_mb": m, "programs": 3}
        for s, t, c, m in [(10, 9.0, 8.0, 500.0), (20, 12.0, 10.0, 501.0), (40, 14.0, 10.0, 503.0)]
    ]
    rows = growth.step_rows(log)
    assert [(r["step"], r["step_seconds"]) for r in rows] == [(20, 0.1), (40, 0.1)]
    assert [r["memory_mb"] for r in rows] == [501.0, 503.0]
    cells = cells_of(growth_tables.step_table(rows))
    assert cells[:4] == ["40", "100.00", "100.00", "100.00"]


# The command


def command(*arguments, cwd=ROOT):
    program = [sys.executable, "-m", "benchmarks.growth", *arguments]
    return subprocess.run(program, cwd=cwd, capture_output=True, text=True, check=False)


def test_sizes_by_the_command(tmp_path):
    pytest.importorskip("matplotlib")
    done = command(
        *["--what=size", f"--config={CONFIG}", "--sizes=32", "--steps=20", f"--out={tmp_path}"],
        *[f"--json={tmp_path / 'all.json'}", *(f"--config.{setting}" for setting in TINY)],
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "all.json").read_text())["size"]
    assert cells_of(done.stdout)[0] == "32x32"
    assert cells_of(done.stdout)[7] == f"{row['peak_mb']:.0f}"
    assert row["peak_mb"] > 200
    assert 0 < row["step_seconds"] < row["rest_seconds"]
    assert row["start_seconds"] + row["compile_seconds"] < row["seconds"]
    with (tmp_path / "growth_size.csv").open() as file:
        assert [{k: float(v) for k, v in r.items()} for r in csv.DictReader(file)] == [row]
    assert (tmp_path / "growth_size.svg").read_text().count("<svg") == 1


def test_a_long_run(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(growth, "SIDE", 32)
    (rows,) = growth.by_steps(growth.Plan(CONFIG, tuple(TINY), long=40))
    assert [row["step"] for row in rows] == list(range(10, 41, 5)), "smoke logs every 5"
    assert all(row["memory_mb"] > 200 for row in rows)
    growth_tables.write(tmp_path, "steps", rows)
    assert (tmp_path / "growth_steps.svg").read_text().count("ms per step") > 0


def test_large_images_go_without_the_ensemble_unless_the_user_decides(monkeypatch):
    seen = []

    def note(config, settings, pictures):
        seen.append((settings, [x.shape[0] for x in pictures]))
        raise InputError("enough")

    monkeypatch.setattr(growth, "launch", note)
    dip = os.path.join(ROOT, "configs", "dip.py:fast")
    for config, side, chosen in [
        (CONFIG, 512, ()),
        (CONFIG, 513, ("ensemble=on",)),
        (dip, 513, ()),
    ]:
        with pytest.raises(InputError, match=f"{side}x{side}: enough"):
            next(growth.by_size(growth.Plan(config, chosen, sizes=(side,), steps=7)))
    assert seen == [
        (["log_every=1", "steps=7"], [512]),
        (["log_every=1", "ensemble=off", "ensemble=on", "steps=7"], [513]),
        (["log_every=1", "steps=7"], [513]),
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"what": ["speed"]}, "--what=speed"),
        ({"what": []}, "--what="),
        ({"sizes": ["64", "big"]}, "--sizes=64,big"),
        ({"sizes": ["0"]}, "--sizes=0"),
        ({"config": "configs/none.py"}, "configs/none.py"),
        ({"set": ["nope=3"]}, "nope"),
        ({"set": ["input=a.png"]}, "--config.input"),
        ({"json": "nowhere/a.json"}, "nowhere"),
    ],
)
def test_mistakes_in_flags(given, words):
    usual = {"what": ["size"], "sizes": ["32"], "steps": 4, "images": 3, "long": 40}
    usual |= {"config": CONFIG, "set": [], "json": None}
    growth.plan_of(types.SimpleNamespace(**usual))
    with pytest.raises(InputError, match=words):
        growth.plan_of(types.SimpleNamespace(**usual | given))


def test_a_mistake_is_one_line():
    done = command("--images=1")
    assert done.returncode == 2
    assert "--images" in done.stderr
    assert done.stderr.count("\n") == 1
