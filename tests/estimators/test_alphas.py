"""The weights of mixtures are found again."""

import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

from deepinternal.estimators import alphas
from deepinternal.ops.mixtures import solve


def _photo(y, x):
    return skimage.data.astronaut()[y : y + 192 : 4, x : x + 192 : 4].astype(np.float32) / 255


@pytest.mark.parametrize("weights", [(0.7, 0.4), (0.35, 0.62)])
def test_weights_of_two_mixtures_are_estimated(weights):
    first, second = _photo(60, 160), _photo(300, 40)
    mixed = [np.float32(a * first + (1 - a) * second) for a in weights]
    found = np.asarray(alphas.search_alphas(*map(jnp.asarray, mixed)))
    expected = weights if weights[0] > weights[1] else tuple(1 - a for a in weights)
    np.testing.assert_allclose(found, expected, atol=0.06)
    layers = solve(*map(jnp.asarray, mixed), jnp.float32(expected))
    truths = (first, second) if weights[0] > weights[1] else (second, first)
    np.testing.assert_allclose(layers, truths, atol=1e-4)
