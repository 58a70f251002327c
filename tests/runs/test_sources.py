"""Inputs and masks in all their forms, from files and from memory."""

import numpy as np
import pytest
from PIL import Image

from deepinternal import in_memory
from deepinternal.codecs import video_io
from deepinternal.methods import registry
from deepinternal.runs.companions import companion
from deepinternal.runs.inputs import Job, list_jobs
from deepinternal.runs.sides import read_side, side_shape
from deepinternal.types import InputError
from tests import tiny_sets

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), np.uint8)
GREY = RGB[..., 0]


def names(text, **options):
    """Stems with their files' names."""
    found = list_jobs(str(text), grouping="video", **options)
    return {job.stem: [p.name for p in job.several] or job.path.name for job in found}


def test_videos_are_listed(files):
    folder = files("v/b.mp4", "v/a.gif", "v/notes.txt", "f/2.png", "f/10.png", "f/x.mp4", "n/1.txt")
    files("f/10_mask.png", "f/.1.png")
    frames = ["2.png", "10.png"]
    assert names(folder / "v") == {"a": "a.gif", "b": "b.mp4"}
    assert names(folder / "f", tags=("gt", "mask")) == {"f": frames}
    assert names(f"{folder}/f/", tags=("mask",)) == {"f": frames}
    assert names(folder / "f/*.png", tags=("mask",)) == {"f": frames}
    both = f"{folder}/f,{folder}/v/b.mp4,{folder}/f"
    assert names(both, tags=("mask",)) == {"f": frames, "b": "b.mp4"}
    assert names(folder / "[fv]*", tags=("mask",), companions=[folder / "v"]) == {"f": frames}
    for text in (folder / "n", folder / "n/*.gif", folder / "v/none.mp4", folder / "[fn]"):
        with pytest.raises(InputError, match=r"^config\.input"):
            names(text)


def test_several_are_listed_as_one(files):
    folder = files("b.png", "a.png", "a_gt.png")
    (job,) = list_jobs(f"{folder}/b.png,{folder}/*.png", grouping="together")
    assert (job.stem, job.path) == ("b", folder / "b.png")
    assert job.files == job.several == (folder / "b.png", folder / "a.png")
    (job,) = list_jobs(f"{folder}/b.png", grouping="together")
    assert job.files == (folder / "b.png",)


def test_masks_of_a_video_are_found(files):
    folder = files("a.mp4", "one/a_hints.png", "two/a/1.png", "three/1.png", "four/x.txt")
    job = Job("a", folder / "a.mp4")
    find = lambda value: companion("hints", str(value), job, kind="masks", tag="hints")
    assert find(folder / "one") == folder / "one/a_hints.png"
    assert find(folder / "two") == folder / "two/a"
    assert find(folder / "three") == folder / "three"
    for nothing in (folder, folder / "four"):
        with pytest.raises(InputError, match=r"^config\.hints: no file for a"):
            find(nothing)


def test_a_mask_and_an_image_beside_a_job(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    read = lambda kind: read_side(kind, tmp_path / "grey.png", Job("a", None), field="x").value
    mask, many, white = map(read, ("mask", "masks", "image"))
    assert mask.dtype == many.dtype == np.float32
    np.testing.assert_allclose(mask, GREY / 255, atol=1e-6)
    np.testing.assert_array_equal(many, mask[None])
    np.testing.assert_allclose(white, np.dstack([GREY] * 3) / 255, atol=1e-6)


def test_masks_in_a_video_file(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    masks = np.zeros((3, 16, 16))
    masks[1, :, 8:] = masks[2] = 1
    video_io.write_frames(tmp_path, "m", masks, 25)
    made = read_side("masks", tmp_path / "m.mp4", Job("a", None), field="hints")
    np.testing.assert_array_equal(made.value, masks)


@pytest.fixture
def run(monkeypatch):
    """A call as of `di.run`, for the tiny method."""
    monkeypatch.setitem(registry._registered, "tiny_sets", tiny_sets.RECIPE)

    def call(image, group, *, sides=None, **fields):
        return in_memory.run("tiny_sets", image, group=group, **(sides or {}), **fields)

    return call


def test_arrays_taken_together(run):
    second = RGB[::-1].astype(np.float32) / 255
    sheer = np.dstack([RGB, np.maximum(GREY, 8)])
    out = run([sheer, second], "together")
    np.testing.assert_array_equal(out["result"], sheer)
    np.testing.assert_array_equal(out["clean0"], out["result"])
    np.testing.assert_allclose(out["clean1"], second, atol=1e-5)
    assert out["clean1"].dtype == np.float32
    stacked = run(np.stack([RGB, RGB, RGB]), "together", steps=1)
    assert stacked["clean2"].dtype == np.uint8
    for image, words in (
        ([RGB], "images: has 1 image; this needs from 2 to 3"),
        (RGB, "give a list"),
        ([RGB, RGB[:5]], r"images\[0\] is 6x8 but images\[1\] is 5x8"),
        ([RGB, RGB.astype(int)], r"images\[1\]: values of type int64"),
    ):
        with pytest.raises(InputError, match=words):
            run(image, "together")


@pytest.mark.parametrize("grey", [False, True])
def test_frames_in_memory(run, grey):
    video = np.stack([np.roll(RGB, i, 1) for i in range(3)])
    video = video[..., 0] if grey else video
    out = run(video, "video")
    np.testing.assert_array_equal(out["result"], video)
    np.testing.assert_array_equal(out["first"], video[0])
    out = run(list(video / 255), "video", sides={"hints": GREY > 9})
    assert out["result"].dtype == np.float32
    np.testing.assert_allclose(out["result"], video / 255, atol=1e-5)
    for wrong in (video[:1], video[0], [video[0], video[0][:4]]):
        with pytest.raises(InputError, match=r"^video: "):
            run(wrong, "video")


def test_sides_in_memory(run):
    out = run(RGB, "single", sides={"mask": GREY > 128, "flash": None})
    np.testing.assert_array_equal(out["result"][GREY > 128], RGB[GREY > 128])
    assert np.all(out["result"][GREY <= 128] == 128)
    with pytest.raises(InputError, match="mask: the mask is 5x8 but image is 6x8"):
        run(RGB, "single", sides={"mask": GREY[:5]})
    with pytest.raises(InputError, match="hints: 2 masks for 3 frames"):
        run(np.stack([RGB] * 3), "video", sides={"hints": np.stack([GREY] * 2)})


def test_headers_tell_the_shapes(tmp_path):
    """Of side inputs, without their pixels: half of the file is gone."""
    Image.fromarray(np.tile(RGB, (10, 10, 1))).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-200])
    with pytest.raises(InputError):
        read_side("image", tmp_path / "a.png", Job("a", None), field="flash")
    assert side_shape("image", tmp_path / "a.png") == (60, 80, 3)
    assert side_shape("mask", tmp_path / "a.png") == (60, 80)
    np.save(tmp_path / "k.npy", np.ones((5, 5)) / 25)
    assert side_shape("kernel", tmp_path / "k.npy") == (5, 5)
