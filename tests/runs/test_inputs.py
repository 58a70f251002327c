"""Which files of a folder or a glob are inputs, which are left out, and how paths are written."""

import os

import pytest

from deepinternal.files import expanded, file_name
from deepinternal.runs.companions import companion
from deepinternal.runs.inputs import list_jobs
from deepinternal.types import InputError
from tests import needs


def names(text, **options):
    return [job.path.name for job in list_jobs(str(text), **options)]


def test_images_that_are_not_read_are_named_in_one_line(files, capfd):
    folder = files("a.png", "b.JFIF", "c.jpe", "d.cr2", "e.dng", "f.exr", "g.jp2", "notes.txt")
    files("Thumbs.db", "a.xmp", "a.json", ".DS_Store", "d_gt.exr", ".x.exr", "old.png/x.png")
    assert names(folder) == ["a.png", "b.JFIF", "c.jpe"]
    assert capfd.readouterr().err == ""
    for text in (folder, f"{folder}/*", f"{folder}/*.*", f"{folder}/?.[!x]*"):
        assert names(text, quiet=False) == ["a.png", "b.JFIF", "c.jpe"], text
        (line,) = capfd.readouterr().err.splitlines()
        assert line.endswith(
            f"{folder}/f.exr and 1 more: their formats are not read; convert them to PNG or TIFF"
        )
        assert f"left out: {folder}/d.cr2, {folder}/e.dng, " in line
    assert names(f"{folder}/**", quiet=False) == ["a.png", "b.JFIF", "c.jpe", "x.png"]
    capfd.readouterr()
    assert names(f"{folder}/*.dng", quiet=False) == ["e.dng"], "what a glob says is meant"
    assert capfd.readouterr().err == ""
    files("only/a.exr", "only/b.txt")
    with pytest.raises(InputError, match=r"no images .*/only; left out: .*a\.exr: their formats"):
        list_jobs(str(folder / "only"))


def test_a_folder_with_the_name_of_an_image_is_a_folder(files):
    folder = files("old.png/a.png", "old.png/b.png/c.png", "x/1.png", "x/2.png", "x/3.png/4.png")
    assert names(folder / "old.png") == ["a.png"]
    assert names(f"{folder}/old.png, {folder}/x") == ["a.png", "1.png", "2.png"]
    assert names(f"{folder}/**/*.png") == ["a.png", "c.png", "1.png", "2.png", "4.png"]
    with pytest.raises(InputError, match="nothing matches"):
        list_jobs(f"{folder}/*.png")
    (video,) = list_jobs(f"{folder}/x", grouping="video")
    assert [path.name for path in video.several] == ["1.png", "2.png"]
    (video,) = list_jobs(f"{folder}/old.png/b.png", grouping="video")
    assert video.stem == "b.png"


def test_each_file_is_listed_once(files):
    folder = files("in/a.png", "in/b.png")
    (folder / "link").symlink_to(folder / "in")
    (folder / "in/self").symlink_to(folder / "in")
    (folder / "in/c.png").symlink_to(folder / "in/a.png")
    assert names(f"{folder}/in,{folder}/link/a.png,{folder}/in/../in/b.png") == [
        "a.png",
        "b.png",
        "c.png",
    ], "a link with a name of its own is an image of its own"
    assert sorted(names(f"{folder}/in/**/*.png")) == ["a.png", "b.png", "c.png"]


NAMES = [
    "a\nb",
    "it's",
    '"q"',
    "-x",
    "x.",
    "x ",
    " x",
    "a, b",
    "[x]",
    "a*",
    "~a",
    "$HOME",
    pytest.param("é\udcff", marks=needs.ANY_NAME),
]


def test_results_are_not_inputs(files):
    folder = files("a.png", "x/b.png", "x/config.json", "out/config.json", "out/a/result.png")
    files("out/.claims/1", "out/a/baseline.png")
    assert sorted(names(f"{folder}/**/*.png")) == ["a.png", "b.png"]
    assert names(f"{folder}/out/a/*.png") == ["baseline.png", "result.png"], "unless named"
    assert names(f"{folder}/out/**/r*.png") == ["result.png"]


@pytest.mark.parametrize("name", NAMES)
def test_all_names_are_files(files, monkeypatch, name):
    folder = files(f"in/{name}.png")
    monkeypatch.chdir(folder / "in")
    for text in (f"{name}.png", f"{folder}/in/{name}.png", str(folder / "in"), "../in", "./"):
        (job,) = list_jobs(text)
        assert os.path.basename(job.path) == f"{name}.png"
        assert job.stem.encode(), "it can be written"


def test_home_and_variables_are_replaced(files, monkeypatch):
    folder = files("h[1]/photos/a.png", "h[1]/photos/k/a.mat", "~b.png", "$c.png", "x[1]/d.png")
    monkeypatch.setenv("HOME", str(folder / "h[1]"))
    monkeypatch.setenv("SOMEWHERE", "h[1]")
    monkeypatch.chdir(folder)
    for text in ("~/photos", "~/photos/*.png", "$HOME/photos/a.png", "${SOMEWHERE}/photos/[a].png"):
        (job,) = list_jobs(text)
        assert os.path.samefile(job.path, folder / "h[1]/photos/a.png"), text
    assert names("~b.png,$c.png,~/photos/a.png") == ["~b.png", "$c.png", "a.png"]
    assert names("x[1]/*.png") == ["d.png"], "a folder with such a name"
    kernel = companion("kernel", "~/photos/k", job, kind="kernel", tag="kernel")
    assert kernel == folder / "h[1]/photos/k/a.mat"
    files("h[1]/photos/b.png")
    assert names("~/photos/*", companions=["~/photos/a.png"]) == ["b.png"]
    for text, what in (("~nobody_here/x", "user nobody_here"), ("$NOT_SET/x", "variable NOT_SET")):
        with pytest.raises(InputError, match=f"there is no .*{what}; write out the path"):
            expanded(text)
    assert expanded("runs/a$b") == "runs/a$b"
    assert expanded("new/~x") == "new/~x"


def test_derived_names_fit_and_differ():
    stem = "長" * 83
    assert file_name("a", "_gt.png") == "a_gt.png"
    made = [file_name(stem + end, "-foreground.png") for end in ("", "a", "b")]
    assert len(set(made)) == 3
    assert all(len(name.encode()) <= 255 and name.endswith("-foreground.png") for name in made)
    assert len(file_name("é\udcff" * 200, ".png").encode("utf-8", "surrogateescape")) <= 255


def test_companions_of_long_names(files):
    folder = files(f"{'長' * 83}.png", "gt/x.png")
    (job,) = list_jobs(str(folder))
    assert companion("ground_truth", "", job, tag="gt", beside=True) is None
    short = file_name("長" * 83, "_gt.png")
    files(short)
    assert companion("ground_truth", "", job, tag="gt", beside=True) == folder / short


@pytest.mark.parametrize(
    ("image", "field", "file", "scale"),
    [
        ("im_78.png", "kernel", "kernel_78.mat", "2"),
        ("im_78.png", "ground_truth", "img_78_gt.png", "2"),
        ("photo.png", "kernel", "photo_kernel_x2.mat", "2"),
        ("photo.png", "kernel", "photo_kernel_x4.mat", "4"),
        ("photo.png", "kernel", "photo/photo_kernel_x2.mat", "2"),
        ("img_001_SRF_2_LR.png", "ground_truth", "img_001_SRF_2_HR.png", "2"),
        ("0801x2.png", "ground_truth", "0801.png", "2"),
        ("Canon_004_LR4.png", "ground_truth", "Canon_004_HR.png", "4"),
        ("2021/photo.png", "ground_truth", "2021/photo.png", "2"),
        ("2021/photo.png", "kernel", "photo.npy", "2"),
    ],
)
def test_files_named_as_public_sets_and_codes_name_them(files, image, field, file, scale):
    folder = files(f"in/{image}", f"known/{file}", "known/other.png")
    files("known/photo_kernel_x3.mat", "known/2022/photo.png")
    (job,) = list_jobs(f"{folder}/in/**/*.png")
    kind, tag = ("kernel", "kernel") if field == "kernel" else ("image", "gt")
    find = lambda value: companion(field, value, job, kind=kind, tag=tag, scale=scale)
    assert find(f"{folder}/known") == folder / "known" / file
    (folder / "known" / file).unlink()
    files(f"in/{file}", f"in/{os.path.dirname(image)}/{os.path.basename(file)}")
    assert find("") is None, "a truth that was not given is not seen"
    with pytest.raises(InputError, match=f"^config.{field}: no file for "):
        find(f"{folder}/known")
