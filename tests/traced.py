"""What the tests look for in traced functions: operations at any depth, products, sums."""

from jax import lax

from deepinternal.engine import counting

EXACT = ("float32", (lax.Precision.HIGHEST,) * 2)
# Of numbers in two parts or of guesses that are compared again, see `ops.patches`.
ROUNDED = ("float32", (lax.Precision.DEFAULT,) * 2)


def operations(jaxpr):
    """All operations of a traced function, those of inner functions too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for part in counting.parts(eqn):
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
