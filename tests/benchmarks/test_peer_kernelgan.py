"""KernelGAN in PyTorch equals ours: the same kernel, pictures, losses and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import peer_kernelgan
from deepinternal.methods import kernelgan
from deepinternal.methods.kernelgan import training
from deepinternal.nets import kernelgan as nets
from deepinternal.ops import spectral

torch = pytest.importorskip("torch")

FEATURES = 4
CROP, SMALL = 48, 18
TERMS = ("bicubic", "covariance", "sum", "boundary", "centre", "sparse", "negative")


def first(a):
    """(H, W, C) or (kh, kw, C_in, C_out) in PyTorch's order; a batch of one image."""
    a = np.array(a)
    order = (3, 2, 0, 1) if a.ndim == 4 else (2, 0, 1)
    a = torch.tensor(np.ascontiguousarray(a.transpose(order)))
    return a if a.ndim == 4 else a[None]


def close(theirs, ours):
    """Alike to 1e-4 of the greatest value."""
    theirs, ours = np.asarray(theirs.detach()), np.asarray(ours)
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4 * np.abs(ours).max())


def picture(side):
    return np.random.default_rng(0).uniform(-1, 1, (side, side, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def generators():
    """Ours with its weights, of which some kernel of sum about 1 comes, and the same in PyTorch."""
    net = nets.LinearGenerator(FEATURES)
    params = jax.jit(lambda key: net.init(key, method="kernel")["params"])(jax.random.key(0))
    total = np.sum(net.apply({"params": params}, method="kernel"))
    gain = abs(total) ** (-1 / len(nets.SIZES))
    params = {name: gain * weights for name, weights in params.items()}
    theirs = peer_kernelgan.generator(torch, FEATURES)
    with torch.no_grad():
        for i, layer in enumerate(theirs):
            layer.weight.copy_(first(params[f"conv{i}"]))
    return net, params, theirs


@pytest.fixture(scope="module")
def inputs():
    """Of a small image, crops of 32 pixels."""
    config = kernelgan.RECIPE.build(crop=32)
    return kernelgan.prepare(config, np.random.default_rng(0).random((48, 48, 3), np.float32))


def test_the_same_kernel_and_the_same_picture(generators):
    net, params, theirs = generators
    kernel = net.apply({"params": params}, method="kernel")
    close(peer_kernelgan.explicit_kernel(torch, theirs), kernel)
    crop = picture(CROP)
    made = theirs(first(crop).transpose(0, 1)).transpose(0, 1)
    expected = first(jax.jit(net.apply)({"params": params}, crop))
    close(made, expected)
    as_one = peer_kernelgan.downscaled(
        torch, peer_kernelgan.explicit_kernel(torch, theirs), first(crop)
    )
    close(as_one, expected)


def test_the_same_losses_and_the_same_gradients(generators):
    _, params, theirs = generators
    config = kernelgan.RECIPE.build(crop=CROP, features=FEATURES, noise_std=0.0)
    crop = picture(CROP)
    image = np.random.default_rng(1).random((64, 64, 3), np.float32)
    statistics = kernelgan.prepare(config, image)["statistics"]
    task = training.Task(config, CROP, SMALL)
    drawn = training.Draw(crop, None, np.zeros(3))
    weights = {"adversarial": 1.0} | {name: 0.5 + i for i, name in enumerate(TERMS)}

    def loss_fn(params):
        return training.generator_loss(task, jnp.square, drawn, statistics, weights, params)

    (_, terms), grads = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))(params)
    theirs.zero_grad()
    made = theirs(first(crop).transpose(0, 1)).transpose(0, 1)
    kernel = peer_kernelgan.explicit_kernel(torch, theirs)
    found = peer_kernelgan.Prior(torch, statistics)(kernel, made, first(crop))
    found["adversarial"] = torch.abs(made**2 - 1).mean()
    assert set(found) == set(terms)
    for name, value in found.items():
        np.testing.assert_allclose(value.item(), terms[name], rtol=1e-4, err_msg=name)
    sum(weights[name] * value for name, value in found.items()).backward()
    for i, layer in enumerate(theirs):
        close(layer.weight.grad, first(grads[f"conv{i}"]))


def test_the_same_scores():
    """With the same vectors of the spectral normalisation; their next ones are the same, too."""
    net, x = nets.Discriminator(FEATURES, hidden=2), picture(16)
    params = jax.jit(lambda key: net.init(key, x)["params"])(jax.random.key(1))
    vectors = spectral.vectors(jax.random.key(2), params)
    theirs = peer_kernelgan.discriminator(torch, FEATURES, 3, hidden=2)
    convs = [layer for layer in theirs if isinstance(layer, torch.nn.Conv2d)]
    with torch.no_grad():
        for i, layer in enumerate(convs):
            layer.weight_orig.copy_(first(params[f"conv{i}"]["kernel"]))
            layer.weight_u.copy_(torch.tensor(np.array(vectors[f"conv{i}"])))
    assert sum(p.numel() for p in theirs.parameters()) == sum(
        p.size for p in jax.tree.leaves(params)
    )

    def loss_fn(params):
        made, following = spectral.normalized(params, vectors)
        judged = net.apply({"params": made}, x)
        return jnp.mean(jnp.square(judged - 0.8)), (judged, following)

    (_, (expected, following)), grads = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))(params)
    judged = theirs(first(x))
    close(judged.flatten(), expected)
    ((judged - 0.8) ** 2).mean().backward()
    for i, layer in enumerate(convs):
        close(layer.weight_u, following[f"conv{i}"])
        close(layer.weight_orig.grad, first(grads[f"conv{i}"]["kernel"]))


@pytest.mark.parametrize("preset", ["published", ""])
def test_weights_of_the_terms(preset, inputs):
    """Those of the method, whatever the time since the kernel came near to the cubic one."""
    config = peer_kernelgan.Case(preset).config.replace(features=1, crop=32)
    replica = peer_kernelgan.TorchReplica(config, inputs)
    ours = jax.jit(lambda since: training.weights(config, since))
    for since in (0, 1, 100, 101, 150, 400, 5000):
        replica._since = since
        expected = ours(since)
        for name, value in replica.weights().items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-4, err_msg=f"{name} {since}")


@pytest.mark.parametrize("as_one", [False, True])
def test_a_step_trains_both_nets(as_one, inputs):
    config = peer_kernelgan.Case("", 1).config.replace(features=2, crop=32)
    replica = peer_kernelgan.TorchReplica(config, inputs, as_one=as_one)
    nets_of = lambda: [
        p for net in (replica.generator, replica.discriminator) for p in net.parameters()
    ]
    before = [p.detach().clone() for p in nets_of()]
    assert np.isfinite(replica.step().item())
    assert all(not torch.equal(a, b) for a, b in zip(before, nets_of()) if a.ndim > 1)


def test_replicas_are_trained_one_after_another():
    case = peer_kernelgan.Case("smoke", 2)
    assert case.label == "2 x 128x128"
    assert case.theirs(compiled=False).run(1) > 0
