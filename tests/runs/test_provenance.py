"""What results record about the program that made them."""

import csv
import importlib.metadata
import json
import os
import shutil
import subprocess

import pytest

import deepinternal
from deepinternal.runs import jobs, provenance, settings
from tests import tiny_sets


def git(folder, *words):
    names = {
        f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    environ = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | names
    return subprocess.check_output(["git", *words], cwd=folder, env=environ, text=True).strip()


@pytest.fixture
def checkout(tmp_path):
    """A package in a checkout without a commit."""
    if not shutil.which("git"):
        pytest.skip("needs git")
    (tmp_path / "package").mkdir()
    (tmp_path / "package/a.py").write_text("1")
    git(tmp_path, "init", "-q")
    return tmp_path


def commit(folder):
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "x")
    return git(folder, "rev-parse", "HEAD")


def test_the_commit_and_whether_files_differ(checkout):
    package = checkout / "package"
    assert provenance.git_state(package) is None, "there is no commit yet"
    first = commit(checkout)
    assert provenance.git_state(package) == {"commit": first, "dirty": False}
    (checkout / "notes.txt").write_text("beside the package")
    assert provenance.git_state(package) == {"commit": first, "dirty": False}
    (package / "new.py").write_text("2")
    assert provenance.git_state(package) == {"commit": first, "dirty": True}
    second = commit(checkout)
    assert provenance.git_state(package) == {"commit": second, "dirty": False}
    (package / "a.py").write_text("3")
    assert provenance.git_state(package) == {"commit": second, "dirty": True}


def test_a_package_that_the_checkout_does_not_track(checkout):
    (checkout / ".gitignore").write_text("lib/\n__pycache__/\n")
    commit(checkout)
    for name in ("lib/site/other", "untracked"):
        (checkout / name).mkdir(parents=True)
        (checkout / name / "a.py").write_text("1")
        assert provenance.git_state(checkout / name) is None
    (checkout / "package/__pycache__").mkdir()
    (checkout / "package/__pycache__/a.pyc").write_text("1")
    assert provenance.git_state(checkout / "package")["dirty"] is False


def test_without_git(checkout, monkeypatch, tmp_path_factory):
    assert provenance.git_state(tmp_path_factory.mktemp("elsewhere")) is None
    commit(checkout)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert provenance.git_state(checkout / "package") is not None
    monkeypatch.setenv("PATH", "")
    assert provenance.git_state(checkout / "package") is None


def test_it_is_written_with_every_result_and_binds_nothing(tmp_path, monkeypatch):
    def run(**fields):
        given = settings.to_config_dict(tiny_sets.RECIPE)
        given.update({"progress": False, "train_steps": 3, **fields})
        both = settings.split(tiny_sets.RECIPE, given)
        assert jobs.run_all(tiny_sets.RECIPE, *both, str(tmp_path)) == 0
        return [
            json.loads((tmp_path / n).read_text()) for n in ("config.json", "sample/metrics.json")
        ]

    config, metrics = run()
    for found in (config, metrics):
        assert found["version"] == deepinternal.__version__
        assert found["presets"] == ""
        assert found["git"] is None or len(found["git"]["commit"]) >= 40
        for name in ("jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint"):
            assert found["packages"][name] == importlib.metadata.version(name)
        assert found["packages"]["python"]
    assert "presets" not in config["config"]
    with open(tmp_path / "summary.csv", newline="") as file:
        columns = next(csv.reader(file))
    assert not {"version", "presets", "git", "packages"} & set(columns)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["images"] == [metrics]
    assert not {"version", "packages"} & set(summary["mean"])
    # A later version, with other packages and names of presets, continues the folder.
    other = {"version": "9", "git": None, "packages": {"jax": "9"}}
    monkeypatch.setattr("deepinternal.runs.workdir.provenance", lambda: other)
    config, metrics = run(train_steps=4, presets="fast")
    assert metrics["resumed_steps"] == [3]
    assert (config["version"], config["presets"]) == (metrics["version"], "fast") == ("9", "fast")
