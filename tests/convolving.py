"""Convolution in NumPy with float64, as a reference."""

import numpy as np


def convolved(x, w, g, *, stride=1, padded=False):
    """Returns the convolution of one batch of images, and both of its gradients.

    Args:
        x: (N, H, W, C_in).
        w: (kh, kw, C_in, C_out).
        g: Gradient of the result.
        stride: Stride of both axes.
        padded: Whether zeros are added so that the result has the size of `x`.

    Returns:
        The result, the gradient with respect to `x`, and that with respect to `w`.
    """
    x, w, g = (np.asarray(a, np.float64) for a in (x, w, g))
    frame = [((k - 1) // 2, k // 2) if padded else (0, 0) for k in w.shape[:2]]
    framed = np.pad(x, [(0, 0), *frame, (0, 0)])
    rows, columns = stride * g.shape[1], stride * g.shape[2]
    y, dx, dw = np.zeros(g.shape), np.zeros(framed.shape), np.zeros(w.shape)
    for i, j in np.ndindex(*w.shape[:2]):
        place = np.s_[:, i : i + rows : stride, j : j + columns : stride]
        seen = framed[place][:, : g.shape[1], : g.shape[2]]
        y += seen @ w[i, j]
        dw[i, j] = np.einsum("nhwc,nhwd->cd", seen, g)
        dx[place][:, : g.shape[1], : g.shape[2]] += g @ w[i, j].T
    (top, _), (left, _) = frame
    return y, dx[:, top : top + x.shape[1], left : left + x.shape[2]], dw
