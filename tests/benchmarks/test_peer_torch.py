"""The benchmark against PyTorch: both sides take the same steps."""

import importlib.util

import jax
import numpy as np
import pytest

from benchmarks import peer_ingan, peer_kernelgan, peer_nets, peer_torch, torch_nets
from deepinternal.methods.ingan import retargeting
from deepinternal.nets import ingan
from deepinternal.nets.skip import SkipNet
from deepinternal.nets.zssr import ZSSRNet
from deepinternal.ops import spectral
from deepinternal.types import InputError

torch_needed = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dup", [], ["eager"]), "zssr, dip, ingan, kernelgan"),
        (("dip", ["hats"], ["eager"]), "textures"),
        (("dip", [], ["lazy"]), "eager, compiled"),
    ],
)
def test_mistakes_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        peer_torch.chosen(*arguments)


def test_report_has_the_means_of_each_peer_that_works():
    spread = {"median": 2.0, "min": 1.0, "max": 3.0}
    common = {"label": "2 x 8x8", "compile_seconds": 1.0, "errors": {}}
    common["first_seconds"] = {"eager": 1.0}
    common["seconds_per_step"] = {"ours": spread, "eager": spread}
    common["ratios_of_least"] = {"eager": 0.5}
    results = {
        "a": {**common, "ratios": {"eager": spread}},
        "b": {**common, "ratios": {"eager": {**spread, "median": 8.0}}},
    }
    text = peer_torch.report(results)
    assert (
        "ours / eager: 4.00 of the medians, 0.50 of the fastest rounds; greatest median 8.00"
        in text
    )
    assert "ours / compiled:" not in text
    assert text.splitlines()[2].count("| -") + text.splitlines()[2].count(" - |") >= 3


@torch_needed
@pytest.mark.parametrize(
    ("net", "count"),
    [
        (SkipNet(2, (4, 5), (6, 7), skip=(0, 3), filter_down=5, upsample="corners"), 1),
        (SkipNet(2, (4, 5), skip=2, upsample="bilinear"), 1),
        (SkipNet(2, (4, 5), upsample="nearest", need_1x1=False), 1),
        (ZSSRNet(3, 5), 2),
    ],
)
def test_the_same_nets_take_the_same_steps_in_pytorch(net, count):
    """From the same weights; losses of later steps are of what the steps before made of them."""
    import torch

    case = peer_nets.Case((net,) * count, 3, (24, 32))
    ours, theirs = case.ours(), case.theirs(compiled=False)
    for params, module in zip(ours.params, theirs.nets, strict=True):
        sizes = [p.size for p in jax.tree.leaves(params)]
        assert sum(p.numel() for p in module.parameters()) == sum(sizes)
        torch_nets.copy_weights(torch, net, params, module)
    losses = []
    for _ in range(3):
        ours.run(1)
        theirs.run(1)
        assert theirs.loss == pytest.approx(ours.loss, rel=1e-4)
        losses.append(ours.loss)
    assert losses[0] > losses[1] > losses[2]


@torch_needed
@pytest.mark.parametrize(
    ("case", "net"),
    [
        (peer_nets.Case((SkipNet(2, (4, 5), skip=2),), 3, (24, 32)), lambda t: t.nets[0]),
        (peer_ingan.Case("smoke", (48, 56), (40, 48)), lambda t: t._generator),
        (peer_kernelgan.Case("smoke"), lambda t: t._replicas[0].generator),
    ],
    ids=["skip", "ingan", "kernelgan"],
)
def test_the_same_steps_with_channels_last(case, net, monkeypatch):
    """As on a GPU, for which the CPU stands here under another name."""
    import torch

    waited, weights = [], []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(True))
    for device in ("cpu", "cpu:0"):
        torch.manual_seed(0)
        theirs = case.theirs(compiled=False, device=device)
        theirs.run(2)
        kernels = [p.detach().numpy() for p in net(theirs).parameters() if p.ndim == 4]
        weights.append(np.concatenate([kernel.ravel() for kernel in kernels]))
    assert waited == [True]
    assert np.abs(weights[0] - weights[1]).mean() < 1e-4  # a step changes each by 1e-3 or 2e-4


def _copied(torch, params, pairs):
    """Gives layers of PyTorch, each a convolution and a norm or None, the weights of ours by name."""
    with torch.no_grad():
        for (conv, norm), (name, index) in pairs:
            pick = lambda x, i=index: np.array(x if i is None else x[i])
            kernel = torch.tensor(pick(params[name]["kernel"]).transpose(3, 2, 0, 1).copy())
            getattr(conv, "weight_orig", conv.weight).copy_(kernel)
            conv.bias.copy_(torch.tensor(pick(params[name]["bias"])))
            if norm is not None:
                norm.weight.copy_(torch.tensor(pick(params[f"{name}_norm"]["scale"])))
                norm.bias.copy_(torch.tensor(pick(params[f"{name}_norm"]["shift"])))


def _converged(params, skip=()):
    """Weights whose spectral norms are 1, as many power iterations make them."""
    vectors = spectral.vectors(jax.random.key(1), params, skip=skip)
    for _ in range(40):
        made, vectors = spectral.normalized(params, vectors)
    return made


@torch_needed
def test_the_same_retargeting_nets_in_pytorch():
    """As many weights; with the same ones, the same pictures and scores."""
    import torch

    torch.manual_seed(0)
    count = lambda params: sum(p.size for p in jax.tree.leaves(params))
    x = np.random.default_rng(0).uniform(-1, 1, (1, 32, 40, 3)).astype(np.float32)
    size = (24, 56)
    net, same = ingan.Generator(8, 2), lambda x: x
    params = jax.jit(lambda key: net.init(key, x, same)["params"])(jax.random.key(0))
    theirs = peer_ingan.generator(torch, 8, 2, 3)
    assert sum(p.numel() for p in theirs.parameters()) == count(params)
    named = {"entry": theirs.entry, **{f"down{i}": b for i, b in enumerate(theirs.down)}}
    named |= {f"up{2 - i}": b for i, b in enumerate(theirs.up)}
    pairs = [((b[0], b[1]), (name, None)) for name, b in named.items()]
    for i, residual in enumerate(theirs.middle):
        names = ("block_in", "block_middle", "block_out")
        pairs += [((b[0], b[1]), (name, i)) for name, b in zip(names, residual.net)]
    _copied(torch, params, [*pairs, ((theirs.last, None), ("last", None))])
    image = torch.from_numpy(x.transpose(0, 3, 1, 2))
    with torch.no_grad():
        for _ in range(40):
            made = theirs(image, size)
    weights = {"params": _converged(params, ("last",))}
    expected = jax.jit(lambda w: net.apply(w, x, retargeting.resizing(size)))(weights)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(made.numpy().transpose(0, 2, 3, 1), expected, atol=2e-3 * scale)

    discriminator = ingan.PatchDiscriminator(4)
    params = jax.jit(lambda key: discriminator.init(key, x)["params"])(jax.random.key(2))
    theirs = peer_ingan.discriminator(torch, 4, 3)
    assert sum(p.numel() for p in theirs.parameters()) == count(params)
    layers = zip(("first", "second", "third"), (0, 3, 6))
    pairs = [((theirs[i], theirs[i + 1]), (name, None)) for name, i in layers]
    _copied(torch, params, [*pairs, ((theirs[9], None), ("last", None))])
    with torch.no_grad():
        for _ in range(40):
            found = theirs(image)
    expected = jax.jit(discriminator.apply)({"params": _converged(params)}, x)
    np.testing.assert_allclose(found.numpy().transpose(0, 2, 3, 1), expected, atol=2e-3)
