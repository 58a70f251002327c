"""The accelerator benchmark keeps its results when a process or the whole command ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accelerator import __main__ as accelerator
from benchmarks.accelerator import (
    device,
    parent,
    peers,
    plan,
    report,
    runs,
    small,
    smoke,
    steps,
    wheels,
    worker,
)
from benchmarks.accelerator.items import Differs

ROOT = Path(__file__).parent.parent.parent
ENDINGS = ("good", "breaks", "fails", "fails-early", "differs", "dies", "other")
SLEEPY = ("good", "sleeps", "other")


def tiny(items, **options):
    options = {"limit": 60, "expected": 1, "threads": 1, "small": ("good",), **options}
    return plan.Group("tiny", tuple(items), module="tests.benchmarks.tiny_items", **options)


def measure(out, *flags, group):
    status = accelerator.main([f"--out={out}", *flags], [group])
    content = json.loads((out / "results.json").read_text())
    return status, {r["name"].removeprefix("tiny/"): r for r in content["items"]}


@pytest.fixture(autouse=True)
def _signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("threads", [1, 8])
def test_an_item_that_fails_or_dies_costs_only_itself(tmp_path, threads):
    status, found = measure(tmp_path, group=tiny(ENDINGS, threads=threads))
    assert status == 1
    assert {name: r["status"] for name, r in found.items()} == {
        name: "ok" if name in ("good", "other") else "failed" for name in ENDINGS
    }
    assert found["good"]["numbers"]["answer"] == {"value": 42.0, "unit": "s"}
    assert found["good"]["device"] == "tiny"
    assert found["fails"]["error"] == found["fails-early"]["error"] == "RuntimeError: is broken"
    assert found["differs"]["numbers"]["difference"] == {"value": 2.0, "unit": "dB"}
    assert found["dies"]["error"].endswith(f"status -{signal.SIGABRT}: the last words")
    table = (tmp_path / "table.md").read_text()
    assert "| tiny/good | ok | 0.0 | answer 42 s; small False |" in table
    assert "differs by 2; difference 2 dB" in table


def test_the_time_of_a_group_is_limited_and_the_next_call_continues(tmp_path, capfd):
    group = tiny(SLEEPY)
    assert measure(tmp_path, "--items=*/good", group=group)[0] == 0
    capfd.readouterr()
    status, found = measure(tmp_path, "--limit=1", group=group)
    assert (status, [found[n]["status"] for n in SLEEPY]) == (1, ["ok", "timeout", "timeout"])
    assert found["sleeps"]["error"] == "the time of the group, 1 s, was up"
    assert "tiny/good: " not in capfd.readouterr().out
    status, found = measure(tmp_path, "--items=*/good,*/other", group=group)
    assert (status, found["other"]["status"]) == (0, "ok")


def test_ready_items_are_measured_when_the_others_take_too_long():
    release = threading.Event()

    def prepared(name):
        if name == "slow":
            assert release.wait(60)
        return name

    found = worker._ready(["slow", "quick"], prepared, 2, 0.05)
    assert next(found) == ("quick", "quick")
    release.set()
    assert next(found) == ("slow", "slow")
    in_order = worker._ready(["slow", "quick"], prepared, 2, 60.0)
    assert [name for name, _ in in_order] == ["slow", "quick"]


def test_items_that_timed_out_are_tried_last(tmp_path):
    results = parent.Results(tmp_path)
    for name, status, seconds in (("a", "timeout", 9.0), ("b", "timeout", 0.0), ("c", "ok", 1.0)):
        results.add(name, status, seconds=seconds)
    again = parent.Results(tmp_path)
    assert again.left(["a", "b", "c", "d"]) == ["b", "d", "a"]


def test_items_without_time_or_package_are_skipped(tmp_path):
    status, found = measure(tmp_path, "--minutes=0", group=tiny(["good"]))
    assert (status, found["good"]["error"]) == (1, "no time was left")
    (tmp_path / "results.json").unlink()
    for _ in range(2):
        status, found = measure(tmp_path, group=tiny(["good"], needs="no_such_package"))
        assert (status, found["good"]["status"]) == (0, "skipped")
    assert (tmp_path / "log.txt").read_text().count("no_such_package") == 1
    status, found = measure(tmp_path, "--small", group=tiny(ENDINGS))
    assert (status, [*found]) == (0, ["good"])
    assert found["good"]["numbers"]["small"]["value"] == "True"


def test_the_items_of_a_module_that_cannot_be_imported_fail(tmp_path):
    group = plan.Group("tiny", ("a", "b"), 60, 1, "tests.benchmarks.no_such_items")
    status, found = measure(tmp_path, group=group)
    assert status == 1
    for name in "ab":
        assert "No module named 'tests.benchmarks.no_such_items'" in found[name]["error"]


def _running(folder):
    """The processes whose standard error is the log in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "fd/2") == str(folder / parent.LOG):
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_command_continues(tmp_path, number):
    code = (
        "import sys; from benchmarks.accelerator.__main__ import main; from tests.benchmarks import "
        f"test_accelerator as t; sys.exit(main(['--out={tmp_path}'], [t.tiny(t.SLEEPY)]))"
    )
    command = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert command.stdout.readline().startswith(b"tiny/good: ok")
    while not _running(tmp_path):
        time.sleep(0.01)
    command.send_signal(number)
    assert command.wait() == (-number if number == signal.SIGKILL else 128 + number)
    command.stdout.close()
    began = time.monotonic()
    while _running(tmp_path) and time.monotonic() - began < 20:
        time.sleep(0.01)
    assert not _running(tmp_path), "no process is left"
    status, found = measure(tmp_path, "--items=*/good,*/other", group=tiny(SLEEPY))
    assert status == 0
    assert [*found] == ["good", "other"]


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--groups=rates,nonsense", "choose from device, rates"),
        ("--items=*/nonsense", "no item has such a name"),
        ("--wheels=nowhere", "no wheel in it"),
        ("--data=nowhere", "no such folder"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, flag, words):
    assert accelerator.main([f"--out={tmp_path}", flag]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {flag.partition('=')[0]}")
    assert words in printed
    assert printed.count("\n") == 1


def test_the_parent_imports_only_the_standard_library():
    code = "import benchmarks.accelerator.__main__, benchmarks.accelerator.worker, sys"
    heavy = "{'jax', 'numpy', 'absl', 'ml_collections', 'deepinternal'}"
    command = [sys.executable, "-c", f"{code}; print({heavy} & {{*sys.modules}})"]
    assert subprocess.check_output(command, text=True, cwd=ROOT).strip() == "set()"


def test_only_wheels_of_missing_packages_are_unpacked(tmp_path):
    for module in ("numpy", "no_such_module"):
        with zipfile.ZipFile(tmp_path / f"{module}-9-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{module}/__init__.py", "")
            wheel.writestr(f"{module}-9.dist-info/METADATA", "")
    out = tmp_path / "out"
    assert wheels.unpacked(tmp_path, out) == [str(out)]
    assert {p.name for p in out.iterdir()} == {"no_such_module", "no_such_module-9.dist-info"}
    (tmp_path / "no_such_module-9-py3-none-any.whl").unlink()
    assert not wheels.unpacked(tmp_path, tmp_path / "none")


def test_the_plan_names_the_items_of_the_modules():
    modules = {m.__name__: m for m in (device, peers, runs, smoke, steps)}
    assert {n for g in plan.GROUPS if not g.needs for n in g.names(small=True)} <= {*small.ITEMS}
    for group in plan.GROUPS:
        assert {*group.small} <= {*group.items}
        if group.module in modules:
            assert {*group.names(small=False)} <= {*modules[group.module].ITEMS}
    assert {n for pair in plan.RATIOS.items() for n in pair} <= {
        name for group in plan.GROUPS for name in group.names(small=False)
    }


def test_ratios_compare_the_same_number():
    number = lambda value: {"numbers": {report.STEP: {"value": value, "unit": "ms"}}}
    records = {"peers/zssr": number(1.0), "torch/zssr": number(4.0), "torch/ingan": number(1.0)}
    text = report.report(records, [])
    assert "peers/zssr / torch/zssr: 0.25" in text
    assert "ingan" not in text


def test_results_are_compared_with_references():
    expected = {"result": np.full((2, 2), 0.5), "map": np.full(3, 100.0)}
    found = {"result": np.array([[0.5, 0.5], [0.5, 0.6]]), "map": np.full(3, 150.0)}
    most, mean, psnr = smoke.compared(found, expected)
    assert (most, mean) == pytest.approx((0.5, 0.5))
    assert psnr == pytest.approx(-10 * np.log10(0.2**2 / 4))
    with pytest.raises(Differs, match="not finite"):
        smoke.compared({**found, "map": np.full(3, np.nan)}, expected)
    with pytest.raises(Differs, match="outputs are"):
        smoke.compared({"result": found["result"]}, expected)
    assert {p.stem for p in smoke.FOLDER.glob("*.npz")} == {*plan.SMOKE}


@pytest.mark.parametrize(("name", "passes"), [("zssr", False), ("dip", True)])
def test_some_methods_are_compared_by_the_mean_difference(name, passes):
    expected = {"result": np.full((4, 4), 0.5)}
    single, everywhere = expected["result"].copy(), expected["result"] + 0.006
    single[0, 0] += 0.05
    if passes:
        numbers = smoke.few(name, {"result": single}, expected)
        assert numbers["difference"][0] == pytest.approx(0.1)
        assert numbers["mean difference"][0] == pytest.approx(0.1 / 16)
    else:
        with pytest.raises(Differs, match=r"^differs by 0"):
            smoke.few(name, {"result": single}, expected)
    with pytest.raises(Differs, match="more than 0"):
        smoke.few(name, {"result": everywhere}, expected)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The command as users give it, on CPU."""
    out = tmp_path_factory.mktemp("accelerator")
    return out, command(out)


def command(out):
    words = [sys.executable, "-m", "benchmarks.accelerator", "--minutes=8.5", f"--out={out}"]
    words.append("--limit=480")  # the tests beside it may keep the cores busy
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    options = {"cwd": ROOT, "env": env, "capture_output": True, "text": True}
    return subprocess.run(words, check=False, **options)


@pytest.mark.slow
def test_the_whole_command_on_cpu(whole):
    out, done = whole
    assert done.returncode == 0, done.stdout + (out / "log.txt").read_text()
    items = json.loads((out / "results.json").read_text())["items"]
    assert {r["name"] for r in items} == {n for g in plan.GROUPS for n in g.names(small=True)}
    for record in items:
        assert {*record} == {"name", "status", "seconds", "numbers", "error", "device"}
        if record["name"].startswith("torch/") and record["status"] == "skipped":
            continue
        assert (record["status"], record["error"], record["device"]) == ("ok", "", "cpu")
        assert record["numbers"]
        for number in record["numbers"].values():
            assert {*number} == {"value", "unit"}
            if number["unit"]:
                assert number["value"] >= 0
    table = (out / "table.md").read_text()
    assert done.stdout.endswith(table)
    assert all(f"| {record['name']} | " in table for record in items)


@pytest.mark.slow
def test_the_whole_command_again_does_nothing(whole):
    out, _ = whole
    before = (out / "results.json").read_bytes(), (out / "log.txt").read_bytes()
    done = command(out)
    assert done.returncode == 0
    assert (out / "log.txt").read_bytes() == before[1]
    assert done.stdout.strip() == (out / "table.md").read_text().strip()
