"""Each folder of a work folder belongs to one file, whatever the list looks like later."""

import dataclasses
import json
import shutil
import threading
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepinternal import loading, methods
from deepinternal.files import sha256_files
from deepinternal.recipe import Canvas
from deepinternal.runs import jobs, settings, stems
from deepinternal.runs.inputs import Job, list_jobs
from deepinternal.runs.stems import Owner
from deepinternal.runs.workdir import RefusedError
from tests import tiny_sets

RECIPE = tiny_sets.RECIPE


def named(text, known=None, **options):
    """The stems of the jobs of a list, by the paths of their files."""
    assigned = stems.assign(list_jobs(str(text), **options), known or {})
    return {str(job.path): job.stem for job in assigned}


def photo(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8, 3), value, np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    """Two photographs with one name, and another."""
    photo(tmp_path / "photos/2021/IMG_1.png", 10)
    photo(tmp_path / "photos/2022/IMG_1.png", 20)
    photo(tmp_path / "photos/2022/IMG_2.png", 30)
    return tmp_path / "photos"


@pytest.fixture
def run(tmp_path):
    def start(source, recipe=RECIPE, **options):
        fields = {k: options.pop(k) for k in list(options) if k != "overwrite"}
        given = settings.to_config_dict(recipe)
        given.update({"input": str(source), "train_steps": 2, "progress": False, **fields})
        both = settings.split(recipe, given)
        return jobs.run_all(recipe, *both, str(tmp_path / "out"), **options)

    return start


@pytest.fixture
def out(tmp_path):
    """The values of the results that exist, by stem, and when each was made."""

    def results():
        found = {}
        for path in sorted((tmp_path / "out").rglob("result.png")):
            stem = path.parent.relative_to(tmp_path / "out").as_posix()
            value = json.loads((path.parent / "input.json").read_text())["paths"]["input"][0]
            found[stem] = (value, path.stat().st_mtime_ns)
        return found

    return results


def summary(tmp_path):
    images = json.loads((tmp_path / "out/summary.json").read_text())["images"]
    return [image["image"] for image in images]


def test_stems_differ_on_every_file_system(files):
    folder = files("IMG.png", "img.jpg", "config.json.png", "Profile.png")
    files(unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.jpg"))
    found = sorted(named(folder).values())
    folded = {unicodedata.normalize("NFC", stem).casefold() for stem in found}
    assert len(folded) == len(found) == 6
    assert not {"config.json", "profile"} & folded


def test_numbers_fit_into_the_length_of_a_name(files):
    name = "長" * 83
    folder = files(f"{name}.png", f"x/{name}.jpg", f"x/{'b' * 251}.png", f"y/{'b' * 251}.png")
    found = list(named(f"{folder}/{name}.png,{folder}/x,{folder}/y").values())
    assert found[0] == name
    assert len(set(found)) == 4
    assert max(len(stem.encode()) for stem in found) <= 255


def test_an_image_lies_in_no_folder_of_another(files):
    folder = files("2021.png", "2021/IMG.png", "2021/result.png/x.png")
    found = named(f"{folder}/**/*.png")
    assert found[f"{folder}/2021/IMG.png"] == "2021/IMG"
    assert found[f"{folder}/2021/result.png/x.png"] == "2021/result.png/x"
    assert found[f"{folder}/2021.png"] == "2021-2"
    first = {"2021": Owner(f"{folder}/2021.png", "1")}
    found = named(f"{folder}/**/*.png", first)
    assert found[f"{folder}/2021.png"] == "2021"
    assert found[f"{folder}/2021/IMG.png"] == "2021-2/IMG"


def test_a_file_keeps_its_stem_whatever_comes_before_it(files):
    folder = files("IMG_1.png", "a/IMG_1.png", "b/IMG_1.png")
    known = {"IMG_1": Owner(f"{folder}/b/IMG_1.png", "1"), "IMG_1-4": Owner("", "2")}
    found = named(f"{folder}/a,{folder}/b,{folder}", known)
    assert found[f"{folder}/b/IMG_1.png"] == "IMG_1"
    assert found[f"{folder}/a/IMG_1.png"] == "IMG_1-2"
    assert found[f"{folder}/IMG_1.png"] == "IMG_1-3"
    gone = {"IMG_1": Owner(f"{folder}/gone/IMG_1.png")}
    assert named(folder / "a", gone) == {f"{folder}/a/IMG_1.png": "IMG_1"}, "nothing was made"


def test_two_videos_in_one_folder_keep_their_stems(files):
    folder = files("f/a1.png", "f/a2.png", "f/b1.png")
    (folder / "f/b1.png").write_bytes(b"other")
    listed = list_jobs(f"{folder}/f/a*.png,{folder}/f/b*.png", grouping="video")
    first, second = stems.assign(listed, {})
    assert (first.stem, second.stem) == ("f", "f-2")
    known = {job.stem: Owner(job.place, sha256_files(job.files)) for job in (first, second)}
    assert stems.assign(listed[::-1], known) == [second, first]
    (folder / "f/b1.png").write_bytes(b"changed")
    assert stems.assign(listed, known) == [first, second]


def test_many_files_of_one_name_are_numbered_quickly():
    many = [Job("x", Path(f"/photos/{i}/x.png")) for i in range(4000)]
    assigned = stems.assign(many, {})
    assert [assigned[i].stem for i in (0, 1, 3999)] == ["x", "x-2", "x-4000"]


def test_a_hostile_list_of_stems_stays_inside(files):
    folder = files("a.png", "out/config.json")
    place = str(folder / "a.png")
    (folder / "out/stems.json").write_text(json.dumps({"../a": place, "/a": place, "a": 1}))
    assert stems.owners(folder / "out") == {}
    (folder / "out/stems.json").write_text("[1]")
    assert stems.owners(folder / "out") == {}


def test_a_longer_list_continues_the_work_folder(run, photos, out, tmp_path, monkeypatch):
    assert run(photos / "2022") == 0
    before = out()
    assert run(f"{photos}/2021,{photos}/2022/") == 0
    after = out()
    assert {stem: after[stem] for stem in before} == before, "trained again"
    assert after["IMG_1-2"][0] == str(photos / "2021/IMG_1.png")
    assert summary(tmp_path) == ["IMG_1-2", "IMG_1", "IMG_2"]
    shutil.copy(photos / "2022/IMG_2.png", photos / "2022/IMG_1.jpg")
    assert run(f"{photos}/2022") == 0
    assert {stem: out()[stem] for stem in after} == after
    assert summary(tmp_path) == ["IMG_1-3", "IMG_1", "IMG_2"], "the images of this command"
    monkeypatch.setattr(methods, "find", lambda name: RECIPE)
    result = loading.load(tmp_path / "out", "IMG_1-2")
    np.testing.assert_allclose(result.task.source.images[0].pixels, 10 / 255, atol=1e-6)


def test_a_moved_folder_keeps_its_results(run, photos, out, tmp_path):
    assert run(f"{photos}/2021,{photos}/2022") == 0
    before = {stem: made for stem, (_, made) in out().items()}
    photos.rename(tmp_path / "moved")
    assert run(f"{tmp_path}/moved/2022,{tmp_path}/moved/../moved/2021") == 0
    after = out()
    assert {stem: made for stem, (_, made) in after.items()} == before
    assert after["IMG_1"][0] == str(tmp_path / "moved/2021/IMG_1.png")
    photo(tmp_path / "moved/2021/IMG_1.png", 90)
    with pytest.raises(RefusedError, match=r"IMG_1 was .* \(input\) than .*moved/2021/IMG_1\.png"):
        run(tmp_path / "moved/2021")
    assert run(tmp_path / "moved/2021", overwrite=True) == 0
    assert list(out()) == ["IMG_1"]


def test_subfolders_are_kept(run, photos, out, tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "find", lambda name: RECIPE)
    assert run(f"{photos}/**/*.png") == 0
    assert list(out()) == ["2021/IMG_1", "2022/IMG_1", "2022/IMG_2"]
    assert summary(tmp_path) == list(out())
    page = (tmp_path / "out/index.html").read_text()
    assert 'href="2021/IMG_1/report.html"' in page
    assert 'href="../../index.html"' in (tmp_path / "out/2021/IMG_1/report.html").read_text()
    result = loading.load(tmp_path / "out", "2022/IMG_1")
    np.testing.assert_allclose(result.task.source.images[0].pixels, 20 / 255, atol=1e-6)
    assert run(f"{photos}/2021") == 0, "the same file and contents, without its subfolder"
    assert list(out()) == ["2021/IMG_1", "2022/IMG_1", "2022/IMG_2"]
    (tmp_path / "out/mine.txt").write_text("the user's own")
    assert run(f"{photos}/2022", overwrite=True) == 0
    assert list(out()) == ["IMG_1", "IMG_2"]
    assert not (tmp_path / "out/2021").exists()
    assert (tmp_path / "out/mine.txt").exists()


def test_a_work_folder_of_the_released_form_is_continued(run, photos, out, tmp_path):
    """It has no stems.json, and its input.json holds hashes only."""
    assert run(f"{photos}/2021,{photos}/2022") == 0
    before = {stem: made for stem, (_, made) in out().items()}
    (tmp_path / "out/stems.json").unlink()
    for stem in before:
        path = tmp_path / "out" / stem / "input.json"
        noted = json.loads(path.read_text())
        path.write_text(json.dumps({name: noted[name] for name in ("files", "steps", "stamps")}))
    assert run(f"{photos}/2022,{photos}/2021") == 0
    assert {stem: made for stem, (_, made) in out().items()} == before
    (tmp_path / "out/stems.json").unlink()
    path = tmp_path / "out/IMG_2/input.json"
    path.write_text(json.dumps({"files": json.loads(path.read_text())["files"], "steps": 2}))
    photo(photos / "2022/IMG_2.png", 99)
    with pytest.raises(RefusedError, match=r"IMG_2 was made from different files \(input\)"):
        run(f"{photos}/2021,{photos}/2022")


def test_two_processes_with_different_lists(run, photos, out):
    """Both want the same stem at once; each file gets one of its own."""
    lists = [photos / "2021", photos / "2022/IMG_1.png", f"{photos}/2022,{photos}/2021"]
    done = {}
    threads = [
        threading.Thread(target=lambda text=text: done.update({str(text): run(text)}))
        for text in lists
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(done.values()) == {0}
    made = {stem: place for stem, (place, _) in out().items()}
    assert set(made) == {"IMG_1", "IMG_1-2", "IMG_2"}
    assert len(set(made.values())) == 3


def test_files_that_go_with_images_are_compared_by_contents(run, photos, tmp_path):
    mask = tmp_path / "mask.png"
    Image.fromarray(np.full((6, 8), 255, np.uint8)).save(mask)
    assert run(photos / "2021", mask=str(mask)) == 0
    shutil.copy(mask, tmp_path / "same.png")
    assert run(photos / "2021", mask=str(tmp_path / "same.png")) == 0
    Image.fromarray(np.tile(np.uint8([0, 255]), (6, 4))).save(mask)
    with pytest.raises(RefusedError, match=r"\(mask\) than .*mask\.png"):
        run(photos / "2021", mask=str(mask))
    with pytest.raises(RefusedError, match=r"config: mask \("):
        run(photos / "2021")


def test_an_image_keeps_its_canvas_when_the_list_grows(run, tmp_path):
    sizes = []

    def pad(config, inputs, canvas):
        sizes.append(canvas)
        room = [(0, c - n) for c, n in zip(canvas, inputs["mask"].shape)]
        image = np.pad(inputs["images"], [(0, 0), *room, (0, 0)])
        return {**inputs, "images": image, "mask": np.pad(inputs["mask"], room)}

    canvas = Canvas(lambda config, shape, sides: shape[2], pad)
    recipe = dataclasses.replace(RECIPE, canvas=canvas)
    for name, size in (("a", (6, 8)), ("b", (8, 6)), ("c", (9, 12))):
        photo(path := tmp_path / f"in/{name}.png", 0)
        Image.fromarray(np.full((*size, 3), 40, np.uint8)).save(path)
    two = f"{tmp_path}/in/a.png,{tmp_path}/in/b.png"
    assert run(two, recipe) == 0
    assert set(sizes) == {(8, 8)}
    sizes.clear()
    assert run(tmp_path / "in", recipe, train_steps=5) == 0
    assert sizes == [(8, 8), (8, 8), (9, 12)]
    resumed = json.loads((tmp_path / "out/a/metrics.json").read_text())["resumed_steps"]
    assert resumed == [2]
