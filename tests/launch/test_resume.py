"""Work folders over several runs: what is refused, what is resumed, and that the bits agree."""

import json
import os
import signal
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from deepinternal.engine.run import Run
from deepinternal.runs import records
from deepinternal.types import InputError
from deepinternal.writers import read_jsonl
from tests.launch.conftest import SMALL, picture, save, until

KEYS = {
    "image": str, "method": str, "input": str, "status": str, "error": str, "seed": int,
    "steps": int, "seconds": float, "compile_seconds": float, "steps_per_second": float,
    "programs": int, "resumed_steps": list, "device": str, "device_count": int,
    "jax_version": str, "image_shape": list, "output_shape": list, "psnr_y": float,
    "ssim_y": float, "psnr_rgb": float, "baseline_psnr_y": float, "baseline_ssim_y": float,
    "baseline_psnr_rgb": float,
}  # fmt: skip


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def losses(folder):
    return [(e["step"], e["loss"]) for e in read_jsonl(folder / "train.jsonl")]


def newest(folder):
    """Bytes of the arrays of the newest checkpoint, by name."""
    numbers = (p.name for p in (folder / "checkpoints").iterdir())
    number = max(int(name) for name in numbers if name.isdigit())
    path = (folder / "checkpoints" / str(number) / "state").absolute()
    leaves = jax.tree_util.tree_leaves_with_path(ocp.StandardCheckpointer().restore(path))
    data = {jax.tree_util.keystr(p): x for p, x in leaves}
    is_key = lambda x: jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key)
    plain = {k: jax.random.key_data(x) if is_key(x) else x for k, x in data.items()}
    return number, {k: np.asarray(x).tobytes() for k, x in plain.items()}


def assert_same_run(a, b):
    """Results, the last checkpoint and the logged losses agree to the bit."""
    assert (a / "result.png").read_bytes() == (b / "result.png").read_bytes()
    assert newest(a) == newest(b)
    assert losses(a) == losses(b)


@pytest.mark.slow
def test_what_a_folder_holds(train, tmp_path, small_png):
    save(tmp_path / "small_gt.png", picture(48, 64))
    assert train(small_png, ensemble="on") == 0
    out = tmp_path / "out"
    files = {"result.png", "uncertainty.png", "metrics.json", "train.jsonl", "report.html"}
    assert files <= {p.name for p in (out / "small").iterdir()}
    assert list((out / "small/checkpoints").glob("12"))
    metrics = read(out / "small/metrics.json")
    for name, kind in KEYS.items():
        assert type(metrics[name]) is kind, name
    assert metrics["status"] == "done"
    assert metrics["steps"] == 12
    assert (metrics["image_shape"], metrics["output_shape"]) == ([24, 32, 3], [48, 64, 3])
    assert metrics["seconds"] > metrics["compile_seconds"] >= 0
    summary = read(out / "summary.json")
    assert summary["images"] == [metrics]
    assert summary["mean"]["psnr_y"] == metrics["psnr_y"]
    np.testing.assert_allclose(summary["images_per_hour"], 3600 / metrics["seconds"], rtol=1e-6)
    log = read_jsonl(out / "small/train.jsonl")
    assert [e["step"] for e in log] == list(range(1, 13))
    assert {"step", "seconds", "loss", "l1", "learning_rate"} <= set(log[0])
    assert "test_psnr" in log[4]
    assert read(out / "config.json")["config"]["steps"] == 12
    assert not list(out.rglob("*.tmp"))


def test_a_finished_image_is_skipped(train, tmp_path, small_png, monkeypatch):
    assert train(small_png) == 0
    before = (tmp_path / "out/small/result.png").stat().st_mtime_ns
    metrics = read(tmp_path / "out/small/metrics.json")

    def forbidden(*_):
        raise AssertionError("trains again")

    monkeypatch.setattr("deepinternal.runs.runner.Loop.train", forbidden)
    options = {"log_every": 5, "checkpoint_every": 1.0, "progress": True}
    assert train(small_png, parallel={"steps_per_dispatch": 1}, **options) == 0
    assert (tmp_path / "out/small/result.png").stat().st_mtime_ns == before
    assert read(tmp_path / "out/small/metrics.json") == metrics
    assert read(tmp_path / "out/summary.json")["images"] == [metrics]

    # Ground truth given later, and changed later still, fills in the figures.
    for shift in (0, 9):
        save(tmp_path / "truth.png", picture(48 + shift, 64)[shift:])
        assert train(small_png, ground_truth=str(tmp_path / "truth.png")) == 0
        scored = read(tmp_path / "out/small/metrics.json")
        assert scored["psnr_y"] != metrics.get("psnr_y")
        assert f"{scored['psnr_y']:.4g}" in (tmp_path / "out/small/report.html").read_text()
        assert read(tmp_path / "out/summary.json")["mean"]["psnr_y"] == scored["psnr_y"]
        metrics = scored


def test_a_file_added_to_the_folder_is_trained_on_alone(train_tiny, tmp_path):
    (tmp_path / "in").mkdir()
    save(tmp_path / "in/b.png", picture())
    assert train_tiny(tmp_path / "in", steps=2) == 0
    before = (tmp_path / "out/b/result.png").stat().st_mtime_ns
    save(tmp_path / "in/a.png", picture(26, 24))
    assert train_tiny(tmp_path / "in", steps=2) == 0
    assert (tmp_path / "out/b/result.png").stat().st_mtime_ns == before
    images = read(tmp_path / "out/summary.json")["images"]
    assert [(m["image"], m["status"]) for m in images] == [("a", "done"), ("b", "done")]


def test_other_results_are_refused_and_overwritten(train_tiny, tmp_path, small_png):
    mask = save(tmp_path / "mask.png", np.full((24, 32), 255, np.uint8))
    sides = {"mask": str(mask), "steps": 2}
    assert train_tiny(small_png, **sides) == 0
    out = tmp_path / "out"
    result = (out / "small/result.png").read_bytes()

    def refused(*words, **fields):
        with pytest.raises(InputError) as caught:
            train_tiny(small_png, **{**sides, **fields})
        for word in (*words, "--overwrite"):
            assert word in str(caught.value)
        assert (out / "small/result.png").read_bytes() == result
        assert read(out / "config.json")["config"]["seed"] == 0

    refused("seed (0 there, 1 now)", seed=1)
    refused("rate (0.2 there, 0.3 now)", rate=0.3)
    refused("rate", "seed", rate=0.3, seed=1)
    refused("steps (2 there, 1 now)", steps=1)
    save(mask, np.tile(np.uint8([0, 255]), (24, 16)))
    refused("small", "mask")
    save(mask, np.full((24, 32), 255, np.uint8))
    save(small_png, picture()[::-1])
    refused("small", "input")

    (out / "notes.txt").write_text("mine")
    (out / "small/notes.txt").write_text("mine")
    mine = save(out / "small/mine.png", picture())
    (out / "folder").mkdir()
    assert train_tiny(small_png, **sides, seed=1, overwrite=True) == 0
    assert (out / "small/result.png").read_bytes() != result
    assert read(out / "config.json")["config"]["seed"] == 1
    assert (out / "notes.txt").read_text() == (out / "small/notes.txt").read_text() == "mine"
    assert mine.exists()
    assert (out / "folder").is_dir()
    assert read(out / "small/metrics.json")["resumed_steps"] == []


def test_fewer_steps_than_the_methods_own_are_refused(train, tmp_path, small_png, monkeypatch):
    """`steps` 0 stands for a number that only the method knows."""
    monkeypatch.setattr("deepinternal.runs.runner.Loop.train", lambda *_: 1 / 0)
    assert train(small_png, steps=0) == 1
    with pytest.raises(InputError, match=r"steps .3000 there, 12 now"):
        train(small_png, steps=12)
    assert train(small_png, steps=3001) == 1
    with pytest.raises(InputError, match="steps"):
        train(small_png, steps=0)


@pytest.mark.slow
def test_more_steps_continue_a_finished_run(train, tmp_path, small_png, monkeypatch):
    """Also if that was killed before its first step."""
    assert train(small_png, steps=7) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Run, "begin", lambda *_: sys.exit(137))
        with pytest.raises(SystemExit):
            train(small_png, steps=12)
    assert train(small_png, steps=12) == 0
    assert train(small_png, steps=12, workdir=tmp_path / "whole") == 0
    assert_same_run(tmp_path / "out/small", tmp_path / "whole/small")
    metrics = read(tmp_path / "out/small/metrics.json")
    assert metrics["resumed_steps"] == [7]
    assert metrics["steps"] == 12


@pytest.mark.slow
def test_the_sample_needs_no_input(train, tmp_path, monkeypatch):
    photo = picture(48, 64)
    monkeypatch.setattr("skimage.data.astronaut", lambda: photo)
    assert train("", steps=1) == 0
    metrics = read(tmp_path / "out/sample/metrics.json")
    assert metrics["image_shape"] == [24, 32, 3]
    assert metrics["baseline_psnr_y"] > 20, "the photograph itself is the ground truth"
    assert (tmp_path / "out/sample/input.png").exists()
    # A scale that does not divide the photograph leaves it without figures, but works.
    assert train("", workdir=tmp_path / "odd", scale="2.5", steps=1) == 0
    assert "psnr_y" not in read(tmp_path / "odd/sample/metrics.json")


def test_a_signal_after_training_ends_the_list(train_tiny, tmp_path, small_png, monkeypatch):
    """It comes while the first image's results are written: that one ends, the other is stopped."""
    other = save(tmp_path / "other.png", picture())
    original = records.write_outputs

    def interrupted(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **options)

    monkeypatch.setattr(records, "write_outputs", interrupted)
    assert train_tiny(f"{small_png},{other}", steps=1000) == 143
    images = read(tmp_path / "out/summary.json")["images"]
    assert [(m["image"], m["status"]) for m in images] == [("small", "done"), ("other", "stopped")]
    assert images[1]["steps"] < 1000
    assert (tmp_path / "out/other/checkpoints" / str(images[1]["steps"])).is_dir()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    monkeypatch.setattr(records, "write_outputs", original)
    assert train_tiny(f"{small_png},{other}", steps=1000) == 0
    assert [m["status"] for m in read(tmp_path / "out/summary.json")["images"]] == ["done"] * 2


# Signals, in processes of their own.


def command(source, workdir, steps):
    fields = {**SMALL, "steps": steps, "log_every": 1, "checkpoint_every": 0.3, "input": source}
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    return ["--config=configs/zssr.py", f"--workdir={workdir}", *flags]


def after_lines(folder, more, launcher, argv, number):
    """Starts a run and sends a signal once its log has grown; exit status and what it printed."""
    path = folder / "train.jsonl"  # with a line for each step
    lines = lambda: path.read_bytes().count(b"\n") if path.exists() else 0
    before = lines()
    process, printed = launcher.start(*argv)
    until(lambda: lines() >= before + more)
    os.kill(process, number)
    return launcher.wait(process), printed.read_text()


@pytest.mark.slow
def test_signals_and_kills(launcher, tmp_path, small_png):
    """Stopped by each signal and killed twice, it ends with the bits of a run left alone."""
    steps = 800
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert launcher.run(*command(small_png, whole, steps))[0] == 0
    argv = command(small_png, broken, steps)
    folder = broken / "small"
    for number, expected in (
        (signal.SIGTERM, 143),
        (signal.SIGKILL, 137),
        (signal.SIGINT, 130),
        (signal.SIGKILL, 137),
    ):
        status, printed = after_lines(folder, 60, launcher, argv, number)
        assert status == expected
        assert "Traceback" not in printed
        if number == signal.SIGKILL:
            continue
        metrics = read(folder / "metrics.json")
        assert metrics["status"] == "stopped"
        assert f"stopped at step {metrics['steps']}" in printed.splitlines()[-1]
        assert read(broken / "summary.json")["images"] == [metrics]
        assert losses(folder)[-1][0] == metrics["steps"] < steps
    assert launcher.run(*argv)[0] == 0
    assert_same_run(whole / "small", folder)
    resumed = read(folder / "metrics.json")["resumed_steps"]
    assert len(resumed) == 4
    assert 0 < resumed[0] <= resumed[1] < resumed[2] <= resumed[3] < steps
    assert [step for step, _ in losses(folder)] == list(range(1, steps + 1))
    assert read(folder / "metrics.json")["steps"] == steps


@pytest.mark.slow
def test_a_gradual_run_resumes_in_its_second_jump(launcher, tmp_path, small_png):
    """The pool, the moments of both optimisers and the average of weights are in a checkpoint."""
    fields = {"scale": "1.5;2", "net": "subpixel", "optimizer": "muon", "layers": 3}
    fields |= {"schedule": "cosine", "average": 0.9, "evaluate_every": 50}
    more = [f"--config.{name}={value}" for name, value in fields.items()]
    whole, broken = (command(small_png, tmp_path / n, 120) + more for n in ("whole", "broken"))
    assert launcher.run(*whole)[0] == 0
    folder = tmp_path / "broken/small"
    assert after_lines(folder, 150, launcher, broken, signal.SIGTERM)[0] == 143
    assert 120 < read(folder / "metrics.json")["steps"] < 240
    assert launcher.run(*broken)[0] == 0
    assert_same_run(tmp_path / "whole/small", folder)
    assert {e["stage"] for e in read_jsonl(folder / "train.jsonl")} == {"1: 1.5x1.5", "2: 2x2"}
