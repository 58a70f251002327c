"""The transform of windows, against SciPy."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from deepinternal.ops import dct


@pytest.mark.parametrize(("size", "stride"), [(8, 1), (6, 3)])
def test_transform_of_windows(size, stride):
    planes = np.random.default_rng(0).random((2, 21, 18), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(planes, (size, size), (1, 2))
    windows = windows[:, ::stride, ::stride]
    expected = scipy.fft.dctn(windows, axes=(-2, -1), norm="ortho").transpose(0, 3, 4, 1, 2)
    found = dct.dct_windows(jnp.asarray(planes), size, stride=stride)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_matrix_is_orthonormal():
    matrix = dct.dct_matrix(8)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(8), atol=1e-6)


def test_orders():
    assert dct.dct_orders(3).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
