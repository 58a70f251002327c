"""Several processes in one work folder: each image is trained on by one of them, and none is lost."""

import json
import os
import signal
import threading

import numpy as np
import pytest

from deepinternal.runs import claims as claims_module
from deepinternal.runs.claims import CLAIMS, Claims
from deepinternal.types import InputError
from deepinternal.writers import read_jsonl
from tests.launch.conftest import SMALL, picture, save, tiny_command, until

STEPS = 100
SIZES = [(24, 32), (32, 24), (28, 28), (24, 32), (26, 30)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of several sizes, all to share one canvas."""
    folder = tmp_path_factory.mktemp("in")
    for i, (height, width) in enumerate(SIZES):
        save(folder / f"{i}.png", np.roll(picture(height, width), 3 * i, axis=1))
    return folder


@pytest.fixture(scope="module")
def equal(tmp_path_factory):
    """Images of one size, for a method without canvases."""
    folder = tmp_path_factory.mktemp("equal")
    for i in range(5):
        save(folder / f"{i}.png", np.roll(picture(), 3 * i, axis=1))
    return folder


def command(source, workdir, steps=STEPS):
    fields = {**SMALL, "crop": 24, "steps": steps, "log_every": 1, "checkpoint_every": 0.1}
    fields["input"] = source
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    return ["--config=configs/zssr.py", f"--workdir={workdir}", *flags]


def metrics(workdir):
    """metrics.json of all images, by stem."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in workdir.glob("*/metrics.json")
    }


def written(workdir):
    """Bytes of all logs."""
    return sum(path.stat().st_size for path in workdir.glob("*/train.jsonl"))


def results(workdir):
    return {path.parent.name: path.read_bytes() for path in workdir.glob("*/result.png")}


@pytest.fixture(scope="module")
def alone(launcher, tmp_path_factory, folder):
    """The results of one process."""
    workdir = tmp_path_factory.mktemp("alone") / "out"
    assert launcher.run(*command(folder, workdir))[0] == 0
    return results(workdir)


def assert_whole(workdir):
    """All images are done, with whole logs, and the summary knows them."""
    images = metrics(workdir)
    assert sorted(images) == [str(i) for i in range(len(SIZES))]
    for stem, figures in images.items():
        assert figures["status"] == "done"
        steps = [e["step"] for e in read_jsonl(workdir / stem / "train.jsonl")]
        assert steps == list(range(1, STEPS + 1))
    summary = json.loads((workdir / "summary.json").read_text(encoding="utf-8"))
    assert [m["image"] for m in summary["images"]] == sorted(images)
    assert all(m["status"] == "done" for m in summary["images"])


@pytest.mark.slow
def test_two_processes_share_the_work(launcher, tmp_path, folder, alone):
    shared = tmp_path / "shared"
    processes = [launcher.start(*command(folder, shared))[0] for _ in range(2)]
    assert [launcher.wait(process) for process in processes] == [0, 0]
    assert_whole(shared)
    assert results(shared) == alone
    begun = sum(not m["resumed_steps"] for m in metrics(shared).values())
    assert begun == len(SIZES), "an image was taken twice"


@pytest.mark.slow
def test_what_killed_processes_leave_is_finished(launcher, tmp_path, folder, alone):
    """Nothing is lost, and nothing that was finished is done again."""
    shared = tmp_path / "shared"
    finished: dict[str, int] = {}
    for kills in (1, 2):
        before = written(shared)
        processes = [launcher.start(*command(folder, shared))[0] for _ in range(2)]
        until(lambda before=before: written(shared) > before + 5000)
        for process in processes[:kills]:
            os.kill(process, signal.SIGKILL)
        if kills == 1:  # the other one need not come to its end either
            until(lambda: len(results(shared)) >= 2)
            os.kill(processes[1], signal.SIGKILL)
        statuses = [launcher.wait(process) for process in processes]
        assert statuses == [128 + signal.SIGKILL] * 2
        for stem, stamp in finished.items():
            assert (shared / stem / "result.png").stat().st_mtime_ns == stamp
        done = [stem for stem, m in metrics(shared).items() if m["status"] == "done"]
        finished = {s: (shared / s / "result.png").stat().st_mtime_ns for s in done}
    assert launcher.run(*command(folder, shared))[0] == 0
    assert_whole(shared)
    assert results(shared) == alone


@pytest.mark.parametrize("status", ["done", "failed", "stopped"])
def test_what_another_process_holds_is_waited_for(train_tiny, tmp_path, equal, capfd, status):
    """What it has abandoned is continued; what has failed there is not tried again."""
    out = tmp_path / "out"
    claims, told = Claims(out / CLAIMS), capfd
    assert claims.take("1")

    def end():
        until(lambda: "waiting for process" in told.readouterr().err)
        assert sorted(metrics(out)) == ["0", "2", "3", "4"]
        (out / "1").mkdir()
        if status == "done":
            claims.release("1")  # and its result is made here
            return
        ended = {"image": "1", "status": status, "steps": 0, "seconds": 0.0}
        (out / "1/metrics.json").write_text(json.dumps(ended))
        claims.release("1")

    thread = threading.Thread(target=end)
    thread.start()
    try:
        assert train_tiny(equal, steps=1) == int(status == "failed")
    finally:
        thread.join()
        claims.close()
    assert metrics(out)["1"]["status"] == ("failed" if status == "failed" else "done")
    assert train_tiny(equal, steps=1, wait=False) == 0


@pytest.mark.slow
def test_what_fails_in_one_process_has_failed_in_all(launcher, tmp_path):
    """And no two processes wait for each other."""
    (tmp_path / "in").mkdir()
    for name in "abcd":
        (tmp_path / f"in/{name}.png").write_bytes(b"not an image")
    save(tmp_path / "in/e.png", picture())
    argv = tiny_command(tmp_path / "in", tmp_path / "out", steps=50)
    processes = [launcher.start(*argv) for _ in range(2)]
    assert [launcher.wait(process) for process, _ in processes] == [1, 1]
    assert sum(printed.read_text().count("e: done") for _, printed in processes) == 1
    found = {stem: one["status"] for stem, one in metrics(tmp_path / "out").items()}
    assert found == dict.fromkeys("abcd", "failed") | {"e": "done"}


def test_without_waiting_there_is_no_status(train_tiny, tmp_path, equal):
    claims = Claims(tmp_path / "out" / CLAIMS)
    assert claims.take("1")
    assert train_tiny(equal, steps=1, wait=False) is None
    claims.close()
    assert train_tiny(equal, steps=1, wait=False) == 0


@pytest.mark.slow
def test_the_claims_of_a_dead_machine_are_taken_over(train_tiny, tmp_path, equal, monkeypatch):
    """Its claim is young when the list begins, and never touched again."""
    out = tmp_path / "out"
    monkeypatch.setattr(claims_module, "_machine", lambda: "elsewhere")
    dead = Claims(out / CLAIMS)
    assert dead.take("1")
    dead._closed.set()  # no more signs of life
    monkeypatch.undo()
    monkeypatch.setattr(Claims.__init__, "__kwdefaults__", {"stale_after": 3.0})
    assert train_tiny(equal, steps=1) == 0
    assert sorted(metrics(out)) == ["0", "1", "2", "3", "4"]


def test_an_image_that_was_taken_over_is_not_written(
    train_tiny, tmp_path, equal, monkeypatch, capfd
):
    """A process that slept for too long neither saves nor publishes what another works on."""
    monkeypatch.setattr(Claims, "held", lambda self, name: name != "2")
    assert train_tiny(equal, steps=3) == 1
    assert capfd.readouterr().err.count("2: another process has taken over this image") == 2
    assert sorted(metrics(tmp_path / "out")) == ["0", "1", "3", "4"]
    assert not (tmp_path / "out/2/result.png").exists()


def test_each_process_begins_with_its_share(train_tiny, equal, monkeypatch):
    order = []
    take = Claims.take

    def noted(self, name):
        if name:  # not the claim on the list itself
            order.append(name)
        return take(self, name)

    monkeypatch.setattr(Claims, "take", noted)
    assert train_tiny(equal, steps=1, process=(1, 2)) == 0
    assert order == ["1", "3", "0", "2", "4"]


def test_overwriting_what_others_work_on_is_refused(train_tiny, tmp_path, equal):
    assert train_tiny(equal, steps=1) == 0
    claims = Claims(tmp_path / "out" / CLAIMS)
    try:
        assert claims.take("1")
        with pytest.raises(InputError, match="is working in"):
            train_tiny(equal, steps=1, seed=1, overwrite=True)
    finally:
        claims.close()
    assert train_tiny(equal, steps=1, seed=1, overwrite=True) == 0
