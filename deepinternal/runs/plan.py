"""Which images train with the same programs: those of equal shapes, or on a common canvas."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import jax
import ml_collections

from deepinternal.runs.inputs import Job
from deepinternal.types import Inputs, Method, PyTree, input_spec

SPARE = 4.0  # a canvas has at most so many times the pixels of each of its images


@dataclasses.dataclass(frozen=True)
class Group:
    """Jobs that share programs.

    Attributes:
        jobs: the jobs, in the order of the list.
        canvas: (H, W) that their images are put on, None where all have one shape.
    """

    jobs: tuple[Job, ...]
    canvas: tuple[int, int] | None


class Planner:
    """Makes methods for inputs, and groups of jobs; methods are made once for each shape."""

    def __init__(self, module: ModuleType, config: ml_collections.ConfigDict):
        """Args: the method's module; the config."""
        self._module, self._config = module, config
        self._methods: dict[str, Method] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def method(self, inputs: Inputs) -> Method:
        """The method for inputs of such shapes. Raises InputError where it cannot work with them."""
        spec = input_spec(inputs)
        if str(spec) not in self._methods:
            self._methods[str(spec)] = self._module.make(self._config, spec)
        return self._methods[str(spec)]

    def result_shape(self, inputs: Inputs) -> tuple[int, ...]:
        """Shape of the output 'result' without computing it; of inputs that are on no canvas."""
        key = str(input_spec(inputs))
        if key not in self._shapes:
            self._shapes[key] = _result_shape(self.method(inputs), inputs)
        return self._shapes[key]

    def place(self, inputs: Inputs, canvas: tuple[int, int] | None) -> Inputs:
        """The inputs on a canvas, where there is one."""
        return inputs if canvas is None else self._module.pad(self._config, inputs, canvas)

    def groups(self, specs: Mapping[Job, PyTree]) -> list[Group]:
        """Groups of jobs, each group's and the groups themselves in the order of the list.

        Args:
            specs: shapes of each job's inputs, `image` (H, W, C) among them where they may share
                a canvas.
        """
        alike: dict[Any, list[Job]] = {}
        for job, spec in specs.items():
            shared = getattr(self._module, "canvas_group", lambda *_: None)(self._config, spec)
            alike.setdefault(str(spec) if shared is None else ("canvas", shared), []).append(job)
        groups = []
        for key, jobs in alike.items():
            if isinstance(key, tuple):
                parts = _by_area(jobs, specs)
                groups += [Group(tuple(part), _canvas(part, specs)) for part in parts]
            else:
                groups.append(Group(tuple(jobs), None))
        order = {job: i for i, job in enumerate(specs)}
        return sorted(groups, key=lambda group: order[group.jobs[0]])


def _size(job: Job, specs: Mapping[Job, PyTree]) -> tuple[int, int]:
    return tuple(specs[job]["image"].shape[:2])


def _canvas(jobs: Sequence[Job], specs: Mapping[Job, PyTree]) -> tuple[int, int] | None:
    sizes = {_size(job, specs) for job in jobs}
    return tuple(max(side) for side in zip(*sizes)) if len(sizes) > 1 else None


def _by_area(jobs: Sequence[Job], specs: Mapping[Job, PyTree]) -> list[list[Job]]:
    """Parts whose images are not lost on their common canvas."""
    parts: list[list[Job]] = []
    area = lambda size: size[0] * size[1]
    for job in sorted(jobs, key=lambda job: -area(_size(job, specs))):
        for part in parts:
            together = [_size(j, specs) for j in (*part, job)]
            canvas = tuple(max(side) for side in zip(*together))
            if area(canvas) <= SPARE * min(map(area, together)):
                part.append(job)
                break
        else:
            parts.append([job])
    order = {job: i for i, job in enumerate(jobs)}
    return [sorted(part, key=order.get) for part in parts]


def shapes_at_end(method: Method, inputs: Inputs) -> tuple[PyTree, PyTree]:
    """Shapes of the state and of the inputs that a method's last stage has; nothing is computed."""
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    for stage in method.stages[:-1]:
        state, inputs = jax.eval_shape(stage.advance, state, inputs)
    return state, inputs


def _result_shape(method: Method, inputs: Inputs) -> tuple[int, ...]:
    return jax.eval_shape(method.outputs, *shapes_at_end(method, inputs))["result"].value.shape
