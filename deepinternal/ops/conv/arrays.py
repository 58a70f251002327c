"""Operations on arrays that the forms of convolution share: transposes, products and shifts."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array


def transposed(linear: Callable[[Array], Array], shape: tuple[int, ...], y: Array) -> Array:
    """Applies the transpose of a linear function.

    Args:
        linear: The function.
        shape: The shape of its argument.
        y: An array of the shape of its result.

    Returns:
        An array of `shape`, of the dtype of `y`.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.conv import arrays
        >>> arrays.transposed(lambda x: 2 * x[:2], (3,), np.ones(2, np.float32)).tolist()
        [2.0, 2.0, 0.0]
    """
    return jax.linear_transpose(linear, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]


def dot(
    a: Array,
    b: Array,
    axes: tuple[int, int],
    precision: lax.PrecisionLike,
    *,
    dtype: jnp.dtype | None = None,
) -> Array:
    """Returns the matrix product of two arrays, all of whose axes but the last count as one.

    Args:
        a: (..., C).
        b: (..., D).
        axes: The axes of `a` and of `b` that are contracted: 0 for the leading axes, 1 for the last.
        precision: As in `lax.dot_general`.
        dtype: Dtype of the product. Default: that of the arrays.

    Returns:
        The product, with the leading axes of `a` if they are not contracted.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.conv import arrays
        >>> a, b = np.ones((2, 3, 4), np.float32), np.ones((4, 5), np.float32)
        >>> arrays.dot(a, b, (1, 0), None).shape
        (2, 3, 5)
    """
    rows, columns = (side.reshape(-1, side.shape[-1]) for side in (a, b))
    contracting = ((axes[0],), (axes[1],))
    product = lax.dot_general(
        *(rows, columns, (contracting, ((), ()))),
        precision=precision,
        preferred_element_type=dtype,
    )
    return product if axes[0] == 0 else product.reshape(*a.shape[:-1], -1)


def shift(x: Array, offset: int, axis: int) -> Array:
    """Shifts an array: `y[i] = x[i + offset]` along an axis, zero outside.

    Args:
        x: An array of any shape.
        offset: Number of places.
        axis: The axis.

    Returns:
        An array of the shape of `x`.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.conv import arrays
        >>> arrays.shift(np.arange(4), 1, 0).tolist()
        [1, 2, 3, 0]
    """
    size = x.shape[axis]
    offset = max(-size, min(offset, size))
    kept = lax.slice_in_dim(x, max(0, offset), size + min(0, offset), axis=axis)
    padding = [(0, 0)] * x.ndim
    padding[axis] = (max(0, -offset), max(0, offset))
    return jnp.pad(kept, padding)
