"""A refused command leaves nothing behind; a finished one that is repeated says so."""

import dataclasses
import os

import numpy as np
import pytest
from PIL import Image

from deepinternal.runs import jobs, settings
from deepinternal.types import InputError
from tests import tiny_sets


def picture(path, height=6, width=8, value=100):
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)
    return str(path)


@pytest.fixture
def run(tmp_path):
    def start(source, workdir, *, overwrite=False, recipe=tiny_sets.RECIPE, **fields):
        given = settings.to_config_dict(recipe)
        given.update({"progress": False, "train_steps": 3, "input": str(source), **fields})
        both = settings.split(recipe, given)
        return jobs.run_all(recipe, *both, str(workdir), overwrite=overwrite)

    return start


def tree(folder):
    """All files with their bytes and times, and all folders."""
    return {p: p.is_file() and (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*")}


def mistakes(folder):
    """Fields of commands that are refused for one image."""
    good, bad = picture(folder / "good.png"), folder / "bad.png"
    bad.write_text("no image")
    small = picture(folder / "small.png", 5, 5)
    yield {"source": bad}
    yield {"source": folder / "none.png"}
    yield {"source": good, "mask": small}
    yield {"source": good, "mask": picture(folder / "black.png", value=0)}
    yield {"source": good, "mask": str(folder / "none.png")}
    yield {"source": good, "ground_truth": small}
    yield {"source": good, "parallel": {"devices": 99}}
    yield {"source": f"{good},{small}", "group": "together"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_refused_command_leaves_nothing(run, tmp_path, overwrite):
    (tmp_path / "in").mkdir()
    existing = tmp_path / "existing"
    existing.mkdir()
    (existing / "own.txt").write_text("mine")
    for wrong in mistakes(tmp_path / "in"):
        before = tree(tmp_path)
        for workdir in (tmp_path / "new/deep", existing):
            with pytest.raises(InputError):
                run(workdir=workdir, overwrite=overwrite, **wrong)
        assert tree(tmp_path) == before, wrong


def test_a_refused_command_leaves_results_unchanged(run, tmp_path):
    good, out = picture(tmp_path / "good.png"), tmp_path / "out"
    (tmp_path / "bad.png").write_text("no image")
    assert run(good, out) == 0
    before = tree(out)
    refused = [{"seed": 1}, {"train_steps": 2}, {"source": tmp_path / "bad.png", "overwrite": True}]
    for wrong in refused:
        with pytest.raises(InputError):
            run(**{"source": good, "workdir": out, **wrong})
        assert tree(out) == before, wrong
    picture(tmp_path / "good.png", value=7)
    with pytest.raises(InputError, match="different files"):
        run(good, out)
    assert tree(out) == before
    assert run(good, out, overwrite=True) == 0
    assert tree(out) != before


def test_a_workdir_that_is_not_a_folder_is_refused(run, tmp_path):
    good, out = picture(tmp_path / "good.png"), tmp_path / "out"
    out.mkdir()
    (out / "good").write_text("the user's own")
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"out/good: cannot be created: File exists; .*--workdir"):
        run(good, out)
    for workdir in (good, f"{good}/below", out / "good/below"):
        with pytest.raises(InputError, match=r"^--workdir=.*cannot be written: Not a directory"):
            run(good, workdir)
    assert tree(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(run, tmp_path):
    good, out = picture(tmp_path / "good.png"), tmp_path / "out"
    out.mkdir(mode=0o555)
    for workdir in (out, out / "below"):
        with pytest.raises(InputError, match=r"^--workdir=.*cannot be written: Permission denied"):
            run(good, workdir)
    assert not list(out.iterdir())


def test_an_internal_error_is_recorded(run, tmp_path):
    faulty = dataclasses.replace(tiny_sets.RECIPE, prepare=lambda *a, **k: 1 / 0)
    assert run(picture(tmp_path / "good.png"), tmp_path / "out", recipe=faulty) == 1
    assert "ZeroDivisionError" in (tmp_path / "out/good/traceback.txt").read_text()


def test_a_finished_run_says_so_in_one_line(run, tmp_path, capfd):
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        picture(tmp_path / f"in/{name}.png")
    out = tmp_path / "out"
    assert run(tmp_path / "in", out, progress=True) == 0
    assert "already" not in capfd.readouterr().err
    assert run(tmp_path / "in", out, progress=True) == 0
    printed = capfd.readouterr()
    assert printed.err == f"all 3 images are already done: {out}/index.html\n"
    assert printed.out == ""
    assert run(tmp_path / "in", out) == 0
    assert capfd.readouterr().err == ""
    picture(tmp_path / "in/d.png")
    assert run(tmp_path / "in", out, progress=True) == 0
    assert "already" not in capfd.readouterr().err
    one = {"source": tmp_path / "in/a.png", "workdir": tmp_path / "one", "progress": True}
    assert run(**one) == run(**one) == 0
    said = capfd.readouterr().err.splitlines()[-1]
    assert said == f"the image is already done: {tmp_path}/one/index.html"
