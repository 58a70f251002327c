"""Doubling by interpolation in NumPy: a reference for nets and operations."""

import numpy as np


def doubled(x: np.ndarray, axis: int, how: str) -> np.ndarray:
    """An array of twice the size along an axis, in float64; `how` as in `ops.doubling.double`."""
    n = x.shape[axis]
    where = {
        "bilinear": (np.arange(2 * n) + 0.5) / 2 - 0.5,
        "corners": np.linspace(0, n - 1, 2 * n),
        "nearest": np.arange(2 * n) // 2,
    }[how]
    return np.apply_along_axis(lambda line: np.interp(where, np.arange(n), line), axis, x)
