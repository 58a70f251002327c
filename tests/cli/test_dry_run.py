"""`--dry_run` says what a command would do, and does nothing."""

import numpy as np
import pytest
from PIL import Image

from deepinternal import methods
from deepinternal.cli import dry_run
from deepinternal.engine import costs
from deepinternal.runs import jobs, settings
from deepinternal.types import InputError
from tests import tiny_sets

FAST = {"progress": False, "log_every": 1, "checkpoint_every": 0.0}


@pytest.fixture(autouse=True)
def _rates(monkeypatch):
    monkeypatch.setattr(costs, "measure", lambda: costs.Rates(1e9, 1e9))


@pytest.fixture
def source(tmp_path):
    """Two images of one size, and one of another."""
    (tmp_path / "in").mkdir()
    for name, size in {"a": (16, 18), "b": (20, 17), "c": (16, 18)}.items():
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"in/{name}.png")
    return tmp_path / "in"


@pytest.fixture
def command(source, tmp_path):
    """The arguments of a command."""

    def made(recipe=tiny_sets.RECIPE, preset="", **fields):
        config = settings.to_config_dict(recipe, preset)
        config.update({**FAST, "input": str(source), **fields})
        return recipe, *settings.split(recipe, config), str(tmp_path / "new/out")

    return made


def tree(folder):
    """All files with their times."""
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def lines_of(text):
    """The line of each image, by its name."""
    named = {
        line.split()[0].rpartition("/")[2]: line for line in text.splitlines() if "/in/" in line
    }
    return {name.partition(".")[0]: line for name, line in named.items()}


def test_new_images(command, source, tmp_path):
    (source / "bad.png").write_text("no image")
    before = tree(tmp_path)
    text = dry_run.text(*command(train_steps=30))
    assert tree(tmp_path) == before
    lines = lines_of(text)
    assert lines["a"].split()[1:] == ["16x18x3", "->", "16x18x3", "30", "steps", "new"]
    assert lines["b"].split()[1:] == ["20x17x3", "->", "20x17x3", "30", "steps", "new"]
    assert "fails: " in lines["bad"]
    assert "is not a PNG" in lines["bad"]
    assert "'only': 30 steps" in text
    assert "2 images: the same programs, one at a time; a step needs" in text
    assert "b: a step needs about 1 MB" in text
    assert "time: about " in text
    assert "for 3 images (an estimate from the operations" in text
    assert "memory: about " in text


def test_finished_and_unfinished_images(command, source, tmp_path):
    assert jobs.run_all(*command(train_steps=5, input=f"{source}/a.png")) == 0
    before = tree(tmp_path)
    more = lines_of(dry_run.text(*command(train_steps=5, input=f"{source}/a.png,{source}/c.png")))
    assert more["a"].endswith("16x18x3 -> 16x18x3  5 steps  done")
    assert more["c"].endswith("5 steps  new")
    text = dry_run.text(*command(train_steps=5, input=f"{source}/a.png"))
    assert lines_of(text)["a"].endswith("16x18x3 -> 16x18x3  5 steps  done")
    assert "Nothing is left to train." in text
    text = dry_run.text(*command(train_steps=8, input=f"{source}/a.png"))
    assert lines_of(text)["a"].endswith("8 steps  continues at step 5")
    assert "images of the same shape in this folder" in text
    assert tree(tmp_path) == before
    text = dry_run.text(*command(train_steps=8, seed=1), overwrite=True)
    assert lines_of(text)["a"].endswith("new")
    assert "has results that will be discarded" in text
    assert tree(tmp_path) == before


def test_the_guess_is_that_of_the_operations_left(command, source, monkeypatch):
    """At ten operations a second, and no time for data, an image takes all its operations."""
    monkeypatch.setattr(costs, "measure", lambda: costs.Rates(10.0, float("inf")))
    whole = {"input": f"{source}/a.png", "train_steps": 4}
    recipe, config, _, _ = command(**whole)
    pixels = np.zeros((16, 18, 3), np.float32)
    inputs = recipe.prepare(config, pixels)
    method = recipe.make(config, inputs)
    (step,), outputs = costs.of_method(method, inputs)
    expected = 4 * step.flops + outputs.flops
    text = dry_run.text(*command(**whole))
    assert f"time: about {expected / 600:.0f} min (" in text


def test_images_on_a_canvas_share_a_program(command):
    text = dry_run.text(*command(methods.find("zssr"), "smoke", features=4, layers=2, crop=16))
    assert "3 images on a canvas of 20x18: the same programs, one at a time" in text
    assert "20x17x3 -> 40x34x3  30 steps  new" in text


def test_the_sample(command, tmp_path):
    text = dry_run.text(*command(input=""))
    assert "the sample photograph" in text
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "fields",
    [{"input": "none.png"}, {"input": "{source}/bad.png"}, {"parallel": {"devices": 99}}],
    ids=str,
)
def test_it_is_refused_as_the_command_is(command, source, tmp_path, fields):
    (source / "bad.png").write_text("no image")
    if "input" in fields:
        fields = {"input": fields["input"].format(source=source)}
    with pytest.raises(InputError) as real:
        jobs.run_all(*command(**fields))
    with pytest.raises(InputError) as dry:
        dry_run.text(*command(**fields))
    assert str(dry.value) == str(real.value)
    assert not (tmp_path / "new").exists()
