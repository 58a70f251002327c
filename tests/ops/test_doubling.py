"""Doubling with a mirrored frame, against NumPy's interpolation and padding; gradients, transposes."""

import jax
import numpy as np
import pytest

from deepinternal.ops.doubling import UPSAMPLING, double
from tests.interpolation import doubled

# (H, W), and by how much the kept size is less than twice that.
SIZES = [((9, 12), (0, 0)), ((8, 9), (1, 0)), ((3, 30), (0, 1)), ((1, 2), (0, 0))]


def along(x, axis, how, size, frame):
    """Doubles and mirrors one axis in float64."""
    made = doubled(x, axis, how)
    pad = [(0, 0)] * x.ndim
    pad[axis] = (frame, frame)
    return np.pad(made.take(range(size), axis), pad, "reflect")


CASES = [("corners", *size) for size in SIZES]  # whose weights differ from place to place
CASES += [(how, *SIZES[0]) for how in UPSAMPLING if how != "corners"]


@pytest.mark.parametrize("frame", [0, 1, 2, 3])
@pytest.mark.parametrize(("how", "side", "odd"), CASES)
def test_doubling_equals_interpolation_and_padding(side, odd, how, frame):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *side, 3)).astype(np.float32)
    size = tuple(2 * n - less for n, less in zip(side, odd, strict=True))
    expected = along(along(x.astype(np.float64), 1, how, size[0], frame), 2, how, size[1], frame)
    g = rng.standard_normal(expected.shape).astype(np.float32)

    @jax.jit
    def both(x, g):
        made, pull = jax.vjp(lambda x: double(x, how, size=size, frame=frame), x)
        return made, *pull(g)

    made, back = both(x, g)
    np.testing.assert_allclose(made, expected, atol=2e-6)
    # The gradient is the transpose: both products are <g, double(x)>.
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(back, x), np.vdot(g, expected), rtol=1e-4, atol=1e-3)
    # The same holds for single pixels: one that the frame mirrors, and one in the middle.
    for pixel in ((0, min(1, side[0] - 1), side[1] - 1, 1), (1, side[0] // 2, side[1] // 2, 0)):
        unit = np.zeros_like(x)
        unit[pixel] = 1
        moved = along(along(unit, 1, how, size[0], frame), 2, how, size[1], frame)
        np.testing.assert_allclose(back[pixel], np.vdot(g, moved), atol=2e-5)


def test_default_size():
    made = jax.eval_shape(lambda x: double(x, "nearest"), np.zeros((1, 5, 6, 2), np.float32))
    assert made.shape == (1, 10, 12, 2)


@pytest.mark.parametrize("transform", [jax.jit, jax.checkpoint, jax.vmap])
def test_gradients_through_other_transformations(transform):
    x = np.random.default_rng(0).standard_normal((1, 9, 8, 2)).astype(np.float32)
    total = lambda x: (double(x, "corners", size=(17, 16), frame=1) ** 2).sum()
    outer = jax.jit(jax.grad(lambda x: transform(total)(x).sum()))
    given = x[None] if transform is jax.vmap else x
    np.testing.assert_allclose(
        outer(given).reshape(x.shape), jax.jit(jax.grad(total))(x), rtol=1e-5, atol=1e-5
    )
