"""Videos in every container, damaged ones, and what is written."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepinternal.codecs import video_io
from deepinternal.codecs.image_io import write_image
from deepinternal.types import InputError

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
CODECS = {
    "mp4": ["-c:v", "libx264", "-pix_fmt", "yuv444p", "-qp", "4", "-movflags", "+faststart"],
    "mov": ["-c:v", "mpeg4", "-q:v", "2"],
    "avi": ["-c:v", "mpeg4", "-q:v", "2"],
    "mkv": ["-c:v", "ffv1", "-pix_fmt", "bgr0"],
    "gif": ["-vf", "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none"],
}


def frames(count=5, height=40, width=64):
    """uint8 (T, H, W, 3): bars that move over a ramp, each frame brighter than the last."""
    y, x = np.mgrid[:height, :width]
    made = [np.stack([(x + 8 * t) // 8 % 2 * 90, y, 20 * t + 0 * x], -1) + 40 for t in range(count)]
    return np.stack(made).astype(np.uint8)


def encode(path, samples, codec, rate="12.5"):
    height, width = samples.shape[1:3]
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
    ]
    command += ["-s", f"{width}x{height}", "-r", rate, "-i", "-", *codec, str(path)]
    subprocess.run(command, input=samples.tobytes(), check=True)


@pytest.mark.parametrize("kind", CODECS)
def test_videos_are_read(tmp_path, kind):
    path = tmp_path / f"-a: 1%02d é.{kind}"
    encode(path.with_name(f"plain.{kind}"), frames(), CODECS[kind])
    path.with_name(f"plain.{kind}").rename(path)
    read, rate = video_io.read_video(path)
    assert read.shape == frames().shape
    assert read.dtype == np.uint8
    assert rate == 12.5
    error = np.abs(read.astype(int) - frames()).mean()
    assert error < (8 if kind != "mkv" else 1e-9)
    by_frame = [np.abs(read[2].astype(int) - frame).mean() for frame in frames()]
    assert np.argmin(by_frame) == 2


@pytest.mark.parametrize("kind", CODECS)
def test_damaged_videos(tmp_path, refuse, kind):
    path = tmp_path / f"a.{kind}"
    encode(path, frames(20), CODECS[kind])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    refuse(video_io.read_video, path, "damaged, cut short or no video")


def test_files_that_are_not_videos(tmp_path, refuse, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"")
    refuse(video_io.read_video, tmp_path / "a.mp4", "empty")
    refuse(video_io.read_video, tmp_path / "none.mp4", "no such file")
    (tmp_path / "b.mp4").write_text("#EXTM3U\nhttp://127.0.0.1/a.ts\n")
    refuse(video_io.read_video, tmp_path / "b.mp4")
    encode(tmp_path / "c.mp4", frames(), CODECS["mp4"])
    monkeypatch.setattr(video_io, "MAX_SAMPLES", 3 * 40 * 64 * 4)
    refuse(video_io.read_video, tmp_path / "c.mp4", "more than 3e+04 bytes")
    monkeypatch.setattr(video_io, "MAX_SAMPLES", 3 * 40 * 64 * 5)
    assert len(video_io.read_video(tmp_path / "c.mp4")[0]) == 5


def test_frames_in_their_order(tmp_path):
    names = ["10.png", "2.png", "1.png", "a10b3.png", "a9b20.png", "A1.png"]
    wanted = ["1.png", "2.png", "10.png", "A1.png", "a9b20.png", "a10b3.png"]
    assert [p.name for p in sorted(map(Path, names), key=video_io.natural)] == wanted


def test_frames_of_any_depth(tmp_path, refuse):
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
    Image.fromarray(grey).save(tmp_path / "0.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "1.png")
    read = video_io.read_frames([tmp_path / "0.png", tmp_path / "1.png"])
    np.testing.assert_array_equal(read, np.stack([grey] * 2)[..., None])
    Image.fromarray(np.dstack([grey, grey // 2, grey, grey + 8])).save(tmp_path / "2.png")
    read = video_io.read_frames([tmp_path / f"{i}.png" for i in range(3)])
    assert read.shape == (3, 4, 5, 3)
    np.testing.assert_array_equal(read[2], np.dstack([grey, grey // 2, grey]))
    np.testing.assert_array_equal(read[0], np.dstack([grey] * 3))
    hidden = np.dstack([grey + 9, np.where(grey < 99, 255, 0).astype(np.uint8)])
    Image.fromarray(hidden).save(tmp_path / "3.png")
    read = video_io.read_frames([tmp_path / "3.png"])[0, ..., 0]
    np.testing.assert_array_equal(read[grey < 99], grey[grey < 99] + 9)
    assert read.max() < 108  # no invisible colour


@pytest.mark.parametrize("size", [(40, 64), (39, 63), (1, 1)])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_what_is_written_is_read_again(tmp_path, size, channels):
    samples = frames(3, *size)
    values = samples / 255
    values = values if channels == (3,) else values[..., :1].reshape(3, *size, *channels)
    made = video_io.write_frames(tmp_path, "x", values, 29.97)
    assert made == ["x.mp4", "x/"]
    stills = video_io.read_frames(sorted((tmp_path / "x").iterdir()))
    wanted = samples if channels == (3,) else samples[..., :1]
    np.testing.assert_array_equal(stills, wanted)
    film, rate = video_io.read_video(tmp_path / "x.mp4")
    assert rate == 29.97
    assert film.shape == (3, size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    error = film[:, : size[0], : size[1]].astype(int) - wanted
    assert np.abs(error).mean() < 10
    assert np.abs(error.mean((0, 1, 2))).max() < 3, "colours keep their shade"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x", "x.mp4"]


def test_writing_again_leaves_nothing_old(tmp_path):
    video_io.write_frames(tmp_path, "x", np.zeros((4, 8, 8, 3)), 25)
    video_io.write_frames(tmp_path, "x", np.ones((2, 8, 8, 3)), 25)
    assert [p.name for p in sorted((tmp_path / "x").iterdir())] == ["00000.png", "00001.png"]
    assert video_io.read_video(tmp_path / "x.mp4")[0].min() > 250
    with pytest.raises(InputError, match="NaN"):
        video_io.write_frames(tmp_path, "x", np.full((2, 8, 8, 3), np.nan), 25)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x", "x.mp4"]
    assert len(list((tmp_path / "x").iterdir())) == 2


def test_a_failing_encoder_costs_only_the_film(tmp_path, monkeypatch, capfd):
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho something is wrong >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(video_io, "_ffmpeg", lambda: str(broken))
    assert video_io.write_frames(tmp_path, "x", np.zeros((4, 200, 200, 3)), 25) == ["x/"]
    printed = capfd.readouterr().err
    assert printed.count("\n") == 1
    assert "something is wrong" in printed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ffmpeg", "x"]


def test_a_large_film_is_beside_the_page(tmp_path, monkeypatch):
    from deepinternal.report import films

    video_io.write_frames(tmp_path, "a b", np.zeros((2, 8, 8, 3)), 25)
    assert films.film(tmp_path / "a b.mp4")["src"].startswith("data:video/mp4;base64,")
    monkeypatch.setattr(films, "EMBEDDED", 10)
    assert films.film(tmp_path / "a b.mp4")["src"] == "a%20b.mp4"
    for i in range(2, 10):
        write_image(tmp_path / "a b" / f"0000{i}.png", np.full((8, 8, 3), i / 255))
    samples, count = films.strip(tmp_path / "a b")
    assert (samples.shape, count) == ((8, 8 * films.STRIP, 3), 10)
    assert samples[0, ::8, 0].tolist() == [0, 2, 4, 5, 7, 9]
    assert films.strip(tmp_path / "none") is None
