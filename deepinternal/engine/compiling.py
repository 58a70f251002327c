"""What identifies a program, and XLA's options for it: on CPU, its defaults are not the fastest."""

import functools
import re
from collections.abc import Hashable

import jax
import jax.numpy as jnp

from deepinternal.types import Array, InputError, PyTree

# On CPU, optimisation level 1 gives steps as fast as the default level in about three quarters of
# the compile time. Small programs that run once per image are not optimised.
_CPU_LEVEL, _CPU_LEVEL_ONCE = 1, 0
_LEVEL = "xla_backend_optimization_level"
_ONCE = ("init", "baseline", "done", "advance")
# XLA passes convolutions without padding to YNNPACK, which takes two to three times as long as
# Eigen. This option limits YNNPACK to matrix products.
_LIBRARY = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
# On GPUs, XLA finds no tile sizes for some matrix products of KernelGAN if Triton computes them.
_NO_TRITON = {"xla_gpu_enable_triton_gemm": False}


def program_key(name: tuple[Hashable, ...], args: PyTree) -> Hashable:
    """Returns the key of a program, with its shapes, which differ between replicas and stages."""
    leaves, tree = jax.tree.flatten(args)
    return name, tree, tuple(map(_kind, leaves))


def _kind(x: Array | jax.ShapeDtypeStruct) -> tuple[tuple[int, ...], jnp.dtype]:
    if isinstance(x, jax.Array | jax.ShapeDtypeStruct):  # this takes a tenth of the time
        return x.shape, x.dtype
    return jnp.shape(x), jnp.result_type(x)


def shape_of(x: Array, sharding: jax.sharding.Sharding | None = None) -> jax.ShapeDtypeStruct:
    """Returns the shape and dtype of an array, for tracing."""
    weak = getattr(x, "weak_type", False)
    dtype = jnp.result_type(x)
    return jax.ShapeDtypeStruct(jnp.shape(x), dtype, sharding=sharding, weak_type=weak)


def compiler_options(name: str, given: str = "") -> dict[str, int | str | bool] | None:
    """Returns the options for the program of that name; None for the compiler's defaults.

    Args:
        name: The name of the program, such as 'steps'.
        given: The user's options, which take precedence; see `parse_options`.
    """
    own, backend = parse_options(given), jax.default_backend()
    if backend == "gpu":
        return _supported(**_NO_TRITON) | own
    if backend != "cpu":
        return own or None
    level = _CPU_LEVEL_ONCE if name in _ONCE else _CPU_LEVEL
    return {_LEVEL: level} | _supported(**_LIBRARY) | own


def parse_options(text: str) -> dict[str, str | bool]:
    """Parses 'name=value,name=value'.

    Args:
        text: The options; values may contain commas, and 'true' and 'false' are booleans.

    Raises:
        ValueError: The text does not have this form.
    """
    found: dict[str, str | bool] = {}
    for part in re.split(r",(?=\w+=)", text) if text else ():
        name, equals, value = part.partition("=")
        if not (equals and re.fullmatch(r"\w+", name)):
            raise ValueError("must be name=value, several joined by commas")
        found[name] = {"true": True, "false": False}.get(value.lower(), value)
    return found


def check_options(text: str) -> None:
    """Raises InputError if XLA refuses the user's options."""
    try:
        if given := parse_options(text):
            jax.jit(lambda x: x).lower(0.0).compile(given)
    except (ValueError, jax.errors.JaxRuntimeError) as error:
        why = str(error).partition("INVALID_ARGUMENT: ")[2] or str(error)
        raise InputError(f"config.parallel.compiler_options: {why.splitlines()[0]}") from None


@functools.cache
def _supported(**options: str | bool) -> dict[str, str | bool]:
    """Returns the options, or {} if this version of XLA does not support them."""
    try:
        jax.jit(lambda x: x).lower(0.0).compile(options)
    except jax.errors.JaxRuntimeError:
        return {}
    return options
