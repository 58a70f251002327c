"""InGAN's nets: sizes and parameter counts."""

import jax
import jax.numpy as jnp
import pytest

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
def test_the_generator_makes_every_size(size):
    net = ingan.Generator(4, 1)
    transform = lambda x: resize(x, output_shape=size, method="linear", antialias=False)
    x = jnp.zeros((1, 24, 32, 3))
    made = jax.eval_shape(lambda k: net.init_with_output(k, x, transform)[0], jax.random.key(0))
    assert made.shape == (1, *size, 3)
