"""Helpers for the tests of ZSSR: small methods, and the net and the resizing in NumPy."""

import jax
import numpy as np
import scipy.ndimage

from deepinternal.methods import zssr
from deepinternal.methods.zssr import RECIPE
from deepinternal.ops import resizing
from deepinternal.types import input_spec
from tests.tiny_methods import photo

IMAGE = photo(32)
SMALL = {"features": 4, "layers": 3, "crop": 24}
SUBPIXEL = {
    "net": "subpixel",
    "schedule": "cosine",
    "evaluate_every": 0,
    "affine_sampling": "linear",
}


def build(image=IMAGE, kernel=None, **fields):
    """A small method for an image, its inputs, and its first state."""
    given = RECIPE.given({"kernel": kernel})
    config = RECIPE.build("", **{**SMALL, **given, **fields})
    inputs = zssr.prepare(config, image, kernel)
    method = RECIPE.method(config, input_spec(inputs))
    return method, inputs, method.init(jax.random.key(1), inputs)


def as_numpy(params):
    """The kernels of the net by name, in float64."""
    return {k: np.asarray(v, np.float64) for k, v in params["net"].items()}


def net_numpy(params, x):
    """The network on (H, W, C)."""
    return x + layers_numpy(params, x)


def layers_numpy(params, x):
    """The network without its skip connection, by scipy's correlation."""
    hidden = x
    for i in range(len(params)):
        w = params[f"conv{i}"]
        out = [
            sum(
                scipy.ndimage.correlate(hidden[..., c], w[:, :, c, d], mode="constant")
                for c in range(w.shape[2])
            )
            for d in range(w.shape[3])
        ]
        hidden = np.stack(out, -1)
        hidden = np.maximum(hidden, 0) if i < len(params) - 1 else hidden
    return hidden


def resize_numpy(x, scale, shape):
    """Resizes (H, W, C) by the float64 matrices, which are tested separately."""
    rows, cols = (resizing.resize_matrix(n, o, s) for n, o, s in zip(x.shape[:2], shape, scale))
    return np.einsum("yh,xw,hwc->yxc", rows, cols, x)


def gain_over_cubic(config, truth):
    """Returns by how many dB a trained net beats cubic interpolation of a downscaled photograph."""
    inputs = zssr.prepare(config, zssr.example(config, truth).image)
    method = RECIPE.method(config, input_spec(inputs))
    state = method.init(jax.random.key(0), inputs)
    step = jax.jit(method.step, donate_argnums=0)
    for _ in range(method.stages[0].steps):
        state, _ = step(state, inputs)
    result = jax.jit(method.outputs)(state, inputs)["result"].value
    error, cubic = (np.mean((x - truth) ** 2) for x in (result, method.baseline(inputs)))
    return 10 * np.log10(cubic / error)
