"""Jobs of several images and of videos, with their side inputs."""

import dataclasses
import json
import struct

import numpy as np
import pytest
from PIL import Image

from deepinternal.codecs import image_io, video_io
from deepinternal.runs import jobs, settings
from deepinternal.runs.workdir import RefusedError
from deepinternal.types import InputError
from tests.launch.conftest import picture, save
from tests.tiny_sets import RECIPE

H, W = 21, 26  # odd: an MP4 of such frames is larger


@pytest.fixture
def run(tmp_path):
    """Runs jobs of the tiny method; returns the exit status."""

    def start(source, group, *, recipe=RECIPE, workdir=tmp_path / "out", overwrite=False, **fields):
        given = settings.to_config_dict(recipe)
        given.update({"input": str(source), "group": group, "progress": False, **fields})
        both = settings.split(recipe, given)
        return jobs.run_all(recipe, *both, str(workdir), overwrite=overwrite)

    return start


@pytest.fixture
def pair(tmp_path):
    """A coloured image with transparency, and a grey one; both of one size."""
    alpha = np.full((H, W), 255, np.uint8)
    alpha[:5] = 90
    save(tmp_path / "b.png", np.dstack([picture(H, W), alpha]))
    Image.fromarray(picture(H, W)[::-1, :, 1].astype(np.uint16) * 257).save(tmp_path / "a.png")
    return tmp_path / "b.png", tmp_path / "a.png"


def moving(count=3, height=H, width=W):
    """uint8 frames (T, H, W, 3)."""
    return np.stack([np.roll(picture(height, width), 2 * i, axis=1) for i in range(count)])


@pytest.fixture
def clip(tmp_path):
    """Two files of the same three frames: an MP4, and a folder whose names sort by number."""
    frames = moving()
    video_io.write_frames(tmp_path, "made", frames / 255, 12.5)
    (tmp_path / "made.mp4").rename(tmp_path / "clip.mp4")
    (tmp_path / "frames.v1").mkdir()
    for number, frame in zip((8, 9, 10), frames):
        save(tmp_path / "frames.v1" / f"{number}.png", frame)
    return tmp_path / "clip.mp4", tmp_path / "frames.v1", frames


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def pixels(path):
    return np.asarray(Image.open(path))


def refused(start, *words, **options):
    with pytest.raises(InputError) as caught:
        start(**options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


def test_several_images_are_one_job_in_the_order_given(run, tmp_path, pair):
    assert run(f"{pair[0]},{pair[1]}", "together") == 0
    out = tmp_path / "out/b"
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_dir()) == [".claims", "b"]
    metrics = read(out / "metrics.json")
    assert metrics["input"] == f"{pair[0]},{pair[1]}"
    assert metrics["image_shape"] == [H, W, 3]
    assert sorted(metrics["outputs"]) == ["clean0.png", "clean1.png", "result.png"]
    np.testing.assert_array_equal(pixels(out / "clean0.png"), pixels(pair[0]))
    np.testing.assert_array_equal(pixels(out / "result.png"), pixels(pair[0]))
    header = (out / "clean1.png").read_bytes()[16:26]
    assert struct.unpack(">IIBB", header) == (W, H, 16, 2), "no transparency, and 16 bits"
    second = image_io.read_image(out / "clean1.png").pixels
    wanted = np.broadcast_to(image_io.read_image(pair[1]).pixels, second.shape)
    np.testing.assert_allclose(second, wanted, atol=2e-5)
    page = (out / "report.html").read_text()
    assert page.count('data-role="before"') == page.count('data-role="result"') == 1
    assert 'data-title="input 2"' in page


def test_several_images_again_and_changed(run, tmp_path, pair):
    both = f"{pair[0]},{pair[1]}"
    assert run(both, "together", steps=4) == 0
    result = tmp_path / "out/b/clean1.png"
    early, made = pixels(result), result.stat().st_mtime_ns
    assert run(both, "together", steps=4) == 0
    assert result.stat().st_mtime_ns == made, "finished, yet done again"
    assert run(both, "together", steps=9) == 0
    assert read(tmp_path / "out/b/metrics.json")["resumed_steps"] == [4]
    assert np.any(pixels(result) != early)
    whole = result.read_bytes()
    assert run(both, "together", steps=9, workdir=tmp_path / "other") == 0
    assert (tmp_path / "other/b/clean1.png").read_bytes() == whole
    save(pair[1], picture(H, W))
    with pytest.raises(RefusedError, match=r"b was made from different files \(input\)"):
        run(both, "together", steps=9)
    assert run(f"{pair[1]},{pair[0]}", "together", steps=9) == 0, "which is another job"
    assert read(tmp_path / "out/a/metrics.json")["steps"] == 9
    assert run(both, "together", steps=9, overwrite=True) == 0
    assert not (tmp_path / "out/a").exists()


def test_the_ground_truth_of_several_images_is_that_of_the_first(run, tmp_path, pair):
    truth = np.where(picture(H, W) < 128, picture(H, W) + 2, picture(H, W) - 2)
    save(pair[0], picture(H, W))
    save(tmp_path / "b_gt.png", truth)
    assert run(f"{pair[0]},{pair[1]}", "together", steps=1) == 0
    metrics = read(tmp_path / "out/b/metrics.json")
    itself = 20 * np.log10(255 / 2)
    assert metrics["baseline_psnr_rgb"] == pytest.approx(itself, abs=1e-3), "of the input itself"
    assert 5 < metrics["psnr_rgb"] < 30
    (tmp_path / "other").mkdir()
    save(tmp_path / "other/b.png", picture(H + 1, W))
    message = refused(
        run,
        f"{H + 1}x{W}",
        source=f"{pair[0]},{pair[1]}",
        group="together",
        ground_truth=str(tmp_path / "other"),
        steps=1,
        workdir=tmp_path / "out2",
    )
    assert "output_shape" not in message, "the method has no such field"


def test_images_that_cannot_form_one_job(run, tmp_path, pair):
    other = save(tmp_path / "c.png", picture(H, W + 1))
    refused(run, "b.png is 21x26", "c.png is 21x27", source=f"{pair[0]},{other}", group="together")
    refused(run, "config.input: has 1 image", "from 2 to 3", source=pair[0], group="together")
    for name in ("d", "e"):
        save(tmp_path / f"{name}.png", picture(H, W))
    refused(run, "has 5 images", "from 2 to 3", source=tmp_path, group="together")
    pair[1].write_bytes(pair[1].read_bytes()[:200])
    refused(run, "a.png", source=f"{pair[0]},{pair[1]}", group="together")
    assert not (tmp_path / "out/b").exists()


@pytest.mark.parametrize("form", ["file", "folder", "glob"])
def test_a_video(run, tmp_path, clip, form):
    file, folder, frames = clip
    source = {"file": file, "folder": folder, "glob": folder / "*.png"}[form]
    assert run(source, "video") == 0
    out = tmp_path / "out" / ("clip" if form == "file" else "frames.v1")
    metrics = read(out / "metrics.json")
    height, width = (H + 1, W) if form == "file" else (H, W)
    assert metrics["image_shape"] == metrics["output_shape"] == [3, height, width, 3]
    assert metrics["input"] == str(file if form == "file" else folder)
    names = ["alpha.mp4", "alpha/", "first.png", "result.mp4", "result/"]
    assert sorted(metrics["outputs"]) == names
    assert sorted(p.name for p in (out / "result").iterdir()) == [f"0000{i}.png" for i in range(3)]
    made = np.stack([pixels(out / f"result/0000{i}.png") for i in range(3)])
    given = video_io.read_video(file)[0] if form == "file" else frames
    np.testing.assert_array_equal(made, given)
    assert np.abs(given[:, :H].astype(int) - frames).mean() < 6, "as good as the codec is"
    film, rate = video_io.read_video(out / "result.mp4")
    assert rate == (12.5 if form == "file" else video_io.FRAME_RATE)
    assert film.shape == (3, H + 1, W, 3)
    assert np.abs(film[:, :H].astype(int) - made[:, :H]).mean() < 6
    assert not list(out.glob(".*"))
    page = (out / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") == 2
    assert "data:image/jpeg" in (tmp_path / "out/index.html").read_text(), "a picture of it"
    before = (out / "result/00000.png").stat().st_mtime_ns
    assert run(source, "video") == 0
    assert (out / "result/00000.png").stat().st_mtime_ns == before


def test_a_video_changed_and_overwritten(run, tmp_path, clip):
    _, folder, frames = clip
    assert run(folder, "video", steps=2, frame_rate=7.0) == 0
    out = tmp_path / "out/frames.v1"
    assert video_io.read_video(out / "result.mp4")[1] == 7
    save(folder / "9.png", frames[0])
    with pytest.raises(RefusedError, match="input"):
        run(folder, "video", steps=2, frame_rate=7.0)
    (folder / "10.png").unlink()
    (out / "mine.txt").write_text("the user's own")
    assert run(folder, "video", steps=1, frame_rate=7.0, overwrite=True) == 0
    assert len(list((out / "result").iterdir())) == 2, "of the older video nothing is left"
    assert (out / "mine.txt").exists()


def test_files_that_are_not_videos_are_refused(run, tmp_path, clip, capfd):
    file, folder, _ = clip
    source = tmp_path / "in"
    source.mkdir()
    data = file.read_bytes()
    bad = {"text.mp4": b"no video", "cut.mp4": data[: len(data) // 2], "empty.mkv": b""}
    for name, content in bad.items():
        (source / name).write_bytes(content)
        refused(run, name, source=source / name, group="video")
    save(source / "still.png", picture(H, W))
    refused(run, "still.png", "1 frame;", "at least 2", source=source / "still.png", group="video")
    (tmp_path / "none").mkdir()
    refused(run, "no frames", "png", source=tmp_path / "none", group="video")
    refused(run, "no such file", source=tmp_path / "gone.mp4", group="video")
    refused(run, "config.ground_truth", source=file, group="video", ground_truth=str(folder))
    (source / "still.png").rename(source / "text.mp4")
    file.rename(source / "good.mp4")
    capfd.readouterr()
    assert run(source, "video") == 1
    printed = capfd.readouterr().err.splitlines()
    assert sorted(x.split(": ")[0] for x in printed) == ["cut", "empty", "text"]
    assert read(tmp_path / "out/good/metrics.json")["status"] == "done"


def test_frames_that_cannot_be_used_are_refused(run, clip):
    _, folder, _ = clip
    save(folder / "9.png", picture(H, W + 2))
    refused(run, "9.png", "21x28", "8.png", "21x26", source=folder, group="video")
    (folder / "9.png").write_bytes(b"no image")
    refused(run, "9.png", source=folder, group="video")
    for name in ("9.png", "10.png"):
        (folder / name).unlink()
    refused(run, "frames.v1: has 1 frame;", source=folder, group="video")
    (folder / "8.png").unlink()
    refused(run, "frames.v1", "no frames", source=folder, group="video")


def test_without_ffmpeg(run, tmp_path, clip, monkeypatch, capfd):
    file, folder, _ = clip
    monkeypatch.setattr(video_io, "_ffmpeg", lambda: None)
    refused(run, "clip.mp4", "pip install 'imageio-ffmpeg", source=file, group="video")
    capfd.readouterr()
    assert run(folder, "video") == 0
    out = tmp_path / "out/frames.v1"
    assert sorted(read(out / "metrics.json")["outputs"]) == ["alpha/", "first.png", "result/"]
    printed = capfd.readouterr().err.splitlines()
    assert len(printed) == 2
    assert all("imageio-ffmpeg" in line for line in printed)
    page = (out / "report.html").read_text()
    assert 'data-title="result" data-width="78" data-height="21"' in page, "a strip of frames"
    assert "<video" not in page
    assert run(folder, "video") == 0, "finished"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("group", ["single", "together", "video"])
def test_the_sample(run, tmp_path, group):
    assert run("", group, steps=2) == 0
    out = tmp_path / "out/sample"
    metrics = read(out / "metrics.json")
    assert metrics["image_shape"] == [3] * (group == "video") + [16, 16, 3]
    assert "psnr_y" not in metrics, "it has no ground truth"
    names = {"single": ["input.png"], "together": ["input.png", "input-2.png"]}
    for name in names.get(group, ["input.mp4", "input/00002.png"]):
        assert (out / name).is_file()
    assert run("", group, steps=1, overwrite=True) == 0


def test_masks_and_images_go_with_an_image(run, tmp_path):
    source, sides = save(tmp_path / "a.png", picture(H, W)), tmp_path / "sides"
    sides.mkdir()
    inside = np.zeros((H, W), np.uint8)
    inside[4:9, 3:20] = 255
    save(sides / "a_mask.png", inside)
    save(sides / "a_flash.png", picture(H, W)[..., 0])
    assert run(source, "single", mask=str(sides), flash=str(sides / "a_flash.png")) == 0
    made = pixels(tmp_path / "out/a/result.png")
    np.testing.assert_array_equal(made[inside > 0], picture(H, W)[inside > 0])
    assert np.all(made[inside == 0] == 128)
    flash = pixels(tmp_path / "out/a/flash.png")
    np.testing.assert_array_equal(flash, np.dstack([picture(H, W)[..., 0]] * 3))
    save(sides / "a_mask.png", 255 - inside)
    with pytest.raises(RefusedError, match=r"\(mask\)"):
        run(source, "single", mask=str(sides), flash=str(sides / "a_flash.png"))


def test_masks_of_another_size_are_refused(run, tmp_path):
    source = save(tmp_path / "a.png", picture(H, W))
    small = str(save(tmp_path / "small.png", picture(H, W - 1)[..., 0]))
    words = "small.png", "21x25", "a.png is 21x26"
    for field in ("mask", "flash", "hints"):
        refused(run, *words, field, source=source, group="single", **{field: small})
    black = str(save(tmp_path / "black.png", np.zeros((H, W), np.uint8)))
    refused(run, "config.mask: is black", source=source, group="single", mask=black)
    text = tmp_path / "text.png"
    text.write_text("no image")
    refused(run, "text.png", source=source, group="single", mask=str(text))
    refused(run, "config.mask", "gone.png", source=source, group="single", mask="gone.png")


def test_masks_of_a_video(run, tmp_path, clip):
    _, folder, _ = clip
    masks = tmp_path / "masks"
    masks.mkdir()
    values = np.zeros((3, H, W), np.uint8)
    for i, name in enumerate(("8", "9", "10_hints")):
        values[i, :, 3 * i :] = 255
        save(masks / f"{name}.png", values[i])
    seen = []

    def prepare(config, image, **sides):
        seen.append(sides["hints"])
        return RECIPE.prepare(config, image, **sides)

    recipe = dataclasses.replace(RECIPE, prepare=prepare)
    assert run(folder, "video", recipe=recipe, steps=1, hints=str(masks)) == 0
    one = {"hints": str(masks / "9.png"), "workdir": tmp_path / "one"}
    assert run(folder, "video", recipe=recipe, steps=1, **one) == 0
    np.testing.assert_array_equal(seen[0], values / 255)
    np.testing.assert_array_equal(seen[-1], values[1:2] / 255)
    assert seen[0].dtype == np.float32
    save(masks / "9.png", values[0])
    with pytest.raises(RefusedError, match="hints"):
        run(folder, "video", steps=1, hints=str(masks))
    (masks / "8.png").unlink()
    words = "masks: 2 masks for 3 frames"
    refused(run, words, source=folder, group="video", hints=str(masks), overwrite=True)
