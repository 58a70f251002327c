"""Estimated costs of programs, compared with counts by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal import methods
from deepinternal.engine import costs, counting
from deepinternal.types import Method, Output, Stage, TrainState, input_spec

KB = 1024


def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_a_product_of_matrices():
    found = costs.cost(jnp.dot, array(32, 64), array(64, 16))
    assert found.flops == 2 * 32 * 64 * 16
    assert found.moved == 4 * (32 * 64 + 64 * 16 + 32 * 16)
    assert found.memory == found.moved


def test_values_that_are_no_longer_used_need_no_memory():
    def chain(x):
        for _ in range(10):
            x = jnp.sin(x)
        return x.sum()

    def kept(x):
        made = [x := jnp.sin(x) for _ in range(10)]
        return sum(y.sum() for y in made)

    x = array(256)  # 1 KB: the argument, one value and its successor; or all ten
    assert costs.cost(chain, x).memory == 3 * KB
    assert 11 * KB <= costs.cost(kept, x).memory < 12 * KB


def test_values_inside_loops_and_programs_count():
    @jax.jit
    def inside(x):
        return jnp.tile(x, 8).sum()

    def loop(x):
        return jax.lax.scan(lambda total, _: (total + inside(x), None), 0.0, jnp.arange(3))[0]

    assert costs.cost(inside, array(256)).memory >= 9 * KB
    assert costs.cost(loop, array(256)).memory >= 9 * KB


def test_each_iteration_of_a_scan_counts_as_operations():
    def body(x, _):
        return x @ x, None

    def loop(x):
        return jax.lax.scan(body, x, None, length=7)[0]

    one, seven = (costs.cost(f, array(8, 8)) for f in (lambda x: body(x, None)[0], loop))
    assert one.flops == 2 * 8**3
    assert seven.flops == 7 * one.flops
    assert seven.moved == 7 * one.moved


def test_an_element_of_a_large_array_moves_little():
    index = jax.ShapeDtypeStruct((), jnp.int32)
    cut = costs.cost(lambda x, i: jax.lax.dynamic_slice(x, (i,), (4,)), array(2**20), index)
    assert cut.moved < 100


def test_values_that_xla_fuses_need_no_memory():
    def chain(x):
        return jnp.sum(jnp.clip(jnp.take(x, np.arange(1023, -1, -1)) * 2 + 1, 0, 1) ** 2)

    program = jax.jit(chain).trace(array(1024)).jaxpr
    assert counting.memory(program) >= 12 * KB
    assert counting.memory(program, fused=True) < 9 * KB  # the argument, and the indices


@pytest.mark.parametrize("exactly", [False, True])
def test_needs_of_a_run(exactly):
    """Those of the outputs and the baseline, of which every run has both at once."""

    def init(key, inputs):
        return TrainState(jnp.zeros((), jnp.int32), key, {"w": jnp.zeros(8)}, {}, {})

    image = array(256, 256)
    step = lambda state, inputs, variant: (state.replace(step=state.step + 1), {})
    outputs = lambda state, inputs: {"result": Output(inputs["image"] @ inputs["image"])}
    method = Method(
        "tiny",
        init,
        (Stage("only", 1, step),),
        outputs,
        baseline=lambda inputs: inputs["image"] + 1,
    )
    found = costs.needs(method, {"image": image}, exactly=exactly)
    size = 256 * 256 * 4
    assert found.made == 2 * size
    assert found.results == pytest.approx(3 * size, rel=0.35)
    assert size <= found.training < 1.1 * size


def test_memory_is_close_to_that_of_the_compiled_program():
    def loss(weights, x):
        for w in weights:
            x = jnp.tanh(x @ w)
        return jnp.sum(x**2)

    args = [array(64, 64)] * 5, array(512, 64)
    compiled = jax.jit(jax.grad(loss)).lower(*args).compile().memory_analysis()
    known = compiled.temp_size_in_bytes + compiled.argument_size_in_bytes
    assert known / 2 < costs.cost(jax.grad(loss), *args).memory < known * 2


def test_a_method_stage_by_stage():
    recipe = methods.find("zssr")
    config = recipe.build("smoke", scale="1.5;2", features=4, layers=2, crop=16)
    inputs = recipe.prepare(config, np.zeros((24, 24, 3), np.float32))
    method = recipe.method(config, input_spec(inputs))
    stages, outputs = costs.of_method(method, inputs)
    assert len(stages) == len(method.stages) == 2
    for one in (*stages, outputs):
        assert one.flops > 0 < one.moved
        assert one.memory > inputs["image"].nbytes


def test_seconds_follow_from_the_rates():
    one = costs.Cost(flops=6e9, moved=2e9, memory=0)
    assert costs.Rates(flops=3e9, moved=1e9).seconds(one) == pytest.approx(4)
    rates = costs.measure()
    assert 1e8 < rates.flops < 1e16
    assert 1e7 < rates.moved < 1e14
