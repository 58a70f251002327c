"""The comparison of decompositions: figures against plain NumPy, hints, peers, resuming."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import common
from benchmarks.decomposition import __main__ as program
from benchmarks.decomposition import cases, images, masks, peers, pictures, scores, tables
from benchmarks.decomposition.restorations import Restoration
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.types import InputError
from tests import tiny_hinted

SIZE = (18, 23)
Y, X = np.mgrid[: SIZE[0], : SIZE[1]]


def disc(y, x, radius):
    return np.hypot(Y - y, X - x) <= radius


def brute_outline(mask):
    found = set()
    for y, x in np.argwhere(mask):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < mask.shape[0] and 0 <= u < mask.shape[1] and not mask[v, u]:
                found.add((int(y), int(x)))
    return found


def brute_distance(a, b):
    nearest = lambda p, points: min(np.hypot(p[0] - q[0], p[1] - q[1]) for q in points)
    return (np.mean([nearest(p, b) for p in a]) + np.mean([nearest(p, a) for p in b])) / 2


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_plain_loops(seed):
    draws = np.random.default_rng(seed)
    truth = disc(9, 11, 6)
    void = disc(9, 11, 7) & ~disc(9, 11, 5)
    mask = disc(8, 12, 6) ^ (draws.random(SIZE) < 0.03)
    pixels = [(m, t) for m, t, v in zip(mask.flat, truth.flat, void.flat) if not v]
    expected = sum(m and t for m, t in pixels) / sum(m or t for m, t in pixels)
    assert scores.iou(mask, truth, void) == pytest.approx(expected)
    assert {*map(tuple, np.argwhere(scores.outline(mask)).tolist())} == brute_outline(mask)
    whole = np.array([[m if v else t for m, t, v in zip(*rows)] for rows in zip(mask, truth, void)])
    lines = brute_outline(mask), brute_outline(whole)
    found = scores.outlines(mask, truth, void)
    assert found["distance"] == pytest.approx(brute_distance(*lines))
    near = [
        np.mean([min(np.hypot(p[0] - q[0], p[1] - q[1]) for q in b) <= 0.008 * 29.2 for p in a])
        for a, b in (lines, lines[::-1])
    ]
    assert found["boundary"] == pytest.approx(2 * near[0] * near[1] / sum(near))


def test_every_outline_in_the_void_band_is_right():
    truth, void = disc(9, 11, 5), disc(9, 11, 7) & ~disc(9, 11, 4)
    for radius in (4, 5, 6.5, 7):
        found = scores.of_image(disc(9, 11, radius), truth, void)
        assert found == {"iou": 1.0, "distance": 0.0, "boundary": 1.0}
    beyond = scores.of_image(disc(9, 11, 8), truth, void)
    assert 0 < beyond["distance"] < 1.5
    assert beyond["iou"] < 1


def test_masks_without_an_outline_have_the_diagonal_as_their_distance():
    truth, empty = disc(9, 11, 5), np.zeros(SIZE, bool)
    assert scores.outlines(empty, truth, empty)["distance"] == pytest.approx(np.hypot(*SIZE))
    assert scores.outlines(~empty, truth, empty)["distance"] == pytest.approx(np.hypot(*SIZE))
    assert scores.of_image(empty, empty, empty) == {"iou": 1.0, "distance": 0.0, "boundary": 1.0}


def test_the_border_of_the_image_is_no_outline():
    half = X < 10
    assert {*map(tuple, np.argwhere(scores.outline(half)))} == {(y, 9) for y in range(SIZE[0])}


def test_figures_of_clips():
    truths = np.stack([disc(9, 6 + 2 * t, 4) for t in range(4)])
    voids = np.zeros_like(truths)
    exact = scores.of_video(truths, truths, voids)
    assert [exact[n] for n in ("iou", "fall", "flicker", "distance")] == [1, 0, 0, 0]
    still = np.repeat(truths[:1], 4, axis=0)
    found = scores.of_video(still, truths, voids)
    each = [np.sum(still[0] & t) / np.sum(still[0] | t) for t in truths]
    assert found["frames"] == pytest.approx(each)
    assert found["iou"] == pytest.approx(np.mean(each[1:]))
    assert found["fall"] == pytest.approx(each[3] - each[1])
    assert found["fall"] < 0
    errors = still.astype(int) - truths
    changes = [
        abs(int(q) - int(p)) for a, b in itertools.pairwise(errors) for p, q in zip(a.flat, b.flat)
    ]
    assert found["flicker"] == pytest.approx(np.mean(changes))
    every_second = truths ^ (np.arange(4) % 2 > 0)[:, None, None]
    assert scores.of_video(every_second, truths, voids)["flicker"] == pytest.approx(1)
    assert scores.of_video(every_second, truths, voids | True)["flicker"] == 0


def test_hints_of_clips_keep_their_distances():
    y, x = np.mgrid[:40, :50]
    truth = np.hypot(y - 20, x - 25) <= 12
    void = np.zeros_like(truth)
    foreground, background = cases.clip_hints(truth, void)
    away = lambda mask, y, x: np.min(np.hypot(*(np.argwhere(mask) - (y, x)).T))
    assert all(away(~truth, *p) > 4 for p in np.argwhere(foreground))
    assert all(away(~truth, *p) <= 4 for p in np.argwhere(truth & ~foreground))
    assert all(away(truth, *p) > 6 for p in np.argwhere(background))
    thin = np.abs(y - 20) < 3
    foreground, _ = cases.clip_hints(thin, void)
    assert foreground.any()
    assert not (foreground & ~thin).any()


@pytest.fixture
def folder(tmp_path):
    """Two photographs of an orange disc on blue, with noise, one of them with a void band."""
    draws = np.random.default_rng(0)
    for name in ("foreground1", "background1", "truth"):
        (tmp_path / name).mkdir()
    for name, y in (("a", 9), ("106024", 10)):
        inside = disc(y, 11, 6)
        image = np.where(inside[..., None], (0.9, 0.5, 0.1), (0.1, 0.3, 0.8))
        image = np.clip(image + draws.normal(0, 0.03, image.shape), 0, 1)
        truth = np.where(disc(y, 11, 7) & ~disc(y, 11, 5), 128 / 255, inside)
        maps = {"": image, "foreground1": disc(y, 11, 2), "background1": Y < 2}
        for part, made in {**maps, "truth": inside if name == "a" else truth}.items():
            write_image(tmp_path / part / f"{name}.png", np.float32(made))
    return tmp_path


def test_photographs_with_their_strokes(folder):
    found = cases.find_images(folder, ["1", "auto"])
    assert [(c.name, c.strokes) for c in found] == [
        (name, strokes) for name in ("106024", "a") for strokes in ("1", "auto")
    ]
    loaded = found[0].load()
    assert loaded.void.any()
    assert not (loaded.void & loaded.truth).any()
    np.testing.assert_array_equal(loaded.truth, disc(10, 11, 5))
    np.testing.assert_array_equal(loaded.hints[1], Y < 2)
    assert found[1].load().hints is None
    with pytest.raises(InputError, match=r"foreground2/106024\.png is missing"):
        cases.find_images(folder, ["2"])
    with pytest.raises(InputError, match="no such folder"):
        cases.find_images(folder / "nowhere", ["1"])


def test_peers_without_extra_packages(folder):
    case = cases.find_images(folder, ["1"])[1].load()
    near = peers.nearest(case.image, case.hints)
    away = lambda hint, p: min(np.hypot(*(q - p)) for q in np.argwhere(hint))
    for p in np.random.default_rng(1).integers(0, SIZE, (40, 2)):
        assert near[tuple(p)] == (away(case.hints[0], p) < away(case.hints[1], p))
    walked = peers.random_walker(case.image, case.hints)
    assert scores.iou(walked, case.truth, case.void) > 0.95


def test_grabcut_and_flow(folder):
    pytest.importorskip("cv2")
    case = cases.find_images(folder, ["1"])[1].load()
    assert scores.iou(peers.grabcut(case.image, case.hints), case.truth, case.void) > 0.95
    large = lambda x: np.repeat(np.repeat(x, 5, axis=0), 5, axis=1)
    clip = np.stack([np.roll(large(case.image), 4 * t, axis=1) for t in range(3)])
    truths = np.stack([np.roll(large(case.truth), 4 * t, axis=1) for t in range(3)])
    hints = cases.clip_hints(truths[0], 0 * truths[0] > 0)
    for way in (peers.grabcut_tracked, peers.flow):
        assert scores.of_video(way(clip, hints), truths, 0 * truths > 0)["iou"] > 0.9


def test_only_parts_connected_with_a_hint_are_kept():
    mask = (disc(9, 8, 6) & ~disc(9, 6, 1) & ~disc(9, 10, 1)) | disc(9, 20, 1)
    hints = disc(5, 8, 0), disc(9, 10, 0)
    expected = disc(9, 8, 6) & ~disc(9, 10, 1)
    np.testing.assert_array_equal(peers.connected(mask, hints), expected)


def test_results_are_kept_and_resumed(folder, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    found = cases.find_images(folder, ["1"])
    rows = {"nearest": masks.other(peers.nearest)}
    results = masks.Results(out, "segmentation")
    for case in found:
        results.measure(case, rows, 0)
    assert [r["image"] for r in results.records] == ["106024", "a"]
    lines = (out / masks.CASES).read_text()
    (out / masks.CASES).write_text(lines + lines[:30])  # an interrupted line
    again = masks.Results(out, "segmentation")
    again.measure(found[0], {"nearest": None}, 0)  # is known
    assert (out / masks.CASES).read_text() == lines
    again.draw(found[0])
    drawn = read_image(out / "pictures" / "106024-1.png").pixels
    assert drawn.shape == (2 * (SIZE[0] + 14), 2 * SIZE[1], 3)
    other = {
        **json.loads(lines.splitlines()[0]),
        "row": "ours",
        "iou": 0.5,
        "new": True,
        "cpu": 9.0,
    }
    text = tables.report([*again.records, other])
    row = next(line for line in text.splitlines() if line.startswith("| ours "))
    cells = [cell.strip() for cell in row.split("|")[2:-1]]
    assert cells[:2] == ["1", "0.500"]
    assert cells[4:] == ["-", "-", "0.500", "-", "-", "9.0", "0.0"]
    assert any(line.startswith("| 106024 *") for line in text.splitlines())


def test_the_spread_over_seeds_is_that_of_the_means():
    values = np.random.default_rng(0).random((3, 4))  # seeds, images
    facts = {"strokes": "1", "row": "ours", "cpu": 1.0, "wall": 1.0}
    records = [
        {**facts, "seed": seed, "image": str(image), "iou": values[seed, image]}
        for seed, image in np.ndindex(values.shape)
    ]
    records.append({**facts, "seed": 0, "image": "alone", "iou": 0.0})  # has not all seeds
    row = next(line for line in tables.means(records).splitlines() if "ours" in line)
    cells = [cell.strip() for cell in row.split("|")[2:-1]]
    assert cells[2] == f"{np.std(values.mean(1), ddof=1):.3f}"


def test_outlines_are_drawn_over_the_image():
    image = np.full((*SIZE, 3), 0.5, np.float32)
    made = pictures.over(image, disc(9, 11, 5), (1, 1, 0))
    np.testing.assert_array_equal(made[9, 11], image[9, 11])
    np.testing.assert_array_equal(made[9, 6], (1, 1, 0))
    assert made[0, 0].max() < 0.3


def test_a_method_of_ours_on_a_photograph(folder, monkeypatch):
    config = "from tests.tiny_hinted import RECIPE\nfrom deepinternal.runs.settings import *\n"
    config += "def get_config(arg=None): return to_config_dict(RECIPE, arg)\n"
    (folder / "tiny.py").write_text(config)
    monkeypatch.setattr(common.methods, "find", lambda name: tiny_hinted.RECIPE)
    case = cases.find_images(folder, ["1"])[0].load()
    ours = masks.Ours(f"{folder}/tiny.py", {"fit_steps": "30"}, "single")
    assert ours.name == "tiny fit_steps=30"
    made, known = ours.run(case, seed=0)
    assert made.shape == SIZE
    assert made[case.hints[0]].all()
    assert not made[case.hints[1]].any()
    assert known == {"new": True}
    assert not ours.run(case, seed=1)[1]["new"]


def _restorations(folder, *, limit=0):
    """Two images, the second of which is brighter by .1 than it should be."""
    del folder
    truth = np.full((9, 12, 3), 0.5, np.float32)
    made = [Restoration(name, truth + offset, truth) for name, offset in (("a", 0.2), ("b", 0.1))]
    return made[: limit or None]


def test_images_beside_their_truth(tmp_path, monkeypatch):
    darker = {"darker": lambda case: case.image - 0.15}
    gap = lambda made, case: {"gap": -float(np.abs(made["result"] - case.truth).mean())}
    module = SimpleNamespace(find=_restorations, PEERS=darker, score=gap, FIGURE="gap")
    monkeypatch.setattr(images.importlib, "import_module", lambda name: module)
    results = images.Results(tmp_path, "dehazing")
    rows, fixed = images.rows_of("dehazing", ["dehazing:fast"], {}, peers=True)
    assert [*rows] == ["dehazing:fast"]
    for case in results.cases(tmp_path):
        results.measure(case, fixed, 0)
    text = images.Results(tmp_path, "dehazing").report()  # from the file
    cells = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines()[4:6]}
    values = {row: [cell.strip() for cell in line[:4]] for row, line in cells.items()}
    assert values == {
        images.INPUT: ["2", "-0.150", "-", "+0.000"],
        "darker": ["2", "-0.050", "-", "+0.050"],
    }
    results.draw(case)
    drawn = read_image(tmp_path / "pictures" / "b.png").pixels
    assert drawn.shape == (2 * (9 + 14), 2 * 12, 3)


def test_one_of_our_methods_on_an_image_of_haze(monkeypatch):
    case = _restorations(None)[0]
    name, run = images.ours("denoise:ridge", {"seed": 0})
    assert name == "denoise:ridge seed=0"
    made = run(case, 0)["result"]
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, case.image, atol=1e-3)  # constant


def test_unknown_tasks_and_unsuitable_configs_are_refused():
    with pytest.raises(InputError, match=r"did you mean dehazing.*; give segmentation or"):
        program._check_task("dehazin")
    with pytest.raises(InputError, match="takes no hints"):
        masks.Ours("dehazing", {}, "single")
    with pytest.raises(InputError, match="video_segmentation for videos"):
        masks.Ours("segmentation", {}, "video")


def test_missing_packages_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(peers, "_is_installed", lambda module: module != "cv2")
    assert [*peers.installed(peers.IMAGE_PEERS)] == ["nearest stroke", "random walker"]
    assert "GrabCut needs the module cv2" in capsys.readouterr().err
