"""The fit beside PyTorch's: mistakes are one line; both come to the same where nothing is random."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import peer_curve
from deepinternal.methods import dip

HAS_TORCH = importlib.util.find_spec("torch") is not None


def test_a_mask_belongs_to_inpainting():
    command = [sys.executable, "-m", "benchmarks.peer_curve", "--image=none.png", "--task=inpaint"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--mask: with --task=inpaint" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(not HAS_TORCH, reason="needs PyTorch")
@pytest.mark.parametrize("task", ["denoise", "inpaint"])
def test_the_same_fit_without_perturbation(task):
    import torch

    config = dip.defaults()
    config.update({"task": task, "channels": "4,8", "jitter": 0.0, "early_stop": False})
    config.update({"backtrack": 0.0, "learning_rate": 1e-3})
    truth = np.random.default_rng(0).random((16, 24, 3), np.float32)
    mask = np.ones((16, 24), np.float32)
    mask[4:8, 6:12] = 0
    mask = mask if task == "inpaint" else None
    rows = list(peer_curve.curves(torch, config, truth, mask, steps=6, every=3))
    assert [row["steps"] for row in rows] == [3, 6]
    for row in rows:
        assert abs(row["ours"] - row["theirs"]) < 1e-3
