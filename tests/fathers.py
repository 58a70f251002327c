"""Random fathers of ZSSR, drawn with many keys, and the kinds of their transforms."""

import functools

import jax
import numpy as np

from deepinternal.ops import augment

KEYS = jax.random.split(jax.random.key(7), 4000)
SIZE, CROP = (60, 80), (20, 24)


@functools.partial(jax.jit, static_argnames="upright")
def _fathers(keys, size, crop, upright=False, **options):
    turn = {"turn": False} if upright else {}
    return jax.vmap(lambda k: augment.draw_father(k, size, crop, **turn, **options)[1])(keys)


def father(upright=False, p_as_is=0.05, p_dihedral=0.45, **affine):
    """Matrices from crop to image coordinates, one for each key, in float64."""
    affine = {"scale": (0.5, 1.0), "scale_difference": 0.25, "shear": 0.1} | affine
    options = {"p_as_is": p_as_is, "p_dihedral": p_dihedral} | affine
    return np.asarray(_fathers(KEYS, SIZE, CROP, upright, **options), np.float64)


def kinds(matrices):
    """The shares of the identity, of other signed permutations, and of all other matrices."""
    linear = matrices[:, :2, :2]
    identity = (linear == np.eye(2)).all((1, 2))
    whole = (np.isin(linear, [-1, 0, 1]) & (matrices[:, :2, 2:] % 1 == 0)).all((1, 2))
    assert not (identity & ~whole).any()
    return np.array([identity.mean(), (whole & ~identity).mean(), (~whole).mean()])
