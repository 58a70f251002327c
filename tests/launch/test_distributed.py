"""Processes that meet by jax.distributed, and share a work folder."""

import json
import os
import random
import signal
import socket

import numpy as np
import pytest

from tests.launch.conftest import SMALL, picture, save, until

CONFIG = "--config=configs/zssr.py:smoke"
# What a process sees once it has met the others, and what it can do while one of them is gone.
MEMBER = """
import json, os, sys, time
from absl import flags
from deepinternal.cli import distributed
flags.FLAGS(["x", "--distributed", *sys.argv[2:]])
found = distributed.start(60)
import jax, numpy as np
import orbax.checkpoint as ocp
if found[0] == 0:
    os.kill(os.getpid(), 9)
time.sleep(0.5)
total = jax.pmap(lambda x: jax.lax.psum(x, "i"), axis_name="i")(np.arange(3.0))
saver = ocp.StandardCheckpointer()
saver.save(sys.argv[1], {"total": total[0]})
saver.wait_until_finished()
seen = len(jax.devices()), len(jax.local_devices()), jax.process_count(), float(total[0])
print(json.dumps([*found, *seen]))
"""
# Processes that wait for others in vain.
LONELY = """
import sys
from absl import flags
from deepinternal.cli import distributed, program
program.run(lambda: distributed.start(2.0)[0])
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def members(count, port=None):
    """The flags of all processes of a job on this machine."""
    port = port or free_port()
    common = ["--distributed", f"--coordinator=127.0.0.1:{port}", f"--num_processes={count}"]
    return [[*common, f"--process_id={i}"] for i in range(count)]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A folder with the modules `member` and `lonely`."""
    folder = tmp_path_factory.mktemp("programs")
    for name, code in (("member", MEMBER), ("lonely", LONELY)):
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    return folder


@pytest.fixture
def here(launcher, programs, monkeypatch):
    """The launcher with these modules on Python's path."""
    monkeypatch.setattr(launcher, "path", [programs])
    return launcher


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--process_id=1"], ["--process_id", "--distributed"]),
        (["--coordinator=a:1", "--num_processes=2"], ["--coordinator and --num_processes"]),
        (
            ["--distributed", "--process_id=1"],
            ["--coordinator and --num_processes must also be given"],
        ),
        (["--distributed", "--num_processes=2", "--process_id=1"], ["--coordinator must"]),
        (["--distributed"], ["no cluster found", "--coordinator"]),
        *(
            (["--distributed", f"--coordinator={c}", "--num_processes=2", "--process_id=1"], [c])
            for c in (
                "node",
                "node:",
                "node:0",
                "node:70000",
                "node:12a",
                ":1234",
                "a b:1",
                "::1:2",
            )
        ),
        (["--process_id=2"], ["--process_id=2", "from 0 to 1"]),
        (["--process_id=-1"], ["--process_id=-1", "from 0 to 1"]),
        (["--process_id=x"], ["--process_id=x"]),
        (["--num_processes=0"], ["--num_processes=0", "at least 1"]),
    ],
)
def test_a_mistake_is_one_line(launcher, tmp_path, argv, words):
    if len(argv) == 1 and argv[0] not in ("--distributed", "--process_id=1"):
        argv = [*members(2)[1], *argv]
    status, printed = launcher.run(CONFIG, f"--workdir={tmp_path / 'out'}", *argv)
    assert (status, printed.count("\n")) == (2, 1), printed
    assert printed.startswith("error: ")
    for word in words:
        assert word in printed
    assert not (tmp_path / "out").exists()


def test_a_port_that_is_taken(launcher, tmp_path):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        argv = members(2, port)[0]
        status, printed = launcher.run(CONFIG, f"--workdir={tmp_path / 'out'}", *argv)
    assert (status, printed.count("\n")) == (2, 1), printed
    assert f"port {port}" in printed


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_missing_processes_are_reported_in_one_line(here, index):
    status, printed = here.run(*members(2)[index], module="lonely")
    assert (status, printed.count("\n")) == (2, 1), printed
    assert "not all processes of 2 met at 127.0.0.1:" in printed
    assert "2 s" in printed


def slurm(job, index):
    """What Slurm tells a process of a job of two; the port is one of 4096, by the job's number."""
    names = {"STEP_NODELIST": "localhost", "NTASKS": 2, "PROCID": index, "LOCALID": 0}
    return {f"SLURM_{name}": str(value) for name, value in {"JOB_ID": job, **names}.items()}


@pytest.mark.slow
@pytest.mark.parametrize("told_by", ["flags", "Slurm"])
def test_processes_are_independent_after_their_meeting(here, tmp_path, told_by):
    """No device, no barrier and no death of another process concerns one that is at work."""
    three = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=3"
    environment = {"XLA_FLAGS": three, "JAX_PLATFORMS": "cpu"}
    flags = members(2) if told_by == "flags" else [[], []]
    job = random.randrange(4096)
    told = [{} if told_by == "flags" else slurm(job, i) for i in range(2)]
    first, second = (
        here.start(
            tmp_path / f"saved-{i}", *flags[i][1:], module="member", **environment, **told[i]
        )
        for i in range(2)
    )
    ends = [here.wait(process) for process, _ in (first, second)]
    printed = second[1].read_text()
    assert ends == [128 + signal.SIGKILL, 0], printed
    assert json.loads(printed.splitlines()[-1]) == [1, 2, 3, 3, 1, 3.0]
    assert "gloo" not in printed.lower()
    assert "warn" not in printed.lower()


def command(source, workdir, steps):
    fields = {**SMALL, "steps": steps, "log_every": 1, "checkpoint_every": 0.3, "input": source}
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    return ["--config=configs/zssr.py", f"--workdir={workdir}", *flags]


@pytest.fixture
def four(tmp_path):
    (tmp_path / "in").mkdir()
    for name, shift in zip("abcd", range(4)):
        save(tmp_path / "in" / f"{name}.png", np.roll(picture(), shift))
    return tmp_path / "in"


def statuses(out):
    images = json.loads((out / "summary.json").read_text())["images"]
    return [(m["image"], m["status"]) for m in images]


ALL_DONE = [(name, "done") for name in "abcd"]


@pytest.mark.slow
def test_a_job_of_two_shares_a_list(launcher, tmp_path, four):
    """Each image is trained by one of them, once; results are those of one process alone."""
    out, alone = tmp_path / "out", tmp_path / "alone"
    started = [launcher.start(*command(four, out, 20), *flags) for flags in members(2)]
    ends = [launcher.wait(process) for process, _ in started]
    printed = [path.read_text().splitlines() for _, path in started]
    assert ends == [0, 0], printed
    shares = [[line.split(":")[0] for line in lines if ": done" in line] for lines in printed]
    assert sorted(shares[0] + shares[1]) == list("abcd")
    assert [share[0] for share in shares] == ["a", "b"], "each begins with its own share"
    assert statuses(out) == ALL_DONE
    assert launcher.run(*command(four, alone, 20))[0] == 0
    for name in "abcd":
        result = (out / name / "result.png").read_bytes()
        assert result == (alone / name / "result.png").read_bytes()


@pytest.mark.slow
def test_what_a_killed_process_left_another_finishes(launcher, tmp_path, four):
    """Two launches of one command that know nothing of each other."""
    out = tmp_path / "out"
    argv = command(four, out, 400)
    killed, _ = launcher.start(*argv)
    until(lambda: any(p.name.isdecimal() for p in out.glob("*/checkpoints/*")))
    other, printed = launcher.start(*argv)
    os.kill(killed, signal.SIGKILL)
    assert launcher.wait(killed) == 137
    assert launcher.wait(other) == 0, printed.read_text()
    assert statuses(out) == ALL_DONE
    metrics = [json.loads((out / name / "metrics.json").read_text()) for name in "abcd"]
    assert [len(m["resumed_steps"]) for m in metrics] == [1, 0, 0, 0]
