"""Counts operations, memory traffic and live memory in traced programs, without compiling them."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from jax.extend import core

# Operations that XLA fuses with their neighbours, so that their results need no memory.
# fmt: off
_FUSED = frozenset((
    "abs", "add", "and", "broadcast_in_dim", "ceil", "clamp", "convert_element_type", "copy", "cos",
    "div", "dynamic_slice", "eq", "erf_inv", "exp", "expand_dims", "floor", "gather", "ge", "gt",
    "integer_pow", "iota", "is_finite", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul",
    "ne", "neg", "not", "or", "pad", "pow", "real", "rem", "reshape", "rev", "round", "rsqrt",
    "select_n", "shift_left", "shift_right_logical", "sign", "sin", "slice", "sqrt", "square",
    "squeeze", "stop_gradient", "sub", "tan", "tanh", "transpose", "xor",
))
# fmt: on
_ENDS = frozenset(f"reduce_{x}" for x in ("sum", "max", "min", "and", "or")) | {"argmax", "argmin"}
_READ_PARTLY = ("gather", "dynamic_slice", "slice")
_FREE = ("reshape", "squeeze", "expand_dims", "stop_gradient")


def parts(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    """Yields the programs inside an equation of a traced program, such as the body of a loop."""
    for value in equation.params.values():
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, core.ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, core.Jaxpr):
                yield part


def contractions(jaxpr: core.Jaxpr) -> int:
    """Counts the operations of the convolutions and matrix products in a traced function.

    As in XLA's count, operations with zeros of padding or dilation are omitted. The body of a scan
    counts once per iteration, that of another loop once. Of a condition, the largest branch counts.
    """
    return _sum(jaxpr, _contraction)


def operations(jaxpr: core.Jaxpr) -> int:
    """Counts all arithmetic operations: those of `contractions`, and one for each other value."""
    return _sum(jaxpr, lambda e: _contraction(e) or _elementwise(e))


def moved(jaxpr: core.Jaxpr) -> int:
    """Counts the bytes that operations read and write, each on its own; loops as `contractions`."""
    return _sum(jaxpr, _moved)


def _sum(jaxpr: core.Jaxpr, count) -> int:
    total = 0
    for equation in jaxpr.eqns:
        inner = [_sum(part, count) for part in parts(equation)]
        if not inner:
            total += count(equation)
        elif equation.primitive.name == "scan":
            total += equation.params["length"] * sum(inner)
        else:
            total += max(inner) if equation.primitive.name == "cond" else sum(inner)
    return total


def _contraction(equation: core.JaxprEqn) -> int:
    kind = equation.primitive.name
    if kind == "conv_general_dilated":
        return _convolution(equation)
    if kind != "dot_general":
        return 0
    (contracted, _), _ = equation.params["dimension_numbers"]
    depth = math.prod(equation.invars[0].aval.shape[i] for i in contracted)
    return 2 * depth * math.prod(equation.outvars[0].aval.shape)


def _convolution(equation: core.JaxprEqn) -> int:
    params, (x, kernel) = equation.params, (v.aval.shape for v in equation.invars)
    out, numbers = equation.outvars[0].aval.shape, params["dimension_numbers"]
    pairs = 1  # pairs of output positions and taps that meet an input
    for i in range(len(params["window_strides"])):
        size, taps = x[numbers.lhs_spec[2 + i]], kernel[numbers.rhs_spec[2 + i]]
        places = np.arange(out[numbers.out_spec[2 + i]])[:, None] * params["window_strides"][i]
        places = places - params["padding"][i][0] + np.arange(taps) * params["rhs_dilation"][i]
        spread = params["lhs_dilation"][i]
        inside = (places >= 0) & (places <= (size - 1) * spread) & (places % spread == 0)
        pairs *= int(inside.sum())
    depth, width = kernel[numbers.rhs_spec[1]], kernel[numbers.rhs_spec[0]]
    return 2 * out[numbers.out_spec[0]] * depth * width * pairs


def _elementwise(equation: core.JaxprEqn) -> int:
    kind = equation.primitive.name
    if kind in _ENDS:
        return math.prod(equation.invars[0].aval.shape)
    return 0 if kind in (*_FREE, *_READ_PARTLY) else math.prod(equation.outvars[0].aval.shape)


def _moved(equation: core.JaxprEqn) -> int:
    kind, made = equation.primitive.name, sum(size(v.aval) for v in equation.outvars)
    if kind in _FREE:
        return 0
    if kind in _READ_PARTLY:
        return 2 * made
    if kind == "dynamic_update_slice" or kind.startswith("scatter"):
        return 2 * sum(size(v.aval) for v in equation.invars[1:])
    return made + sum(size(v.aval) for v in equation.invars)


def memory(program: core.ClosedJaxpr, *, fused: bool = False) -> int:
    """Returns the peak number of live bytes, including arguments, in program order.

    Args:
        program: The traced program.
        fused: Leave out values that XLA does not store because it fuses the operations that make and
            use them; without this, every value counts.
    """
    return sum(size(x) for x in program.in_avals) + _alive(program.jaxpr, fused)


def _alive(jaxpr: core.Jaxpr, fused: bool) -> int:
    """Returns the peak number of bytes that a program's own values occupy."""
    last: dict[Any, int] = {}
    for i, equation in enumerate(jaxpr.eqns):
        last |= {v: i for v in equation.invars if not isinstance(v, core.Literal)}
    last |= {v: len(jaxpr.eqns) for v in jaxpr.outvars if not isinstance(v, core.Literal)}
    unstored = _unstored(jaxpr, last) if fused else set()
    ends: dict[int, int] = {}  # bytes whose last use is an equation
    now = most = 0
    for i, equation in enumerate(jaxpr.eqns):
        inside = max((_alive(part, fused) for part in parts(equation)), default=0)
        made = {v: size(v.aval) for v in equation.outvars if v in last and v not in unstored}
        most = max(most, now + max(inside, sum(made.values())))
        now += sum(made.values())
        for variable, bytes_ in made.items():
            ends[last[variable]] = ends.get(last[variable], 0) + bytes_
        now -= ends.get(i, 0)
    return most


def _unstored(jaxpr: core.Jaxpr, last: dict[Any, int]) -> set[Any]:
    """Returns the values that are not stored, and lets their operands live until they are used."""
    uses = Counter(v for e in jaxpr.eqns for v in e.invars if not isinstance(v, core.Literal))
    found = set()
    for equation in reversed(jaxpr.eqns):
        (made, *more) = equation.outvars or (None,)
        if more or uses.get(made) != 1 or not _is(equation, _FUSED):
            continue
        at = last.get(made, len(jaxpr.eqns))
        if at < len(jaxpr.eqns) and _is(jaxpr.eqns[at], _FUSED | _ENDS):
            # If the use is not stored either, its own use decides.
            (user,) = jaxpr.eqns[at].outvars[:1]
            until = last[user] if user in found else at
            last[made] = until
            found.add(made)
            for v in equation.invars:
                if not isinstance(v, core.Literal):
                    last[v] = max(last.get(v, 0), until)
    return found


def _is(equation: core.JaxprEqn, kinds: frozenset[str]) -> bool:
    """Whether an operation, or all operations of a function that is called, are of these kinds."""
    if equation.primitive.name in ("jit", "pjit", "custom_jvp_call", "custom_vjp_call"):
        return all(_is(inner, kinds) for part in parts(equation) for inner in part.eqns)
    return equation.primitive.name in kinds


def size(aval: Any) -> int:
    """Returns the bytes of a value."""
    return math.prod(aval.shape) * getattr(aval.dtype, "itemsize", 8)
