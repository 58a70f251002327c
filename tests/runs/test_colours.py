"""Colour profiles and metadata on their way from an input to results, scores and reports."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from deepinternal.codecs import image_io, profiles
from deepinternal.codecs.metadata import NONE, Metadata
from deepinternal.recipe import Grouping
from deepinternal.report import gallery, pictures
from deepinternal.report.report import write_report
from deepinternal.runs import results, sources
from deepinternal.runs.inputs import Job
from deepinternal.runs.workdir import Noted, RefusedError
from deepinternal.types import Output
from tests.codecs.metadata_samples import ADOBE_RGB, P3, picture, profile, srgb_profile
from tests.runs.test_workdir import at

ADOBE = profiles.adobe_rgb()


@pytest.fixture
def photo(tmp_path):
    """A file in Adobe RGB of 300 dpi."""
    path = tmp_path / "photo.png"
    Image.fromarray(picture()).save(path, icc_profile=ADOBE, dpi=(300, 300))
    return path


def about(path):
    with Image.open(path) as file:
        return file.info.get("icc_profile"), round(file.info.get("dpi", (0,))[0])


def in_srgb(path):
    """The pixels of a file in sRGB, by Little CMS."""
    with Image.open(path) as image:
        source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        goal = ImageCms.createProfile("sRGB")
        return np.asarray(ImageCms.profileToProfile(image, source, goal, renderingIntent=1)) / 255


def test_images_keep_the_colours_and_masks_do_not(photo, tmp_path):
    source = sources.read_source(Job("photo", photo), Grouping())
    pixels = source.given
    outputs = {
        "result": Output(np.kron(pixels, np.ones((2, 2, 1), np.float32))),
        "foreground": Output(pixels),
        "wide": Output(pixels.repeat(2, 1)),
        "mask": Output(pixels[..., 0], "mask"),
        "error": Output(pixels[..., 0], "map"),
        "shade": Output(pixels[..., :1]),
        "samples": Output({"a": pixels[:10], "b": pixels}, "images"),
    }
    results.write_outputs(outputs, tmp_path, source)
    found = {
        name: about(tmp_path / f"{name}.png")
        for name in (*outputs, "samples/a")
        if name != "samples"
    }
    assert found == {
        "result": (ADOBE, 600),
        "foreground": (ADOBE, 300),
        "wide": (ADOBE, 0),
        "mask": (None, 0),
        "error": (None, 0),
        "shade": (None, 300),
        "samples/a": (ADOBE, 300),
    }
    results.write_pictures(tmp_path, source.images[0].metadata.colours, 3, {"result": pixels})
    assert about(tmp_path / "progress/result-000003.png") == (ADOBE, 0)
    converted = sources.read_source(Job("photo", photo), Grouping(), color="srgb")
    results.write_outputs({"result": Output(converted.given)}, tmp_path, converted)
    assert about(tmp_path / "result.png") == (None, 300)
    result = image_io.read_image(tmp_path / "result.png").pixels
    assert abs(result - in_srgb(photo)).max() < 1.01 / 255


def test_a_report_shows_the_colours(photo, tmp_path, monkeypatch):
    image = image_io.read_image(photo)
    image_io.write_image(tmp_path / "result.png", image.pixels, about=image.metadata)
    metrics = {"image": "photo", "status": "done", "outputs": ["result.png"], "input": str(photo)}
    write_report(tmp_path, metrics, {}, before=image.pixels, inputs=[image])
    assert about(tmp_path / "baseline.png") == (ADOBE, 0)

    def opened(address):
        return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))

    monkeypatch.setattr(pictures, "PREVIEW", 20)
    for reduced in (
        pictures.of_file(tmp_path, "result.png"),
        pictures.of_file(tmp_path, "result.png", picture()),
        *gallery.pictures(tmp_path, ["result.png"], [image], metrics, {}),
        *gallery.pictures(tmp_path, ["result.png"], None, metrics, {}),
    ):
        assert opened(reduced["src"]).info["icc_profile"] == ADOBE
    expected = in_srgb(photo)
    for small in (
        pictures.thumbnail_of_file(photo),
        gallery.small_pictures(tmp_path, [image], {})("input"),
        gallery.small_pictures(tmp_path, None, {"result.png": picture()})("result"),
    ):
        assert abs(np.asarray(opened(small)) / 255 - expected).mean() < 0.02
    assert abs(picture() / 255 - expected).mean() > 0.03, "as if it were sRGB"


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        (ADOBE, None, "those of 'Adobe RGB (compatible)'"),
        (None, profile(2.2, P3), "the colours of 'described by the file'"),
        (ADOBE, profile(2.2, ADOBE_RGB), ""),
        (srgb_profile(), None, ""),
        (None, profile(1.0, None), "the colours of 'described by the file'"),
        (None, profile(2.2, None), ""),
    ],
)
def test_a_truth_of_other_colours_is_reported(tmp_path, own, other, said):
    path, grey = tmp_path / "gt.png", other is not None and other[16:20] == b"GRAY"
    image_io.write_image(path, picture()[..., : 1 if grey else 3] / 255, about=Metadata(other))
    truth = results.read_truth(path, (24, 40, 3), size=(24, 40), name="a", about=Metadata(own))
    assert len(truth.remarks) == bool(said)
    assert said in "".join(truth.remarks)


def test_both_are_converted_on_request(photo):
    truth = results.read_truth(
        photo, (24, 40, 3), size=(24, 40), name="a", color="srgb", about=NONE
    )
    assert truth.remarks == ()
    assert abs(truth.pixels - in_srgb(photo)).max() < 1.01 / 255


def test_different_colours_in_one_job_are_reported(photo, tmp_path):
    plain, pair = tmp_path / "plain.png", Grouping("together")
    image_io.write_image(plain, picture() / 255)
    job = Job("a", photo, (photo, plain))
    assert "different colour profiles" in sources.read_source(job, pair).remarks[-1]
    (said,) = sources.read_source(job, pair, color="srgb").remarks
    assert "photo.png: converted from 'Adobe RGB (compatible)' to sRGB" in said


def test_results_of_other_colours_are_refused(tmp_path):
    at(tmp_path / "run", color="srgb").note("a", Noted({}))
    at(tmp_path / "run", color="srgb")
    with pytest.raises(RefusedError, match=r"color \('srgb' there, 'keep' now\)"):
        at(tmp_path / "run")
