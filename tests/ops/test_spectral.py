"""Spectral normalisation against the singular value decomposition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.ops import spectral

normalized = jax.jit(spectral.normalized)


def test_spectral_norms_become_one():
    rng = np.random.default_rng(0)
    params = {
        "a": {"kernel": jnp.asarray(rng.standard_normal((3, 3, 4, 6)), jnp.float32)},
        "last": {"kernel": jnp.asarray(rng.standard_normal((3, 3, 4, 6)), jnp.float32)},
    }
    vectors = spectral.vectors(jax.random.key(0), params, skip=("last",))
    assert set(vectors) == {"a"}
    for _ in range(60):
        made, vectors = normalized(params, vectors)
    greatest = np.linalg.svd(np.asarray(made["a"]["kernel"]).reshape(-1, 6))[1][0]
    assert greatest == pytest.approx(1, abs=1e-4)
    np.testing.assert_array_equal(made["last"]["kernel"], params["last"]["kernel"])


def test_gradient_through_the_spectral_norm():
    """Its formula with the singular vectors held fixed (Miyato et al. 2018, equation 12)."""
    rng = np.random.default_rng(1)
    w, g = (rng.standard_normal((1, 1, 4, 5)).astype(np.float32) for _ in range(2))
    vectors = spectral.vectors(jax.random.key(0), {"a": {"kernel": w}})
    for _ in range(100):
        _, vectors = normalized({"a": {"kernel": w}}, vectors)

    @jax.jit
    @jax.grad
    def gradient(w):
        return jnp.sum(g * spectral.normalized({"a": {"kernel": w}}, vectors)[0]["a"]["kernel"])

    u, s, v = np.linalg.svd(w[0, 0].astype(np.float64))
    normal = w[0, 0] / s[0]
    expected = (g[0, 0] - np.sum(g[0, 0] * normal) * np.outer(u[:, 0], v[0])) / s[0]
    np.testing.assert_allclose(gradient(w)[0, 0], expected, atol=1e-4)
