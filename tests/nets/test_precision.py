"""The field `precision` in the nets: the dtypes and precisions of what is traced, and the results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from benchmarks import programs
from deepinternal.engine.compiling import compiler_options
from deepinternal.nets import ingan, kernelgan
from deepinternal.nets.skip import SkipNet
from deepinternal.nets.zssr import ZSSRNet
from deepinternal.ops.doubling import double
from deepinternal.ops.layers import norm_and_relu, variance
from deepinternal.ops.resizing import resize
from deepinternal.types import InputError
from tests import traced


def _larger(x):
    assert x.dtype == jnp.float32, "resizing is computed in float32"
    return resize(x, output_shape=(20, 28), method="linear", antialias=False)


NETS = {
    "zssr": (ZSSRNet, {"layers": 4, "features": 8}, (1, 16, 24, 3), ()),
    "subpixel": (ZSSRNet, {"layers": 3, "features": 8, "factor": (2, 2)}, (1, 16, 24, 3), ()),
    "canvas": (ZSSRNet, {"layers": 3, "features": 8}, (1, 16, 24, 3), ((12, 20),)),
    "skip": (SkipNet, {"outputs": 3, "down": (8, 16), "skip": (0, 4)}, (1, 24, 16, 4), ()),
    "several": (
        SkipNet,
        {"outputs": 1, "down": (8,), "padding": "zero", "upsample": "corners", "sigmoid": False},
        (2, 16, 16, 4),
        (),
    ),
    "generator": (ingan.Generator, {"channels": 4, "blocks": 2}, (1, 16, 24, 3), (_larger,)),
    "patches": (ingan.PatchDiscriminator, {"channels": 8}, (1, 24, 24, 3), ()),
    "judge": (kernelgan.Discriminator, {"features": 8, "hidden": 2}, (16, 16, 3), ()),
}


def _net(name, precision):
    """A function from a key to weights, and one from weights and an image to the result."""
    kind, options, shape, rest = NETS[name]
    net = kind(**options, precision=precision)
    image = lambda: jax.random.uniform(jax.random.key(1), shape)
    return (
        lambda key: net.init(key, image(), *rest)["params"],
        lambda params: net.apply({"params": params}, image(), *rest),
    )


def _gradient(apply):
    def loss(params):
        made = apply(params)
        return jnp.mean(made * jax.random.normal(jax.random.key(3), made.shape))

    return jax.grad(loss)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("precision", ["high", "highest", "bfloat16"])
def test_every_convolution_of_a_net_has_the_precision(name, precision):
    init, apply = _net(name, precision)
    with programs.traced_for("gpu"):
        params = jax.eval_shape(init, jax.random.key(0))
        jaxpr, gradient = jax.make_jaxpr(_gradient(apply), return_shape=True)(params)
        made = jax.eval_shape(apply, params)
    found = traced.products(jaxpr.jaxpr)
    assert {product for product in found if product != traced.EXACT} == {  # as in resizing
        "high": {("float32", (lax.Precision.HIGH,) * 2)},
        "highest": set(),
        "bfloat16": {("bfloat16", None)},
    }[precision]
    assert len(found) > 5
    assert not traced.sums_in(jaxpr.jaxpr, jnp.bfloat16)
    assert {x.dtype for x in jax.tree.leaves((params, gradient, made))} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", ["subpixel", "skip", "generator", "judge"])
def test_bfloat16_changes_no_more_than_its_rounding(name):
    made, slopes = [], []
    params = jax.jit(_net(name, "default")[0])(jax.random.key(0))
    for precision in ("default", "bfloat16"):
        _, apply = _net(name, precision)
        both = jax.jit(
            lambda p, f=apply: (f(p), _gradient(f)(p)),
            compiler_options=compiler_options("step"),  # as the engine compiles steps
        )
        image, gradient = both(params)
        made.append(np.ravel(image))
        slopes.append(np.concatenate([np.ravel(g) for g in jax.tree.leaves(gradient)]))
    error = np.std(made[1] - made[0]) / np.std(made[0])
    assert 2**-16 < error < 2**-5, "values of 8 bits, and sums of many"
    # Where activations are within this error of a kink, gradients change as a whole: of 1 % of the
    # pixels at each of ten layers, this makes a third of the norm.
    assert np.linalg.norm(slopes[1] - slopes[0]) < 0.4 * np.linalg.norm(slopes[0])


def _bfloat16(*shape):
    """Values far from zero, of which the sums of many need more than 8 bits."""
    values = 50 + jax.random.normal(jax.random.key(2), shape)
    return values.astype(jnp.bfloat16)


def _rounded_once(function, x, g):
    """Asserts that a function of bfloat16 and its gradient are those of float32, rounded at the end."""
    made, pull = jax.vjp(function, x)
    exact, exact_pull = jax.vjp(function, x.astype(jnp.float32))
    assert made.dtype == jnp.bfloat16
    np.testing.assert_array_equal(made, exact.astype(jnp.bfloat16))
    g = g(made.shape)
    np.testing.assert_array_equal(
        pull(g)[0], exact_pull(g.astype(jnp.float32))[0].astype(jnp.bfloat16)
    )


def test_normalisation_and_doubling_are_computed_in_float32():
    x, g = _bfloat16(1, 24, 16, 4), lambda shape: _bfloat16(*shape)
    scale, shift = jnp.linspace(0.5, 2, 4), jnp.linspace(-1, 1, 4)
    _rounded_once(lambda x: norm_and_relu(x, scale, shift, 1e-5, 0.2), x, g)
    for how in ("bilinear", "corners"):
        _rounded_once(lambda x, how=how: double(x, how, frame=1), x, g)
    _rounded_once(lambda x: double(x, "corners"), x[:, :2, :2], g)
    exact = np.asarray(x, np.float64).var((1, 2), keepdims=True)
    np.testing.assert_allclose(variance(x, 0), exact, rtol=1e-4)


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match=r"precision='half': must be one of .*bfloat16, or None"):
        SkipNet(1, precision="half").init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
