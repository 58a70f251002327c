"""The command line: a mistake is one line on stderr and exit status 2."""

import json
import os
import subprocess
import sys

import pytest

from tests.launch.conftest import SMALL, picture, save

CONFIG = "--config=configs/zssr.py:smoke"
WORKDIR = "--workdir=never-made"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ["--config and --workdir must be given"]),
        ([CONFIG], ["--workdir must be given"]),
        ([WORKDIR], ["--config must be given"]),
        ([CONFIG, "--workdir="], ["--workdir", "give a folder"]),
        ([CONFIG, WORKDIR, "photo.png"], ["unexpected argument 'photo.png'"]),
        ([CONFIG, WORKDIR, "--colour=1"], ["--colour: there is no such flag"]),
        ([CONFIG, WORKDIR, "--overwrit"], ["--overwrit: ", "did you mean --overwrite?"]),
        ([CONFIG, WORKDIR, "--config.train-steps=1"], ["did you mean --config.train_steps?"]),
        ([CONFIG, WORKDIR, "--flagfile=missing"], ["missing"]),
        ([CONFIG, WORKDIR, "--scale=3"], ["--scale: ", "did you mean --config.scale?"]),
        (["--config.progress=False", WORKDIR], ["--config=NAME[:PRESET,...] must also be given"]),
        (["--config.sed=1", CONFIG, WORKDIR], ["config.sed: ", "did you mean seed?"]),
        ([CONFIG, "--workdir", "--dry_run"], ["--workdir: needs a value"]),
        ([CONFIG, "--config", "--dry_run"], ["--config: needs a value"]),
        ([CONFIG, WORKDIR, "--config"], ["--config", "empty"]),
        ([CONFIG, WORKDIR, "--config.progress", "no"], ["unexpected argument 'no'"]),
        ([CONFIG, WORKDIR, "--", "--dry_run"], ["unexpected argument '--dry_run'"]),
        ([CONFIG, WORKDIR, "--overwrite=perhaps"], ["--overwrite=perhaps", "true or false"]),
        (["--config=configs/nosuch.py", WORKDIR], ["configs/nosuch.py", "no such file"]),
        (["--config=lost/zssr.py", WORKDIR], ["no such file; for the method give --config=zssr"]),
        (["--config=", WORKDIR], ["--config", "empty"]),
        (["--config=configs", WORKDIR], ["--config", "no method 'configs'", "zssr"]),
        (["--config=zsr:fast", WORKDIR], ["--config: no method 'zsr', did you mean zssr?"]),
        (["--config", "zssr:fst", WORKDIR], ["--config", "no preset 'fst', did you mean fast?"]),
        (["--config=no.module:RECIPE", WORKDIR], ["--config", "'no.module:RECIPE'", "No module"]),
        (["--config=.ruff.toml", WORKDIR], ["--config", ".ruff.toml"]),
        (["--config=configs/zssr.py:best,nosuch", WORKDIR], ["preset", "there are: ", "smoke"]),
        ([CONFIG, WORKDIR, "--config.nosuch=1"], ["config.nosuch: ", "no such field", "seed"]),
        ([CONFIG, WORKDIR, "--config.sed=1"], ["config.sed: ", "did you mean seed?"]),
        ([CONFIG, WORKDIR, "--config.log_evry=1"], ["config.log_evry", "did you mean log_every?"]),
        ([CONFIG, WORKDIR, "--config.presets=fast"], ["config.presets", "--config=NAME:PRESET"]),
        ([CONFIG, WORKDIR, "--json"], ["--json: is only valid together with --show"]),
        ([CONFIG, "--show", "--config.nosuch=1"], ["config.nosuch: ", "no such field", "seed"]),
        ([CONFIG, "--show", "--config.scale=100"], ["config.scale=100: must be"]),
        ([CONFIG, WORKDIR, "--config.parallel.x=1"], ["config.parallel.x", "no such field"]),
        ([CONFIG, WORKDIR, "--config.input.x=1"], ["--config.input.x=1", "no such field"]),
        (
            [CONFIG, WORKDIR, "--config.seed=abc"],
            ["config.seed=abc: must be a whole number from 0"],
        ),
        ([CONFIG, WORKDIR, "--config.seed"], ["--config.seed"]),
        ([CONFIG, WORKDIR, "--config.steps=1.5"], ["config.steps=1.5: must be a whole number"]),
        (
            [CONFIG, WORKDIR, "--config.features=0"],
            ["config.features=0: must be a whole number of"],
        ),
        ([CONFIG, WORKDIR, "--config.noise_std=25"], ["config.noise_std=25", "25 of 255 is 0.098"]),
        (
            [CONFIG, WORKDIR, "--config.learning_rate=fast"],
            ["config.learning_rate=fast", "a number"],
        ),
        ([CONFIG, WORKDIR, "--config.progress=maybe"], ["config.progress=maybe", "true or false"]),
        (
            [CONFIG, WORKDIR, "--config.parallel=3"],
            ["config.parallel=3: must be given field by field"],
        ),
        ([CONFIG, WORKDIR, "--config.input=nowhere.png"], ["config.input", "nowhere.png"]),
    ],
)
def test_a_mistake_is_one_line(launcher, argv, words):
    status, printed = launcher.run(*argv)
    assert status == 2
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert "Traceback" not in printed
    for word in words:
        assert word in printed


@pytest.mark.parametrize("program", ["main", "sweep", "degrade", "retarget"])
def test_help_fits_on_a_screen(launcher, program):
    for flag in ("--help", "-h"):
        # Without a work folder, 'retarget' is the verb.
        words = [flag, "--workdir=none"] if program == "retarget" else [flag]
        status, printed = launcher.run(*words, module=f"launch.{program}")
        assert status == 0
        assert f"python -m launch.{program} " in printed
        assert "Traceback" not in printed
        assert len(printed.splitlines()) <= 40
        assert max(map(len, printed.splitlines())) <= 104
        names = [line.split()[0] for line in printed.splitlines() if line.startswith("--")]
        assert len(names) == len(set(names)) > 4
        assert ("--workdir=..." in names) == (program != "degrade")


def test_show_needs_no_workdir(launcher):
    status, printed = launcher.run(CONFIG, "--config.scale=3", "--show", "--json")
    assert status == 0
    found = json.loads(printed)
    assert found["fields"]["scale"]["value"] == "3"
    assert found["fields"]["train_steps"]["value"] == 30
    assert found["presets"]["smoke"]["fields"]["train_steps"] == 30
    status, printed = launcher.run("dip:smoke", "--json", module="launch.show")
    assert status == 0
    assert json.loads(printed)["fields"]["train_steps"]["value"] == 20


def test_flags_may_come_in_any_order(launcher):
    words = ["--config.seed=1", "-config.scale", "3", "--noconfig.progress", "--json", "--show"]
    for config in (["--config=zssr:smoke"], ["--config", "zssr:smoke"], ["--config=dip", CONFIG]):
        status, printed = launcher.run(*words[:4], *config, "--config.seed=2", *words[4:])
        assert status == 0, printed
        fields = json.loads(printed)["fields"]
        values = [fields[name]["value"] for name in ("seed", "scale", "progress", "train_steps")]
        assert values == [2, "3", False, 30]


@pytest.mark.slow
def test_a_dry_run_makes_nothing(launcher, tmp_path, small_png):
    words = ["--config=zssr:smoke", f"--config.input={small_png}", "--config.crop=16"]
    status, printed = launcher.run(*words, f"--workdir={tmp_path / 'new'}", "--dry_run")
    assert status == 0
    assert f"zssr:smoke in {tmp_path / 'new'}, which will be created" in printed
    assert f"{small_png}  24x32x3 -> 48x64x3  30 steps  new" in printed
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_dry_run_of_several_seeds_knows_the_size_of_their_result(launcher, tmp_path):
    save(tmp_path / "marked.png", picture(48, 40))
    words = [f"--config.input={tmp_path / 'marked.png'}", "--config.box=8,8,24,24"]
    words += ["--config=watermark:single,smoke", "--config.replicas=2"]
    status, printed = launcher.run(*words, f"--workdir={tmp_path / 'new'}", "--dry_run")
    assert status == 0
    assert "48x40x3 -> 48x40x3" in printed


@pytest.mark.slow
def test_as_users_start_it(tmp_path, small_png, cache):
    """All of it once without the fork server: a run, its output and its exit status."""
    fields = [f"--config.{name}={value}" for name, value in SMALL.items()]
    command = [sys.executable, "-m", "launch.main", CONFIG, f"--workdir={tmp_path / 'out'}"]
    done = subprocess.run(
        [*command, f"--config.input={small_png}", *fields],
        capture_output=True,
        check=False,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)},
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "small: done, 12 steps" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    metrics = json.loads((tmp_path / "out/small/metrics.json").read_text())
    assert metrics["status"] == "done"
