"""A run that does not fit into memory is refused before it begins, in one line that helps."""

import json

import numpy as np
import pytest
from PIL import Image

import deepinternal as di
from deepinternal import methods
from deepinternal.cli import dry_run
from deepinternal.engine import costs, memory
from deepinternal.runs import jobs, room, settings
from deepinternal.types import InputError
from tests import tiny_sets

GB = 1e9


@pytest.fixture
def scarce(monkeypatch):
    """Sets the memory that is free, and has every run looked at."""

    def to(free, needs=None):
        monkeypatch.setattr(memory, "free_on_host", lambda: free)
        monkeypatch.setattr(room, "_LITTLE", 0)
        if needs is not None:
            monkeypatch.setattr(costs, "needs", lambda *args, **options: needs)

    return to


@pytest.fixture
def command(tmp_path):
    """The arguments of a command for images of given sizes."""

    def made(sizes, recipe=tiny_sets.RECIPE, preset="", **fields):
        (tmp_path / "in").mkdir()
        for name, size in sizes.items():
            pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"in/{name}.png")
        config = settings.to_config_dict(recipe, preset)
        config.update({"progress": False, "log_every": 1, "input": str(tmp_path / "in"), **fields})
        return recipe, *settings.split(recipe, config), str(tmp_path / "out")

    return made


def test_the_only_image_is_refused_before_anything_is_written(command, scarce, tmp_path):
    scarce(0.5 * GB, costs.Needs(int(1 * GB), int(2 * GB), int(1 * GB)))
    given = command({"a": (300, 400)})
    with pytest.raises(InputError) as real:
        jobs.run_all(*given)
    with pytest.raises(InputError) as dry:
        dry_run.text(*given)
    assert str(real.value) == str(dry.value)
    # 2.7 GB with a tenth of slack, and 0.3 GB.
    side = (0.2 / (1.1 * 2.7)) ** 0.5
    fitting = f"{int(300 * side) // 10 * 10}x{int(400 * side) // 10 * 10}"
    assert str(real.value).endswith(
        "in/a.png: 3.3 GB of memory are needed for 300x400 pixels, but 500 MB are free; give an "
        f"image of at most {fitting} pixels"
    )
    assert not (tmp_path / "out").exists()


def test_of_a_list_only_the_large_image_fails(command, scarce, tmp_path, monkeypatch, capfd):
    real = costs.needs
    large = costs.Needs(int(9 * GB), 0, 0)

    def needs(method, inputs, **options):
        big = max(np.shape(x)[0] if np.ndim(x) else 0 for x in inputs.values()) > 30
        return large if big else real(method, inputs, **options)

    scarce(8 * GB)
    monkeypatch.setattr(costs, "needs", needs)
    given = command({"a": (16, 18), "b": (32, 34)}, train_steps=2)
    assert "fails: " in dry_run.text(*given)
    assert jobs.run_all(*given) == 1
    status = {
        name: json.loads((tmp_path / f"out/{name}/metrics.json").read_text())["status"]
        for name in ("a", "b")
    }
    assert status == {"a": "done", "b": "failed"}
    told = capfd.readouterr().err
    assert "b: failed: " in told
    assert "10.2 GB of memory are needed for 32x34 pixels, but 8.0 GB are free" in told


@pytest.mark.parametrize(("guess", "compiled"), [(9 * GB, True), (4 * GB, True), (2 * GB, False)])
def test_a_doubtful_guess_is_checked_by_compiling(scarce, monkeypatch, guess, compiled):
    asked = []

    def needs(method, inputs, *, exactly=False):
        asked.append(exactly)
        return costs.Needs(int(GB) if exactly else int(guess), 0, 0)

    scarce(8 * GB)
    monkeypatch.setattr(costs, "needs", needs)
    inputs = {"image": np.zeros((16, 16, 3), np.float32)}
    method = methods.make("zssr", {"steps": 1, "crop": 16, "features": 4}, inputs, preset="fast")
    found = room.check(method, inputs, (16, 16, 3))
    assert asked == [False, True][: 1 + compiled]
    known = {}
    both = [room.check(method, inputs, (16, 16, 3), known=known) for _ in range(2)]
    assert both == [found, found]
    assert len(asked) == 2 * (1 + compiled)  # once for each `known`
    assert found.needed == pytest.approx(1.1 * (GB if compiled else guess) + 0.3 * GB)


def test_the_library_refuses_too_and_names_what_helps(scarce):
    scarce(0.4 * GB, costs.Needs(int(GB), 0, 0))
    with pytest.raises(InputError, match=r"^1.4 GB .* at most 20x20 pixels, or a smaller config"):
        di.train_retargeter(np.zeros((80, 80, 3), np.uint8), preset="smoke")


def test_a_small_run_is_not_checked(monkeypatch):
    def needs(*args, **options):
        raise AssertionError

    monkeypatch.setattr(costs, "needs", needs)
    monkeypatch.setattr(memory, "free_on_host", lambda: 4 * GB)
    assert room.check(tiny(), {"image": np.zeros((512, 512, 3), np.float32)}, (512, 512, 3)) is None


def tiny():
    inputs = {"image": np.zeros((512, 512, 3), np.float32)}
    return methods.make("zssr", {"steps": 1, "crop": 16, "features": 4}, inputs, preset="fast")


def test_the_command_says_once_per_group_what_it_needs(command, scarce, monkeypatch, capfd):
    scarce(80 * GB, costs.Needs(int(2 * GB), 0, 0))
    monkeypatch.setattr(room, "times", lambda method, inputs: (60.0, 600.0))
    given = command({"a": (16, 18), "b": (16, 18)}, train_steps=2, progress=True)
    assert jobs.run_all(*given) == 0
    told = capfd.readouterr().err
    assert told.count("are needed") == 1
    assert "a and 1 more, each: about 2.5 GB of memory are needed, and 80.0 GB are free" in told
    assert "b: done" in told


def test_a_large_run_is_announced(monkeypatch):
    monkeypatch.setattr(room, "times", lambda method, inputs: (60.0, 600.0))
    assert room.announcement("a", None, None, None) == ""
    assert room.announcement("a", room.Room(0.9 * GB, 8 * GB), None, None) == ""
    text = room.announcement("a", room.Room(3 * GB, 8 * GB), None, None)
    assert text.startswith(
        "a: about 3.0 GB of memory are needed, and 8.0 GB are free; training takes up to about 60 s "
        "and the results about 10 min ("
    )


@pytest.mark.parametrize(
    ("needs", "free", "expected"),
    [
        (costs.Needs(100, 50, 10), (1000.0, 1000.0), (110, 1000.0)),
        (costs.Needs(10, 50, 100), (1000.0, 150.0), (1.1 * 170, 150.0)),  # host memory is scarcer
    ],
)
def test_on_an_accelerator_device_and_host_are_separate(monkeypatch, needs, free, expected):
    monkeypatch.setattr(room, "_OWN", 0)
    found = room._scarcer(needs, free, shared=False, writing=0.7)
    assert (found.needed, found.free) == pytest.approx(expected)
