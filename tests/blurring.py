"""Random images and kernels, and blurring in float64, for the tests of kernels."""

import numpy as np
from scipy import ndimage


def random_image(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def skewed_kernel(size, seed=0):
    """A smooth, clearly asymmetric kernel whose centre of mass lies anywhere but in the middle."""
    rng = np.random.default_rng(seed)
    blob = np.zeros((size, size))
    blob[tuple(rng.integers(1, size - 1, (2, 4)))] = rng.uniform(0.5, 1, 4)
    blob[1, 2] += 1
    kernel = ndimage.gaussian_filter(blob, 1.0, mode="constant")
    return (kernel / kernel.sum()).astype(np.float32)


def downscaled(image, kernel, rows, columns):
    """The chosen rows and columns of an image blurred in float64 by SciPy."""
    blurred = [
        ndimage.correlate(image[..., c].astype(np.float64), kernel, mode="reflect")
        for c in range(image.shape[-1])
    ]
    return np.stack(blurred, -1)[rows][:, columns]
