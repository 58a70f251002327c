"""What the tests look for in traced functions: operations at any depth, products, sums."""

import contextlib

import jax
import pytest
from jax import lax
from jax.extend import core

EXACT = ("float32", (lax.Precision.HIGHEST,) * 2)


@contextlib.contextmanager
def for_accelerators():
    """Traces as on a GPU; only to look at what is traced."""
    with pytest.MonkeyPatch.context() as patch:
        jax.clear_caches()
        patch.setattr(jax, "default_backend", lambda: "gpu")
        yield
    jax.clear_caches()


def operations(jaxpr):
    """All operations of a traced function, those of inner functions too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            for part in value if isinstance(value, list | tuple) else (value,):
                if isinstance(part, core.ClosedJaxpr):
                    yield from operations(part.jaxpr)
                elif isinstance(part, core.Jaxpr):
                    yield from operations(part)


def products(jaxpr):
    """The dtype of the operands and the precisions of all convolutions and matrix products."""
    kinds = ("conv_general_dilated", "dot_general")
    made = [eqn for eqn in operations(jaxpr) if eqn.primitive.name in kinds]
    for eqn in made:
        assert len({v.aval.dtype for v in eqn.invars}) == 1
    return [(str(eqn.invars[0].aval.dtype), eqn.params["precision"]) for eqn in made]


def sums_in(jaxpr, dtype):
    """The reductions of arrays of a dtype, except over axes of length 1."""
    return [
        eqn
        for eqn in operations(jaxpr)
        if eqn.primitive.name.startswith(("reduce_sum", "reduce_max", "cum", "scatter"))
        and eqn.invars[0].aval.dtype == dtype
        and eqn.invars[0].aval.size != eqn.outvars[0].aval.size
    ]
