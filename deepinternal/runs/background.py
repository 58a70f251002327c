"""Runs tasks in a thread, beside the training that made what they write."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait


class Background:
    """A thread that runs tasks in the order in which they are added.

    At the end of a `with` block, all tasks have ended.
    """

    def __init__(self):
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="deepinternal-writer")
        self._unfinished: set[Future[None]] = set()

    def __enter__(self) -> "Background":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.finish()
        finally:
            self._pool.shutdown()

    def add(self, task: Callable[[], None], *, most: int) -> None:
        """Adds a task, once fewer than `most` are unfinished, so that memory is bounded.

        Raises:
            Exception: What an earlier task has raised.
        """
        self._wait(most - 1)
        self._unfinished.add(self._pool.submit(task))

    def finish(self) -> None:
        """Waits until all tasks have ended. Raises what one of them has raised."""
        self._wait(0)

    def _wait(self, most: int) -> None:
        """Waits until at most this many tasks are unfinished."""
        while True:
            ended = {task for task in self._unfinished if task.done()}
            self._unfinished -= ended
            for task in ended:
                task.result()
            if len(self._unfinished) <= most:
                return
            wait(self._unfinished, return_when=FIRST_COMPLETED)
