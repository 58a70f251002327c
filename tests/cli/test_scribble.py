"""`deepinternal scribble`: which pages are written, what they continue, and what is refused."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from deepinternal.cli import console, scribble
from deepinternal.codecs.image_io import read_image
from deepinternal.runs.companions import companion
from deepinternal.runs.inputs import list_jobs
from tests import needs
from tests.launch.conftest import picture, save


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here, monkeypatch, capsys):
    """Runs the command; returns its exit status, and what it prints to stderr as lines."""
    monkeypatch.setattr("deepinternal.cli.huge_pages.restart", lambda: None)
    monkeypatch.setattr("deepinternal.messages.guard_streams", lambda: None)

    def command(*words):
        with pytest.raises(SystemExit) as ended:
            console.main(["scribble", *map(str, words)])
        return ended.value.code, capsys.readouterr().err.splitlines()

    return command


def held(page):
    """What a page holds for its script."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text())[1])


def mask_of(runs, shape):
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)


def hint(path, rows, columns, shape=(24, 32)):
    mask = np.zeros(shape, np.uint8)
    mask[rows, columns] = 255
    save(path, mask)
    return mask == 255


def test_a_page_for_each_image_with_names_that_the_methods_find(run, here):
    (here / "photos").mkdir()
    for name in ("a.png", "b c.png", "a_mask.png", "a_foreground.png"):
        save(here / "photos" / name, picture())
    turned = Image.fromarray(picture())
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(here / "photos" / "a.jpg", exif=exif)
    status, said = run("photos/", "--out=hints/")
    assert status == 0
    assert said == ["hints/a.html", "hints/a-2.html", "hints/b c.html"]
    sizes = {}
    for name in said:
        page = held(here / name)
        sizes[page["source"]] = (page["height"], page["width"])
        assert page["folder"] == "hints"
        assert not page["painted"]
    assert sizes == {"photos/a.jpg": (32, 24), "photos/a.png": (24, 32), "photos/b c.png": (24, 32)}
    (job,) = list_jobs("photos/b c.png")
    for field, name in held(here / "hints" / "b c.html")["names"].items():
        save(here / "hints" / name, picture())
        assert companion(field, "hints", job, tag=field).name == name


def test_painted_files_in_the_folder_and_given_ones_are_continued(run, here):
    save(here / "a.png", picture())
    (here / "hints").mkdir()
    first = hint(here / "hints" / "a_foreground.png", slice(2, 9), slice(3, 8))
    second = hint(here / "other.png", slice(5, 20), slice(6, 30))
    status, said = run("a.png", "--out=hints", "--background=other.png")
    assert status == 0
    assert said == [f"a.png: the hints overlap in {4 * 2} pixels, now foreground", "hints/a.html"]
    painted = held(here / "hints" / "a.html")["painted"]
    assert painted.keys() == {"foreground", "background"}
    np.testing.assert_array_equal(mask_of(painted["foreground"], (24, 32)), first)
    np.testing.assert_array_equal(mask_of(painted["background"], (24, 32)), second & ~first)
    known = ~hint(here / "hints" / "a_mask.png", slice(1, 4), slice(0, 30))
    for task, wanted in (("inpaint", known), ("unwatermark", ~known), ("edit", ~known)):
        assert run("a.png", "--out=hints", f"--task={task}")[0] == 0
        page = held(here / "hints" / "a.html")
        assert page["task"] == task
        np.testing.assert_array_equal(mask_of(page["painted"][task], (24, 32)), wanted)


def test_transparent_pixels_are_what_is_missing(run, here):
    alpha = np.full((24, 32, 1), 255, np.uint8)
    alpha[3:7, 20:] = 90
    save(here / "a.png", np.concatenate([picture(), alpha], -1))
    assert run("a.png", "--out=hints")[0] == 0
    painted = held(here / "hints" / "a.html")["painted"]
    np.testing.assert_array_equal(mask_of(painted["inpaint"], (24, 32)), alpha[..., 0] < 128)


def test_the_mask_of_a_finished_run_is_shown(run, here):
    save(here / "a.png", picture())
    result = hint(here / "mask.png", slice(4, 20), slice(5, 17))
    (here / "run" / "a-2").mkdir(parents=True)
    place = {"a": str(here / "elsewhere" / "a.png"), "a-2": str(here / "a.png")}
    (here / "run" / "stems.json").write_text(json.dumps(place))
    save(here / "run" / "a-2" / "mask.png", result.astype(np.uint8) * 255)
    for option, workdir in (("--result=mask.png", ""), ("--workdir=run", "run")):
        assert run("a.png", "--out=hints", option)[0] == 0
        page = held(here / "hints" / "a.html")
        np.testing.assert_array_equal(mask_of(page["result"], (24, 32)), result)
        assert page["workdir"] == workdir
    (here / "run" / "a-2" / "mask.png").unlink()
    status, (said,) = run("a.png", "--out=hints", "--workdir=run")
    assert status == 2
    assert "--workdir=run: has no mask of a.png" in said


def test_a_large_picture_is_reduced_and_its_masks_are_not(run, here, monkeypatch):
    monkeypatch.setattr("deepinternal.report.scribble._SHOWN", 200)
    save(here / "a.png", picture(25, 33))
    assert run("a.png", "--out=hints")[0] == 0
    page = held(here / "hints" / "a.html")
    assert (page["height"], page["width"], page["step"]) == (25, 33, 3)
    assert not page["layout"]
    shown = re.search(
        r'src="data:image/png;base64,.*?" width="(\d+)" height="(\d+)"',
        (here / "hints" / "a.html").read_text(),
    )
    assert shown.groups() == ("11", "8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "no input"),
        ("--out=hints", "no input"),
        ("a.png", "--out: is missing"),
        ("none.png --out=hints", "no such file or folder: none.png"),
        ("empty --out=hints", "no images"),
        ("bad.png --out=hints", "bad.png"),
        ("clip.mp4 --out=hints", "clip.mp4: is a video; give its frames"),
        ("a.png --out=file", "--out=file: give a folder"),
        ("a.png --out=hints.html", "--out=hints.html: give a folder"),
        pytest.param(
            "a.png --out=/proc/hints",
            "--out=/proc/hints: /proc cannot be written",
            marks=needs.PROC,
        ),
        ("a.png --out=site", "a.html: is not a page of this program"),
        (
            "a.png --out=hints --foregruond=a.png",
            "--foregruond: there is no such option, did you mean",
        ),
        ("a.png --out=hints --preset=fast", "--preset: there is no such option"),
        ("a.png --out=hints --overwrite", "--overwrite: there is no such option"),
        (
            "a.png --out=hints --task=inpant",
            "--task=inpant: there is no such task, did you mean inpaint",
        ),
        ("a.png --out=hints --task", "--task: needs a value"),
        (
            "a.png --out=hints --mask=a.png",
            "--mask: belongs to --task=unwatermark or inpaint or edit",
        ),
        (
            "a.png --out=hints --task=inpaint --foreground=a.png",
            "--foreground: belongs to --task=segment",
        ),
        ("a.png --out=hints --task=inpaint --result=a.png", "--result: belongs to --task=segment"),
        ("a.png --out=hints --result=a.png --workdir=w", "give only one"),
        ("a.png --out=hints --foreground=no.png", "--foreground: no such file or folder: no.png"),
        ("a.png --out=hints --foreground=empty", "--foreground: no file for a in the folder empty"),
        ("a.png --out=hints --foreground=small.png", "small.png: is 9x9 but a.png is 24x32"),
        ("a.png --out=hints --foreground=a.png", "has colours"),
        ("a.png --out=hints --result=small.png", "small.png: is 9x9"),
        ("a.png --out=hints --workdir=w", "--workdir=w: has no mask of a.png"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(run, here, words, said):
    save(here / "a.png", picture())
    save(here / "small.png", np.eye(9, dtype=np.uint8) * 255)
    for name in ("bad.png", "clip.mp4", "file"):
        (here / name).write_text("nothing")
    for name in ("empty", "site"):
        (here / name).mkdir()
    (here / "site" / "a.html").write_text("<p>my own page")
    status, lines = run(*words.split())
    assert status == 2
    (line,) = lines
    assert said in line
    assert not (here / "hints").exists()
    assert (here / "site" / "a.html").read_text() == "<p>my own page"


def test_help_names_the_options(run, capsys):
    assert scribble.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("--task=", "--foreground=", "--background=", "--mask=", "--result=", "--workdir="):
        assert f"\n{name}" in shown


def test_the_picture_of_a_page_is_the_image(run, here):
    save(here / "a.png", picture())
    assert run("a.png", "--out=hints")[0] == 0
    import base64

    text = (here / "hints" / "a.html").read_text()
    (here / "seen.png").write_bytes(base64.b64decode(re.search(r"base64,([^\"]+)", text)[1]))
    np.testing.assert_array_equal(
        read_image(here / "seen.png").pixels, read_image(here / "a.png").pixels
    )
