"""Spectral normalisation as a function of a net's weights, apart from the net.

References:
    Miyato, Kataoka, Koyama, Yoshida: Spectral Normalization for Generative Adversarial Networks.
    ICLR 2018, algorithm 1.
"""

import functools
import math
from collections.abc import Collection, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array, PyTree


def vectors(
    key: Array, params: Mapping[str, PyTree], *, skip: Collection[str] = ()
) -> dict[str, Array]:
    """The vectors with which the power iteration begins: random, of length 1.

    Args:
        key: of the draw.
        params: layers by name, each a dict; those with a 'kernel' (..., kh, kw, C_in, C_out) are
            meant. Axes before these four count several kernels.
        skip: names of layers that are not normalised.

    Returns:
        (..., C_out) by the layer's name.
    """
    names = [name for name in sorted(params) if "kernel" in params[name] and name not in skip]
    shapes = [params[name]["kernel"].shape for name in names]
    shapes = [(*shape[:-4], shape[-1]) for shape in shapes]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    drawn = jnp.split(jax.random.normal(key, (ends[-1],)), ends[:-1])  # one draw compiles faster
    return {n: _unit(x.reshape(shape)) for n, shape, x in zip(names, shapes, drawn)}


def normalized(
    params: Mapping[str, PyTree], vectors: Mapping[str, Array]
) -> tuple[dict[str, PyTree], dict[str, Array]]:
    """Weights whose kernels are divided by their greatest singular values.

    Each kernel (kh, kw, C_in, C_out) is taken as a matrix of C_out rows. One power iteration per call
    estimates the singular value; its vectors are constants for the gradient.

    Args:
        params: layers by name.
        vectors: as `vectors` returns them; layers without one stay as they are.

    Returns:
        The weights, and the vectors of the next call.
    """
    params, following = dict(params), {}
    for name, u in vectors.items():
        kernel = params[name]["kernel"]
        matrix = kernel.reshape(*kernel.shape[:-4], -1, kernel.shape[-1])
        fixed = lax.stop_gradient(matrix)
        v = _unit(_product("...mn,...n->...m", fixed, u))
        u = _unit(_product("...mn,...m->...n", fixed, v))
        sigma = jnp.sum(v * _product("...mn,...n->...m", matrix, u), -1)
        params[name] = {**params[name], "kernel": kernel / sigma[..., None, None, None, None]}
        following[name] = u
    return params, following


_product = functools.partial(jnp.einsum, precision="highest")


def _unit(x: Array) -> Array:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
