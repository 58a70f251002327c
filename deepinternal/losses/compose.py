"""Combining named loss terms."""

from collections.abc import Mapping

from deepinternal.types import Array


def weighted_sum(terms: Mapping[str, Array], weights: Mapping[str, float | Array]) -> Array:
    """The sum of `weights[name] * terms[name]` over all terms.

    Args:
        terms: scalar loss terms by name.
        weights: one weight for each term; a missing or a superfluous name is a mistake.

    Returns:
        A scalar.

    Raises:
        ValueError: the names of terms and weights differ.
    """
    if set(terms) != set(weights):
        raise ValueError(f"loss terms {sorted(terms)} but weights for {sorted(weights)}")
    return sum(weights[name] * term for name, term in terms.items())
