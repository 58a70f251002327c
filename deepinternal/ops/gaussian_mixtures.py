"""Gaussian mixtures of feature vectors, such as the colours of an object."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array


class GaussianMixture(NamedTuple):
    """A mixture of K normal distributions in C dimensions.

    Attributes:
        log_weights: (K,), the logarithms of the components' shares.
        means: (K, C).
        whitening: (K, C, C), W of each component, where W (x - mean) has the identity as covariance.
    """

    log_weights: Array
    means: Array
    whitening: Array


def fit_mixture(
    key: Array, values: Array, weights: Array, *, components: int, floor: float, rounds: int = 10
) -> GaussianMixture:
    """Fits a mixture to weighted values by expectation maximisation.

    Args:
        key: For the first means: each is drawn from the values in proportion to its squared distance
            to the nearest earlier one (k-means++).
        values: (N, C).
        weights: (N,), at least 0, not all 0.
        components: Number K of components.
        floor: Variance that is added to each component in each dimension, positive.
        rounds: Number of iterations.

    Returns:
        The mixture.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.gaussian_mixtures import fit_mixture
        >>> values, weights = np.ones((9, 3), np.float32), np.ones(9, np.float32)
        >>> fit = lambda key: fit_mixture(key, values, weights, components=2, floor=0.1)
        >>> jax.eval_shape(fit, jax.random.key(0)).means.shape
        (2, 3)
    """
    values, weights = jnp.asarray(values), weights / jnp.sum(weights)
    drawn = jax.random.uniform(key, (components,))
    none = jnp.full((components, values.shape[-1]), jnp.inf, values.dtype)

    def another(k, state):
        means, nearest = state
        total = jnp.cumsum(jnp.where(k == 0, weights, weights * nearest + 1e-12 * weights))
        mean = values[jnp.sum(total < drawn[k] * total[-1])]
        return means.at[k].set(mean), jnp.minimum(nearest, jnp.sum(jnp.square(values - mean), -1))

    start = (none, jnp.full(len(values), jnp.inf, values.dtype))
    means, _ = lax.fori_loop(0, components, another, start)
    squares = jnp.sum(jnp.square(values[:, None] - means), axis=-1)
    shares = jax.nn.one_hot(jnp.argmin(squares, axis=-1), components, dtype=values.dtype)

    def improved(_, state):
        mixture = _moments(values, weights, state[0], floor)
        return jax.nn.softmax(_component_densities(mixture, values)), mixture

    channels = values.shape[-1]
    blank = GaussianMixture(
        jnp.zeros(components), jnp.zeros_like(means), jnp.zeros((components, channels, channels))
    )
    # One more round, since the mixture of a round is that of the shares before it.
    _, mixture = lax.fori_loop(0, rounds + 1, improved, (shares, blank))
    return mixture


def log_density(mixture: GaussianMixture, values: Array) -> Array:
    """Returns the logarithm of the density of a mixture.

    Args:
        mixture: The mixture, in C dimensions.
        values: (..., C).

    Returns:
        (...).

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.gaussian_mixtures import GaussianMixture, log_density
        >>> normal = GaussianMixture(np.zeros(1), np.zeros((1, 2)), np.eye(2)[None])
        >>> round(float(jax.jit(log_density)(normal, np.zeros(2))), 3)  # -log(2 pi)
        -1.838
    """
    return jax.nn.logsumexp(_component_densities(mixture, values), axis=-1)


def _component_densities(mixture: GaussianMixture, values: Array) -> Array:
    """(..., K), the logarithms of the components' shares times their densities."""
    apart = values[..., None, :] - mixture.means
    white = jnp.einsum("kij,...kj->...ki", mixture.whitening, apart, precision="highest")
    scale = jnp.sum(jnp.log(jnp.diagonal(mixture.whitening, axis1=-2, axis2=-1)), axis=-1)
    scale = scale - values.shape[-1] / 2 * jnp.log(2 * jnp.pi)
    return mixture.log_weights + scale - jnp.sum(jnp.square(white), axis=-1) / 2


def _moments(values: Array, weights: Array, shares: Array, floor: float) -> GaussianMixture:
    """The mixture whose components have the moments of their shares (N, K) of the values."""
    shares = shares * weights[:, None]
    totals = jnp.sum(shares, axis=0) + 1e-9
    means = jnp.einsum("nk,nc->kc", shares, values, precision="highest") / totals[:, None]
    apart = values[:, None] - means
    spread = jnp.einsum("nk,nkc,nkd->kcd", shares, apart, apart, precision="highest")
    spread = spread / totals[:, None, None] + floor * jnp.eye(values.shape[-1])
    lower = jnp.linalg.cholesky(spread)
    eye = jnp.broadcast_to(jnp.eye(values.shape[-1]), lower.shape)
    white = lax.linalg.triangular_solve(lower, eye, left_side=True, lower=True)
    return GaussianMixture(jnp.log(totals / jnp.sum(totals)), means, white)
