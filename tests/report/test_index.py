"""The index of a work folder."""

import base64
import io
import re
from urllib.parse import unquote

import numpy as np
from PIL import Image

from deepinternal.codecs.image_io import write_image
from deepinternal.report.report import write_index, write_report
from tests.report.page_reader import EVIL, Page


def test_index(tmp_path):
    names = [EVIL.replace("/", ""), "a b%", "c", "javascript:alert(1)", "later"]
    for name in names[:4]:
        (tmp_path / name).mkdir()
    for name in (*names[:2], names[3]):
        (tmp_path / name / "report.html").touch()
        write_image(tmp_path / name / "result.png", np.full((300, 500, 3), (0.8, 0.4, 0.2)))
    write_image(tmp_path / names[0] / "baseline.png", np.full((30, 30, 3), 0.5))
    write_image(tmp_path / "given.png", np.full((20, 30, 3), 0.25))
    grey = np.full((20, 3000, 1), 0.5)
    write_image(tmp_path / "a b%" / "result.png", grey, bit_depth=16, alpha=grey[..., 0])
    images = [
        {"image": n, "status": "done", "psnr_y": 30.125 + i, "baseline_psnr_y": 29.0, "steps": 4}
        for i, n in enumerate(names)
    ]
    images[2] = {"image": "c", "status": "failed", "error": EVIL, "psnr_y": None, "steps": 0}
    images[2]["input"] = str(tmp_path / "given.png")
    images[4] = {"image": "later", "status": "stopped", "steps": 3, "seconds": 1.5}
    images[4]["input"] = "x" * 5000
    images[3]["input"] = str(tmp_path / "given.png")
    before, samples = np.zeros((80, 40, 1)), {"result.png": np.zeros((80, 20), np.uint8)}
    write_report(tmp_path / names[3], images[3], {}, before=before, samples=samples)
    write_index(tmp_path, images)
    page = Page(tmp_path / "index.html")
    assert len(page.all("script")) == 1
    assert EVIL in page.text
    links = [a["href"] for a in page.all("a")]
    assert [unquote(a) for a in links] == [f"{n}/report.html" for n in (*names[:2], names[3])]
    assert not any(re.match(r"[a-z]+:|/", a) for a in links)
    text = " ".join(page.text.split())
    for words in ("3 done 1 failed 1 stopped", "30.12", "+1.12", "31.46", "+2.46"):
        assert words in text, "counts, figures and gains, and at the foot their means"
    whats = [a["alt"] for a in page.all("img")]
    assert whats == ["before", "result", "result", "before", "before", "result"]
    small = [a["src"].split(",", 1) for a in page.all("img")]
    sizes = []
    for kind, data in small:
        assert kind == "data:image/jpeg;base64"
        assert len(data) < 4000
        sizes.append(Image.open(io.BytesIO(base64.b64decode(data))))
    expected = [(30, 30), (128, 77), (128, 1), (30, 20), (40, 80), (20, 80)]
    assert [s.size for s in sizes] == expected
    for image, colour in zip(sizes, ((128,) * 3, (204, 102, 51), (191,), (64,) * 3)):
        np.testing.assert_allclose(np.asarray(image).mean((0, 1)), colour, atol=2)


def test_index_of_nothing(tmp_path):
    write_index(tmp_path, [])
    assert "0 done" in Page(tmp_path / "index.html").text
