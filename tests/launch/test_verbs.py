"""One verb per task: what a command line means, where the answers go, and what is refused."""

import itertools
import json

import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image

from deepinternal import methods
from deepinternal.cli import answers, console, verb_table, verbs, words
from deepinternal.codecs import export, image_io
from deepinternal.runs.inputs import Job
from tests import needs
from tests.launch.conftest import picture, save

TINY = ["--features=4", "--layers=3", "--train_steps=2", "--crop=16", "--ensemble=off"]


@pytest.fixture
def verb(tmp_path, monkeypatch, capsys):
    """Runs a verb in this process, in an empty folder; returns its exit status and its stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            verbs.run_program(words[0], list(map(str, words[1:])))
        return ended.value.code, capsys.readouterr().err

    return run


def _work_folders(tmp_path):
    return sorted((tmp_path / "cache" / "deepinternal" / "runs").glob("*"))


def test_a_command_line_is_read():
    given = ["a.png", "--scale", "3", "--noise_std=-1", "--overwrite", "b.png", "-o", "c.png"]
    command = words.parse([*given, "--dry-run=false", "--size=1,2", "--size=3,4"], own=("size",))
    assert command.inputs == ("a.png", "b.png")
    assert command.fields == {"scale": "3", "noise_std": "-1"}
    assert command.options["overwrite"] is True
    assert command.options["dry_run"] is False
    assert command.options["out"] == "c.png"
    assert command.several == {"size": ("1,2", "3,4")}


@pytest.mark.parametrize(
    ("given", "is_program"),
    [
        ("--input=a.png --size=1,2 --out=x.png", True),
        ("--size 1,2 --input a.png --out x.png", True),
        ("--workdir=d --size=1,2 --out=x.png", True),
        ("--workdir d --size 1,2 --collage --out x.png", True),
        ("photo.png --workdir=d --size=1,2", False),
        ("--workdir=d photo.png --size=1,2", False),
        ("--help", False),
        ("--size=1,2 --out=x.png", False),
        ("", False),
    ],
)
def test_retarget_is_a_verb_or_the_program_with_flags_alone(given, is_program):
    assert console._is_program(given.split()) == is_program


def test_every_verb_has_a_method_a_preset_and_fields_that_exist():
    assert set(verb_table.VERBS) == set(console.VERBS)
    for name, (kind, inputs) in itertools.product(
        verb_table.VERBS,
        (["", "a.png b.png"], ["", "a.png --mask=m.png"], ["clip.mp4", "--box=1,2,3,4"]),
    ):
        for method in ("", *verb_table.VERBS[name].others):
            given = [*kind.split(), *inputs.split(), f"--method={method}"]
            one, command = verb_table.read(name, given)
            recipe = methods.find(one.method(command))
            assert recipe.name == (method or recipe.name)
            assert {one.preset, *filter(None, [one.task(command)])} <= set(recipe.presets), name
            assert {*one.fields, *one.each.values()} <= set(recipe.config.model_fields), name
            assert set(one.each) <= set(one.own)


@pytest.mark.parametrize(
    ("given", "method", "presets"),
    [
        ("retarget a.png --scale=2", "patches", "retarget,fast"),
        ("retarget a.png --scale=2 --preset=fast,bidir", "patches", "retarget,fast,bidir"),
        ("retarget a.png --scale=2 --preset=nonrect", "ingan", "nonrect"),
        ("retarget a.png --scale=2 --method=ingan", "ingan", "lite"),
        ("retarget a.png --scale=2 --method=ingan --preset=fast", "ingan", "fast"),
        ("retarget a.png --scale=2 --workdir=trained", "ingan", "lite"),
        ("retarget a.png --scale=2 --workdir=made", "patches", "retarget,fast"),
        ("denoise a.png", "denoise", "fast"),
        ("denoise a.png --preset=ridge", "denoise", "ridge"),
        ("denoise a.png --method=dip", "dip", "denoise,fast"),
        ("denoise a.png --preset=small,fast", "dip", "denoise,small,fast"),
        ("inpaint a.png", "dip", "inpaint,fast"),
        ("inpaint a.png --preset=restore", "dip", "inpaint,restore"),
        ("inpaint a.png --preset=smoke --method=patches", "patches", "inpaint,smoke"),
        ("generate a.png", "patches", "generate,fast"),
    ],
)
def test_the_method_follows_from_the_command_line(tmp_path, monkeypatch, given, method, presets):
    monkeypatch.chdir(tmp_path)
    for folder, name in {"trained": "ingan", "made": "patches"}.items():
        (tmp_path / folder).mkdir()
        saved = json.dumps({"config": {"method": name}})
        (tmp_path / folder / "config.json").write_text(saved)
    name, *rest = given.split()
    verb, command = verb_table.read(name, rest)
    assert (verb.method(command), verb_table.presets_of(verb, command)) == (method, presets)


def test_each_size_is_a_run_of_patches_and_all_are_one_of_ingan():
    given = ["a.png", "--scale=1,2", "--size=30,40", "--scale=2"]
    verb, command = verb_table.read("retarget", given)
    fields = [part.fields for part in verb_table.parts(verb, command)]
    assert fields == [{"result_size": "30,40"}, {"result_scale": "1,2"}, {"result_scale": "2"}]
    verb, command = verb_table.read("retarget", [*given, "--method=ingan"])
    assert verb_table.parts(verb, command) == [command]


@pytest.mark.slow
def test_a_file_is_enlarged_and_the_same_command_trains_no_more(tmp_path, verb):
    save(tmp_path / "photo.png", picture(20, 24))
    command = ["sr", "photo.png", "--out=new/big.png", "--scale=1.5", *TINY]
    assert verb(*command)[0] == 0
    assert np.asarray(Image.open("new/big.png")).shape == (30, 36, 3)
    (folder,) = _work_folders(tmp_path)
    seconds = json.loads((folder / "photo" / "metrics.json").read_text())["seconds"]
    (tmp_path / "new" / "big.png").unlink()
    assert verb(*command)[0] == 0
    assert (tmp_path / "new" / "big.png").read_bytes() == (folder / "photo/result.png").read_bytes()
    assert json.loads((folder / "photo" / "metrics.json").read_text())["seconds"] == seconds
    save(tmp_path / "photo.png", picture(24, 20))  # other bytes under the same name
    assert verb(*command)[0] == 0
    assert np.asarray(Image.open("new/big.png")).shape == (36, 30, 3)
    assert len(_work_folders(tmp_path)) == 2  # and the results of the former are still there
    assert json.loads((folder / "photo" / "metrics.json").read_text())["seconds"] == seconds


def test_a_folder_becomes_a_folder(tmp_path, verb):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        save(tmp_path / "photos" / name, picture(20, 24))
    (tmp_path / "photos" / "c.png").write_bytes(b"no image")
    status, said = verb("sr", "photos", "--out=big", "--workdir=work", *TINY)
    assert status == 1
    assert "c: failed" in said
    assert sorted(p.name for p in (tmp_path / "big").iterdir()) == ["a.png", "b.png"]
    assert (tmp_path / "work" / "index.html").exists()
    assert not (tmp_path / "cache" / "deepinternal" / "runs").exists()


def test_failures_name_the_options_of_the_verb(tmp_path, verb):
    for folder in ("photos", "kernels"):
        (tmp_path / folder).mkdir()
    for name in ("a.png", "b.png"):
        save(tmp_path / "photos" / name, picture(20, 24))
    np.save(tmp_path / "kernels" / "a.npy", np.full((3, 3), 1 / 9))
    status, said = verb("sr", "photos", "--kernel=kernels", "--out=big", "--workdir=work", *TINY)
    assert status == 1
    assert "b: failed: --kernel: no file for b" in said
    metrics = json.loads((tmp_path / "work" / "b" / "metrics.json").read_text())
    assert metrics["error"].startswith("--kernel: no file")
    assert "config." not in said


@pytest.mark.parametrize(
    ("name", "text", "spelled"),
    [
        (
            "sr",
            "config.scale=0: too small, see config.kernel",
            "--scale=0: too small, see --kernel",
        ),
        ("sr", "config.input: no images", "no images"),
        ("sr", "out/config.json: from another version", "out/config.json: from another version"),
        ("sr", "config.json is damaged", "config.json is damaged"),
        ("retarget", "config.result_size=0,5: too small", "--size=0,5: too small"),
    ],
)
def test_messages_name_options(name, text, spelled):
    assert verbs._spelled(name, text) == spelled


def test_names_of_results_fit_and_differ(tmp_path):
    """Names of images may be as long as allowed, and end like those of further results."""
    stems = ["長" * 83, "長" * 82 + "形", "x", "x-foreground", "2021/x", "X"]
    jobs_ = [Job(stem, tmp_path / f"in/{stem}.png") for stem in stems]
    outputs = {"mask": "", "foreground": "-foreground"}
    made = answers.Plan(str(tmp_path), jobs_, "image", outputs, is_folder=True)
    paths = [path for job in jobs_ for _, path in made.names(job)]
    assert len({str(path).casefold() for path in paths}) == 12
    assert max(len(path.name.encode()) for path in paths) <= 255
    assert made.names(jobs_[2])[1] == ("foreground", tmp_path / "x-foreground.png")
    assert made.names(jobs_[3])[0] == ("mask", tmp_path / "x-foreground-2.png")
    assert made.names(jobs_[4])[0] == ("mask", tmp_path / "2021/x.png")
    one = answers.Plan(str(tmp_path / "a.b.jpg"), jobs_[:1], "image", outputs, is_folder=False)
    assert [p.name for _, p in one.names(jobs_[0])] == ["a.b.jpg", "a.b-foreground.jpg"]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_programs")
def test_images_by_patches_are_named_after_sizes_and_numbers(tmp_path, verb):
    save(tmp_path / "photo.png", picture(24, 28))
    sizes = ["--size=24,30", "--scale=1,1.25"]
    assert verb("retarget", "photo.png", "--out=wide.jpg", *sizes, "--preset=seams")[0] == 0
    assert np.asarray(Image.open("wide-24x30.jpg")).shape == (24, 30, 3)
    assert np.asarray(Image.open("wide-24x35.jpg")).shape == (24, 35, 3)
    assert len(_work_folders(tmp_path)) == 2
    assert verb("generate", "photo.png", "--out=new", "--samples=2", "--preset=smoke")[0] == 0
    made = [np.asarray(Image.open(f"new/photo-{n}.png")) for n in (1, 2)]
    assert made[0].shape == made[1].shape == (24, 28, 3)
    assert np.any(made[0] != made[1])


@pytest.mark.slow
def test_a_kernel_is_written_in_the_form_that_the_name_asks_for(tmp_path, verb):
    save(tmp_path / "photo.png", picture(48, 48))
    small = ["--preset=smoke", "--train_steps=2", "--features=4"]
    assert verb("kernel", "photo.png", "--out=k.npy", *small)[0] == 0
    assert verb("kernel", "photo.png", "--out=k.mat", *small)[0] == 0
    kernel = np.load("k.npy")
    np.testing.assert_allclose(kernel.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(scipy.io.loadmat("k.mat")["Kernel"], kernel, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["sr", "--out=x.png"], "no input"),
        (["sr", "", "--out=x.png"], "no input"),
        (
            ["sr", "photo.png", "--input=other.png", "--out=x.png"],
            "--input: give the input without",
        ),
        pytest.param(
            ["sr", "photo.png", "--out=/proc/x.png"],
            "--out=/proc/x.png: /proc cannot be written",
            marks=needs.PROC,
        ),
        (["retarget", "photo.png", "--out=x.png", "--size=0,50"], "--size=0,50: must be height"),
        (["retarget", "photo.png", "--out=x.png", "--scale=9"], "--scale=9: must be vertical"),
        (["retarget", "photo.png", "--out=x.png", "--scale=2", "--method=gan"], "or ingan"),
        (
            ["retarget", "photo.png", "--out=x.png", "--size=0,50", "--method=ingan"],
            "--size=0,50: both sides",
        ),
        (["generate", "photo.png", "--out=x.png", "--samples=0"], "--samples=0: must be a whole"),
        (["sr", "photo.png"], "--out: is missing"),
        (["sr", "photo.png", "--out=x.gif"], "ends in .png"),
        (["sr", "photo.png", "--out=photo.png"], "would overwrite the input photo.png"),
        (["sr", "photo.png", "photo.png", "other.png", "--out=x.png"], "give a folder"),
        (["sr", ".", "--out=x.png"], "give a folder"),
        (["sr", "photo.png", "--out=x.png", "--scal=2"], "did you mean scale?"),
        (["sr", "photo.png", "--out=x.png", "--scale=0.5"], "--scale=0.5: "),
        (["sr", "photo.png", "--out=x.png", "--preset=fats"], "did you mean fast?"),
        (["sr", "nothing.png", "--out=x.png"], "no such file or folder: nothing.png"),
        (["sr", "photo.png", "--out"], "--out: needs a value"),
        (["sr", "photo.png", "--out=x.png", "--overwrite=maybe"], "give true or false"),
        (["unwatermark", "other.png", "--out=x.png"], "--mask, --box: give the region of the mark"),
        (["retarget", "photo.png", "--out=x.png"], "--size=HEIGHT,WIDTH"),
        (["retarget", "photo.png", "--out=x.png", "--size=big"], "--size=big: "),
        (["kernel", "photo.png", "--out=x.jpg"], "ends in .mat"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(tmp_path, verb, given, said):
    for name, side in (("photo.png", 20), ("other.png", 48)):
        save(tmp_path / name, picture(side, side + 4))
    status, printed = verb(*given)
    assert status == 2
    assert said in printed
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.png", "photo.png"]


@pytest.mark.parametrize("name", console.VERBS)
def test_the_help_fits_a_screen(verb, capsys, name):
    with pytest.raises(SystemExit) as ended:
        verbs.run_program(name, ["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 2), (6, 5, 3), (6, 5, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_formats_keep_what_they_can_hold(tmp_path, shape, dtype):
    samples = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    source = tmp_path / "source.png"
    source.write_bytes(_png(samples))
    assert export.export(source, tmp_path / "made.png") == ""
    assert export.export(source, tmp_path / "made.tif") == ""
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "made.tif"), samples)
    export.export(source, tmp_path / "made.bmp")
    colours = samples.reshape(6, 5, -1)
    colours = colours[..., : 3 if colours.shape[2] > 2 else 1].astype(float)
    expected = np.round(colours / (257 if dtype == np.uint16 else 1))
    made = np.asarray(Image.open(tmp_path / "made.bmp")).reshape(6, 5, -1)
    np.testing.assert_array_equal(made, expected)
    for name in ("made.jpg", "made.webp", "made.tif"):  # lossy, but the library reads it again
        lost = export.export(source, tmp_path / name)
        assert ("16 bits" in lost) == (dtype == np.uint16 and name != "made.tif")
        assert ("transparency" in lost) == (name == "made.jpg" and shape[-1] in (2, 4))
        read = image_io.read_image(tmp_path / name)
        assert read.pixels.shape[:2] == (6, 5)
        assert (read.alpha is not None) == (name != "made.jpg" and shape[-1] in (2, 4))


def _png(samples):
    from deepinternal.codecs import png

    return png.encode(samples if samples.ndim == 3 else samples[..., None])
