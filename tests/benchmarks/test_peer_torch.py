"""The benchmark against PyTorch: its mistakes are one line; its nets are as large as ours."""

import importlib.util
import subprocess
import sys

import jax
import numpy as np
import pytest

from benchmarks import peer_torch
from deepinternal.nets.skip import SkipNet

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--method=ingan", "not there yet"),
        ("--method=dup", "zssr, dip, ingan"),
        ("--cases=hats", "textures"),
        *([] if HAS_TORCH else [("--method=dip", "pip install .[bench]")]),
    ],
)
def test_mistakes_are_one_line(flag, words):
    command = [sys.executable, "-m", "benchmarks.peer_torch", flag]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_report_has_both_means():
    spread = {"median": 2.0, "min": 1.0, "max": 3.0}
    seconds = {"ours": spread, "theirs": spread}
    common = {"size": [8, 8], "nets": 1, "compile_seconds": 1.0, "seconds_per_step": seconds}
    results = {
        "a": {**common, "ratio": spread, "ratio_of_least": 0.5},
        "b": {**common, "ratio": {**spread, "median": 8.0}, "ratio_of_least": 0.5},
    }
    assert "ours / PyTorch 4.00, least / least 0.50" in peer_torch.report(results)


@pytest.mark.skipif(not HAS_TORCH, reason="needs PyTorch")
@pytest.mark.parametrize("upsample", ["corners", "bilinear", "nearest"])
def test_the_same_net_in_pytorch(upsample):
    import torch

    net = SkipNet(2, (4, 5), (6, 7), skip=(0, 3), filter_down=5, upsample=upsample)
    x = np.random.default_rng(0).random((1, 24, 32, 3), np.float32)
    params = net.init(jax.random.key(0), x)["params"]
    theirs = peer_torch.torch_skip(torch, net, 3)
    assert sum(p.numel() for p in theirs.parameters()) == sum(
        p.size for p in jax.tree.leaves(params)
    )
    peer_torch.copy_weights(torch, net, params, theirs)
    with torch.no_grad():
        made = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2)))
    expected = net.apply({"params": params}, x)
    np.testing.assert_allclose(made.numpy().transpose(0, 2, 3, 1), expected, atol=2e-5)
