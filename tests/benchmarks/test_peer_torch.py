"""The benchmark against PyTorch: its mistakes are one line; its nets are as large as ours."""

import importlib.util
import subprocess
import sys

import jax
import numpy as np
import pytest

from benchmarks import peer_ingan, peer_torch
from deepinternal.nets import ingan
from deepinternal.nets.skip import SkipNet

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.mark.parametrize(
    ("flag", "words"),
    [
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
    common = {"label": "2 x 8x8", "compile_seconds": 1.0, "seconds_per_step": seconds}
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


@pytest.mark.skipif(not HAS_TORCH, reason="needs PyTorch")
def test_the_same_retargeting_nets_in_pytorch():
    import torch

    count = lambda params: sum(p.size for p in jax.tree.leaves(params))  # noqa: E731
    theirs = lambda net: sum(p.numel() for p in net.parameters())  # noqa: E731
    x = np.zeros((1, 32, 40, 3), np.float32)
    same = lambda x: x  # noqa: E731
    net = ingan.Generator(8, 2)
    ours = jax.eval_shape(lambda key: net.init(key, x, same)["params"], jax.random.key(0))
    generator = peer_ingan.generator(torch, 8, 2, 3)
    assert theirs(generator) == count(ours)
    judge = ingan.PatchDiscriminator(4)
    ours = jax.eval_shape(lambda key: judge.init(key, x)["params"], jax.random.key(0))
    assert theirs(peer_ingan.judge(torch, 4, 3)) == count(ours)
    with torch.no_grad():
        assert generator(torch.zeros(1, 3, 32, 40), (24, 56)).shape == (1, 3, 24, 56)
