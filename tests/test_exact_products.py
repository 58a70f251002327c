"""Outside the nets, products say that they are exact: accelerators round their operands by default."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent / "deepinternal"
NUMERICAL = ("jnp", "lax", "jax")  # what a call of JAX's begins with
PRODUCTS = {"convolve", "convolve2d", "correlate", "correlate2d", "dot", "dot_general", "einsum"}
PRODUCTS |= {"conv", "conv_general_dilated", "conv_transpose", "inner", "matmul", "tensordot"}
PRODUCTS |= {"conv_with_general_padding", "fftconvolve", "matvec", "polyfit", "vdot", "vecmat"}
FILES = [p for p in sorted(ROOT.rglob("*.py")) if "nets" not in p.parts]


def inexact(source):
    """Lines with products that may be traced and have no precision.

    `@` counts in functions of JAX's arrays: those that are jitted or have a parameter of type `Array`.
    """
    tree, lines = ast.parse(source), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_product(node.func):
            if not {"precision"} & {keyword.arg for keyword in node.keywords}:
                lines.append(node.lineno)
        elif isinstance(node, ast.FunctionDef) and _is_traced(node):
            for inner in ast.walk(node):
                if isinstance(inner, ast.BinOp | ast.AugAssign) and isinstance(
                    inner.op, ast.MatMult
                ):
                    lines.append(inner.lineno)
    return lines


def _is_product(function):
    words = ast.unparse(function).split(".")
    return words[0] in NUMERICAL and len(words) > 1 and words[-1] in PRODUCTS


def _is_traced(function):
    names = {n.id for d in function.decorator_list for n in ast.walk(d) if isinstance(n, ast.Name)}
    args = function.args
    kinds = [
        a.annotation for a in (*args.posonlyargs, *args.args, *args.kwonlyargs) if a.annotation
    ]
    names |= {n.id for kind in kinds for n in ast.walk(kind) if isinstance(n, ast.Name)}
    return bool(names & {"Array", "jax", "jit"})


def test_products_outside_the_nets_have_a_precision():
    found = {str(p.relative_to(ROOT)): inexact(p.read_text()) for p in FILES}
    assert len(found) > 100
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_missing_precisions_are_detected():
    assert inexact("jnp.dot(a, b)\nnp.dot(a, b)\njnp.dot(a, b, precision='highest')") == [1]
    assert inexact("jax.scipy.signal.convolve(a, b)\nlax.conv(a, b, (1, 1), 'SAME')") == [1, 2]
    assert inexact(
        "def f(a: Array):\n    return a @ a\ndef g(a: np.ndarray):\n    return a @ a"
    ) == [2]
    assert inexact("@jax.jit\ndef f(a):\n    return a @ a") == [3]
