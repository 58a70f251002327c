"""Races, deaths and suspensions of real processes that share a folder of claims."""

import collections
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deepinternal.runs import claims as module
from deepinternal.runs.claims import Claims
from tests import needs

ROOT = Path(__file__).parents[2]
# A process that obeys lines on stdin: "take x", "held x", ... and answers each with one line.
SERVANT = """
import sys
from deepinternal.runs.claims import Claims
assert "jax" not in sys.modules and "numpy" not in sys.modules
claims = Claims(sys.argv[1], stale_after=float(sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    verb, name = line.split()
    print(getattr(claims, verb)(name), flush=True)
"""
# Takes all of 200 names, in an order of its own, and prints those it got.
WORKER = """
import random, sys
from deepinternal.runs.claims import Claims
claims = Claims(sys.argv[1])
names = [f"name {i}" for i in range(200)]
random.Random(sys.argv[2]).shuffle(names)
print("ready", flush=True)
sys.stdin.readline()
print(*[n for n in names if claims.take(n)], sep=",", flush=True)
sys.stdin.readline()
"""


def start(code, *args):
    command = [sys.executable, "-c", code, *map(str, args)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, text=True, **pipes)


class Servant:
    def __init__(self, folder, stale_after):
        self.process = start(SERVANT, folder, stale_after)
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, verb, name):
        self.process.stdin.write(f"{verb} {name}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def signal(self, number):
        os.kill(self.process.pid, number)


@pytest.fixture
def servant(tmp_path):
    servants = []

    def make(stale_after=60.0):
        servants.append(Servant(tmp_path, stale_after))
        return servants[-1]

    yield make
    for one in servants:
        one.process.kill()
        one.process.wait()
        one.process.stdin.close()
        one.process.stdout.close()


@pytest.fixture
def claims(tmp_path):
    made = []

    def make(stale_after=60.0):
        made.append(Claims(tmp_path, stale_after=stale_after))
        return made[-1]

    yield make
    for one in made:
        one.close()


def files(folder):
    return [p for p in folder.rglob("*") if p.is_file()]


def age(path, seconds):
    """Sets a file's times back."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"nothing happened within {seconds} s"
        time.sleep(0.02)


def test_one_holder_until_it_releases(claims):
    one, other = claims(), claims()
    assert (one.held("a"), one.owner("a")) == (False, "")
    assert one.take("a")
    assert one.take("a"), "taking again what is held changes nothing"
    assert not other.take("a")
    assert (one.held("a"), other.held("a")) == (True, False)
    assert one.owner("a") == other.owner("a")
    assert f"process {os.getpid()} on " in other.owner("a")
    other.release("a")  # not its own: nothing happens
    assert one.held("a")
    one.release("a")
    assert (one.held("a"), other.owner("a")) == (False, "")
    assert other.take("a")
    assert not one.take("a")
    assert not one.held("a")


def test_close_releases_everything(claims):
    one, other = claims(), claims()
    assert all(one.take(name) for name in "abc")
    one.close()
    assert not one._thread.is_alive()
    assert all(other.take(name) for name in "abc")


@pytest.mark.parametrize(
    "name", [".hidden", "..", "a/b", "x" * 3000, "écran 🖼", "\udcff", "", "a.1", "a\nb", "CON "]
)
def test_names_of_all_kinds(claims, name):
    one, other = claims(), claims()
    assert one.take(name)
    assert not other.take(name)
    assert other.take(name + "x"), "another name"


@pytest.mark.parametrize("released", [False, True])
def test_threads_race(claims, released):
    """Twenty claimants: one gets it, also where a released claim is taken over."""
    all_ = [claims() for _ in range(20)]
    if released:
        before = claims()
        assert before.take("a")
        before.release("a")
    barrier = threading.Barrier(len(all_))
    results = {}

    def run(index):
        barrier.wait()
        results[index] = all_[index].take("a")

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(all_))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(results.values()) == 1
    assert [c.held("a") for c in all_] == [results[i] for i in range(20)]


@pytest.mark.parametrize(
    "left",
    ["nothing", pytest.param("a dead process", marks=needs.PROC), "a released claim"],
)
def test_each_name_goes_to_one_process(tmp_path, claims, left):
    names = [f"name {i}" for i in range(200)]
    if left == "a dead process":
        dead = start(WORKER, tmp_path, 0)
        dead.communicate("\n")
        assert len(files(tmp_path)) == 200
    elif left == "a released claim":
        before = claims()
        assert all(before.take(name) for name in names)
        before.close()
    workers = [start(WORKER, tmp_path, i) for i in range(1, 5)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    # None ends before all have tried: what a process has ended with is free again.
    shares = [worker.stdout.readline().strip() for worker in workers]
    for worker in workers:
        worker.communicate()
    taken = collections.Counter(name for share in shares for name in share.split(",") if name)
    assert taken == dict.fromkeys(names, 1)


@needs.PROC
def test_a_killed_process_is_followed_at_once(claims, servant):
    first, follower = servant(), claims()
    assert first.ask("take", "a") == "True"
    assert not follower.take("a")
    first.signal(signal.SIGKILL)
    # Not waited for: it stays a zombie, whose id and start time are still there.
    until(lambda: follower.take("a"))
    assert first.process.returncode is None
    assert not claims().take("a")


@needs.PROC
def test_another_process_of_the_same_id_is_not_the_holder(claims, tmp_path):
    one = claims()
    assert one.take("a")
    [path] = files(tmp_path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "started": "1"}))
    assert claims().take("a")
    assert not one.held("a")


@pytest.mark.slow
def test_a_suspended_process_is_followed_and_notices(claims, servant):
    stale_after = 1.2
    first, follower = servant(stale_after), claims(stale_after)
    assert first.ask("take", "a") == "True"
    time.sleep(2 * stale_after)
    assert not follower.take("a"), "it keeps its claim fresh"
    first.signal(signal.SIGSTOP)
    until(lambda: follower.take("a"))
    first.signal(signal.SIGCONT)
    assert first.ask("held", "a") == "False"
    assert first.ask("take", "a") == "False"
    assert follower.held("a")
    follower.release("a")
    assert first.ask("take", "a") == "True"
    assert not follower.take("a")


def test_another_machine_is_judged_by_age_alone(claims, tmp_path, servant, monkeypatch):
    """Its process ids mean nothing here; nor do those of another container."""
    first, follower = servant(), claims()
    assert first.ask("take", "a") == "True"
    monkeypatch.setattr(module, "_machine", lambda: "elsewhere")
    first.signal(signal.SIGKILL)
    first.process.wait()
    assert not follower.take("a")
    [path] = files(tmp_path)
    age(path, 50)
    assert not follower.take("a")
    age(path, 70)
    assert follower.take("a")


@pytest.mark.parametrize("content", [b"", b'{"host": "no', b"\xff\x00", b"[1]", b"{}", b"null"])
def test_damaged_claims_count_by_their_age(claims, tmp_path, content):
    one, other = claims(), claims()
    assert one.take("a")
    [path] = files(tmp_path)
    one.close()
    path.write_bytes(content)
    assert not other.take("a"), "somebody may be about to write it"
    assert "process" in other.owner("a")
    age(path, 61)
    assert other.take("a")


def test_the_clock_is_the_file_systems(claims, tmp_path, monkeypatch):
    """A machine whose clock is an hour ahead takes nothing over."""
    one, other = claims(), claims()
    assert one.take("a")
    [path] = files(tmp_path)
    path.write_text("{}")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert not other.take("a")


def test_old_generations_go_and_numbers_never_start_again(claims, tmp_path, monkeypatch):
    stale_after = 0.2
    for _ in range(6):
        one = Claims(tmp_path, stale_after=stale_after)
        assert one.take("a")
        one.close()
        time.sleep(1.2 * stale_after)
    numbers = sorted(int(p.name) for p in files(tmp_path))
    assert numbers == [5, 6]
    # One that fell asleep after it had seen generation 2 wakes up and makes 3: too late.
    late, seen = claims(), [[2], [3, 5, 6]]
    folder = files(tmp_path)[0].parent
    (folder / "2").write_text("{}")
    os.utime(folder / "2", (0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(module, "_generations", lambda _: seen.pop(0))
        assert not late.take("a")
    assert not late.held("a")
    assert claims().take("a")


def test_taking_and_releasing_at_random_never_overlaps(tmp_path):
    """A counter that only holders touch, without any other lock, loses no count."""
    counter, rounds = {"value": 0, "inside": 0}, 40
    failures = []

    def run(seed):
        mine, order = Claims(tmp_path / "claims"), random.Random(seed)
        done = 0
        while done < rounds:
            if not mine.take("a"):
                time.sleep(order.random() / 1000)
                continue
            counter["inside"] += 1
            if counter["inside"] != 1 or not mine.held("a"):
                failures.append(seed)
            value = counter["value"]
            time.sleep(order.random() / 1000)
            counter["value"] = value + 1
            counter["inside"] -= 1
            mine.release("a")
            done += 1
        mine.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert counter["value"] == 4 * rounds
