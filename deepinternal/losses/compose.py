"""Combination of named loss terms."""

from collections.abc import Mapping

from deepinternal.types import Array


def weighted_sum(terms: Mapping[str, Array], weights: Mapping[str, float | Array]) -> Array:
    """Returns the sum of `weights[name] * terms[name]` over all terms.

    Args:
        terms: Scalar loss terms by name.
        weights: One weight for each term, under the same name.

    Returns:
        A scalar.

    Raises:
        ValueError: The names of terms and weights differ.

    Example:
        >>> import jax.numpy as jnp, deepinternal as di
        >>> terms = {"fit": jnp.array(0.5), "smooth": jnp.array(2.0)}
        >>> print(di.losses.weighted_sum(terms, {"fit": 1.0, "smooth": 0.25}))
        1.0
    """
    if set(terms) != set(weights):
        raise ValueError(
            f"loss terms {sorted(terms)} but weights for {sorted(weights)}: names must be equal"
        )
    return sum(weights[name] * term for name, term in terms.items())
