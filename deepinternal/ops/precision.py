"""The arithmetic of the nets: what the field `precision` means for their convolutions and products.

With 'bfloat16', activations and the operands of products have that dtype, which needs half the memory
traffic of float32 and has its range, but only 8 bits of precision. Parameters, statistics, resizing and
the results of nets remain in float32.

With 'default', JAX chooses: by the backend, or by `jax_default_matmul_precision` if the program has set
it. All products outside nets, such as those of resizing and back-projection, name their own precision.
"""

import typing
from typing import Any

import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array, InputError, Precision


def arithmetic(precision: str | None) -> tuple[Any, lax.PrecisionLike]:
    """Returns how a net computes its convolutions and products.

    Args:
        precision: One of `types.Precision`; None: 'default'.

    Returns:
        The dtype of the operands, None for that of the arrays; and the precision, as in
        `lax.conv_general_dilated`.

    Raises:
        InputError: The precision is unknown.

    Example:
        >>> from deepinternal.ops.precision import arithmetic
        >>> arithmetic("highest")
        (None, 'highest')
    """
    known = typing.get_args(Precision)
    if precision not in (None, *known):
        raise InputError(f"precision={precision!r}: must be one of {', '.join(known)}, or None")
    if precision == "bfloat16":
        return jnp.bfloat16, None
    return None, None if precision == "default" else precision


def widened(x: Array) -> Array:
    """Returns a bfloat16 array as float32, and an array of float32 or float64 unchanged.

    Args:
        x: An array of any shape.

    Returns:
        The array.

    Example:
        >>> import jax.numpy as jnp
        >>> from deepinternal.ops.precision import widened
        >>> print(widened(jnp.ones(2, jnp.bfloat16)).dtype)
        float32
    """
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
