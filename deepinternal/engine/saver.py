"""Saves the checkpoints of a run when they are due."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.errors import REMEDY, NonFiniteError
from deepinternal.types import Inputs, TrainState


class Saver:
    """Saves the checkpoints of a run when they are due."""

    def __init__(self, checkpoints: Checkpoints | None, *, every: float, snapshot_every: int):
        """Prepares to save.

        Args:
            checkpoints: Where to save; None for nowhere.
            every: Seconds between checkpoints, and before the first one.
            snapshot_every: Steps between permanent checkpoints; 0 for none.
        """
        self._checkpoints, self._every, self._snapshot_every = checkpoints, every, snapshot_every
        self.note()

    def note(self, steps: int = -1) -> None:
        """Records that a checkpoint of this many steps exists from now on; -1: none exists."""
        self._saved = (time.monotonic(), steps)  # time and steps of the last checkpoint

    def postpone(self) -> None:
        """Lets the time to the next checkpoint start now."""
        self.note(self._saved[1])

    def is_due(self, steps: int, *, least: float = 0.0) -> bool:
        """Whether a checkpoint is due.

        Args:
            steps: The number of steps that have been dispatched over all stages.
            least: The minimum seconds between checkpoints, regardless of the schedule.
        """
        if self._checkpoints is None or steps <= max(self._saved[1], 0):
            return False  # or the lane is waiting for the others
        if self._snapshot_every and steps % self._snapshot_every == 0:
            return True
        return time.monotonic() - self._saved[0] >= max(self._every, least)

    def save(
        self,
        steps: int,
        state: TrainState,
        inputs: Inputs | None,
        meta: Callable[[int], dict[str, Any]],
    ) -> None:
        """Saves a checkpoint, unless there is one of as many steps.

        Args:
            steps: The number of steps taken over all stages.
            state: The state after them.
            inputs: See `Checkpoints.save`.
            meta: Called with `steps` for the rest of the contents, see `Checkpoints.save`.

        Raises:
            NonFiniteError: A parameter is NaN or infinite; the last checkpoint is kept.
            OSError: The checkpoint cannot be written; the last one is kept.
        """
        if self._checkpoints is None or self._saved[1] >= steps:
            return
        state = jax.block_until_ready(state)
        if not all(np.isfinite(x).all() for x in jax.tree.leaves(jax.device_get(state.params))):
            raise NonFiniteError(f"a parameter became NaN or infinite at step {steps}; {REMEDY}")
        self._checkpoints.save(steps, state, inputs, meta(steps))
        self.note(steps)
