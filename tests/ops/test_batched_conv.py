"""conv2d with a kernel for each image, in each form, against each image alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from deepinternal.nets.zssr import ZSSRNet
from deepinternal.ops.conv import batching
from deepinternal.ops.conv.batching import FORMS, best
from deepinternal.ops.conv.convolution import choose, conv2d
from deepinternal.ops.conv.forms import Spec
from deepinternal.types import InputError
from tests.convolving import convolved

# N, H, W, C_in and kernel sizes, C_out: many and few channels, odd and tiny sizes, even kernels.
# Copies of `patches` on both sides (of rows and columns) three times, of x, of none, of y.
SHAPES = [
    ((1, 33, 35, 34), (3, 3), 35),
    ((1, 9, 7, 8), (3, 3), 16),
    ((2, 6, 5, 5), (5, 3), 5),
    ((1, 6, 5, 2), (3, 3), 9),
    ((1, 7, 8, 4), (1, 1), 6),
    ((1, 5, 6, 3), (2, 2), 4),
    ((2, 3, 2, 4), (2, 4), 2),
]
# Only `patches` treats all of them differently.
CASES = [
    pytest.param(shapes, form, marks=[pytest.mark.slow] * (shapes == SHAPES[0]))
    for form in FORMS
    for shapes in (SHAPES if form == "patches" else SHAPES[:2] + SHAPES[5:6])
]


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def lax_conv(x, w):
    dims = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=dims)


def arrays(shape, size, c_out, *, leading=(), seed=0):
    """x, w and y's gradient in float64."""
    rng = np.random.default_rng(seed)
    shapes = shape, (*size, shape[-1], c_out), (*shape[:-1], c_out)
    return tuple(jnp.asarray(rng.standard_normal((*leading, *s))) for s in shapes)


def value_and_gradients(conv, x, w, g):
    y, pull = jax.vjp(conv, x, w)
    return (y, *pull(g))


def one_by_one(function, *stacks):
    results = [function(*parts) for parts in zip(*stacks, strict=True)]
    return [np.stack(parts) for parts in zip(*results, strict=True)]


def assert_close(actual, desired):
    for a, d in zip(actual, desired, strict=True):
        np.testing.assert_allclose(a, d, rtol=0, atol=1e-11 * np.abs(d).max())


@pytest.mark.parametrize(("shapes", "batching"), CASES)
def test_each_form_equals_each_image_alone(shapes, batching):
    stacks = arrays(*shapes, leading=(2,))
    conv = functools.partial(conv2d, batching=batching)
    function = functools.partial(value_and_gradients, conv)
    everything = jax.jit(jax.vmap(lambda x, w, g: (*function(x, w, g), conv(x, w))))
    *actual, evaluated = everything(*stacks)
    assert_close(actual, one_by_one(functools.partial(convolved, padded=True), *stacks))
    assert_close([evaluated], actual[:1])


def axes_of(shared):
    return tuple(None if name == shared else 0 for name in "xwg")


@pytest.mark.parametrize(
    ("shared", "batching"), [("w", "loop"), ("w", "patches"), ("x", "patches"), ("g", "patches")]
)
def test_shared_arrays(shared, batching):
    full = arrays((1, 6, 5, 2), (3, 2), 3, leading=(2,))
    axes = axes_of(shared)
    args = [a if axis == 0 else a[0] for a, axis in zip(full, axes, strict=True)]
    full = [a if axis == 0 else jnp.stack([a[0]] * 2) for a, axis in zip(full, axes, strict=True)]
    conv = functools.partial(conv2d, batching=batching)
    function = functools.partial(value_and_gradients, conv)
    desired = one_by_one(jax.jit(functools.partial(value_and_gradients, lax_conv)), *full)
    assert_close(jax.jit(jax.vmap(function, axes))(*args), desired)

    def loss(x, w):
        return jnp.vdot(jax.vmap(conv, axes[:2])(x, w), full[2])

    # Outside of vmap, the gradient of a shared array is the sum of the gradients.
    sums = [d if axis == 0 else d.sum(0) for d, axis in zip(desired[1:], axes[:2], strict=True)]
    assert_close(jax.jit(jax.grad(loss, (0, 1)))(*args[:2]), sums)


@pytest.mark.parametrize(
    ("outer", "inner", "batching"),
    [("", "", "loop"), ("w", "", "patches"), ("", "w", "patches"), ("x", "w", "patches")],
)
def test_nested_vmap(outer, inner, batching):
    """With shared and separate kernels and images."""
    full = arrays((1, 5, 4, 2), (3, 3), 3, leading=(2, 2))
    function = functools.partial(value_and_gradients, functools.partial(conv2d, batching=batching))
    function = jax.vmap(jax.vmap(function, axes_of(inner)), axes_of(outer))
    args, spread = [], []
    for name, a in zip("xwg", full, strict=True):
        a = a[:1] if name == outer else a
        a = a[:, :1] if name == inner else a
        spread.append(jnp.broadcast_to(a, (2, 2, *a.shape[2:])).reshape(4, *a.shape[2:]))
        a = a[:, 0] if name == inner else a
        args.append(a[0] if name == outer else a)
    desired = one_by_one(jax.jit(functools.partial(value_and_gradients, lax_conv)), *spread)
    actual = jax.jit(function)(*args)
    assert_close(actual, [d.reshape(2, 2, *d.shape[1:]) for d in desired])


def test_images_with_one_kernel_are_one_larger_batch():
    x, w, _ = arrays((2, 6, 7, 3), (3, 3), 4, leading=(5, 2))
    lowered = jax.jit(jax.vmap(jax.vmap(conv2d, (0, None)), (0, None))).lower(x, w[0, 0])
    (line,) = [part for part in lowered.as_text().splitlines() if "stablehlo.convolution" in part]
    assert "-> tensor<20x6x7x4xf64>" in line
    assert "feature_group_count = 1 " in line


@pytest.mark.parametrize(
    ("shapes", "batching"),
    [
        (((1, 33, 34, 33), (3, 3), 34), None),
        (((1, 6, 5, 3), (2, 2), 2), "loop"),
        (((1, 6, 5, 3), (1, 4), 2), "patches"),
    ],
)
def test_nested_reverse_mode(shapes, batching):
    """Gradients of a function of the gradients, as a gradient penalty takes them, and once more."""
    x, w, g = arrays(*shapes, leading=(2,) if batching else ())

    def third(conv, x, w, g):
        def loss(x, w):
            return jnp.vdot(jnp.sin(conv(x, w) / 5), g)

        def penalty(x, w):
            dx, dw = jax.grad(loss, (0, 1))(x, w)
            return jnp.vdot(dx, jnp.tanh(dx)) + jnp.vdot(dw, jnp.sin(dw))

        second, pull = jax.vjp(jax.grad(penalty, (0, 1)), x, w)
        return (*second, *pull(second)) if batching == "patches" else second

    plain = jax.jit(functools.partial(third, lax_conv))
    ours = functools.partial(third, functools.partial(conv2d, batching=batching))
    if batching:
        assert_close(jax.jit(jax.vmap(ours))(x, w, g), one_by_one(plain, x, w, g))
    else:
        assert_close(jax.jit(ours)(x, w, g), plain(x, w, g))


def test_second_derivative_is_a_finite_difference():
    x, w, g = arrays((1, 6, 5, 3), (3, 3), 4)
    direction = jnp.asarray(np.random.default_rng(1).standard_normal(w.shape))
    probe = jnp.asarray(np.random.default_rng(2).standard_normal(x.shape))

    @jax.jit
    def probed(w):
        gradient = jax.grad(lambda x: jnp.vdot(jnp.sin(conv2d(x, w) / 5), g))(x)
        return jnp.vdot(gradient, probe)

    step = 1e-5
    slope = (probed(w + step * direction) - probed(w - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.vdot(jax.grad(probed)(w), direction), slope, rtol=1e-7)


@pytest.mark.parametrize(
    ("batching", "convolutions", "products"),
    [("loop", 6, 0), ("grouped", 3, 0), ("hybrid", 1, 2), ("patches", 0, 3)],
)
def test_a_net_takes_the_form(batching, convolutions, products):
    """Of three layers for two images, only the second layer has multiples of 8 channels."""
    x = jax.ShapeDtypeStruct((2, 1, 9, 7, 4), jnp.float32)
    net = ZSSRNet(layers=3, features=8, batching=batching)
    init = lambda key, x: net.init(key, x)["params"]
    params = jax.eval_shape(jax.vmap(init), jax.random.split(jax.random.key(0), 2), x)
    apply = jax.vmap(lambda params, x: net.apply({"params": params}, x))
    text = jax.jit(apply).lower(params, x).as_text()
    assert text.count("stablehlo.convolution") == convolutions
    assert text.count("stablehlo.dot_general") == products


@pytest.mark.parametrize(("stride", "padding"), [(1, "SAME"), (2, "VALID")])
def test_the_grouped_kernel_gradient_is_a_transpose(stride, padding):
    """`jax.vmap` of JAX's own kernel gradient has groups of channels, and filters of images."""

    def gradients(x, w):
        conv = functools.partial(conv2d, stride=stride, padding=padding, batching="grouped")
        y, pull = jax.vjp(conv, x, w)
        return pull(y)

    x, w = jnp.ones((3, 1, 13, 15, 8)), jnp.ones((3, 3, 3, 8, 8))
    text = jax.jit(jax.vmap(gradients)).lower(x, w).as_text()
    assert text.count("feature_group_count = 3") == 2
    assert text.count("batch_group_count = 3") == 1


# Pixels, kernel, stride, form: KernelGAN's and ZSSR's layers, and wide nets of large images.
CHOICES = [
    ((56, 56), (3, 3, 32, 32), 1, "hybrid"),
    ((127, 128), (3, 3, 64, 64), 1, "hybrid"),
    ((128, 128), (3, 3, 64, 64), 1, "loop"),
    ((128, 128), (3, 3, 3, 64), 1, "loop"),
    ((512, 512), (1, 1, 128, 4), 1, "patches"),
    ((256, 256), (1, 1, 16, 16), 2, "loop"),
    ((64, 64), (3, 3, 128, 128), 2, "hybrid"),
]


@pytest.mark.parametrize(("size", "kernel", "stride", "form"), CHOICES)
def test_choice_on_accelerators(size, kernel, stride, form, monkeypatch):
    spec = Spec(size, kernel, stride == 1, stride)
    assert best(spec, images=1) == form
    assert best(spec, images=400) == ("patches" if form == "patches" else "loop")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    chosen = []
    monkeypatch.setattr(batching, form if form != "loop" else "one_by_one", chosen.append)
    choose(spec, None, kernels=2, images=1, dtype=jnp.float32)
    assert len(chosen) == 1


def test_unknown_form():
    with pytest.raises(InputError, match="batching='fold': choose one of loop, grouped"):
        conv2d(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), batching="fold")
