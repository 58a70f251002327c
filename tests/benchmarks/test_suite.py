"""Sets in their published layouts, their pairs, and runs that continue."""

import json

import numpy as np
import pytest
import skimage.data
import skimage.metrics

from benchmarks import published, quality, sets, suite, suite_pairs, suite_tables
from deepinternal.codecs import image_io
from deepinternal.types import InputError

TINY = "tests.benchmarks.tiny_recipe:RECIPE"
LAYOUTS = {  # a layout -> its files, and the set with its images: name, truth, small image of x2
    "EDSR": (
        ("Set5/HR/baby.png", "Set5/LR_bicubic/X2/babyx2.png", "Set5/LR_bicubic/X3/babyx3.png"),
        ("Set5", "baby", "Set5/HR/baby.png", "Set5/LR_bicubic/X2/babyx2.png"),
    ),
    "SelfExSR": (
        (
            *("BSD100/image_SRF_2/img_001_SRF_2_HR.png", "BSD100/image_SRF_2/img_001_SRF_2_LR.png"),
            *("BSD100/image_SRF_2/img_001_SRF_2_ScSR.png",),
            *("BSD100/image_SRF_4/img_001_SRF_4_HR.png", "BSD100/image_SRF_4/img_001_SRF_4_LR.png"),
        ),
        (
            *("BSD100", "img_001", "BSD100/image_SRF_2/img_001_SRF_2_HR.png"),
            *("BSD100/image_SRF_2/img_001_SRF_2_LR.png",),
        ),
    ),
    "BasicSR": (
        ("B100/GTmod12/8023.png", "B100/LRbicx2/8023.png", "B100/LRbicx4/8023.png"),
        ("BSD100", "8023", "B100/GTmod12/8023.png", "B100/LRbicx2/8023.png"),
    ),
    "roles above": (
        ("HR/Set14/x2/comic.png", "LR/LRBI/Set14/x2/comic.png", "HR/Set14/x3/comic.png"),
        ("Set14", "comic", "HR/Set14/x2/comic.png", "LR/LRBI/Set14/x2/comic.png"),
    ),
    "flat": (
        ("urban100/img_7.png", "urban100/img_7x2.png", "urban100/notes.txt"),
        ("Urban100", "img_7", "urban100/img_7.png", "urban100/img_7x2.png"),
    ),
    "original": (
        ("Set5/original/bird.png", "Set5/LRbicx4/bird.png"),
        ("Set5", "bird", "Set5/original/bird.png", None),
    ),
    "DIV2KRK": (
        ("DIV2KRK/gt/img_3_gt.png", "DIV2KRK/lr_x2/im_3.png", "DIV2KRK/gt_k_x2/kernel_3.mat"),
        ("DIV2KRK", "3", "DIV2KRK/gt/img_3_gt.png", "DIV2KRK/lr_x2/im_3.png"),
    ),
    "no public name": (
        ("a/mine_2/b.png", "a/mine_2/b_gt.png", "a/mine_2/b_mask.png"),
        ("mine_2", "b", "a/mine_2/b_gt.png", None),
    ),
}


def photo(height, width, top=0):
    return np.float32(skimage.data.astronaut()[top : top + height, 180 : 180 + width]) / 255


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    image_io.write_image(path, image)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_public_layouts(tmp_path, layout):
    files, (name, picture, truth, small) = LAYOUTS[layout]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    found = sets.find(tmp_path)
    assert [*found] == [name]
    (one,) = found[name]
    assert one.name == picture
    assert one.truth(2) == tmp_path / truth
    assert one.low.get(2) == (small and tmp_path / small)
    assert {*one.kernels} == ({2} if layout == "DIV2KRK" else set())


def test_one_set_in_the_folder_itself_in_the_order_of_numbers(tmp_path):
    folder = tmp_path / "set5_x2"
    for i in (10, 9):
        for end in ("HR", "LR"):
            write(folder / f"img_{i}_SRF_2_{end}.png", photo(16, 16))
    assert [p.name for p in sets.find(folder)["Set5"]] == ["img_9", "img_10"]


def test_sets_are_chosen_by_any_spelling(tmp_path):
    found = {"BSD100": [1], "mine": [2]}
    assert sets.choose(found, ["b100", "mine"], []) == found
    assert sets.choose(found, [], ["Set5", "BSD100"]) == {"BSD100": [1]}
    with pytest.raises(InputError, match="--sets=Set5: is not in the folder of --data; there are"):
        sets.choose(found, ["Set5"], [])
    with pytest.raises(InputError, match="none of Set5; name some of these with --sets: BSD100"):
        sets.choose(found, [], ["Set5"])
    twice = [sets.Picture(f"{n}", {0: tmp_path / f"{n}.png"}) for n in range(10)]
    with pytest.raises(
        InputError, match=r"10 images of Set5, which has 5, such as .*0\.png and .*9"
    ):
        sets.choose({"Set5": twice}, [], ["Set5"])
    with pytest.raises(InputError, match="no such folder"):
        sets.find(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no images"):
        sets.find(tmp_path)


def made(tmp_path, factor, how, name="Set5"):
    found = sets.find(tmp_path / "data")[name]
    return suite_pairs.make(name, found, factor, how, tmp_path / "made")


def size(path):
    return image_io.read_image(path).pixels.shape[:2]


def test_small_images_are_made_once_from_the_cropped_truth(tmp_path):
    source = tmp_path / "data" / "Set5" / "HR" / "one.png"
    write(source, photo(50, 41))
    low, high = made(tmp_path, 3, "cubic").files["one"]
    assert (size(low), size(high)) == ((16, 13), (48, 39))
    original = image_io.read_image(source).pixels
    assert np.array_equal(image_io.read_image(high).pixels, original[:48, :39])
    enlarged = image_io.read_image(low).pixels.repeat(3, 0).repeat(3, 1)
    # Aligned: any shift by a pixel agrees less.
    error = lambda shift: np.square(np.roll(enlarged, shift, 1) - original[:48, :39])[
        4:-4, 4:-4
    ].sum()
    assert error(0) < min(error(1), error(-1))
    before = low.stat().st_mtime_ns
    made(tmp_path, 3, "cubic")
    assert low.stat().st_mtime_ns == before
    write(source, photo(50, 44, top=100))
    assert size(made(tmp_path, 3, "cubic").files["one"][1]) == (48, 42)


def test_random_kernels_depend_on_the_name_only(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / "data" / "Set5" / f"{name}.png", photo(48, 48))
    pairs = made(tmp_path, 2, "random")
    again = suite_pairs.make(
        "Set5", sets.find(tmp_path / "data")["Set5"][1:], 2, "unknown", tmp_path / "again"
    )
    kernel = lambda folder, name: (tmp_path / folder / f"{name}_kernel.mat").read_bytes()[128:]
    assert kernel("made", "two") == kernel("again", "two") != kernel("made", "one")
    one, two = (pairs.files[name][0].read_bytes() for name in ("one", "two"))
    assert two == again.files["two"][0].read_bytes() != one
    assert not suite_pairs.possible("Set5", [], 3, "random")
    assert suite_pairs.possible("Set5", [], 4, "unknown")


def test_published_small_images_are_taken_and_a_truth_that_is_too_large_is_cut(tmp_path):
    data = tmp_path / "data" / "Set5"
    write(data / "HR" / "one.png", photo(33, 32))
    write(data / "LR_bicubic" / "X2" / "onex2.png", photo(16, 16))
    write(data / "HR" / "two.png", photo(40, 32))
    write(data / "LR_bicubic" / "X2" / "twox2.png", photo(16, 16))
    (data / "HR" / "three.png").write_bytes(b"none")
    pairs = made(tmp_path, 2, "cubic")
    low, high = pairs.files["one"]
    assert low == data / "LR_bicubic" / "X2" / "onex2.png"
    assert size(high) == (32, 32)
    assert pairs.published == 1
    assert "2 times its size is 32x32" in pairs.failed["two"]
    assert "three.png" in pairs.failed["three"]


def luma_psnr(result, truth, border):
    pair = [image_io.read_image(p).pixels.astype(np.float64) for p in (result, truth)]
    luma = [16 + x @ np.array([65.481, 128.553, 24.966]) for x in pair]
    luma = [x[border:-border, border:-border] for x in luma]
    return skimage.metrics.peak_signal_noise_ratio(*luma, data_range=255)


def test_only_images_without_a_result_are_run(tmp_path, monkeypatch):
    for i, name in enumerate(("one", "two")):
        write(tmp_path / "data" / "Set5" / f"{name}.png", photo(32, 32, top=60 * i))
    found = sets.find(tmp_path / "data")
    asked = suite.plan(found, [2], {"cubic": ["short"]}, 2)
    assert [one["seed"] for one in asked] == [0, 1]
    fields = {"progress": "false", "train_steps": "4"}
    runs = list(suite.super_resolve(found, asked, suite.Suite(tmp_path / "out", TINY, fields)))
    assert [run["status"] for run in runs] == [0, 0]
    folder = next((tmp_path / "out" / "runs" / "Set5-x2-cubic").glob("*-seed1"))
    truth = tmp_path / "out" / "pairs" / "Set5-x2-cubic" / "one_gt.png"
    psnr = runs[1]["images"][0]["psnr_y"]
    assert psnr == pytest.approx(luma_psnr(folder / "one" / "result.png", truth, 2), abs=2e-3)
    monkeypatch.setattr(quality.jobs, "run_all", lambda *_: 0)  # nothing may be needed
    again = suite.Suite(tmp_path / "out", TINY, fields)
    assert [*suite.super_resolve(found, asked, again)] == runs
    limited = {"Set5": found["Set5"][:1]}
    shown = next(suite.super_resolve(limited, asked, suite.Suite(tmp_path / "out", TINY, fields)))
    assert [m["image"] for m in shown["images"]] == ["one"]


def run(seed, *values, preset="fast", **more):
    metrics = [
        {"image": f"i{n}", "status": "done", "psnr_y": v, "baseline_psnr_y": 30.0}
        for n, v in enumerate(values)
    ]
    case = {"set": "Set5", "factor": 4, "degradation": "cubic", "preset": preset, "seed": seed}
    return {**case, "images": metrics, "status": 0, **more}


def test_means_are_over_the_images_that_every_seed_has():
    runs = [run(0, 31.0, 33.0), run(1, 32.0, 35.0), run(0, 40.0, preset="best")]
    runs[1]["images"][0] = {"image": "i0", "status": "failed", "error": "broken"}
    fast, best = suite_tables.summary(runs)
    assert (fast["psnr_y"], fast["least"], fast["greatest"]) == (34.0, 33.0, 35.0)
    assert (fast["images"], fast["failed"], fast["seeds"]) == (1, 1, 2)
    assert (best["psnr_y"], best["ssim_y"], best["seconds"]) == (40.0, None, None)
    text = " ".join(suite_tables.report(runs).split())
    assert "| `fast` | 34.00 | 33.00-35.00 | - |" in text
    overview = "| Set5 x4, cubic | 1 | 30.00 / - | 34.00 / - | 40.00 / - | 31.13 (ZSSR, gradual; "
    overview += "all 5 images) |"
    assert overview in text
    assert "| SelfExSR [SelfExSR] | 30.33 | | 0.8623 |" in text
    assert "Huang, Singh, Ahuja" in text
    assert "Bell-Kligler" not in text
    json.loads(json.dumps(suite_tables.summary(runs)))


def test_a_case_without_any_result_has_a_table():
    failed = [run(0), run(1)]
    for one in failed:
        one["images"] = [{"image": "i0", "status": "failed", "error": "broken"}]
    text = " ".join(suite_tables.report(failed).split())
    assert "| `fast` | - | --- | - |" in text
    assert "0, 1 failed" in text


def test_published_figures_are_beside_their_own_set_only():
    rows = published.beside("Set5", 3, "cubic")
    assert [r.method for r in rows][1:3] == ["ZSSR, gradual", "SelfExSR"]
    assert published.beside("Set5", 3, "random") == []
    keys = [f[:4] for f in published.FIGURES]
    assert len({*keys}) == len(keys)
    assert {f.source for f in published.FIGURES} == {*published.SOURCES}
