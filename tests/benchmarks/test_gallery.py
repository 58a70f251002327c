"""The gallery: its samples, the layout of its strips, its records and its Markdown."""

import dataclasses
import json
import types

import numpy as np
import pytest
import skimage.data
import skimage.metrics
from PIL import Image
from scipy import ndimage

import deepinternal
from benchmarks import gallery, gallery_tasks
from benchmarks import gallery_samples as samples
from tests.benchmarks import program

PHOTO = skimage.data.astronaut()[40:88, 160:220]


@pytest.fixture
def tiny(monkeypatch):
    """A task that inverts an image, and one that fails."""
    sample = samples.Sample("astronaut, a part", {"image": PHOTO}, 255 - PHOTO)
    task = gallery_tasks.Task(
        "Inversion",
        "the photograph, the result",
        lambda: sample,
        "invert",
        show=lambda s, out: [s.image, out],
        measure=lambda s, out: gallery_tasks.Figure(
            "error", "", float(np.abs(out - s.truth).max()), 3.0
        ),
    )
    broken = dataclasses.replace(task, function="fail")
    monkeypatch.setattr(deepinternal, "invert", lambda image: 255 - image, raising=False)
    monkeypatch.setattr(deepinternal, "fail", lambda image: 1 / 0, raising=False)
    monkeypatch.setattr(gallery, "TASKS", {"a": task, "b": broken, "c": task})


def test_halved_is_a_cubic_reduction():
    sample = samples.halved()
    height, width = sample.truth.shape[:2]
    cubic = Image.fromarray(sample.truth).resize(
        (width // 2, height // 2), Image.Resampling.BICUBIC
    )
    assert np.abs(np.int32(cubic) - sample.image)[4:-4, 4:-4].max() <= 2


def test_blurred_is_a_correlation_at_every_second_pixel():
    sample, kernel = samples.blurred(), np.float64(samples.slanted_kernel())
    weights = kernel[..., None] / kernel.sum()
    full = ndimage.correlate(np.float64(sample.truth), weights, mode="reflect")[::2, ::2]
    inner = np.s_[12:-12, 12:-12]
    assert np.abs(full - sample.image)[inner].max() < 0.51
    y, x = (np.sum(kernel * axis) for axis in np.indices(kernel.shape))
    np.testing.assert_allclose([y, x], kernel.shape[0] // 2 + 0.5, atol=1e-3)


def test_noise_has_its_level_and_repeats():
    sample = samples.noisy()
    middle = (sample.truth > 120) & (sample.truth < 135)  # is nowhere clipped
    noise = (np.int32(sample.image) - sample.truth)[middle]
    assert noise.size > 1000
    assert noise.std() == pytest.approx(samples.NOISE_STD, rel=0.05)
    np.testing.assert_array_equal(sample.image, samples.noisy().image)


@pytest.mark.parametrize("make", [samples.sparse, samples.torn])
def test_missing_pixels_are_black_and_the_others_known(make):
    sample = make()
    mask = sample.inputs["mask"]
    np.testing.assert_array_equal(sample.image[mask], sample.truth[mask])
    assert not sample.image[~mask].any()
    if make is samples.sparse:
        assert mask.mean() == pytest.approx(samples.KNOWN, abs=0.01)


def test_haze_has_one_transmission_in_all_channels():
    depth = np.linspace(samples.NEAR, samples.FAR, 48)[:, None] * np.ones((48, 60))
    hazy, light = samples.haze(PHOTO, depth), 255 * np.array(samples.AIRLIGHT)
    difference = PHOTO - light
    t = np.divide(
        hazy - light, difference, where=np.abs(difference) > 80, out=np.full((48, 60, 3), np.nan)
    )
    expected = np.broadcast_to(np.exp(-samples.HAZE * depth)[..., None], t.shape)
    known = np.isfinite(t)
    assert known.sum() > 1000
    np.testing.assert_allclose(t[known], expected[known], atol=0.5 / 80 + 1e-6)


def test_the_window_adds_a_soft_reflection():
    edge = np.zeros((48, 60, 3))
    edge[:, 30:] = 1
    image, behind = samples.reflection(PHOTO / 255, edge)
    np.testing.assert_allclose(behind, samples.PASSED * PHOTO, atol=0.51)
    clear = image[..., 2] < 255
    added = (np.int32(image) - behind)[..., 2] / 255
    assert np.abs(added[:, :10][clear[:, :10]]).max() < 0.01
    np.testing.assert_allclose(added[:, 50:][clear[:, 50:]], samples.REFLECTED, atol=0.01)
    assert 0.1 < np.median(added[:, 30][clear[:, 30]]) < 0.25


def test_the_mark_is_white_and_in_its_box():
    sample = samples.marked()
    y0, x0, y1, x1 = sample.inputs["box"]
    changed = (sample.image != sample.truth).any(-1)
    assert changed[y0:y1, x0:x1].any()
    changed[y0:y1, x0:x1] = False
    assert not changed.any()
    added, room = (np.float64(x) - sample.truth for x in (sample.image, 255))
    share = added[room > 100] / room[room > 100]
    assert share.max() == pytest.approx(samples.MARK, abs=0.01)
    assert share.min() > -0.01


def test_polygons_and_strokes():
    assert samples.polygon((40, 50), [(10, 5), (30, 5), (30, 25), (10, 25)]).sum() == pytest.approx(
        400, abs=41
    )
    sample = samples.stroked()
    foreground, background = sample.inputs["foreground"], sample.inputs["background"]
    assert sample.truth[foreground].all()
    assert not sample.truth[background].any()
    assert 0.01 < foreground.mean() < 0.05
    assert 0.01 < background.mean() < 0.05


def test_panels_keep_their_shape_and_are_apart():
    panels = [np.full((50, 100), 30, np.uint8), np.full((200, 200, 3), (200, 0, 0), np.uint8)]
    made = gallery.strip(panels)
    height = round((gallery.WIDTH - gallery.GAP) / 3)
    assert made.shape == (height, gallery.WIDTH, 3)
    first = made[:, : 2 * height]
    np.testing.assert_array_equal(first, np.full_like(first, 30))
    gap = made[:, 2 * height : 2 * height + gallery.GAP]
    np.testing.assert_array_equal(gap, np.full_like(gap, 255))
    rest = made[:, 2 * height + gallery.GAP :]
    np.testing.assert_array_equal(rest, np.broadcast_to(np.uint8([200, 0, 0]), rest.shape))


@pytest.mark.parametrize("name", gallery_tasks.TASKS)
def test_the_call_that_is_shown_is_the_one_that_is_made(name, monkeypatch):
    task, made = gallery_tasks.TASKS[name], []
    record = lambda *args, **options: made.append((args, options))
    monkeypatch.setattr(deepinternal, task.function, record)
    sample = samples.Sample("", {"image": 1, "mask": 2})
    task.run(sample)
    eval(
        task.call(sample), {"di": types.SimpleNamespace(**{task.function: record}), **sample.inputs}
    )
    assert made[0] == made[1]


def test_records_and_failures(tiny, tmp_path, capsys):
    records, failed = gallery.run(["b", "c"], tmp_path)
    assert (list(records), failed) == (["c"], ["b"])
    assert "b: failed: ZeroDivisionError: division by zero\n" in capsys.readouterr().err
    assert list(gallery.run(["a"], tmp_path)[0]) == ["a", "c"]
    kept = json.loads((tmp_path / "gallery.json").read_text())
    assert kept["a"]["call"] == "di.invert(image)"
    assert kept["a"]["shape"] == [48, 60, 3]
    assert kept["a"]["figures"] == [{"name": "error", "unit": "", "after": 0.0, "before": 3.0}]
    assert 0 <= kept["a"]["seconds"] < 1
    shown = np.asarray(Image.open(tmp_path / "a.jpg"))
    expected = gallery.strip([PHOTO, 255 - PHOTO])
    assert np.abs(np.int32(shown) - expected).mean() < 3


def test_markdown_needs_nothing_but_the_records():
    record = {
        "title": "Denoising",
        "panels": "noise, the result",
        "seconds": 12.34,
        "figures": [{"name": "PSNR", "unit": "dB", "after": 30.04, "before": 18.66}],
        "picture": "denoise.jpg",
    }
    lone = {**record, "seconds": 3.14, "figures": [{"name": "IoU", "unit": "", "after": 0.9}]}
    picture = "![noise, the result](some/where/denoise.jpg)"
    assert gallery.markdown({"a": record, "b": lone, "c": record}, "some/where").split("\n") == [
        f"| {picture} | {picture} |",
        "| --- | --- |",
        "| Denoising: PSNR 18.7 → 30.0 dB, 12 s | Denoising: IoU 0.900, 3.1 s |",
        f"| {picture} |  |",
        "| Denoising: PSNR 18.7 → 30.0 dB, 12 s |  |",
    ]


def test_a_real_task(tmp_path):
    records, failed = gallery.run(["reflection"], tmp_path)
    assert not failed
    (figure,) = records["reflection"]["figures"]
    sample = samples.mirrored()
    before = skimage.metrics.peak_signal_noise_ratio(sample.truth, sample.image)
    assert figure["before"] == pytest.approx(before, abs=1e-6)
    assert figure["after"] > before + 1
    assert Image.open(tmp_path / "reflection.jpg").width == gallery.WIDTH


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tasks=sr,paint"], "'paint' is none of sr, blind"),
        (["--markdown", "--tasks=sr"], "gallery.json has no sr; run without --markdown first"),
    ],
)
def test_wrong_flags(flags, words, tmp_path):
    done = program.run("gallery", *flags, f"--out={tmp_path}")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
