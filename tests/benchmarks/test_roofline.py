"""Operations counted in a traced function agree with counts by hand and by XLA."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from benchmarks import roofline
from deepinternal.engine import counting

DIMS = ("NHWC", "HWIO", "NHWC")


def counted(function, *args):
    return counting.contractions(jax.make_jaxpr(function)(*args).jaxpr)


def by_xla(function, *args):
    return jax.jit(function).lower(*args).cost_analysis()["flops"]


def conv(strides, padding, spread, dilation, groups=1):
    def function(x, w):
        options = {"lhs_dilation": spread, "rhs_dilation": dilation, "dimension_numbers": DIMS}
        return lax.conv_general_dilated(
            x, w, strides, padding, feature_group_count=groups, **options
        )

    return function


def written_out(shape, kernel, strides, padding, spread, dilation):
    """Two operations for each multiplication of an input by a weight, one place and tap at a time."""
    n, h, w, _ = shape

    def side(size, i):
        reach = (size - 1) * spread[i] + 1 + sum(padding[i]) - (kernel[i] - 1) * dilation[i]
        return (reach - 1) // strides[i] + 1

    total = 0
    for y, x, a, b in itertools.product(
        range(side(h, 0)), range(side(w, 1)), range(kernel[0]), range(kernel[1])
    ):
        places = [
            o * strides[i] - padding[i][0] + tap * dilation[i]
            for i, (o, tap) in enumerate(((y, a), (x, b)))
        ]
        meets = all(
            p % s == 0 and 0 <= p <= (size - 1) * s for p, s, size in zip(places, spread, (h, w))
        )
        total += 2 * n * kernel[2] * kernel[3] * meets
    return total


@pytest.mark.parametrize(
    ("strides", "padding", "spread", "dilation"),
    [
        ((1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1)),
        ((2, 3), ((0, 0), (0, 0)), (1, 1), (1, 1)),
        ((1, 2), ((2, 1), (0, 3)), (2, 1), (1, 2)),
    ],
)
def test_convolutions_written_out(strides, padding, spread, dilation):
    x, w = jnp.ones((2, 9, 11, 3)), jnp.ones((3, 2, 3, 4))
    function = conv(strides, padding, spread, dilation)
    expected = written_out(x.shape, w.shape, strides, padding, spread, dilation)
    assert counted(function, x, w) == expected == by_xla(function, x, w)


def test_groups_products_loops_and_branches():
    x, w = jnp.ones((1, 6, 6, 8)), jnp.ones((3, 3, 2, 8))
    grouped = conv((1, 1), "SAME", (1, 1), (1, 1), groups=4)
    assert counted(grouped, x, w) == by_xla(grouped, x, w)
    a, b = jnp.ones((3, 4, 5)), jnp.ones((3, 5, 6))
    assert counted(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), a, b) == 2 * 3 * 4 * 5 * 6
    square = jnp.ones((4, 4))

    def loop(a):
        return lax.scan(lambda c, _: (c @ a, None), a, length=7)[0]

    assert counted(jax.jit(loop), square) == 7 * 2 * 4**3

    def branch(a):
        return lax.cond(a[0, 0] > 0, lambda a: a @ a @ a, lambda a: a, a)

    assert counted(branch, square) == 2 * 2 * 4**3


def test_a_fused_chain_is_one_operation():
    compiled = jax.jit(lambda a, b: jnp.tanh(a @ b + 1) * 2).lower(*[jnp.ones((64, 64))] * 2)
    text = compiled.compile().as_text()
    assert roofline.count_operations(text) == 2, text


def test_bounds_of_a_step():
    """100 operations at 50 a second and 30 bytes at 10 a second: three seconds, for the memory."""
    cost = roofline.Cost(100.0, 30.0, 90, 4, 0)
    found = roofline.bounds(cost, 4.0, peak=50.0, copy=10.0)
    assert found["limit"] == "memory"
    assert found["share"] == pytest.approx(0.75)
    assert found["intensity"] == pytest.approx(100 / 30)
    assert roofline.bounds(cost, 4.0, peak=10.0, copy=10.0)["limit"] == "compute"


def test_the_copy_is_made_each_time():
    peak = roofline.CopyPeak(4 * 1000)
    assert peak.run() > 0
    np.testing.assert_array_equal(peak._array, np.full(1000, 2.0))
