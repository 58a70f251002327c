"""Finished runs continue with other hints: in work folders, also after a kill, and in memory."""

import json

import numpy as np
import pytest
from PIL import Image

import deepinternal as di
from deepinternal import in_memory, methods
from deepinternal.cli import dry_run
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.runs import jobs, settings
from deepinternal.types import InputError
from deepinternal.writers import read_jsonl
from tests import tiny_hinted

H, W = tiny_hinted.SHAPE
FIT = 4 + 8  # steps of a whole run
MORE = 4


pytestmark = pytest.mark.usefixtures("quick_programs")


class KilledError(BaseException):
    """Ends a command as a kill would, as far as files are concerned."""


@pytest.fixture
def folder(tmp_path):
    """Two images, and hints by name."""
    draws = np.random.default_rng(0)
    for name in ("a", "b"):
        pixels = draws.integers(0, 256, (H, W, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    hint(tmp_path / "fg.png", slice(0, 2))
    hint(tmp_path / "bg.png", slice(4, 6))
    return tmp_path


def hint(path, rows):
    pixels = np.zeros((H, W), np.uint8)
    pixels[rows] = 255
    Image.fromarray(pixels).save(path)


@pytest.fixture
def command(folder):
    """A function that gives the arguments of a command in a work folder."""

    def made(out="out", images="a.png", fg="fg.png", bg="bg.png", **fields):
        recipe, config = tiny_hinted.RECIPE, settings.to_config_dict(tiny_hinted.RECIPE)
        given = {"input": str(folder / images), "foreground": fg, "background": bg}
        given |= {n: str(folder / given[n]) for n in ("foreground", "background") if given[n]}
        config.update({"progress": False, "log_every": 1, **given, **fields})
        return recipe, *settings.split(recipe, config), str(folder / out)

    return made


@pytest.fixture
def killed(monkeypatch):
    """A function that lets a command save checkpoints after each step, and kills it at one."""

    def run(command, number):
        save = Checkpoints.save

        def dying(self, at, *args):
            save(self, at, *args)
            if at == number:
                raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "save", dying)
            with pytest.raises(KilledError):
                jobs.run_all(*command)

    return run


def read(folder, out="out", stem="a"):
    return json.loads((folder / out / stem / "metrics.json").read_text(encoding="utf-8"))


def log(folder, out="out", stem="a"):
    lines = read_jsonl(folder / out / stem / "train.jsonl")
    return [(line["step"], line["stage"], line["loss"]) for line in lines]


def mask(folder, out="out", stem="a"):
    return np.asarray(Image.open(folder / out / stem / "mask.png")) / 255


def test_a_finished_run_continues_with_other_hints(folder, command):
    assert jobs.run_all(*command()) == 0
    before, first, log_before = read(folder), mask(folder), log(folder)
    assert before["changes"] == 0
    assert before["continued_steps"] == []
    hint(folder / "more.png", slice(2, 4))
    assert "continues at step 12" in dry_run.text(*command(fg="more.png"))
    assert jobs.run_all(*command(fg="more.png")) == 0
    after, second = read(folder), mask(folder)
    assert (after["status"], after["steps"], after["changes"]) == ("done", FIT + MORE, 1)
    assert after["continued_steps"] == [FIT]
    assert any("continued from step 12" in text for text in after["remarks"])
    assert after["seconds"] > before["seconds"]
    assert log(folder)[:FIT] == log_before
    assert [line[:2] for line in log(folder)[FIT:]] == [(FIT + i, "more") for i in range(1, 5)]
    assert second[2:4].mean() > first[2:4].mean() + 0.1, "the new hint counts"
    saved = json.loads((folder / "out/config.json").read_text(encoding="utf-8"))["config"]
    assert saved["foreground"] == str(folder / "more.png")

    files = {p: p.stat().st_mtime_ns for p in (folder / "out/a").iterdir() if p.is_file()}
    assert jobs.run_all(*command(fg="more.png")) == 0
    assert files == {p: p.stat().st_mtime_ns for p in files}, "nothing is left to do"
    assert "Nothing is left" in dry_run.text(*command(fg="more.png"))
    assert jobs.run_all(*command()) == 0, "the first hints again"
    assert read(folder)["continued_steps"] == [FIT, FIT + MORE]


def test_hints_may_change_in_place_and_may_be_added(folder, command):
    assert jobs.run_all(*command(fg="", bg="")) == 0
    assert jobs.run_all(*command()) == 0
    hint(folder / "fg.png", slice(0, 3))
    assert jobs.run_all(*command()) == 0
    assert read(folder)["continued_steps"] == [FIT, FIT + MORE]
    assert jobs.run_all(*command(background_label="255")) == 0
    assert read(folder)["continued_steps"] == [FIT, FIT + MORE, FIT + 2 * MORE]
    assert jobs.run_all(*command(background_label="255", more_steps=6)) == 0
    assert read(folder)["steps"] == FIT + 3 * MORE + 6


@pytest.mark.parametrize("number", [FIT + 1, FIT + MORE])
def test_a_continuation_that_was_killed_ends_with_the_same_bits(folder, command, killed, number):
    hint(folder / "more.png", slice(2, 4))
    for out in ("whole", "cut"):
        assert jobs.run_all(*command(out)) == 0
    assert jobs.run_all(*command("whole", fg="more.png")) == 0
    killed(command("cut", fg="more.png", checkpoint_every=0), number)
    assert read(folder, "cut")["steps"] == FIT, "the earlier result is still there"
    assert jobs.run_all(*command("cut", fg="more.png")) == 0
    assert log(folder, "cut") == log(folder, "whole")
    pair = [(folder / out / "a/result.png").read_bytes() for out in ("whole", "cut")]
    assert pair[0] == pair[1]
    assert read(folder, "cut")["continued_steps"] == [FIT]


def test_a_continuation_that_was_killed_takes_other_hints(folder, command, killed):
    hint(folder / "more.png", slice(2, 4))
    assert jobs.run_all(*command()) == 0
    killed(command(fg="more.png", checkpoint_every=0), FIT + 2)
    hint(folder / "last.png", slice(3, 4))
    assert jobs.run_all(*command(fg="last.png")) == 0
    found = read(folder)
    assert (found["continued_steps"], found["steps"]) == ([FIT, FIT + 2], FIT + 2 + MORE)


@pytest.mark.parametrize("number", [2, 6])
def test_an_unfinished_run_starts_anew_with_other_hints(folder, command, killed, number):
    hint(folder / "more.png", slice(2, 4))
    killed(command(checkpoint_every=0), number)
    assert jobs.run_all(*command(fg="more.png")) == 0
    assert jobs.run_all(*command("fresh", fg="more.png")) == 0
    assert log(folder) == log(folder, "fresh")
    found = read(folder)
    assert (found["steps"], found["continued_steps"]) == (FIT, [])


def test_only_the_images_whose_hints_changed_continue(folder, command):
    (folder / "hints").mkdir()
    for name in ("a", "b"):
        hint(folder / f"hints/{name}.png", slice(0, 1))
    both = {"images": "[ab].png", "fg": "hints", "bg": ""}
    assert jobs.run_all(*command(**both)) == 0
    hint(folder / "hints/b.png", slice(0, 3))
    assert jobs.run_all(*command(**both)) == 0
    assert [read(folder, stem=stem)["steps"] for stem in "ab"] == [FIT, FIT + MORE]


def test_what_else_changes_is_refused_or_overwritten(folder, command):
    assert jobs.run_all(*command()) == 0
    with pytest.raises(InputError, match="another config: fit_steps"):
        jobs.run_all(*command(fit_steps=9))
    Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(folder / "a.png")
    hint(folder / "fg.png", slice(0, 3))
    with pytest.raises(InputError, match=r"different files \(.*input\)"):
        jobs.run_all(*command())
    assert jobs.run_all(*command(), overwrite=True) == 0
    assert read(folder)["steps"] == FIT


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(methods, "find", lambda name: tiny_hinted.RECIPE)


def test_a_result_in_memory_continues(folder, command, registered):
    image = np.asarray(Image.open(folder / "a.png"))
    rows = lambda *n: np.isin(np.arange(H), n)[:, None] & np.ones((H, W), bool)
    old, new = ({"foreground": rows(*n), "background": rows(4, 5)} for n in ((0, 1), (2, 3)))
    first = in_memory.run("tiny_hinted", image, full=True, **old)
    params = np.array(first.params["mask"])
    told = []
    options = {"full": True, "start": first, "callback": lambda step, _: told.append(step)}
    second = in_memory.run("tiny_hinted", image, **options, **new)
    assert told[-1] == second.steps == FIT + MORE
    np.testing.assert_array_equal(second.history["step"][: len(first.history["step"])],
                                  first.history["step"])  # fmt: skip
    np.testing.assert_array_equal(first.params["mask"], params)
    assert second.outputs["mask"][2:4].mean() > first.outputs["mask"][2:4].mean() + 0.1

    assert jobs.run_all(*command()) == 0
    loaded = di.load(folder / "out")
    third = in_memory.run("tiny_hinted", image, start=loaded, **new)
    np.testing.assert_allclose(third["mask"], second.outputs["mask"], atol=1e-6)
    hint(folder / "more.png", slice(2, 4))
    assert jobs.run_all(*command(fg="more.png")) == 0
    again = di.load(folder / "out")
    np.testing.assert_allclose(again.outputs["mask"], second.outputs["mask"], atol=1e-6)

    with pytest.raises(InputError, match="start: is a result of another image"):
        in_memory.run("tiny_hinted", image[::-1], start=first, **new)
    with pytest.raises(InputError, match=r"start: .*another config: fit_steps \(8 there, 9 now\)"):
        in_memory.run("tiny_hinted", image, start=first, fit_steps=9, **new)
    with pytest.raises(InputError, match="start: is not the result"):
        in_memory.run("tiny_hinted", image, start=first.outputs, **new)
