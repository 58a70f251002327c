"""Images from overlapping patches, against loops in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.ops.patches import voting
from tests.brute_patches import photo

vote = jax.jit(voting.vote, static_argnames=("patch", "median"))
VALUES = photo(17, 19)
RNG = np.random.default_rng(0)
PLACE = np.stack([RNG.integers(0, n, (9, 11)) for n in (13, 15)], axis=-1).astype(np.int32)
WEIGHTS = RNG.uniform(0, 1, (9, 11)).astype(np.float32)
WEIGHTS[:2, :3] = 0


def by_loops(place, values, weights, patch, *, median):
    """For each pixel, the weighted mean or median of the values that the patches propose."""
    square = (np.arange(patch) - (patch - 1) / 2) ** 2
    shares = np.exp(-(square[:, None] + square) / (2 * (patch / 4) ** 2))
    size = [n + patch - 1 for n in place.shape[:2]]
    proposed = {at: [] for at in np.ndindex(*size)}
    for (y, x), (v, u) in zip(np.ndindex(place.shape[:2]), place.reshape(-1, 2)):
        for i, j in np.ndindex(patch, patch):
            vote = shares[i, j] * weights[y, x], values[v + i, u + j]
            proposed[y + i, x + j].append(vote)
    made = np.zeros((*size, values.shape[-1]))
    for at, votes in proposed.items():
        share, value = (np.asarray(v, np.float64) for v in zip(*votes))
        if share.sum() == 0:
            continue
        for c in range(values.shape[-1]):
            if not median:
                made[at][c] = share @ value[:, c] / share.sum()
                continue
            order = np.argsort(value[:, c])
            half = np.cumsum(share[order]) >= 0.5 * share.sum()
            made[at][c] = value[order[np.argmax(half)], c]
    return made


@pytest.mark.parametrize("median", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_votes_equal_those_of_loops(weighted, median):
    weights = WEIGHTS if weighted else np.ones_like(WEIGHTS)
    expected = by_loops(PLACE, VALUES, weights, 5, median=median)
    given = WEIGHTS if weighted else None
    found = vote(PLACE, jnp.asarray(VALUES), patch=5, weights=given, median=median)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not weighted or np.all(found[0, 0] == 0)


@pytest.mark.parametrize("median", [False, True])
def test_the_identity_field_reproduces_the_image(median):
    place = jnp.stack(jnp.meshgrid(jnp.arange(13), jnp.arange(15), indexing="ij"), axis=-1)
    found = vote(place, jnp.asarray(VALUES), patch=5, median=median)
    np.testing.assert_allclose(found, VALUES, atol=1e-6)


def test_a_median_follows_the_majority():
    """If one of the patches that cover a pixel disagrees, only the mean changes."""
    values = np.concatenate([np.full((7, 7, 1), 0.2), np.full((7, 7, 1), 0.9)]).astype(np.float32)
    place = np.zeros((9, 9, 2), np.int32)
    place[4, 4, 0] = 7
    found = [vote(place, jnp.asarray(values), median=m) for m in (False, True)]
    assert float(found[0].max()) > 0.22
    np.testing.assert_array_equal(found[1], np.full((15, 15, 1), np.float32(0.2)))


def test_gradients_are_linear_in_the_values():
    """The gradient is the transposed map, <vote(x), y> = <x, gradient>, and vmap equals a loop."""
    made = lambda values: vote(PLACE, values, patch=5, weights=WEIGHTS)
    y = RNG.normal(size=(13, 15, 3)).astype(np.float32)
    gradient = jax.grad(lambda x: jnp.sum(made(x) * y))(jnp.asarray(VALUES))
    other = RNG.normal(size=VALUES.shape).astype(np.float32)
    both = np.asarray(jax.jit(jax.vmap(made))(np.stack([VALUES, other])))
    for x, found in zip((VALUES, other), both):
        np.testing.assert_allclose(np.sum(found * y), np.sum(x * gradient), rtol=1e-3, atol=1e-3)
