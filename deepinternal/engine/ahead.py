"""Compiles programs in threads before training needs them.

The order of the steps does not depend on these threads: training waits for the program of its next
step. Python traces the programs one at a time, in the order of their first need; XLA compiles
several at once.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future

import jax

from deepinternal import numerics

MOST_THREADS = 8
_NAME = "deepinternal-compiler"
_POLL = 0.2  # seconds between looks for a signal while training waits for a program
# Settings of the host that programs follow. A `with` block sets them for one thread.
SETTINGS = {
    "jax_default_device": jax.default_device,
    "jax_default_matmul_precision": jax.default_matmul_precision,
}

Trace = Callable[[], Callable[[], Callable]]  # traces a program; returns a function to compile it


class Interrupted(Exception):  # noqa: N818  (an event, not an error)
    """Raised if training is asked to end while it waits for a program."""


def default_threads() -> int:
    """Returns the number of threads that compile steps ahead: one less than the cores, at most 8.

    There are none on CPU, where training itself uses all cores.
    """
    if jax.default_backend() == "cpu":
        return 0
    return min(MOST_THREADS, max((os.cpu_count() or 1) - 1, 0))


class Compiler:
    """Compiles programs on request, and those of a plan ahead of their requests."""

    def __init__(self, threads: int):
        """Prepares to compile.

        Args:
            threads: The number of threads; 0: a requested program is compiled in the thread that
                requests it.
        """
        self.threads = threads
        self._tracing = threading.Lock()  # held by the thread that traces
        self._found: dict[Hashable, Future[Callable]] = {}
        self._plan: Iterator[tuple[Hashable, Trace]] = iter(())

    def ahead(self, plan: Iterator[tuple[Hashable, Trace]]) -> None:
        """Starts to compile the programs of a plan in at least one thread; drops an earlier plan.

        Args:
            plan: Yields keys of programs and functions that trace them, in the order of first need.
        """
        self._plan = plan
        settings = {name: getattr(jax.config, name) for name in SETTINGS}
        for _ in range(max(self.threads, 1)):
            _start(self._work, plan, settings)

    def drop(self) -> None:
        """Drops the programs of the plan that are not yet being compiled."""
        self._plan = iter(())

    def get(self, key: Hashable, trace: Trace, stopped: Callable[[], bool]) -> Callable:
        """Returns a program; compiles it, or waits for the thread that does.

        Args:
            key: The key of the program.
            trace: Traces it.
            stopped: Whether to stop waiting for a thread.

        Raises:
            Interrupted: `stopped` became true.
        """
        compiles = None
        if future := self._claim(key):
            with self._tracing:
                compiles = _traced(future, trace)
        if compiles:
            if self.threads:  # because nothing can interrupt XLA
                _start(_compile, future, compiles)
            else:
                _compile(future, compiles)
        future = self._found[key]
        while not future.done():
            if stopped():
                raise Interrupted
            with contextlib.suppress(TimeoutError):
                future.exception(timeout=_POLL)
        if future.exception():
            del self._found[key]  # a later request tries again
        return future.result()

    def _claim(self, key: Hashable) -> Future | None:
        """Returns a new future for a program, or None if another thread compiles it."""
        mine = Future()
        return mine if self._found.setdefault(key, mine) is mine else None

    def _work(self, plan: Iterator[tuple[Hashable, Trace]], settings: dict) -> None:
        """Compiles programs of a plan until it ends or is dropped."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(numerics.fixed())
            for name, value in settings.items():
                stack.enter_context(SETTINGS[name](value))
            while True:
                with self._tracing:
                    key, trace = next(plan, (None, None)) if plan is self._plan else (None, None)
                    if trace is None or plan is not self._plan:
                        return
                    future = self._claim(key)
                    compiles = _traced(future, trace) if future else None
                if compiles:
                    _compile(future, compiles)


def _traced(future: Future, trace: Trace) -> Callable[[], Callable] | None:
    try:
        return trace()
    except BaseException as error:  # raised where the program is needed
        future.set_exception(error)
        return None


def _compile(future: Future, compiles: Callable[[], Callable]) -> None:
    try:
        future.set_result(compiles())
    except BaseException as error:
        future.set_exception(error)


def _start(target: Callable, *args: object) -> None:
    # Python must not exit while one of these threads is inside XLA, so it waits for them.
    threading.Thread(target=target, args=args, name=_NAME).start()


def exit_now(status: int) -> None:
    """Ends the process without waiting for programs that are being compiled, which may take minutes.

    Returns if no program is being compiled.
    """
    if any(thread.name == _NAME for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
