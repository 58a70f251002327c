"""What a run has come to: outputs, and with what they were made."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from deepinternal.config import MethodConfig
from deepinternal.task import Image, Task
from deepinternal.types import InputError, Inputs, Method, Output, PyTree, TrainState, own_params


def no_remarks() -> tuple[str, ...]:
    """The remarks on a run where nothing was decided."""
    return ()


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result:
    """A finished run: its outputs, and what they were made with.

    Attributes:
        method: pure functions for the image, see `deepinternal.types.Method`; replicas are folded in:
            parameters have them in front.
        state: with which the run has ended.
        inputs: of the last stage, arrays by name.
        history: by name, an array over the logged steps: 'step', 'loss', ...; NaN at steps that have
            no metric of the name.
        seconds: wall time of the run.
        make: makes the method's outputs.
        remark: makes `remarks`.
        task: what was asked for; None for `fit`.
    """

    method: Method
    state: TrainState
    inputs: Inputs
    history: Mapping[str, np.ndarray]
    seconds: float
    make: Callable[[], Mapping[str, Output]]
    remark: Callable[[], tuple[str, ...]] = no_remarks
    task: Task | None = None

    @functools.cached_property
    def outputs(self) -> dict[str, Any]:
        """Arrays by name, as a call without `full` returns them; made when they are first asked for."""
        made = self.make()
        if self.task is not None:
            return self.task.formed(made)
        return {name: jax.tree.map(np.asarray, output.value) for name, output in made.items()}

    @functools.cached_property
    def params(self) -> dict[str, PyTree]:
        """The parameters that the outputs were made with, averages where the method averages."""
        function = self.method.final_params
        return self.state.params if function is own_params else jax.jit(function)(self.state)

    @functools.cached_property
    def remarks(self) -> tuple[str, ...]:
        """What was decided for the image, and why, in sentences."""
        return self.remark()

    @property
    def config(self) -> MethodConfig | None:
        """All settings; None for `fit`."""
        return self.task.config if self.task else None

    def apply(self, image: Image, **sides: Any) -> dict[str, Any]:
        """Applies the final weights to another image, without training.

        Args:
            image: in one of the forms that the call took; of as many channels.
            **sides: side inputs of the method, such as `kernel`; a kernel that is not given stays.

        Returns:
            Outputs by name, as of the call.

        Raises:
            InputError: the method learns nothing that holds for another image, or an image or a
                side input cannot be used.
        """
        if self.task is None or self.method.apply is None:
            raise InputError(
                f"{self.method.name}: what it learns holds for its own image alone; run it on the "
                "other image"
            )
        task = self.task.for_image(image, sides)
        inputs = task.inputs()
        method = task.method(inputs)
        assert method.apply is not None  # as for the first image: `make` knows only the config
        return task.formed(jax.jit(method.apply)(self.state, inputs))

    def __repr__(self) -> str:
        # Of a loaded run the outputs may not have been made; they are not, only to be shown.
        made = self.__dict__.get("outputs")
        count = sum(x.size for x in jax.tree.leaves(self.params))
        steps = int(np.max(self.history["step"], initial=0))
        names = [_shown(name, value) for name, value in made.items()] if made else ["not made yet"]
        lines = [
            f"Result of {self.method.name!r}: {steps} steps, {self.seconds:.1f} s",
            f"  outputs: {', '.join(names)}",
            f"  params: {', '.join(self.params)} ({count} numbers)",
            f"  history: {', '.join(self.history)}",
        ]
        return "\n".join([*lines, *(f"  {text}" for text in self.__dict__.get("remarks", ()))])


def _shown(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{name} ({len(value)} images)"
    return f"{name} {np.shape(value)}" if np.ndim(value) else f"{name} {float(value):.4g}"


def history(steps: Sequence[int], metrics: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """The metrics of steps as arrays.

    Args:
        steps: their numbers.
        metrics: of each by name.

    Returns:
        'step', and by name the values, NaN where a step has none.
    """
    names = dict.fromkeys(name for found in metrics for name in found)
    values = {n: np.array([found.get(n, np.nan) for found in metrics]) for n in names}
    return {"step": np.array(steps, int), **values}
