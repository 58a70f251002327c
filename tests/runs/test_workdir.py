"""Which files are inputs, which go with them, and the rules of a work folder."""

import csv
import dataclasses
import json
import math

import pytest

import deepinternal
from deepinternal.files import sha256_file
from deepinternal.runs import renamed, stems
from deepinternal.runs import workdir as workdir_module
from deepinternal.runs.companions import companion
from deepinternal.runs.inputs import Job, list_jobs, tags_of
from deepinternal.runs.settings import split, to_config_dict
from deepinternal.runs.summary import write_summary
from deepinternal.runs.workdir import Noted, RefusedError, Workdir
from deepinternal.types import InputError
from tests import tiny_sets

RECIPE = tiny_sets.RECIPE


def at(folder, *, overwrite=False, **fields):
    """A work folder opened with some fields."""
    given = to_config_dict(RECIPE)
    given.update({"steps": 10, "log_every": 1, **fields})
    return Workdir(str(folder), RECIPE, *split(RECIPE, given), overwrite=overwrite)


def stems_of(text, **options):
    return [job.stem for job in stems.assign(list_jobs(str(text), **options), {})]


def test_no_input_is_the_sample():
    assert list_jobs("") == list_jobs("  ") == [Job("sample", None)]


def test_folder_glob_file_and_list(files):
    folder = files("b.png", "a.JPG", "c.tiff", "notes.txt", ".hidden.png", "k.mat", "sub/d.png")
    assert stems_of(folder) == ["a", "b", "c"]
    assert stems_of(f"{folder}/*.png") == ["b"]
    assert stems_of(f"{folder}/**/*.png") == ["b", "sub/d"]
    assert stems_of(f"{folder}/notes.txt") == ["notes"], "a file that is named is taken"
    assert stems_of(f"{folder}/sub, {folder}/b.png,") == ["d", "b"]
    assert stems_of(f"{folder}/b.png,{folder}") == ["b", "a", "c"], "each file once"
    assert list_jobs(f"{folder}/b.png")[0].path == folder / "b.png"


def test_companions_are_not_inputs(files):
    folder = files("a.png", "a_gt.png", "a_kernel.png", "psf.png", "b_gt_.png")
    assert stems_of(folder) == ["a", "a_kernel", "b_gt_", "psf"]
    others = {"tags": ("gt", "kernel"), "companions": ["", str(folder / "psf.png")]}
    assert stems_of(folder, **others) == stems_of(f"{folder}/*", **others) == ["a", "b_gt_"]
    assert stems_of(folder / "a_gt.png", **others) == ["a_gt"], "a file that is named is taken"


def test_stems_are_unique_and_safe(files):
    folder = files("x/a.png", "x/a.jpg", "y/a.png", "y/a-2.png", "z/config.json.png")
    assert stems_of(f"{folder}/x,{folder}/y") == ["a", "a-2", "a-2-2", "a-3"]
    assert stems_of(folder / "z") == ["config.json-2"]
    files("...png", "..png")
    assert stems_of(f"{folder}/...png,{folder}/..png") == ["..-2", ".-2"]


def test_names_with_commas_and_magic_are_files(files):
    folder = files("a, b.png", "[1]*.png")
    assert stems_of(folder / "a, b.png") == ["a, b"]
    assert stems_of(folder / "[1]*.png") == ["[1]*"]


@pytest.mark.parametrize("text", [",", "no.png", "*.nothing", "a.png,no.png", "x" * 5000])
def test_missing_inputs(files, monkeypatch, text):
    monkeypatch.chdir(files("a.png"))
    with pytest.raises(InputError, match=r"^config\.input") as caught:
        list_jobs(text)
    assert "\n" not in str(caught.value)


def test_companion_file_folder_and_beside(files):
    folder = files("a.png", "b.jpg", "a_gt.tif", "gt/a.png", "gt/b_gt.png", "k/a_0.mat", "k/b.npy")
    a, b = list_jobs(str(folder))[:2]
    find = lambda value, job, **o: companion("ground_truth", str(value), job, tag="gt", **o)
    assert find("", a) is None
    assert find("", a, beside=True) == folder / "a_gt.tif"
    assert find("", b, beside=True) is None
    assert find("", Job("sample", None), beside=True) is None
    assert find(folder / "gt/a.png", b) == folder / "gt/a.png"
    assert find(folder / "gt", a) == folder / "gt/a.png"
    assert find(folder / "gt", b) == folder / "gt/b_gt.png"
    assert find(folder, a) == folder / "a_gt.tif", "never the image itself"
    kernel = lambda value, job: companion("kernel", value, job, kind="kernel", tag="kernel")
    assert kernel(str(folder / "k"), a) == folder / "k/a_0.mat"
    assert kernel(str(folder / "k"), b) == folder / "k/b.npy"
    for value in (folder, folder / "gone", "x" * 5000):
        with pytest.raises(InputError, match=r"^config\.ground_truth"):
            find(value, b)


def test_kernels_of_several_fields(files):
    """A kernel named after its image serves every such field that has none of its own."""
    folder = files("a.png", "a_gt.png", "a_kernel.mat", "b.png", "b_kernel.npy", "b_truth.mat")
    kinds = {"truth": "kernel", "mask": "mask"}
    assert tags_of(kinds) == ("gt", "truth", "mask", "kernel")
    assert tags_of({"kernel": "kernel"}) == ("gt", "kernel")
    assert "kernel" not in tags_of({"mask": "mask"})
    files("a_kernel.png")
    a, b = list_jobs(str(folder), tags=tags_of(kinds))
    find = lambda field, value, job: companion(field, value, job, kind="kernel", tag=field)
    assert find("truth", str(folder), a) == folder / "a_kernel.mat"
    assert find("truth", str(folder), b) == folder / "b_truth.mat", "its own before the other"
    assert find("kernel", str(folder), b) == folder / "b_kernel.npy"
    files("other/a.png", "other/a_kernel.mat", "plain/a.png")
    assert find("truth", str(folder / "other"), a) == folder / "other/a_kernel.mat"
    assert find("truth", str(folder / "plain"), a) == folder / "plain/a.png"
    with pytest.raises(InputError, match=r"^config\.truth: no file for b .* such as b_truth\.mat$"):
        find("truth", str(folder / "plain"), b)
    files("m/a_kernel.png")
    with pytest.raises(InputError, match=r"^config\.mask: no file for a"):
        companion("mask", str(folder / "m"), a, kind="mask", tag="mask")


def test_rules(tmp_path):
    files = {"input": "1", "kernel": "2"}
    at(tmp_path).note("a", Noted(files, steps=10))
    at(tmp_path, log_every=7, parallel={"devices": 1}).note("a", Noted(files, steps=10))
    at(tmp_path, steps=20, train_steps=9).note("a", Noted(files, steps=20))
    for field, value, there in (
        ("seed", 1, 0),
        ("rate", 0.3, 0.2),
        ("steps", 19, 20),
        ("mask", "x", "''"),
    ):
        with pytest.raises(RefusedError, match=f"config: {field} .{there} there, .*--overwrite"):
            at(tmp_path, **{"steps": 20, field: value})
    with pytest.raises(RefusedError, match=r": seed \(.*, rate \("):
        at(tmp_path, seed=1, rate=0.3)
    workdir = at(tmp_path, steps=20)
    with pytest.raises(RefusedError, match=r"steps .20 there, 10 now"):
        workdir.note("a", Noted(files, steps=10))


def test_other_bytes_are_refused(files, monkeypatch):
    """Files are only read where their sizes or times are not those noted."""
    folder = files("x.png", "k.npy")
    paths = {"input": [folder / "x.png"], "kernel": [folder / "k.npy", folder / "x.png"]}
    workdir = at(folder / "out")
    new = workdir.look_at("a", paths)
    assert new.files["input"] == sha256_file(folder / "x.png")
    workdir.note("a", dataclasses.replace(new, steps=10))
    monkeypatch.setattr(workdir_module, "sha256_files", lambda _: pytest.fail("read again"))
    assert at(folder / "out").look_at("a", paths) == new
    monkeypatch.undo()
    (folder / "k.npy").write_bytes(b"other")
    with pytest.raises(
        RefusedError, match=r"a was made from different files .kernel. than .*/k.npy; .*--overwrite"
    ):
        at(folder / "out").look_at("a", paths)
    with pytest.raises(RefusedError, match=r"\(kernel\)"):
        at(folder / "out").look_at("a", {"input": paths["input"]})
    assert at(folder / "out").look_at("b", paths).files["input"] == new.files["input"]
    with pytest.raises(InputError, match="no such file"):
        at(folder / "out").look_at("c", {"input": [folder / "none.png"]})


def test_what_is_noted_is_read_again(tmp_path):
    new = Noted({"input": "1"}, {"input": [[5, 2**62]]}, 7, {"steps": 10, "train_steps": 60})
    new = dataclasses.replace(new, paths={"input": ["/photos/\udcff.png"]}, canvas=[4, 6])
    at(tmp_path).note("a", new)
    assert at(tmp_path).noted("a") == new
    assert at(tmp_path).noted("b") is None
    for text in ("", "[]", "{}", '{"files": 1, "steps": 2}'):
        (tmp_path / "a/input.json").write_text(text)
        assert at(tmp_path).noted("a") is None
    (tmp_path / "a/input.json").write_text('{"files": {"input": "1"}, "steps": 3}')
    assert at(tmp_path).noted("a") == Noted({"input": "1"}, steps=3), "as older versions note it"


def write_config(folder, **fields):
    (folder / "config.json").write_text(json.dumps({"config": fields}))


def test_a_work_folder_of_an_older_version_is_continued(tmp_path, monkeypatch):
    """Missing fields take their defaults, and the table knows those with other names."""
    table = {"tiny_sets": {"speed": ("rate", lambda percent: percent / 100)}}
    monkeypatch.setattr(renamed, "RENAMED", table)
    old = {"method": "tiny_sets", "input": "", "seed": 0, "steps": 7, "required": "", "speed": 20}
    write_config(tmp_path, **old, parallel={"devices": 3})
    at(tmp_path)
    with pytest.raises(RefusedError, match=r"rate \(0.2 there, 0.3 now\)"):
        at(tmp_path, rate=0.3)
    write_config(tmp_path, **old, gone=1)
    with pytest.raises(RefusedError, match=r"another version: .*config.gone: .*--overwrite"):
        at(tmp_path)
    write_config(tmp_path, method="other", seed=0)
    with pytest.raises(RefusedError, match=r"config: method \('other' there, 'tiny_sets' now\);"):
        at(tmp_path)


def test_only_folders_without_a_version_are_renamed(tmp_path, monkeypatch):
    def once(value):
        assert value == 9, "converted again"
        return 0.2

    monkeypatch.setattr(renamed, "RENAMED", {"tiny_sets": {"rate": ("rate", once)}})
    write_config(tmp_path, method="tiny_sets", input="", seed=0, rate=9)
    at(tmp_path).note("a", Noted({}, steps=10))
    at(tmp_path)


def test_fields_of_older_versions():
    """What the first released form of each method called its fields, and what they are today."""
    new = renamed.renamed("dip", {"sigma": 25.5, "runs": 2, "task_steps": 30, "required": ""})
    assert new == {"noise_std": 0.1, "replicas": 2, "train_steps": 30}
    new = renamed.renamed("zssr", {"noise_std": -1.0, "required": "kernel"})
    assert new == {"noise_std": "auto", "kernel_use": "given"}
    assert renamed.renamed("kernelgan", {"noise_std": 0.1}) == {"noise_std": 0.1}
    assert renamed.renamed("unknown", {"a.b": 1}) == {"a.b": 1}


def test_a_config_says_which_version_wrote_it(tmp_path):
    at(tmp_path, seed=3).note("a", Noted({}, steps=10))
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["version"] == deepinternal.__version__
    assert saved["config"]["seed"] == 3
    assert saved["config"]["parallel"]["devices"] == 0
    assert saved["config"]["method"] == "tiny_sets"


def test_opening_binds_nothing(tmp_path):
    at(tmp_path / "x")
    at(tmp_path / "x", seed=1)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"config": 1, "inputs": {}}', "\xff"])
def test_a_foreign_config_is_left_alone(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    for overwrite in (False, True):
        with pytest.raises(RefusedError, match="config"):
            at(tmp_path, overwrite=overwrite)
    assert (tmp_path / "config.json").read_text(encoding="latin-1") == text


def test_results_of_an_unknown_config_or_unknown_files_are_refused(tmp_path):
    at(tmp_path).note("a", Noted({"input": "1"}, steps=10))
    (tmp_path / "a/checkpoints").mkdir()
    (tmp_path / "config.json").unlink()
    with pytest.raises(RefusedError, match=r"config\.json is missing"):
        at(tmp_path)
    at(tmp_path, overwrite=True).begin()
    assert not (tmp_path / "a").exists()
    folder = at(tmp_path)
    folder.note("a", Noted({"input": "1"}, steps=10))
    (tmp_path / "a/checkpoints").mkdir()
    (tmp_path / "a/input.json").write_text("{")
    with pytest.raises(RefusedError, match=r"unknown files: a/input\.json is missing"):
        folder.note("a", Noted({"input": "2"}, steps=10))


def test_overwrite_removes_what_runs_made(tmp_path):
    workdir = at(tmp_path)
    made = ["result.png", "mask.png", "train.jsonl", "checkpoints/12/state", "report.html"]
    made += ["samples/2x1.png", "clean/00000.png"]
    for stem in ("a", "b"):
        workdir.note(stem, Noted({"input": "1"}, steps=10))
        for name in made:
            (tmp_path / stem / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / stem / name).write_bytes(b"x")
        outputs = ["result.png", "mask.png", "samples/2x1.png", "clean/"]
        done = {"image": stem, "status": "done", "steps": 10, "seconds": 1, "outputs": outputs}
        workdir.write_metrics(stem, done)
    write_summary(tmp_path, [])
    (tmp_path / "a/mine.png").write_bytes(b"x")
    (tmp_path / "mine").mkdir()
    new = at(tmp_path, seed=1, overwrite=True)
    assert new.noted("a") is new.metrics("a") is None
    assert (tmp_path / "a/result.png").exists(), "discarded before the command has begun"
    new.begin()
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "a",
        "a/mine.png",
        "mine",
    ]


def test_summary(tmp_path):
    images = [
        {"image": "a", "status": "done", "seconds": 30.0, "seed": 3, "psnr_y": 30.0, "ok": True},
        {"image": 'b,"\né', "status": "done", "seconds": 60.0, "seed": 3, "psnr_y": math.inf},
        {"image": "c", "status": "done", "seconds": 90.0, "seed": 3, "psnr_y": 32.0},
        {"image": "d", "status": "failed", "seconds": 0.0, "seed": 3, "error": "x"},
    ]
    # Side by side for 20 seconds, and a pause of 1000 between two parts: 120 seconds in all.
    images[0]["spans"] = [[1000.0, 1030.0]]
    images[2]["spans"] = [[1010.0, 1070.0], [2070.0, 2120.0]]
    write_summary(tmp_path, [*images[:1], *images[2:]])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["mean"] == {"seconds": 60.0, "psnr_y": 31.0}
    assert summary["images_per_hour"] == 60.0
    assert summary["images"] == [images[0], *images[2:]]
    write_summary(tmp_path, images)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["images"][1]["psnr_y"] is None
    with open(tmp_path / "summary.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [r["image"] for r in rows] == ["a", 'b,"\né', "c", "d"]
    assert rows[3]["error"] == "x"
    assert rows[3]["psnr_y"] == rows[0]["error"] == ""
    write_summary(tmp_path, [])
    empty = {"images": [], "mean": {}, "images_per_hour": 0.0}
    assert json.loads((tmp_path / "summary.json").read_text()) == empty
