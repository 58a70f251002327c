"""Atomic checkpoints of one run in one folder, by orbax; the last two are kept."""

import json
import logging
from pathlib import Path
from typing import Any

import jax

from deepinternal.files import atomic_write_text
from deepinternal.types import Inputs, Method, TrainState

_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run.

    A checkpoint holds the training state, the inputs if an earlier stage has changed them, and a
    JSON object with everything else that the loop needs to continue. A damaged checkpoint is
    skipped with a warning, and the previous one is used.
    """

    def __init__(self, folder: Path | str, *, keep_every: int = 0):
        """Opens the folder.

        Args:
            folder: The folder, which is created if missing.
            keep_every: Checkpoints whose number is a multiple are kept; 0: only the last two are.
        """
        import orbax.checkpoint as ocp

        self._ocp = ocp
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2,
            keep_period=keep_every or None,
            create=True,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
        )
        self._folder = Path(folder).absolute()
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(
        self, number: int, state: TrainState, inputs: Inputs | None, meta: dict[str, Any]
    ) -> None:
        """Saves a checkpoint; does nothing if the number already exists.

        Args:
            number: The total number of steps taken, over all stages, which must increase.
            state: The training state.
            inputs: The inputs, if they differ from the initial ones, or None.
            meta: JSON-serialisable; must contain `stage`, the index of the current stage.
        """
        args = self._ocp.args
        items = {"state": args.StandardSave(state), "meta": args.JsonSave(meta)}
        if inputs is not None:
            items["inputs"] = args.StandardSave(dict(inputs))
        if number in self._manager.all_steps():
            return  # the same step has the same state
        self._manager.save(number, args=args.Composite(**items))
        self._manager.wait_until_finished()

    def restore(
        self, method: Method, inputs: Inputs, number: int | None = None
    ) -> tuple[TrainState, Inputs, dict[str, Any]] | None:
        """Returns the newest readable checkpoint as `(state, inputs, meta)`, or None.

        Args:
            method: The method with replicas folded in, which determines the shapes.
            inputs: The initial inputs of the run.
            number: The only accepted checkpoint; None for any.
        """
        args = self._ocp.args
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        placed = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device)
        numbers = [n for n in self.numbers() if number in (None, n)]
        for number in reversed(numbers):
            try:
                meta = self._manager.restore(number, args=args.Composite(meta=args.JsonRestore()))
                meta = meta["meta"]
                state, later = jax.tree.map(placed, shapes_at(method, inputs, meta["stage"]))
                items = {"state": args.StandardRestore(state)}
                if meta["stage"] > 0:
                    items["inputs"] = args.StandardRestore(dict(later))
                found = self._manager.restore(number, args=args.Composite(**items))
            except Exception as error:  # orbax raises many types for a damaged folder
                _log.warning(
                    "checkpoint %d is damaged (%s); trying the previous one",
                    number,
                    str(error).splitlines()[0] if str(error) else type(error).__name__,
                )
                continue
            return found["state"], found.get("inputs") or inputs, meta
        return None

    def numbers(self) -> list[int]:
        """Returns the numbers of all checkpoints, the oldest first."""
        return sorted(self._manager.all_steps())

    def discard_above(self, number: int) -> None:
        """Removes the checkpoints after `number`, which are unreadable and would block new ones."""
        for later in self.numbers():
            if later > number:
                self._manager.delete(later)

    def note_resumption(self, step: int) -> list[int]:
        """Records that a run was resumed from `step`; returns all such steps, oldest first."""
        path = self._folder / "resumed.json"
        steps = json.loads(path.read_text()) if path.exists() else []
        steps.append(step)
        atomic_write_text(path, json.dumps(steps))
        return steps

    def close(self) -> None:
        """Stops orbax's background threads."""
        self._manager.close()


def shapes_at(method: Method, inputs: Inputs, stage: int = -1) -> tuple[TrainState, Inputs]:
    """Returns the shapes of state and inputs in a stage, by default the last; computes nothing."""
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    for earlier in method.stages[:stage]:
        state, inputs = jax.eval_shape(earlier.advance, state, inputs)
    return state, inputs
