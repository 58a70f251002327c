"""What a wheel holds, and that its programs run where there is no checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import deepinternal as di

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "deepinternal"
OTHERS = ["configs", "launch", "benchmarks", "tests"]
URL = "https://example.org/owner/deepinternal"  # of the repository
# Python runs it before anything else: what a checkout holds beside the package cannot be imported.
BLOCK = f"import sys\nsys.modules.update(dict.fromkeys({OTHERS}))\n"


def targets(text):
    """The targets of the links and images of a document."""
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the checkout, without the network."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("deepinternal", "configs", "launch"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", f"--wheel-dir={out}", str(source)]
    env = {**os.environ, "REPOSITORY_URL": URL}
    made = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert made.returncode == 0, made.stdout + made.stderr
    (found,) = out.iterdir()
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel unpacked to a folder that stands for site-packages."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    (folder / "sitecustomize.py").write_text(BLOCK)
    return folder


@pytest.fixture
def run(installed, tmp_path):
    """Runs Python in an empty folder with the unpacked wheel, and returns what it prints."""

    def start(*words):
        env = {**os.environ, "PYTHONPATH": str(installed), "JAX_PLATFORMS": "cpu"}
        options = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True}
        done = subprocess.run([sys.executable, *words], check=False, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return start


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert held == {str(p.relative_to(ROOT)) for p in files if p.name != "README.md"}
    assert {"deepinternal/py.typed", "deepinternal/report/templates/report.html"} <= held


def test_the_wheel_says_what_it_is(installed):
    (found,) = metadata.distributions(name="deepinternal", path=[str(installed)])
    assert found.version == di.__version__
    assert found.metadata["License-Expression"] == "Apache-2.0"
    assert found.read_text("licenses/LICENSE") == (ROOT / "LICENSE").read_text()
    assert found.metadata.get_payload().startswith("# deepinternal")
    extras = "cuda12 cuda13 cuda tpu heif video tensorboard bench test docs"
    assert set(found.metadata.get_all("Provides-Extra")) == set(extras.split())
    needs = {re.split(r"[<>=;]", need)[0] for need in found.requires or () if "extra" not in need}
    assert {"jax", "flax", "rich"} <= needs
    assert not {"torch", "playwright", "pytest"} & needs
    assert f"Changelog, {URL}/blob/v{di.__version__}/CHANGELOG.md" in found.metadata.get_all(
        "Project-URL"
    )


def test_links_of_the_description_lead_out_of_a_package_index(installed):
    (found,) = metadata.distributions(name="deepinternal", path=[str(installed)])
    described = found.metadata.get_payload()
    in_checkout = targets((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [t for t in in_checkout if not t.startswith("http")]
    assert all(t.startswith(("https://", "#")) for t in targets(described)), targets(described)
    for target in targets(described):
        if target.startswith(URL):
            kind, tag, path = target.removeprefix(f"{URL}/").split("/", 2)
            assert kind == ("blob" if path.partition("#")[0].endswith((".md", ".ipynb")) else "raw")
            assert tag == f"v{di.__version__}"
            assert (ROOT / path.partition("#")[0]).is_file()


def test_the_description_without_a_repository_has_no_relative_links():
    env = {name: value for name, value in os.environ.items() if name != "REPOSITORY_URL"}
    command = [sys.executable, "setup.py", "--quiet", "--long-description"]
    options = {"cwd": ROOT, "env": env, "capture_output": True, "text": True}
    described = subprocess.run(command, check=True, **options).stdout
    assert "# deepinternal" in described
    assert all(t.startswith(("https://", "#")) for t in targets(described)), targets(described)


def test_the_changelog_begins_with_this_version():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert (
        re.fullmatch(r"([\d.]+) \((unreleased|\d{4}-\d\d-\d\d)\)", headings[0])[1] == di.__version__
    )


def test_the_workflow_runs_the_oldest_and_the_newest_python():
    setup = (ROOT / "setup.py").read_text()
    workflow = (ROOT / ".github/workflows/tests.yml").read_text()
    minor = lambda version: int(version.removeprefix("3."))
    named = sorted(re.findall(r"Python :: (3\.\d+)", setup), key=minor)
    assert named[0] == re.search(r'python_requires=">=([\d.]+)"', setup)[1]
    jobs = dict(
        re.findall(r"^  (quick|whole):\n(.*?)(?=^  \w|\Z)", workflow, re.MULTILINE | re.DOTALL)
    )
    assert jobs.keys() == {"quick", "whole"}
    for job in jobs.values():
        used = dict(re.findall(r'- python: "(3\.\d+)"\n +versions: (\w+)', job))
        assert used == {named[0]: "oldest", named[-1]: "newest"}


def test_the_citation_is_that_of_this_version():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"version = \{(.*?)\}", readme) == [di.__version__]


def test_the_console_command_runs_from_the_wheel(installed, run):
    (found,) = metadata.distributions(name="deepinternal", path=[str(installed)])
    (command,) = found.entry_points.select(group="console_scripts")
    assert command.name == "deepinternal"
    start = f"import {command.module} as m; m.{command.attr}(['--version'])"
    assert run("-c", start) == f"deepinternal {di.__version__}\n"
    assert run("-m", "deepinternal", "--version") == f"deepinternal {di.__version__}\n"


def test_nothing_of_the_checkout_can_be_imported(installed, run):
    code = "import importlib.util as u, deepinternal as d; print(d.__file__)"
    assert Path(run("-c", code).strip()) == installed / "deepinternal/__init__.py"
    for name in ("configs", "launch"):
        code = f"try: import {name}\nexcept ImportError: print('none')"
        assert run("-c", code) == "none\n"


def test_the_stubs_are_read_from_the_wheel(run):
    code = "import deepinternal as di; print(di.ops.resize.__module__, *di.__all__)"
    module, *names = run("-c", code).split()
    assert module.startswith("deepinternal.ops.")
    assert names == di.__all__


@pytest.mark.slow
def test_configs_are_built_by_name_and_a_run_ends_with_its_report(run, tmp_path):
    tiny = {"steps": 2, "layers": 3, "features": 4, "crop": 24, "log_every": 1}
    words = ["-m", "deepinternal", "train", "--config=zssr:smoke", "--workdir=run"]
    words += [f"--config.{name}={value}" for name, value in tiny.items()]
    shown = run(*words, "--show", "--json")
    assert json.loads(shown)["fields"]["features"]["value"] == 4
    assert not (tmp_path / "run").exists()
    run(*words)
    (report,) = tmp_path.glob("run/*/report.html")
    assert report.with_name("result.png").is_file()
    (metrics,) = tmp_path.glob("run/*/metrics.json")
    assert json.loads(metrics.read_text())["steps"] == 2
