"""InGAN's nets: sizes and parameter counts."""

import jax
import jax.numpy as jnp
import pytest

from deepinternal.methods.ingan import retargeting
from deepinternal.nets import ingan
from deepinternal.ops.resizing import resize


def _count(params):
    return sum(x.size for x in jax.tree.leaves(params))


def test_parameter_counts_are_the_published_ones():
    x = jnp.zeros((1, 32, 32, 3))
    same = lambda x: x
    generator = jax.eval_shape(
        lambda k: ingan.Generator().init(k, x, same)["params"], jax.random.key(0)
    )
    judge = jax.eval_shape(
        lambda k: ingan.PatchDiscriminator().init(k, x)["params"], jax.random.key(0)
    )
    assert _count(generator) == 4_804_611
    assert _count(judge) == 224_001


@pytest.mark.parametrize("size", [(16, 16), (40, 24), (37, 51)])
def test_the_generator_makes_images_of_any_size(size):
    net = ingan.Generator(4, 1)
    transform = lambda x: resize(x, output_shape=size, method="linear", antialias=False)
    x = jnp.zeros((1, 24, 32, 3))
    made = jax.eval_shape(lambda k: net.init_with_output(k, x, transform)[0], jax.random.key(0))
    assert made.shape == (1, *size, 3)


def test_images_on_a_canvas_equal_those_made_alone():
    """With sizes that are known only when the program runs, and are no multiples of 8."""
    net, x = ingan.Generator(4, 1), jax.random.uniform(jax.random.key(1), (1, 24, 32, 3))
    alone = lambda size: lambda x: resize(x, output_shape=size, method="linear", antialias=False)
    weights = net.init(jax.random.key(0), x, alone((24, 32)))["params"]
    weights = jax.tree.map(lambda w: 20 * w, weights)

    @jax.jit
    def within(size):
        transform = retargeting.warping(jnp.eye(3), (40, 56), within=size)
        return net.apply({"params": weights}, x, transform, size=size)

    for size in ((19, 50), (37, 16)):
        made = within(jnp.array(size))[:, : size[0], : size[1]]
        expected = jax.jit(lambda s=size: net.apply({"params": weights}, x, alone(s)))()
        assert float(jnp.std(expected)) > 0.1
        assert float(jnp.abs(made - expected).max()) < 2e-3
