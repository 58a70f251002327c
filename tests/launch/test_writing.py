"""Results are written beside the training of the next image; what goes wrong there is recorded."""

import errno
import json
import os
import threading

import pytest

from deepinternal import files
from deepinternal.engine import array_files
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.run import Run
from deepinternal.runs import records, results
from deepinternal.runs.claims import Claims
from deepinternal.writers import read_jsonl
from tests.launch.conftest import picture, save, tiny_command


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(3):
        save(tmp_path / f"in/{i}.png", picture()[:, ::-1] if i == 1 else picture()[::-1])
    return tmp_path / "in"


def status(workdir):
    images = json.loads((workdir / "summary.json").read_text(encoding="utf-8"))["images"]
    return {m["image"]: m["status"] for m in images}


def test_the_next_image_trains_meanwhile(train_tiny, tmp_path, folder, monkeypatch):
    """The first result waits for the second image, whose claim is not yet released either."""
    begun = {str(i): threading.Event() for i in range(3)}
    write, begin, held = results.write_outputs, Run.begin, []

    def writing(outputs, place, source):
        if place.name == "0":
            assert begun["1"].wait(60), "the second image has not begun"
            held.append([c.held("0") for c in claims])
        return write(outputs, place, source)

    def beginning(self, programs):
        begun[self.name].set()
        begin(self, programs)

    claims, init = [], Claims.__init__
    monkeypatch.setattr(Claims, "__init__", lambda self, *a: init(self, *a) or claims.append(self))
    monkeypatch.setattr(records, "write_outputs", writing)
    monkeypatch.setattr(Run, "begin", beginning)
    assert train_tiny(folder, steps=2) == 0
    assert held == [[True]]
    assert status(tmp_path / "out") == dict.fromkeys("012", "done")


def test_a_full_disk_costs_one_image(train_tiny, tmp_path, folder, monkeypatch, capfd):
    out, write = tmp_path / "out", results.atomic_write_bytes

    def writing(path, data):
        if (out / "1") in path.parents:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, data)

    monkeypatch.setattr(results, "atomic_write_bytes", writing)
    assert train_tiny(folder, steps=2) == 1
    assert status(out) == {"0": "done", "1": "failed", "2": "done"}
    lines = [line for line in capfd.readouterr().err.splitlines() if "failed" in line]
    assert lines == [f"1: failed: {out}/1/result.png: No space left on device"]
    assert not (out / "1/traceback.txt").exists()
    monkeypatch.undo()
    assert train_tiny(folder, steps=2) == 0
    assert status(out) == dict.fromkeys("012", "done")
    metrics = json.loads((out / "1/metrics.json").read_text(encoding="utf-8"))
    assert metrics["resumed_steps"] == [2]
    assert [e["step"] for e in read_jsonl(out / "1/train.jsonl")] == [1, 2]
    assert (out / "0/result.png").read_bytes() == (out / "2/result.png").read_bytes()


def test_a_result_without_a_last_checkpoint_is_kept(
    train_tiny, tmp_path, folder, monkeypatch, capfd
):
    """The same command saves the checkpoint later."""
    out, write = tmp_path / "out", array_files.write

    def writing(place, arrays):
        if place.parent.name.startswith("3."):
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        return write(place, arrays)

    monkeypatch.setattr(array_files, "write", writing)
    options = {"checkpoint_every": 0, "parallel": {"images_per_device": 1}}
    assert train_tiny(folder, steps=3, **options) == 0
    said = capfd.readouterr().err.splitlines()
    assert [line[:32] for line in said] == [f"{i}: checkpoints cannot be written" for i in "012"]
    assert status(out) == dict.fromkeys("012", "done")
    read = lambda: json.loads((out / "1/metrics.json").read_text(encoding="utf-8"))
    assert read()["unsaved"] == f"{out}/1/checkpoints: Disk quota exceeded"
    assert any("the last checkpoint cannot be written" in r for r in read()["remarks"])
    monkeypatch.undo()
    made = (out / "1/result.png").read_bytes()
    assert train_tiny(folder, steps=3, **options) == 0
    assert "unsaved" not in read()
    assert Checkpoints(out / "1/checkpoints").numbers()[-1] == 3
    assert (out / "1/result.png").read_bytes() == made


def test_a_summary_that_cannot_be_written_is_reported(
    train_tiny, tmp_path, folder, monkeypatch, capfd
):
    (tmp_path / "out/summary.csv").mkdir(parents=True)
    assert train_tiny(folder, steps=2) == 1
    said = capfd.readouterr().err.splitlines()
    assert said == [f"the summary cannot be written: {tmp_path}/out/summary.csv: Is a directory"]
    assert len(list((tmp_path / "out").glob("*/result.png"))) == 3


def test_a_work_folder_that_is_removed_ends_the_work(
    train_tiny, tmp_path, folder, monkeypatch, capfd
):
    begin = Run.begin

    def beginning(self, programs):
        begin(self, programs)
        if self.name == "1":
            os.rename(tmp_path / "out", tmp_path / "elsewhere")

    monkeypatch.setattr(Run, "begin", beginning)
    with pytest.raises(FileNotFoundError) as caught:
        train_tiny(folder, steps=2, parallel={"images_per_device": 1})
    assert files.reason(caught.value) == f"{tmp_path / 'out'}: the work folder was removed"
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "out").exists()


LIMITED = """
import resource, runpy, sys
size = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
runpy.run_module("launch.main", run_name="__main__")
"""


@pytest.mark.parametrize("size", [12_000, 700], ids=["report", "anything"])
def test_files_that_may_not_grow(launcher, tmp_path, small_png, monkeypatch, size):
    """Real errors of the system: no traceback, and the same bits once there is space."""
    (tmp_path / "limited.py").write_text(LIMITED)
    monkeypatch.setattr(launcher, "path", [tmp_path])
    words = lambda workdir: tiny_command(
        small_png, tmp_path / workdir, steps=12, checkpoint_every=0, log_every=1
    )
    found, printed = launcher.run(size, *words("out"), module="limited")
    assert found == 1, printed
    assert "Traceback" not in printed
    assert "File too large" in printed
    assert len(printed.splitlines()) <= 5
    assert launcher.run(*words("out"))[0] == 0
    assert launcher.run(*words("whole"))[0] == 0
    results = [(tmp_path / name / "small/result.png").read_bytes() for name in ("out", "whole")]
    assert results[0] == results[1]
    numbers = [
        Checkpoints(tmp_path / name / "small/checkpoints").numbers() for name in ("out", "whole")
    ]
    assert numbers[0][-1] == numbers[1][-1] == 12
    assert not list((tmp_path / "out").rglob("*tmp*"))
