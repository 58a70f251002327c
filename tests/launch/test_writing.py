"""Results are written beside the training of the next image; what goes wrong there is recorded."""

import errno
import json
import threading

import pytest

from deepinternal.engine import checkpoint
from deepinternal.engine.run import Run
from deepinternal.runs import records, results
from deepinternal.runs.claims import Claims
from deepinternal.writers import read_jsonl
from tests.launch.conftest import picture, save


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(3):
        save(tmp_path / f"in/{i}.png", picture()[:, ::-1] if i == 1 else picture()[::-1])
    return tmp_path / "in"


def status(workdir):
    images = json.loads((workdir / "summary.json").read_text(encoding="utf-8"))["images"]
    return {m["image"]: m["status"] for m in images}


def test_the_next_image_trains_meanwhile(train, tmp_path, folder, monkeypatch):
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
    assert train(folder, steps=2) == 0
    assert held == [[True]]
    assert status(tmp_path / "out") == dict.fromkeys("012", "done")


@pytest.mark.parametrize("where", ["result", "checkpoint"])
def test_a_full_disk_costs_one_image(train, tmp_path, folder, monkeypatch, capfd, where):
    out = tmp_path / "out"
    full = OSError(errno.ENOSPC, "No space left on device")
    places = {"result": (results, "atomic_write_bytes")}
    places["checkpoint"] = (checkpoint, "atomic_write_text")
    module, name = places[where]
    write = getattr(module, name)

    def writing(path, data):
        if (out / "1") in path.parents:
            raise full
        write(path, data)

    monkeypatch.setattr(module, name, writing)
    assert train(folder, steps=2) == 1
    assert status(out) == {"0": "done", "1": "failed", "2": "done"}
    lines = [line for line in capfd.readouterr().err.splitlines() if "failed" in line]
    assert len(lines) == 1
    assert lines[0].startswith("1: failed: OSError: [Errno 28] No space left")
    monkeypatch.undo()
    assert train(folder, steps=2) == 0
    assert status(out) == dict.fromkeys("012", "done")
    metrics = json.loads((out / "1/metrics.json").read_text(encoding="utf-8"))
    assert metrics["resumed_steps"] == ([2] if where == "result" else [])
    assert [e["step"] for e in read_jsonl(out / "1/train.jsonl")] == [1, 2]
    assert (out / "0/result.png").read_bytes() == (out / "2/result.png").read_bytes()
