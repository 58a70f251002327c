"""Compiler options for XLA on CPU, where its defaults are not the fastest."""

import functools

import jax

# On CPU, optimisation level 1 gives steps as fast as the default level in about three quarters of
# the compile time. Small programs that run once per image are not optimised.
_CPU_LEVEL, _CPU_LEVEL_ONCE = 1, 0
_LEVEL = "xla_backend_optimization_level"
_ONCE = ("init", "baseline", "done", "advance")
# XLA passes convolutions without padding to YNNPACK, which takes two to three times as long as
# Eigen. This option limits YNNPACK to matrix products.
_LIBRARY = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}


def compiler_options(name: str) -> dict[str, int | str] | None:
    """Returns the options for the program of that name; None for the compiler's defaults."""
    if jax.default_backend() != "cpu":
        return None
    return {_LEVEL: _CPU_LEVEL_ONCE if name in _ONCE else _CPU_LEVEL} | _library()


@functools.cache
def _library() -> dict[str, str]:
    """Returns `_LIBRARY`, or {} if this version of XLA does not support it."""
    try:
        jax.jit(lambda x: x).lower(0.0).compile(_LIBRARY)
    except jax.errors.JaxRuntimeError:
        return {}
    return _LIBRARY
