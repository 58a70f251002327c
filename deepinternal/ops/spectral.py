"""Spectral normalisation as a function of a net's weights, separate from the net.

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
    """Draws the vectors with which the power iteration begins, random unit vectors.

    Args:
        key: The key of the draw.
        params: Layers by name, each a dict. Those with a 'kernel' (..., kh, kw, C_in, C_out) are
            normalised; leading axes stand for several kernels.
        skip: Names of layers that are not normalised.

    Returns:
        (..., C_out) by the name of the layer.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import spectral
        >>> params = {"conv": {"kernel": np.ones((3, 3, 2, 4), np.float32)}}
        >>> spectral.vectors(jax.random.key(0), params)["conv"].shape
        (4,)
    """
    names = [name for name in sorted(params) if "kernel" in params[name] and name not in skip]
    shapes = [params[name]["kernel"].shape for name in names]
    shapes = [(*shape[:-4], shape[-1]) for shape in shapes]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    drawn = jax.random.normal(key, (ends[-1],), jnp.float32)  # one draw compiles faster
    drawn = jnp.split(drawn, ends[:-1])
    return {n: _unit(x.reshape(shape)) for n, shape, x in zip(names, shapes, drawn)}


def normalized(
    params: Mapping[str, PyTree], vectors: Mapping[str, Array]
) -> tuple[dict[str, PyTree], dict[str, Array]]:
    """Divides each kernel by its greatest singular value.

    A kernel (kh, kw, C_in, C_out) counts as a matrix of C_out rows. One power iteration per call
    estimates the singular value; the gradient treats its vectors as constants.

    Args:
        params: Layers by name.
        vectors: As `vectors` returns them; layers without a vector are not changed.

    Returns:
        The weights, and the vectors for the next call.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import spectral
        >>> params = {"conv": {"kernel": np.full((1, 1, 2, 2), 3, np.float32)}}
        >>> params, vectors = jax.jit(spectral.normalized)(params, {"conv": np.float32([1, 0])})
        >>> print(params["conv"]["kernel"].round(3)[0, 0])  # its greatest singular value is 1
        [[0.5 0.5]
         [0.5 0.5]]
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
