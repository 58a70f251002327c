"""Spectral normalisation as a function of a net's weights, apart from the net.

References:
    Miyato, Kataoka, Koyama, Yoshida: Spectral Normalization for Generative Adversarial Networks.
    ICLR 2018, algorithm 1.
"""

from collections.abc import Collection, Mapping

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array, PyTree


def vectors(key: Array, params: Mapping[str, PyTree], skip: Collection[str] = ()) -> dict:
    """The vectors with which the power iteration begins: random, of length 1.

    Args:
        key: of the draw.
        params: layers by name, each a dict; those with a 'kernel' (..., C_out) are meant.
        skip: names of layers that are not normalised.

    Returns:
        (C_out,) by the layer's name.
    """
    names = [name for name in sorted(params) if "kernel" in params[name] and name not in skip]
    lengths = [params[name]["kernel"].shape[-1] for name in names]
    drawn = jax.random.normal(key, (sum(lengths),))  # in one draw: it compiles faster
    starts = [sum(lengths[:i]) for i in range(len(names))]
    return {n: _unit(drawn[s : s + length]) for n, s, length in zip(names, starts, lengths)}


def normalized(
    params: Mapping[str, PyTree], vectors: Mapping[str, Array]
) -> tuple[dict[str, PyTree], dict[str, Array]]:
    """Weights whose kernels are divided by their greatest singular values.

    A kernel (kh, kw, C_in, C_out) is taken as a matrix of C_out rows. One power iteration per call
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
        matrix = kernel.reshape(-1, kernel.shape[-1])
        fixed = lax.stop_gradient(matrix)
        v = _unit(jnp.matmul(fixed, u, precision="highest"))
        u = _unit(jnp.matmul(v, fixed, precision="highest"))
        sigma = jnp.vdot(v, jnp.matmul(matrix, u, precision="highest"))
        params[name] = {**params[name], "kernel": kernel / sigma}
        following[name] = u
    return params, following


def _unit(x: Array) -> Array:
    return x / jnp.maximum(jnp.linalg.norm(x), 1e-12)
