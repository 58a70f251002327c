"""A method of a package outside the checkout: the one that deepinternal/README.md shows."""

import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import deepinternal as di
from benchmarks import throughput
from deepinternal.methods import registry
from deepinternal.types import InputError
from tests.launch.conftest import picture, save, until

README = Path(di.__file__).with_name("README.md").read_text(encoding="utf-8")
CODE = next(b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "RECIPE =" in b)
RECIPE = "my_package.deblur:RECIPE"
KERNEL = np.float32([[0, 1, 0], [1, 4, 1], [0, 0, 2]]) / 9


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with the package, installed: it has metadata with an entry point."""
    place = tmp_path_factory.mktemp("elsewhere")
    info = place / "my_package-1.0.dist-info"
    for folder in (place / "my_package", info):
        folder.mkdir()
    (place / "my_package/__init__.py").touch()
    (place / "my_package/deblur.py").write_text(CODE, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[deepinternal.methods]\ndeblur = {RECIPE}\n")
    (place / "own.py").write_text(
        "import ml_collections\n\n\ndef get_config():\n"
        f'    return ml_collections.ConfigDict({{"method": "{RECIPE}", "features": 8}})\n'
    )
    return place


@pytest.fixture
def importable(package, monkeypatch):
    """The package on Python's path of this process."""
    monkeypatch.syspath_prepend(package)
    monkeypatch.setattr(registry, "_registered", {})


@pytest.fixture
def outside(launcher, package, monkeypatch):
    """The launcher with the package on Python's path."""
    monkeypatch.setattr(launcher, "path", [package])
    return launcher


@pytest.fixture
def blurred(tmp_path):
    """A folder with a photograph, its blurred picture, and a folder with the kernel."""
    sharp = picture(32, 40)
    blur = [ndimage.correlate(plane, KERNEL, mode="reflect") for plane in np.moveaxis(sharp, -1, 0)]
    (tmp_path / "in").mkdir()
    save(tmp_path / "in/a.png", np.stack(blur, axis=-1))
    save(tmp_path / "in/a_gt.png", sharp)
    np.save(tmp_path / "a_kernel.npy", KERNEL)
    return [f"--config.input={tmp_path / 'in'}", f"--config.kernel={tmp_path / 'a_kernel.npy'}"]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_it_trains_stops_resumes_and_reports(outside, tmp_path, blurred):
    out, alone = tmp_path / "out", tmp_path / "alone"
    fields = ["--config.train_steps=100", "--config.log_every=1", "--config.checkpoint_every=0.1"]
    command = [f"--config={RECIPE}:smoke", f"--workdir={out}", *blurred, *fields]
    process, printed = outside.start(*command)
    until(lambda: any(p.stat().st_size > 200 for p in out.glob("a/train.jsonl")))
    os.kill(process, signal.SIGTERM)
    assert outside.wait(process) == 143, printed.read_text()
    assert read(out / "a/metrics.json")["status"] == "stopped"
    assert "The same command resumes it." in (out / "a/report.html").read_text()
    status, printed = outside.run(*command)
    assert status == 0, printed
    metrics = read(out / "a/metrics.json")
    assert (metrics["method"], metrics["status"], metrics["steps"]) == ("deblur", "done", 100)
    assert len(metrics["resumed_steps"]) == 1
    assert metrics["psnr_y"] > 15
    assert 'a/report.html"' in (out / "index.html").read_text()
    assert "<html" in (out / "a/report.html").read_text()
    assert any((out / "a/checkpoints").iterdir())
    # A user's config file names the method; uninterrupted, the result is the same.
    own = [f"--config={outside.path[0] / 'own.py'}", f"--workdir={alone}", *blurred, *fields]
    status, printed = outside.run(*own)
    assert status == 0, printed
    assert (alone / "a/result.png").read_bytes() == (out / "a/result.png").read_bytes()


@pytest.mark.slow
def test_its_fields_are_swept(outside, tmp_path, blurred):
    argv = [f"--config={RECIPE}:smoke", f"--workdir={tmp_path / 'out'}", *blurred]
    status, printed = outside.run(*argv, "--sweep=train_steps=2|3", module="launch.sweep")
    assert status == 0, printed
    rows = read(tmp_path / "out/sweep.json")
    assert [(row["run"], row["done"]) for row in rows] == [
        ("train_steps=2", 1),
        ("train_steps=3", 1),
    ]
    assert [row["mean"]["steps"] for row in rows] == [2, 3]


def test_an_entry_point_is_found_by_its_name(outside, tmp_path, importable):
    assert "deblur" in di.methods.names()
    assert di.methods.find("deblur").name == "deblur"
    argv = ["--config=deblur:smoke", f"--workdir={tmp_path / 'out'}", "--config.featurs=3"]
    status, printed = outside.run(*argv)
    assert (status, printed.count("\n")) == (2, 1)
    assert "config.featurs: there is no such field, did you mean features?" in printed


@pytest.mark.slow
def test_registered_it_is_called_by_name(importable):
    recipe = di.methods.register(di.methods.find(RECIPE))
    assert recipe.name == "deblur"
    sharp = picture(32, 40)
    blur = lambda x: np.stack([ndimage.correlate(x[..., c], KERNEL) for c in range(3)], axis=-1)
    image = np.float32(blur(sharp / 255.0))
    out = di.run("deblur", image, kernel=KERNEL, features=8, train_steps=150)
    assert out["result"].shape == sharp.shape
    error = np.mean((blur(out["result"]) - image) ** 2)
    assert error < 0.1 * np.var(image)
    with pytest.raises(InputError, match=r"config\.kernel: give the blur kernel"):
        di.run("deblur", image, features=8)


@pytest.mark.slow
def test_it_is_measured_on_its_example(importable):
    recipe = di.methods.find(RECIPE)
    tiny = {"photo": np.float32(picture(32, 320)) / 255, "multiplied": 64, "copied": 2**16}
    figures = throughput.measure(
        recipe, recipe.build("smoke", features=2), steps=2, rounds=1, **tiny
    )
    assert (figures["method"], figures["image_shape"]) == ("deblur", [32, 128, 3])
    assert figures["runs"][0]["steps_per_second"] > 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_package.deblur:RECIP", "has no attribute"),
        ("my_package.nosuch:RECIPE", "No module named"),
        ("my_package.deblur:PRESETS", "is of type dict; give a deepinternal Recipe"),
        ("deblurr", "did you mean deblur"),
    ],
)
def test_names_of_recipes_that_do_not_exist(importable, name, words):
    with pytest.raises(InputError, match=words) as caught:
        di.methods.find(name)
    assert "\n" not in str(caught.value)
