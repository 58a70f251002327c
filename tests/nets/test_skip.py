"""The skip net: published parameter counts, a NumPy forward pass in float64, gradients, lanes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from deepinternal.nets.skip import SkipNet
from deepinternal.types import InputError
from tests.interpolation import doubled

WIDE, FIVE, FOUR = (128,) * 5, (8, 16, 32, 64, 128), (8, 16, 32, 64)
LATE = (0, 0, 0, 4, 4)
COUNTS = [
    (2_217_831, 32, SkipNet(3, WIDE, skip=4)),  # denoising
    (3_002_627, 32, SkipNet(3, WIDE, skip=128, upsample="nearest")),  # inpainting
    (35_179, 2, SkipNet(3, (8, 16, 32), skip=0)),  # segmentation, layers and mask
    (35_161, 2, SkipNet(1, (8, 16, 32), skip=0)),
    (573_187, 8, SkipNet(3, FIVE, skip=LATE)),  # dehazing, image and transmission
    (573_169, 8, SkipNet(1, FIVE, skip=LATE)),
    (1_544_787, 2, SkipNet(3, FIVE, skip=LATE, filter_down=5, filter_up=5)),  # transparency
    (1_544_987, 3, SkipNet(3, FIVE, skip=LATE, filter_down=5, filter_up=5)),
    (1_544_769, 2, SkipNet(1, FIVE, skip=LATE, filter_down=5, filter_up=5)),
    (144_045, 2, SkipNet(1, FOUR, skip=(0, 0, 0, 4))),  # watermark's mask
    (572_755, 2, SkipNet(3, FIVE, skip=LATE)),  # shared by several watermarked images
    (572_737, 2, SkipNet(1, FIVE, skip=LATE)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "depth", "net"), COUNTS)
def test_parameter_counts_equal_those_of_the_published_nets(count, depth, net):
    x = jnp.zeros((1, net.multiple, net.multiple, depth))
    drawn = jax.eval_shape(net.init, jax.random.key(0), x)
    assert sum(p.size for p in jax.tree.leaves(drawn)) == count
    made = jax.eval_shape(net.apply, drawn, x)
    assert made.shape == (1, net.multiple, net.multiple, net.outputs)


# The forward pass in NumPy, float64, one image at a time


def np_conv(x, layer, padding, stride=1):
    kernel, bias = layer["kernel"], layer["bias"]
    low = kernel.shape[0] // 2
    pad = [(low, low), (low, low), (0, 0)]
    x = np.pad(x, pad, "reflect" if padding == "reflect" else "constant")
    seen = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(0, 1))
    return np.einsum("hwcij,ijcd->hwd", seen[::stride, ::stride], kernel) + bias


def np_norm(x, layer, epsilon):
    x = (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + epsilon)
    return x * layer["scale"] + layer["shift"]


def np_net(net, params, x):
    def layer(name, x, stride=1):
        x = np_norm(
            np_conv(x, params[name], net.padding, stride), params[f"{name}_norm"], net.epsilon
        )
        return np.where(x > 0, x, net.slope * x)

    def scale(x, i):
        deeper = layer(f"deep{i}", layer(f"down{i}", x, 2))
        if i + 1 < len(net.down):
            deeper = scale(deeper, i + 1)
        deeper = doubled(doubled(deeper, 0, net.upsample), 1, net.upsample)
        deeper = deeper[: x.shape[0], : x.shape[1]]
        if f"skip{i}" in params:
            deeper = np.concatenate([layer(f"skip{i}", x), deeper], -1)
        y = layer(f"up{i}", np_norm(deeper, params[f"join{i}"], net.epsilon))
        return layer(f"mix{i}", y) if net.need_1x1 else y

    y = np_conv(scale(x, 0), params["last"], net.padding)
    return 1 / (1 + np.exp(-y)) if net.sigmoid else y


NETS = [
    (SkipNet(3, (4, 6), skip=(0, 3)), (24, 32)),
    (SkipNet(1, (4, 6), (5, 7), skip=2, upsample="corners", filter_down=5, filter_up=5), (32, 24)),
    (SkipNet(2, (3, 4), skip=3, upsample="nearest", filter_skip=3, padding="zero"), (23, 17)),
    (SkipNet(2, (4,), skip=0, filter_up=5, need_1x1=False, sigmoid=False), (15, 21)),
]


def drawn(net, size, count=1, depth=2, dtype=np.float64):
    """Parameters, none of them at its initial 0 or 1, and an input."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 0.1, (count, *size, depth)).astype(dtype)
    shapes = jax.eval_shape(net.init, jax.random.key(0), x)["params"]
    return jax.tree.map(lambda p: rng.uniform(0.2, 0.6, p.shape).astype(dtype), shapes), x


@pytest.mark.parametrize(("net", "size"), NETS)
def test_forward_pass_agrees_with_numpy(net, size):
    params, x = drawn(net, size, count=2)
    desired = np.stack([np_net(net, params, image) for image in x])
    params, x = jax.tree.map(np.float32, (params, x))
    made = jax.jit(net.apply)({"params": params}, x)
    assert made.shape == desired.shape == (2, *size, net.outputs)
    np.testing.assert_allclose(made, desired, atol=1e-4 * desired.std())


# Gradients, images and lanes


def loss_fn(net, params, x, target):
    return jnp.mean(jnp.square(net.apply({"params": params}, x) - target))


@pytest.mark.slow
def test_gradient_agrees_with_finite_differences():
    # Smooth activations: a finite difference across a kink would say nothing.
    net = SkipNet(2, (4,), skip=3, slope=1.0)
    params, x = drawn(net, (12, 16))
    target = np.random.default_rng(1).random((1, 12, 16, 2))
    with jax.enable_x64(True):
        params, x, target = jax.tree.map(jnp.asarray, (params, x, target))
        value = jax.jit(lambda p: loss_fn(net, p, x, target))
        grads = jax.jit(jax.grad(lambda p: loss_fn(net, p, x, target)))(params)
        leaves, tree = jax.tree.flatten(params)
        rng, step = np.random.default_rng(2), 1e-5
        for i, (leaf, grad) in enumerate(zip(leaves, jax.tree.leaves(grads), strict=True)):
            way = rng.standard_normal(leaf.shape)
            ends = [
                value(tree.unflatten([*leaves[:i], leaf + s * way, *leaves[i + 1 :]]))
                for s in (step, -step)
            ]
            slope = float(ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(float(jnp.vdot(grad, way)), slope, rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_images_of_a_batch_and_lanes_are_independent():
    net = SkipNet(1, (4,), skip=2)
    _, x = drawn(net, (20, 16), count=2, dtype=np.float32)
    draw = jax.jit(lambda key: net.init(key, x)["params"])
    params = [draw(jax.random.key(i)) for i in range(2)]
    target = np.random.default_rng(1).random((2, 20, 16, 1), np.float32)
    apply = jax.jit(lambda params, x: net.apply({"params": params}, x))
    pairs = apply(params[0], x)
    for i in range(2):
        np.testing.assert_allclose(pairs[i : i + 1], apply(params[0], x[i : i + 1]), atol=2e-5)

    step = jax.value_and_grad(functools.partial(loss_fn, net))
    one = jax.jit(step)
    single = [one(p, x[i : i + 1], target[i : i + 1]) for i, p in enumerate(params)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    lanes = jax.jit(jax.vmap(step))(stacked, x[:, None], target[:, None])
    for i in range(2):
        for a, b in zip(jax.tree.leaves(lanes), jax.tree.leaves(single[i]), strict=True):
            np.testing.assert_allclose(a[i], b, atol=2e-5 * max(1e-3, np.abs(b).max()))


def test_initial_weights_follow_the_default_of_pytorch():
    net = SkipNet(3, (64,), skip=0)
    params = jax.jit(net.init)(jax.random.key(3), jnp.zeros((1, 8, 8, 16)))["params"]
    bound = 1 / np.sqrt(9 * 16)
    kernel = np.asarray(params["down0"]["kernel"])
    assert bound * 0.99 < kernel.max() <= bound
    assert -bound <= kernel.min() < -bound * 0.99
    assert abs(kernel.std() - bound / np.sqrt(3)) < 0.02 * bound
    assert 0.5 * bound < np.abs(params["down0"]["bias"]).max() <= bound
    norm = params["down0_norm"]
    assert np.all(norm["scale"] == 1)
    assert np.all(norm["shift"] == 0)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"skip": (1, 2, 3)}, "skip"),
        ({"up": (4,)}, "up"),
        ({"down": ()}, "down"),
        ({"filter_up": 4}, "filter_up"),
        ({"upsample": "cubic"}, "corners"),
        ({"padding": "edge"}, "reflect"),
    ],
)
def test_impossible_fields_are_refused(fields, word):
    net = SkipNet(**{"outputs": 1, "down": (4, 4), "skip": 0, **fields})
    with pytest.raises(InputError, match=word):
        jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))


def test_weights_of_one_draw_have_the_distribution_of_init():
    net = SkipNet(3, (8, 16), skip=(0, 4), filter_down=5)
    made = jax.jit(lambda key: net.weights(key, 6))(jax.random.key(3))
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 8, 6)))["params"]
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(lambda x: x.shape, shapes)
    scaled = []
    for layer in made.values():
        if "scale" in layer:
            assert (layer["scale"] == 1).all()
            assert (layer["shift"] == 0).all()
            continue
        bound = np.prod(layer["kernel"].shape[:-1]) ** -0.5
        scaled += [np.ravel(x) / bound for x in layer.values()]
    assert len(scaled) == 2 * sum("kernel" in layer for layer in shapes.values())
    values = np.concatenate(scaled)
    assert len(np.unique(values)) > 0.99 * len(values), "no two layers share their numbers"
    assert stats.kstest(values, stats.uniform(-1, 2).cdf).pvalue > 1e-3
