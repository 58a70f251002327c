"""The benchmark of many images runs, and its figures belong together."""

import json
import subprocess
import sys

import pytest

from benchmarks import scaling
from deepinternal.types import InputError


def test_it_measures_what_it_says(tmp_path):
    tiny = ["layers=2", "features=4", "crop=16", "steps=100"]
    command = [sys.executable, "-m", "benchmarks.scaling", "--images=3", "--steps=2", "--rounds=1"]
    command += ["--lanes=1x1,1x2,3x1", f"--json={tmp_path / 'out.json'}"]
    command += [f"--config.{setting}" for setting in tiny]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["machine"]["device_count"] == 3
    runs = figures["runs"]
    assert [(r["devices"], r["images_per_device"]) for r in runs] == [(1, 1), (1, 2), (3, 1)]
    for run in runs:
        rate = run["steps_per_second"]["median"]
        assert run["images_per_hour"] == pytest.approx(3600 * rate / 100)
        assert run["compile_seconds"] > 0
        assert f"{rate:.2f} (" in done.stdout


@pytest.mark.parametrize("text", ["", "1", "0x1", "1x0", "ax2", "1x2x3"])
def test_lanes_are_checked(text):
    with pytest.raises(InputError, match="--lanes"):
        scaling.parse_lanes(text)
