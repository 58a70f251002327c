"""The result of a run: its outputs, and the method and state that made them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from deepinternal import numerics
from deepinternal.config import MethodConfig
from deepinternal.task import Image, Task
from deepinternal.types import InputError, Inputs, Method, Output, PyTree, TrainState, own_params


def no_remarks() -> tuple[str, ...]:
    """Returns no remarks, for a run without decisions."""
    return ()


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result:
    """A finished run: its outputs, and the method, state and inputs that made them.

    Attributes:
        method: The pure functions for the image, see `deepinternal.types.Method`. Replicas are
            folded in: the parameters have them as their leading axis.
        state: The state at the end of the run.
        inputs: The arrays of the last stage, by name.
        history: Arrays over the logged steps, by name: 'step', 'loss', and other metrics; NaN at steps
            without a metric of that name.
        seconds: The wall time of the run.
        make: Computes the method's outputs.
        remark: Computes `remarks`.
        task: The task of the run; None for `fit`.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.full((16, 16, 3), 128, np.uint8)
        >>> made = di.run("zssr", image, steps=1, crop=16, full=True)
        >>> made.steps, list(made.outputs), list(made.params)
        (1, ['result', 'uncertainty'], ['net'])
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
    @numerics.entry
    def outputs(self) -> dict[str, Any]:
        """The outputs by name, as a call without `full` returns them; computed on first access."""
        made = self.make()
        if self.task is not None:
            return self.task.formed(made)
        return {name: jax.tree.map(np.asarray, output.value) for name, output in made.items()}

    @functools.cached_property
    @numerics.entry
    def params(self) -> dict[str, PyTree]:
        """The parameters that made the outputs; averages if the method averages them."""
        function = self.method.final_params
        return self.state.params if function is own_params else jax.jit(function)(self.state)

    @functools.cached_property
    @numerics.entry
    def remarks(self) -> tuple[str, ...]:
        """The decisions that the method made for the image, with reasons, in sentences."""
        return self.remark()

    @property
    def steps(self) -> int:
        """The number of steps taken, over all stages."""
        return int(np.max(self.history["step"], initial=0))

    @property
    def config(self) -> MethodConfig | None:
        """All settings; None for `fit`."""
        return self.task.config if self.task else None

    @numerics.entry
    def apply(self, image: Image, **sides: Any) -> dict[str, Any]:
        """Applies the final weights to another image, without training.

        Args:
            image: An image in one of the forms that the call takes, with the same number of
                channels.
            **sides: Side inputs of the method, such as `kernel`; a kernel that is not given is
                kept.

        Returns:
            The outputs by name, in the same form as those of the call.

        Raises:
            InputError: The weights of the method are only valid for its own image, or the image or
                a side input cannot be used.
        """
        if self.task is None or self.method.apply is None:
            raise InputError(
                f"{self.method.name}: its weights are only valid for its own image; run the "
                "method on the other image"
            )
        task = self.task.for_image(image, sides)
        inputs = task.inputs()
        method = task.method(inputs)
        assert method.apply is not None  # as for the first image: `make` knows only the config
        return task.formed(jax.jit(method.apply)(self.state, inputs))

    def __repr__(self) -> str:
        # The outputs of a loaded run may not exist yet; the repr does not compute them.
        made = self.__dict__.get("outputs")
        count = sum(x.size for x in jax.tree.leaves(self.params))
        params = f"{', '.join(self.params)} ({count} numbers)" if self.params else "none"
        names = [_shown(name, value) for name, value in made.items()] if made else ["not made yet"]
        lines = [
            f"Result of {self.method.name!r}: {self.steps} steps, {self.seconds:.1f} s",
            f"  outputs: {', '.join(names)}",
            f"  params: {params}",
            f"  history: {', '.join(self.history)}",
        ]
        return "\n".join([*lines, *(f"  {text}" for text in self.__dict__.get("remarks", ()))])


def _shown(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{name} ({len(value)} images)"
    return f"{name} {np.shape(value)}" if np.ndim(value) else f"{name} {float(value):.4g}"


def history(
    steps: Sequence[int],
    metrics: Sequence[Mapping[str, float]],
    before: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Returns the metrics of the logged steps as arrays.

    Args:
        steps: The numbers of the steps.
        metrics: The metrics of each step by name.
        before: The history of the run that these steps continue.

    Returns:
        'step' and the metrics by name, with NaN at steps without a metric.
    """
    if before:
        known = [name for name in before if name != "step"]
        earlier = [{n: before[n][i] for n in known} for i in range(len(before["step"]))]
        steps, metrics = [*before["step"], *steps], [*earlier, *metrics]
    names = dict.fromkeys(name for found in metrics for name in found)
    values = {n: np.array([found.get(n, np.nan) for found in metrics]) for n in names}
    return {"step": np.array(steps, int), **values}
