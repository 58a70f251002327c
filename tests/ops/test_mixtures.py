"""The layers of mixtures with known weights, against NumPy."""

import jax.numpy as jnp
import numpy as np

from deepinternal.ops.mixtures import solve


def test_solving_near_given_layers():
    """The least squares solution with a penalty, against NumPy, for one pixel."""
    rng, a, trust = np.random.default_rng(0), np.array([0.6, 0.5]), 0.1
    mixed, near = rng.random(2), rng.random(2)
    system = np.stack([a, 1 - a], axis=1)
    expected = np.linalg.solve(
        system.T @ system + trust * np.eye(2), system.T @ mixed + trust * near
    )
    pixel = lambda v: jnp.full((1, 1, 1), v)
    made = solve(*map(pixel, mixed), jnp.asarray(a), near=tuple(map(pixel, near)), trust=trust)
    np.testing.assert_allclose(np.ravel(made), expected, rtol=1e-4)
