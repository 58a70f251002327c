"""The pictures of a report: which are shown, from where, and at what size."""

import base64
import io

import numpy as np
import pytest
import skimage.measure
from PIL import Image

from deepinternal.codecs import image_io, png
from deepinternal.codecs.decoding import decode
from deepinternal.codecs.image_io import write_image
from deepinternal.report import gallery, pictures
from deepinternal.report.report import write_index, write_report
from tests.report.page_reader import Page, shown


def test_moments_of_training_are_shown(tmp_path):
    (tmp_path / "progress").mkdir()
    for step in range(200, 4001, 200):
        write_image(tmp_path / f"progress/result-{step:06d}.png", np.full((9, 12, 3), step / 4000))
        write_image(tmp_path / f"progress/cycle-{step:06d}.png", np.zeros((9, 12, 3)))
    write_report(tmp_path, {"image": "a"}, {}, before=None)
    page = Page(tmp_path / "report.html")
    links = [a["href"] for a in page.all("a") if a["href"].startswith("progress/")]
    assert len(links) == 8
    assert (links[0], links[-1]) == ("progress/result-000200.png", "progress/result-004000.png")
    assert all((tmp_path / link).is_file() for link in links)
    assert "step 4000" in page.text


@pytest.mark.parametrize("suffix", ["jpg", "tif", "png"])
def test_inputs_of_every_kind_are_shown(tmp_path, suffix, monkeypatch):
    samples = np.full((9, 30, 3), (200, 100, 50), np.uint8)
    path = tmp_path / f"photo.{suffix}"
    if suffix == "tif":
        import tifffile

        tifffile.imwrite(path, samples.astype(np.float32) / 255, photometric="rgb")
    else:
        Image.fromarray(samples).save(path)
    monkeypatch.setattr(pictures, "PREVIEW", 10)
    write_report(tmp_path, {"image": "x", "input": str(path)}, {}, before=None)
    (found,) = (a for a in Page(tmp_path / "report.html").all("img") if "src" in a)
    assert (found["data-width"], found["data-height"], found["data-title"]) == ("10", "3", "input")
    assert abs(shown(found["src"]) - np.array([200.0, 100, 50])).max() <= 2


def test_known_pictures_are_not_read_again(tmp_path, monkeypatch):
    """Neither the pictures among the files nor the user's images, at any size."""
    samples = np.arange(12 * 20 * 3, dtype=np.uint16).reshape(12, 20, 3) * 50
    (tmp_path / "result.png").write_bytes(png.encode(samples))
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/2x1.png").write_bytes(png.encode(samples))
    monkeypatch.setattr(pictures, "PREVIEW", 10)
    monkeypatch.setattr(pictures, "READABLE", 1)
    for module in (pictures, gallery):
        monkeypatch.setattr(module, "decode", lambda *_: pytest.fail("decoded"))
    write_report(
        tmp_path,
        {"image": "x", "outputs": ["result.png", "samples/2x1.png"]},
        {},
        before=np.zeros((12, 20, 1)),
        inputs=[image_io.to_array(samples[::-1], name="mine")],
        samples={"result.png": samples, "samples/2x1.png": samples},
    )
    page = Page(tmp_path / "report.html")
    titles = [a["data-title"] for a in page.all("img") if "src" in a]
    assert titles == ["before", "result", "samples/2x1", "input"]
    assert page.all("a", href="samples/2x1.png")
    expected = skimage.measure.block_reduce(samples[::-1], (2, 2, 1), np.mean) / 65535
    mine = next(a for a in page.all("img") if a.get("data-title") == "input")["src"]
    np.testing.assert_allclose(shown(mine) / 255, expected, atol=0.51 / 255)


def test_large_pictures_are_reduced(tmp_path, monkeypatch):
    samples = np.arange(12 * 20 * 3, dtype=np.uint16).reshape(12, 20, 3) * 50
    (tmp_path / "a b.png").write_bytes(png.encode(samples))
    whole = pictures.of_file(tmp_path, "a b.png")
    assert base64.b64decode(whole["src"].split(",")[1]) == (tmp_path / "a b.png").read_bytes()
    assert whole["size"] == whole["full"] == (20, 12)
    monkeypatch.setattr(pictures, "PREVIEW", 10)
    for known in (None, samples):
        small = pictures.of_file(tmp_path, "a b.png", known)
        assert (small["size"], small["full"], small["href"]) == ((10, 6), (20, 12), "a%20b.png")
        (tmp_path / "b.png").write_bytes(base64.b64decode(small["src"].split(",")[1]))
        expected = skimage.measure.block_reduce(samples, (2, 2, 1), np.mean)
        made = decode(tmp_path / "b.png", 1000).samples
        np.testing.assert_allclose(made, expected, atol=0.51)
    (tmp_path / "thin.png").write_bytes(png.encode(samples.reshape(1, -1, 3)))
    assert pictures.of_file(tmp_path, "thin.png")["size"] == (10, 1)
    monkeypatch.setattr(pictures, "READABLE", 100)
    assert pictures.of_file(tmp_path, "a b.png")["src"] == ""
    write_report(tmp_path, {"image": "x", "outputs": ["a b.png"]}, {}, before=None)
    page = Page(tmp_path / "report.html")
    assert not [a for a in page.all("img") if "src" in a], "just linked"
    assert page.all("a", href="a%20b.png")


def test_first_frames_of_a_video_are_compared(tmp_path):
    (tmp_path / "v/result").mkdir(parents=True)
    for number, value in enumerate((0.2, 0.6)):
        write_image(tmp_path / f"v/result/{number:05d}.png", np.full((20, 30, 1), value))
    metrics = {"image": "v", "status": "done", "outputs": ["result/"]}
    before = np.full((20, 30, 1), 0.9)
    first = image_io.to_array(before, name="x")
    write_report(tmp_path / "v", metrics, {}, before=before, inputs=[first])
    page = Page(tmp_path / "v/report.html")
    roles = [a["data-role"] for a in page.all("figure") if "data-role" in a]
    assert roles == ["before", "result", "other"], "the last one is the strip of frames"
    pair = [a["src"] for a in page.all("img") if "src" in a][:2]
    assert [shown(src).mean() for src in pair] == [230, 51]
    assert page.text.count("first frame") == 2
    write_index(tmp_path, [metrics])
    small = [a["src"].split(",")[1] for a in Page(tmp_path / "index.html").all("img")]
    means = [np.asarray(Image.open(io.BytesIO(base64.b64decode(s)))).mean() for s in small]
    np.testing.assert_allclose(means, [230, 51], atol=1)
