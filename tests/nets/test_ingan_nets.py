"""InGAN's nets: sizes, parameter counts, scales, and the spectral normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.nets import ingan
from deepinternal.ops import spectral
from deepinternal.ops.resize import resize


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
    assert ingan.most_scales(256, 1.4) == 9


@pytest.mark.parametrize("size", [(16, 16), (40, 24), (37, 51)])
def test_the_generator_makes_every_size(size):
    net = ingan.Generator(4, 1)
    transform = lambda x: resize(x, output_shape=size, method="linear", antialias=False)
    x = jnp.zeros((1, 24, 32, 3))
    made = jax.eval_shape(lambda k: net.init_with_output(k, x, transform)[0], jax.random.key(0))
    assert made.shape == (1, *size, 3)


def test_small_images_have_fewer_scales():
    counts = [ingan.scales_of((side, 300), 9, 1.4) for side in (13, 18, 19, 36, 256, 600)]
    assert counts == [1, 1, 2, 4, 9, 9]
    assert counts == sorted(counts)


def test_the_map_is_the_weighted_mean_of_the_scales():
    """By hand for two scales: each judged alone, brought to the finest map's size."""
    net = ingan.PatchDiscriminator(2)
    x = jax.random.uniform(jax.random.key(0), (1, 30, 27, 3), minval=-1)
    init = lambda key: net.init(key, jnp.zeros((1, 16, 16, 3)))["params"]
    params = jax.vmap(init)(jax.random.split(jax.random.key(1), 2))
    finer, coarser = (jax.tree.map(lambda p, i=i: p[i], params) for i in range(2))
    weights = jnp.array([3.0, 1.0])
    found = ingan.judge(net, 2.0, params, x, weights)
    fine = net.apply({"params": finer}, x)
    small = resize(x, output_shape=(15, 13), method="linear", antialias=False)
    coarse = net.apply({"params": coarser}, small)
    coarse = resize(coarse, output_shape=fine.shape[1:3], method="linear", antialias=False)
    np.testing.assert_allclose(found, 0.75 * fine + 0.25 * coarse, atol=1e-6)


@pytest.mark.parametrize(("antialias", "least", "most"), [(False, 0.0, 0.4), (True, 0.99, 1.0)])
def test_which_pixels_a_coarse_scale_looks_at(antialias, least, most):
    """Bilinear shrinking by 4 reads 2 of 4 pixels a side; smoothed, it reads all."""
    net = ingan.PatchDiscriminator(2)
    x = jax.random.uniform(jax.random.key(0), (1, 64, 64, 1), minval=-1)
    init = lambda key: net.init(key, jnp.zeros((1, 16, 16, 1)))["params"]
    params = jax.vmap(init)(jax.random.split(jax.random.key(1), 2))
    params = jax.tree.map(lambda p: 100 * p, params)

    @jax.jit
    @jax.grad
    def gradient(x):
        return jnp.sum(ingan.judge(net, 4.0, params, x, jnp.array([0.0, 1.0]), antialias))

    inner = np.abs(gradient(x)[0, 8:-8, 8:-8, 0])
    assert least <= np.mean(inner > 1e-9 * inner.max()) <= most


def test_spectral_norms_become_one():
    rng = np.random.default_rng(0)
    params = {
        "a": {"kernel": jnp.asarray(rng.standard_normal((3, 3, 4, 6)), jnp.float32)},
        "last": {"kernel": jnp.asarray(rng.standard_normal((3, 3, 4, 6)), jnp.float32)},
    }
    vectors = spectral.vectors(jax.random.key(0), params, skip=("last",))
    assert set(vectors) == {"a"}
    for _ in range(60):
        made, vectors = spectral.normalized(params, vectors)
    greatest = np.linalg.svd(np.asarray(made["a"]["kernel"]).reshape(-1, 6))[1][0]
    assert greatest == pytest.approx(1, abs=1e-4)
    np.testing.assert_array_equal(made["last"]["kernel"], params["last"]["kernel"])


def test_gradient_through_the_spectral_norm():
    """Its formula with the singular vectors held fixed (Miyato et al. 2018, equation 12)."""
    rng = np.random.default_rng(1)
    w, g = (rng.standard_normal((1, 1, 4, 5)).astype(np.float32) for _ in range(2))
    vectors = spectral.vectors(jax.random.key(0), {"a": {"kernel": w}})
    for _ in range(100):
        _, vectors = spectral.normalized({"a": {"kernel": w}}, vectors)

    def loss(w):
        return jnp.sum(g * spectral.normalized({"a": {"kernel": w}}, vectors)[0]["a"]["kernel"])

    u, s, v = np.linalg.svd(w[0, 0].astype(np.float64))
    normal = w[0, 0] / s[0]
    expected = (g[0, 0] - np.sum(g[0, 0] * normal) * np.outer(u[:, 0], v[0])) / s[0]
    np.testing.assert_allclose(jax.grad(loss)(w)[0, 0], expected, atol=1e-4)
