"""Runs the launcher in work folders that somebody has tampered with, and on a full disk.

    python -m tests.faults.hostile --out=DIR

Each function named `try_*` prepares a folder and runs a command in it. Nothing outside the folder may
change, nothing in it may be executed, no traceback may appear, and the work is either done or refused
in one line. Prints a table; the exit status is 1 if anything is wrong. The parts that need another
user or a file system of their own are skipped unless it is run as root. Takes about ten minutes.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from absl import app
from absl import flags as absl_flags

from tests.faults import commands

_OUT = absl_flags.DEFINE_string("out", None, "Folder for runs.", required=True)
_RUN = "zssr:fast"
_NOBODY = 65534


class Evil:
    """An object whose unpickling leaves a trace."""

    def __init__(self, trace: Path):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


class Hostile:
    """One folder for each trial; what is wrong is collected."""

    def __init__(self, out: Path):
        shutil.rmtree(out, ignore_errors=True)
        self.out, self.launched = out, commands.launcher(out)
        self.inputs = commands.make_inputs(out / "inputs")
        self.outside = out / "outside"
        self.whole = out / "whole"
        self.done(*self.run(self.whole))
        self.wrong: list[str] = []

    def run(self, workdir: Path, *more: str, name: str = _RUN, **fields) -> tuple[int, str]:
        """Runs a command; returns its exit status and what it printed."""
        flags = commands.flags(name, self.inputs, workdir, **fields)
        process, printed = self.launched.start(*flags, *more)
        status = self.launched.wait(process, 600)
        return status, printed.read_text(encoding="utf-8", errors="replace")

    def done(self, status: int, printed: str) -> None:
        """Asserts that a command has done its work."""
        assert status == 0, f"status {status}: {printed[-400:]}"
        assert "Traceback" not in printed, printed[-400:]

    def refused(self, status: int, printed: str, *words: str) -> None:
        """Asserts that a command was refused in one line."""
        assert status in (1, 2), f"status {status}: {printed[-400:]}"
        assert "Traceback" not in printed, printed[-400:]
        assert status == 1 or len(printed.splitlines()) == 1, printed
        for word in words:
            assert word in printed, f"{word!r} is not in {printed!r}"

    def same(self, workdir: Path) -> None:
        """Asserts that the results are those of an undisturbed run."""
        assert commands.results(workdir) == commands.results(self.whole), "the results differ"

    def begun(self, workdir: Path) -> Path:
        """Returns a copy of the finished work folder whose first image has lost its result."""
        shutil.copytree(self.whole, workdir, symlinks=True)
        (workdir / "a/metrics.json").unlink()
        (workdir / "a/result.png").unlink()
        return workdir

    def keep(self) -> bytes:
        """Makes a folder outside with a file in it; returns the contents of the file."""
        shutil.rmtree(self.outside, ignore_errors=True)
        self.outside.mkdir()
        data = os.urandom(100)
        for name in ("result.png", "metrics.json", "input.json", "x.txt"):
            (self.outside / name).write_bytes(data)
        return data

    def kept(self, data: bytes) -> None:
        """Asserts that nothing outside has changed."""
        found = {p.name: p.is_file() and p.read_bytes() for p in self.outside.iterdir()}
        names = ("result.png", "metrics.json", "input.json", "x.txt")
        assert found == dict.fromkeys(names, data), f"changed outside: {sorted(found)}"


def try_link_in_place_of_an_image(h: Hostile, workdir: Path) -> None:
    """An image's folder is a link out of the work folder."""
    data = h.keep()
    workdir.mkdir()
    (workdir / "a").symlink_to(h.outside)
    h.refused(*h.run(workdir))
    h.kept(data)
    h.refused(*h.run(workdir, "--overwrite"), "a: failed", "is a link")
    h.kept(data)


def try_links_in_place_of_files(h: Hostile, workdir: Path) -> None:
    """Files that are written are links out of the work folder."""
    data = h.keep()
    (workdir / "a").mkdir(parents=True)
    for name in ("config.json", "summary.json", "index.html", "a/result.png", "a/metrics.json",
                 "a/report.html", "a/train.jsonl"):  # fmt: skip
        (workdir / name).symlink_to(h.outside / "x.txt")
    status, printed = h.run(workdir)
    if status:
        h.refused(status, printed)
    h.kept(data)
    (workdir / "config.json").unlink()  # which could be the user's own
    h.done(*h.run(workdir, "--overwrite"))
    h.kept(data)
    h.same(workdir)


def try_linked_checkpoints(h: Hostile, workdir: Path) -> None:
    """The folder of checkpoints, of claims and of temporary pictures are links."""
    data = h.keep()
    (workdir / "a").mkdir(parents=True)
    for name in ("a/checkpoints", "a/progress", ".claims"):
        (workdir / name).symlink_to(h.outside)
    for options in ([], ["--overwrite"]):
        h.refused(*h.run(workdir, *options))
        h.kept(data)
    (workdir / ".claims").unlink()
    h.refused(*h.run(workdir, "--overwrite"), "a: failed", "is a link")
    h.kept(data)


def try_checkpoints_of_others(h: Hostile, workdir: Path) -> None:
    """An image's checkpoints are those of another method, or of a net of another width."""
    for what, fields in {"method": {"name": "dip:smoke"}, "width": {"features": 6}}.items():
        other = h.out / f"other {what}"
        h.done(*h.run(other, **fields))
        shutil.rmtree(workdir, ignore_errors=True)
        h.begun(workdir)
        shutil.rmtree(workdir / "a/checkpoints")
        shutil.copytree(other / "a/checkpoints", workdir / "a/checkpoints")
        status, printed = h.run(workdir)
        if status:
            h.refused(status, printed, "a")
        else:
            h.same(workdir)


def try_damaged_checkpoints(h: Hostile, workdir: Path) -> None:
    """Every file of the checkpoints is empty, cut, random, or a pickle."""
    trace = h.out / "executed"
    damages = {
        "empty": lambda data: b"",
        "cut": lambda data: data[: len(data) // 2],
        "random": lambda data: os.urandom(len(data)),
        "pickle": lambda data: pickle.dumps(Evil(trace)),
    }
    for damage, change in damages.items():
        shutil.rmtree(workdir, ignore_errors=True)
        h.begun(workdir)
        for path in (workdir / "a/checkpoints").rglob("*"):
            if path.is_file():
                path.write_bytes(change(path.read_bytes()))
        status, printed = h.run(workdir)
        assert not trace.exists(), "a pickle was executed"
        if status:
            h.refused(status, printed, "a")
        else:
            h.same(workdir)
        assert len(printed.splitlines()) < 8, f"{damage}: {len(printed.splitlines())} lines"


def try_pickles_as_side_inputs(h: Hostile, workdir: Path) -> None:
    """Kernels and inputs that are pickles."""
    trace, kernel = h.out / "executed", h.out / "kernel.npy"
    np.save(kernel, np.array([Evil(trace)], object), allow_pickle=True)
    h.refused(*h.run(workdir, input="a", kernel=kernel), "kernel.npy")
    photo = h.out / "photo.png"
    photo.write_bytes(pickle.dumps(Evil(trace)))
    h.refused(*h.run(workdir, input=photo), "photo.png")
    assert not trace.exists(), "a pickle was executed"


def try_module_named_in_a_config(h: Hostile, workdir: Path) -> None:
    """config.json names a module beside it as the method; reading the folder must not import it."""
    h.begun(workdir)
    trace = h.out / "executed"
    (workdir / "evil.py").write_text(f"import os; os.mkdir({str(trace)!r}); RECIPE = 1\n")
    config = json.loads((workdir / "config.json").read_text())
    config["config"]["method"] = "evil:RECIPE"
    (workdir / "config.json").write_text(json.dumps(config))
    code = f"import deepinternal as di; di.load({str(workdir)!r}, 'b')"
    root = Path(__file__).parent.parent.parent
    ran = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-c", code],
        cwd=workdir,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert not trace.exists(), "a module was imported from the work folder"
    assert "InputError" in ran.stderr.splitlines()[-1], ran.stderr[-300:]
    h.refused(*h.run(workdir), "--workdir")


def try_damaged_records(h: Hostile, workdir: Path) -> None:
    """The JSON files hold something else: nothing, a list, numbers, deep nesting, huge text."""
    contents = ("", "[]", "3", "null", "{}", '{"config": []}', "[" * 5000, '{"a": "' + "x" * 10**6)
    for name in ("config.json", "a/metrics.json", "a/input.json", "a/train.jsonl", "summary.json"):
        for text in contents:
            shutil.rmtree(workdir, ignore_errors=True)
            shutil.copytree(h.whole, workdir)
            (workdir / name).write_text(text)
            status, printed = h.run(workdir)
            if status:
                h.refused(status, printed)
            else:
                h.same(workdir)


def try_folders_in_place_of_files(h: Hostile, workdir: Path) -> None:
    """Folders lie where files are written, and files where folders are made."""
    for name in ("config.json", "summary.json", "index.html", "a/metrics.json", "a/result.png"):
        shutil.rmtree(workdir, ignore_errors=True)
        (workdir / name).mkdir(parents=True)
        h.refused(*h.run(workdir))
    for name in (".claims", "a", "a/checkpoints"):
        shutil.rmtree(workdir, ignore_errors=True)
        (workdir / name).parent.mkdir(parents=True)
        (workdir / name).write_text("the user's own")
        h.refused(*h.run(workdir))
        assert (workdir / name).read_text() == "the user's own"


def _as_nobody(h: Hostile, workdir: Path, **fields) -> tuple[int, str]:
    flags = commands.flags(_RUN, h.inputs, workdir, **fields)
    user = [f"--re{kind}={_NOBODY}" for kind in ("uid", "gid")]
    home = h.out / "home"
    home.mkdir(exist_ok=True)
    os.chown(home, _NOBODY, _NOBODY)
    ran = subprocess.run(  # noqa: PLW1510
        ["setpriv", *user, "--clear-groups", sys.executable, "-m", "launch.main", *flags],
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    return ran.returncode, ran.stdout + ran.stderr


def try_other_owners(h: Hostile, workdir: Path) -> None:
    """The folder, or parts of it, belong to somebody else."""
    if os.geteuid() or not shutil.which("setpriv"):
        print("    skipped: needs root and setpriv")
        return
    workdir.mkdir()
    h.refused(*_as_nobody(h, workdir), "--workdir")
    os.chown(workdir, _NOBODY, _NOBODY)
    for name in ("a", "a/checkpoints", ".claims"):
        shutil.rmtree(workdir / "a", ignore_errors=True)
        shutil.rmtree(workdir / ".claims", ignore_errors=True)
        (workdir / name).mkdir(parents=True)
        if "/" in name:
            os.chown(workdir / "a", _NOBODY, _NOBODY)
        h.refused(*_as_nobody(h, workdir))
    for path in (workdir / ".claims", workdir / "a"):
        shutil.rmtree(path, ignore_errors=True)
    h.done(*_as_nobody(h, workdir))  # perhaps by another Python, so that bits may differ
    assert set(commands.statuses(workdir).values()) == {"done"}


def try_two_processes_on_a_full_disk(h: Hostile, workdir: Path) -> None:
    """Two processes share a folder on a disk that fills up; with more space they finish."""
    workdir.mkdir()
    if (
        os.geteuid()
        or subprocess.run(  # noqa: PLW1510
            ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(workdir)], capture_output=True
        ).returncode
    ):
        print("    skipped: needs root and a file system of its own")
        return
    try:
        for size in ("600k", "1m", "1500k"):
            subprocess.run(["mount", "-o", f"remount,size={size}", str(workdir)], check=True)
            flags = commands.flags(_RUN, h.inputs, workdir, checkpoint_every=0)
            started = [h.launched.start(*flags) for _ in range(2)]
            for process, printed in started:
                status = h.launched.wait(process, 600)
                text = printed.read_text(encoding="utf-8", errors="replace")
                assert "Traceback" not in text, text[-400:]
                assert status in (0, 1, 2), f"status {status}"
                assert len(text.splitlines()) < 12, f"{len(text.splitlines())} lines"
        subprocess.run(["mount", "-o", "remount,size=100m", str(workdir)], check=True)
        h.done(*h.run(workdir))
        h.same(workdir)
        assert not commands.leftovers(workdir), commands.leftovers(workdir)
    finally:
        subprocess.run(["umount", str(workdir)], check=True)


TRIALS = {name[4:]: function for name, function in globals().items() if name.startswith("try_")}


def main(argv) -> None:
    """Runs the trials that the command line names, or all."""
    chosen = argv[1:] or list(TRIALS)
    hostile = Hostile(Path(_OUT.value).absolute())
    for name in chosen:
        try:
            TRIALS[name](hostile, hostile.out / name)
            print(f"{name}: right", flush=True)
        except AssertionError as error:
            hostile.wrong.append(name)
            print(f"{name}: WRONG: {error}", flush=True)
    hostile.launched.close()
    sys.exit(bool(hostile.wrong))


if __name__ == "__main__":
    app.run(main)
