"""The comparison of denoisers: noise, kept and resumed results, figures and tables."""

import json

import numpy as np
import pytest
import skimage.data
import skimage.metrics

from benchmarks import denoising, denoising_cases, denoising_peers, denoising_tables
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.types import InputError

GREY = np.full((200, 200, 3), 128.0)


def photo(height=24, width=28):
    return skimage.data.astronaut()[60 : 60 + height, 180 : 180 + width].astype(np.float32) / 255


@pytest.fixture
def folder(tmp_path):
    """A set with a clean photograph, and another one with real noise."""
    for group in ("clean", "real"):
        (tmp_path / "data" / group).mkdir(parents=True)
    write_image(tmp_path / "data/clean/a.png", photo())
    write_image(tmp_path / "data/real/b.png", photo()[::-1])
    write_image(tmp_path / "data/real/b_gt.png", np.clip(photo()[::-1] + 0.1, 0, 1))
    write_image(tmp_path / "data/real/alone.png", photo())
    return tmp_path / "data"


def test_photos_of_sets(folder):
    clean, real = denoising_cases.find_photos(folder)
    assert (clean.group, clean.name, clean.truth) == ("clean", "a", None)
    assert (real.group, real.name, real.truth.name) == ("real", "b", "b_gt.png")
    assert denoising_cases.find_photos(folder / "clean") == [clean]
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="no photographs"):
        denoising_cases.find_photos(folder / "empty")
    with pytest.raises(InputError, match="no such folder"):
        denoising_cases.find_photos(folder / "nowhere")


def test_gaussian_noise_is_that_of_the_protocol(folder):
    (clean, real) = denoising_cases.find_photos(folder)
    x = np.round(255 * photo()[:20, :20].astype(float))
    draws = np.random.default_rng(3).normal(0, 50, x.shape)
    truth, noisy = denoising_cases.Case(clean, 50, "gaussian", "float", 3, 20).images()
    np.testing.assert_allclose(255 * truth, x, atol=1e-4)
    np.testing.assert_allclose(255 * noisy, x + draws, atol=1e-4)
    assert noisy.min() < 0
    _, filed = denoising_cases.Case(clean, 50, "gaussian", "8bit", 3, 20).images()
    np.testing.assert_allclose(255 * filed, np.clip(np.round(x + draws), 0, 255), atol=1e-4)
    truth, noisy = denoising_cases.Case(real).images()
    np.testing.assert_allclose(noisy, photo()[::-1], atol=1e-6)
    assert np.mean(truth - noisy) > 0.05


@pytest.mark.parametrize("kind", ["gaussian", "correlated", "poisson"])
def test_noise_has_the_strength_that_is_asked_for(kind):
    noise = denoising_cases.add_noise(GREY, 20, kind=kind, seed=0) - GREY
    assert noise.std() == pytest.approx(20, rel=0.05)
    assert abs(noise.mean()) < 1
    beside = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
    assert beside == pytest.approx(np.exp(-0.25) if kind == "correlated" else 0, abs=0.03)
    between = np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]
    assert abs(between) < 0.05


def test_poisson_noise_grows_with_the_brightness():
    deviations = [
        np.std(denoising_cases.add_noise(0 * GREY + x, 20, kind="poisson", seed=0))
        for x in (0, 255)
    ]
    np.testing.assert_allclose(deviations, 20 * np.sqrt([0.2, 1.8]), rtol=0.02)


def test_impulses_are_black_or_white_pixels():
    noisy = denoising_cases.add_noise(GREY, 10, kind="impulses", seed=0)
    assert {*np.unique(noisy)} == {0.0, 128.0, 255.0}
    wrong = noisy != 128
    assert wrong.mean() == pytest.approx(0.1, abs=0.01)
    np.testing.assert_array_equal(wrong[..., 0], wrong[..., 2])


def test_all_images_have_their_first_seed_before_the_second(folder):
    photos = denoising_cases.find_photos(folder)
    options = {"noises": ["float", "8bit"], "seeds": 2, "crop": 9}
    found = [*denoising_cases.cases(photos, [5.0, 7.0], **options)]
    assert [(c.seed, c.noise, c.sigma) for c in found if c.photo.group == "clean"] == [
        (seed, noise, s) for seed in (0, 1) for noise in ("float", "8bit") for s in (5, 7)
    ]
    assert [(c.seed, c.kind, c.crop) for c in found if c.photo.group == "real"] == [(0, "real", 9)]


def test_scores_are_those_of_the_written_file(tmp_path):
    result = photo() + np.random.default_rng(0).normal(0, 0.1, photo().shape)
    found = denoising.score(result, photo())
    write_image(tmp_path / "r.png", np.float32(np.clip(result, 0, 1)))
    pair = [np.round(255 * x) for x in (read_image(tmp_path / "r.png").pixels, photo())]
    expected = skimage.metrics.peak_signal_noise_ratio(*pair, data_range=255)
    assert found["psnr"] == pytest.approx(expected, abs=0.01)
    assert 0.3 < found["ssim"] < denoising.score(photo() + 0.01, photo())["ssim"] < 1


def test_calibration_of_known_errors():
    draws = np.random.default_rng(0)
    spread = draws.uniform(0.01, 0.1, (80, 80))
    truth = np.zeros((80, 80, 3))
    result = truth + draws.normal(size=truth.shape) * spread[..., None]
    found = denoising.calibration(spread, result, truth)
    assert (found["within_1"], found["within_2"]) == (
        pytest.approx(0.683, abs=0.02),
        pytest.approx(0.954, abs=0.01),
    )


def test_our_programs_are_kept_and_results_resumed(folder, tmp_path):
    photos = denoising_cases.find_photos(folder)
    ours = denoising.Ours("denoise:ridge,smoke", {})
    rows = {"noisy image": denoising.other("noisy image"), "denoise:ridge,smoke": ours.run}
    cases = [*denoising_cases.cases(photos, [25.0, 30.0], noises=["float"])]
    out = tmp_path / "out"
    out.mkdir()
    results = denoising.Results(out, pictures=True)
    for case in cases:
        results.measure(case, rows, ["given"])
    added = [r for r in results.records if r["row"] != "noisy image" and r["kind"] != "real"]
    assert [r["new"] for r in added] == [True, False]
    assert [r["measured"] for r in added] == pytest.approx([25 / 255, 30 / 255], rel=1e-4)
    noisy = [r for r in results.records if r["row"] == "noisy image"]
    assert noisy[0]["psnr"] == pytest.approx(20.17, abs=0.6)
    assert [r["level"] for r in results.records if r["kind"] == "real"] == [
        "given",
        "given",
        "measured",
    ]
    assert added[0]["psnr"] > noisy[0]["psnr"] + 1
    name = "a-gaussian-float-25.0-denoise_ridge_smoke-given.png"
    drawn = denoising.score(read_image(out / "clean" / name).pixels, photo())
    assert drawn["psnr"] == pytest.approx(added[0]["psnr"], abs=1e-3)

    lines = (out / denoising.CASES).read_text()
    (out / denoising.CASES).write_text(lines + lines[:40])  # an interrupted line
    again = denoising.Results(out)
    assert again.records == results.records == [json.loads(x) for x in lines.splitlines()]
    for case in cases:
        again.measure(case, {"denoise:ridge,smoke": None}, ["given"])
    assert (out / denoising.CASES).read_text() == lines


def test_configs_that_remove_no_noise_are_refused():
    with pytest.raises(InputError, match="noise_std"):
        denoising.Ours("patches", {})


@pytest.mark.parametrize("texts", [[""], ["0"], ["a"], ["300"], []])
def test_sigmas_are_checked(texts):
    with pytest.raises(InputError, match="--sigma"):
        denoising.numbers("sigma", texts)


def record(image, row, psnr, **more):
    facts = {"set": "set12", "image": image, "crop": 0, "kind": "gaussian", "noise": "float"}
    facts |= {"sigma": 25.0, "seed": 0, "row": row, "level": "given", "psnr": psnr, "ssim": 0.5}
    return facts | {"cpu": 1.0, "wall": 2.0, "true": 0.1} | more


def cells(text, row):
    line = next(x for x in text.splitlines() if x.startswith(f"| {row} "))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_gains_are_over_the_same_noisy_images():
    records = [
        record("04", "BM3D", 30.0),
        record("11", "BM3D", 20.0),
        record("11", "ours", 21.0, new=True, cpu=9.0),
        record("04", "ours", 29.5),
        record("04", "ours", 40.0, seed=1),
        record("04", "ours", 30.5, level="measured", measured=0.11),
    ]
    text = denoising_tables.compared(records)
    assert cells(text, "ours")[:7] == ["2", "30.17", "7.42", "0.5000", "+0.25", "-0.50", "1 of 2"]
    assert cells(text, "ours")[8] == "1.0"
    assert cells(text, "ours, level measured")[4:8] == ["+0.50", "+0.50", "1 of 1", "10.0"]
    assert cells(text, "BM3D")[:5] == ["2", "25.00", "-", "0.5000", "-"]


def test_images_on_which_settings_were_chosen_are_listed_apart():
    records = [record("01", "BM3D", 30.0), record("04", "BM3D", 20.0), record("04", "ours", 21.0)]
    records.append(record("04", "ours", 18.0, noise="8bit", sigma=50.0))
    parts = denoising_tables.report(records).split("\n\n")
    assert (cells(parts[3], "BM3D")[1], cells(parts[5], "BM3D")[1]) == ("30.00", "20.00")
    assert parts[4].endswith("images: reported")
    by_half, by_set = parts[7:9]
    rows = [line.split("|")[1:-1] for line in by_half.splitlines()]
    assert [[cell.strip() for cell in row] for row in rows if "reported" in row[0]] == [
        ["reported", "BM3D", "1", "20.00", "-"],
        ["reported", "ours", "1", "21.00 (+1.00)", "18.00"],
    ]
    assert cells(by_set, "set12")[:3] == ["BM3D", "2", "25.00"]
    assert "| BM3D " in parts[-1]


def test_the_table_of_the_uncertainty():
    more = {"within_1": 0.7, "within_2": 0.9, "expected_psnr": 31.0}
    text = denoising_tables.calibrated([record("04", "ours", 30.0, **more)])
    assert cells(text, "ours") == ["gaussian 25, float", "1", "70", "90", "+1.00", "1.00"]
    assert not denoising_tables.calibrated([record("04", "ours", 30.0)])


@pytest.mark.parametrize("name", ["non-local means, scikit-image", "total variation"])
def test_peers_without_extra_packages(name):
    truth = photo(48, 48)
    noisy = truth + np.random.default_rng(0).normal(0, 0.1, truth.shape)
    made = denoising_peers.denoise(name, noisy, 0.1)
    assert denoising.score(made, truth)["psnr"] > denoising.score(noisy, truth)["psnr"] + 3
