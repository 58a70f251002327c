"""Programs whose output nobody reads train on all images, and exit with the right status."""

import json
import os
import tty

import pytest

from tests.launch.conftest import picture, save, tiny_command


@pytest.fixture
def command(tmp_path):
    """Flags of a run on three images, one after the other."""
    (tmp_path / "photos").mkdir()
    for name in "abc":
        save(tmp_path / "photos" / f"{name}.png", picture())
    alone = "--config.parallel.images_per_device=1"
    return [*tiny_command(tmp_path / "photos", tmp_path / "out", steps=12), alone]


def statuses(tmp_path):
    return [m["status"] for m in json.loads((tmp_path / "out/summary.json").read_text())["images"]]


@pytest.mark.slow
def test_a_pipe_whose_reader_has_ended(launcher, command, tmp_path):
    """As in `2>&1 | head -1`."""
    os.mkfifo(tmp_path / "pipe")
    process, printed = launcher.start(*command, printed=tmp_path / "pipe")
    with open(printed) as pipe:
        assert pipe.readline().startswith("a: ")
    assert launcher.wait(process) == 0
    assert statuses(tmp_path) == ["done"] * 3


@pytest.mark.slow
def test_a_terminal_that_hangs_up(launcher, command, tmp_path):
    """As if SIGHUP is ignored, or goes to another process."""
    master, slave = os.openpty()
    tty.setraw(slave)
    process, _ = launcher.start(*command, printed=os.ttyname(slave))
    assert os.read(master, 1)
    os.close(slave)
    os.close(master)
    assert launcher.wait(process) == 0
    assert statuses(tmp_path) == ["done"] * 3


@pytest.mark.parametrize("progress", ["true", "false"])
def test_closed_streams(launcher, command, tmp_path, monkeypatch, progress):
    """As in `>&- 2>&-`."""
    (tmp_path / "closed.py").write_text(
        "import os, runpy, sys\n"
        "for descriptor in range(3): os.close(descriptor)\n"
        "sys.stdin = sys.stdout = sys.stderr = None\n"
        "runpy.run_module('launch.main', run_name='__main__')\n"
    )
    monkeypatch.setattr(launcher, "path", [tmp_path])
    status, printed = launcher.run(*command, f"--config.progress={progress}", module="closed")
    assert (status, printed) == (0, "")
    assert statuses(tmp_path) == ["done"] * 3
