"""How programs are compiled: what XLA is told on CPU, where its defaults are not the fastest."""

import functools

import jax

# On CPU the compiler's first level of optimisation gives steps as fast as the default one in about
# three quarters of the time. What runs once an image and is small is not optimised at all.
_CPU_LEVEL, _CPU_LEVEL_ONCE = 1, 0
_LEVEL = "xla_backend_optimization_level"
_ONCE = ("init", "baseline", "done", "advance")
# XLA gives convolutions without padding to YNNPACK, which takes two to three times as long for them as
# Eigen. With this it gets no more than matrix products.
_LIBRARY = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}


def compiler_options(name: str) -> dict[str, int | str] | None:
    """How to compile the program of that name; None for the compiler's defaults."""
    if jax.default_backend() != "cpu":
        return None
    return {_LEVEL: _CPU_LEVEL_ONCE if name in _ONCE else _CPU_LEVEL} | _library()


@functools.cache
def _library() -> dict[str, str]:
    """`_LIBRARY`, or nothing where this version of XLA does not know it."""
    try:
        jax.jit(lambda x: x).lower(0.0).compile(_LIBRARY)
    except jax.errors.JaxRuntimeError:
        return {}
    return _LIBRARY
