"""The settings of JAX and NumPy that this package computes with, whatever the host program has set.

A program that imports the package may have enabled 64-bit types, forbidden implicit promotion, or
turned errors of NumPy into exceptions. The package still computes in float32 with the defaults of JAX
and NumPy: `fixed` sets them for the current thread while one of the package's functions runs or is
being traced. The functions of a `Method` do the same, so that any code may trace them.

Settings that do not change a result are left to the host program: devices, NaN checks, logging. So is
`jax_default_matmul_precision`, which nets follow if their field `precision` is 'default'.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np

_P = ParamSpec("_P")
_R = TypeVar("_R")

# For each name in `jax.config`: the context manager that sets it for one thread, and the fixed value.
_JAX: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "jax_enable_x64": (jax.enable_x64, False),
    "jax_numpy_dtype_promotion": (jax.numpy_dtype_promotion, "standard"),
    "jax_numpy_rank_promotion": (jax.numpy_rank_promotion, "allow"),
    "jax_threefry_partitionable": (jax.threefry_partitionable, True),
    "jax_default_prng_impl": (jax.default_prng_impl, "threefry2x32"),
    "jax_disable_jit": (jax.disable_jit, False),
    "jax_transfer_guard_host_to_device": (jax.transfer_guard_host_to_device, "allow"),
    "jax_transfer_guard_device_to_host": (jax.transfer_guard_device_to_host, "allow"),
    "jax_transfer_guard_device_to_device": (jax.transfer_guard_device_to_device, "allow"),
}
_FIXED = {name: value for name, (_, value) in _JAX.items()}
_NUMPY = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_NARROW = {"float64": "float32", "int64": "int32", "uint64": "uint32"}
_processes: list[int] = []  # the id of the process that has used JAX through `entry`


@contextlib.contextmanager
def fixed() -> Iterator[None]:
    """Fixes the settings for the current thread, in a `with` block or as a decorator.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from deepinternal import numerics
        >>> with jax.enable_x64(True), numerics.fixed():
        ...     jnp.arange(3.0).dtype
        dtype('float32')
    """
    with _set(_FIXED, _NUMPY):
        yield


def narrowed(tree: Any) -> Any:
    """Returns a tree with its 64-bit JAX arrays converted to 32 bits, as `fixed` code expects."""

    def narrow(leaf: Any) -> Any:
        narrow = _NARROW.get(str(leaf.dtype)) if isinstance(leaf, jax.Array) else None
        return leaf.astype(narrow) if narrow else leaf

    return jax.tree.map(narrow, tree)


class _FixedFunction:
    """A function that runs with the fixed settings; equal to another one if the functions are."""

    def __init__(self, function: Callable):
        named = function
        while isinstance(named, functools.partial):
            named = named.func
        functools.update_wrapper(self, named, updated=())  # programs are named after it
        self.__wrapped__ = function
        self.frozen = getattr(function, "frozen", False)  # see `types.Stage`

    def __call__(self, *args: Any, **options: Any) -> Any:
        with fixed():
            return self.__wrapped__(*map(narrowed, args), **narrowed(options))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _FixedFunction) and self.__wrapped__ == other.__wrapped__

    def __hash__(self) -> int:
        return hash(self.__wrapped__)


def fixed_function(function: Callable) -> Callable:
    """Returns a function that runs with the fixed settings, on arguments with at most 32 bits.

    The functions that are returned for equal functions are equal, too.
    """
    return function if isinstance(function, _FixedFunction) else _FixedFunction(function)


@contextlib.contextmanager
def _set(settings: Mapping[str, Any], errors: Mapping[str, Any]) -> Iterator[None]:
    """Sets settings of JAX, and NumPy's handling of errors, for the current thread."""
    with contextlib.ExitStack() as stack:
        for name, value in settings.items():
            stack.enter_context(_JAX[name][0](value))
        stack.enter_context(np.errstate(**errors))
        yield


def fix_process() -> None:
    """Fixes the settings for all threads. Only the entry point of a program may call this."""
    for name, value in _FIXED.items():
        jax.config.update(name, value)


def entry(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorates a function that users call, so that it runs with the fixed settings.

    If it has an argument `callback`, that function is called with the settings of the user's thread.
    The decorated function raises RuntimeError if this process was forked after JAX was used.
    """

    @functools.wraps(function)
    def call(*args: _P.args, **options: _P.kwargs) -> _R:
        _check_process()
        if callable(callback := options.get("callback")):
            options["callback"] = _with_present_settings(callback)
        with fixed():
            return function(*args, **options)

    return call


def _with_present_settings(function: Callable) -> Callable:
    """Returns a function that runs with the present settings of the thread."""
    settings, errors = {name: getattr(jax.config, name) for name in _JAX}, np.geterr()

    def call(*args: Any) -> Any:
        with _set(settings, errors):
            return function(*args)

    return call


def _check_process() -> None:
    """Raises RuntimeError in a forked process, where JAX would wait forever."""
    if not _processes:
        _processes.append(os.getpid())
    if _processes[0] != os.getpid():
        raise RuntimeError(
            "this process was forked from one that had already used JAX, whose threads do not "
            "exist here; start processes with multiprocessing.get_context('spawn')"
        )
