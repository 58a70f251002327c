"""Describes what a command would do: images, steps, memory and time. Trains and writes nothing."""

import dataclasses
import itertools
import resource
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from deepinternal.config import MethodConfig
from deepinternal.engine import costs
from deepinternal.engine.layout import spread
from deepinternal.files import show_path
from deepinternal.recipe import Recipe
from deepinternal.replicas import over_replicas
from deepinternal.runs import stems
from deepinternal.runs.groups import Group, Shapes, groups
from deepinternal.runs.inputs import Job, jobs_of
from deepinternal.runs.jobs import check
from deepinternal.runs.opening import Opened, Opener, headers
from deepinternal.runs.room import amount, duration
from deepinternal.runs.settings import RunConfig
from deepinternal.runs.workdir import RefusedError, Workdir
from deepinternal.types import InputError, never_done

_TRACED = 2  # groups whose cost comes from their programs; for others it follows from their pixels


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The plan for a job.

    Attributes:
        job: The job.
        state: 'done', 'new', 'continues at step N', or 'fails: reason'.
        shapes: The shapes of the image and of the result, if they are known.
        limit: The total number of steps; 0 if it is not known.
        opened: The opened job, or one of the same shapes; None if the job is done or fails.
        begun: The number of steps already taken.
    """

    job: Job
    state: str
    shapes: Sequence[Sequence[int]] = ()
    limit: int = 0
    opened: Opened | None = None
    begun: int = 0


def text(
    recipe: Recipe,
    config: MethodConfig,
    settings: RunConfig,
    workdir: str,
    *,
    overwrite: bool = False,
    spelling: Callable[[str], str] = str,
) -> str:
    """Returns a description of what a command would do.

    Args:
        recipe: The recipe of the method.
        config: Its config.
        settings: How to run.
        workdir: The folder for results, which need not exist.
        overwrite: Whether the command would discard results of another config.
        spelling: Rewrites messages, see `jobs.run_all`.

    Raises:
        InputError: The command would be refused.
    """
    check(recipe, config, settings)
    jobs = jobs_of(recipe, config, settings, quiet=False)
    folder = Workdir(workdir, recipe, config, settings, overwrite=overwrite)
    jobs, workdir = folder.tied(jobs), str(folder.path)
    opener = Opener(recipe, config, settings, folder, spelling)
    plans, shared = _plans(opener, jobs)
    name = f"{recipe.name}:{settings.presets}" if settings.presets else recipe.name
    there = "will be created"
    if Path(workdir).is_dir():
        there = "has results that will be discarded" if overwrite else "exists"
    lines = [f"{name} in {show_path(workdir)}, which {there}", "", *_table(plans.values()), ""]
    left = {job: plan for job, plan in plans.items() if plan.opened}
    if not left:
        failing = sum(plan.state.startswith("fails") for plan in plans.values())
        rest = f"; {failing} of {len(jobs)} images cannot be processed" if failing else ""
        return "\n".join([*lines, f"Nothing is left to train{rest}."])
    lines += _stages(next(iter(left.values())).opened, opener)
    guess = _Guess(opener, left)
    for group in shared:
        lines += guess.lines(group)
    lines += ["", *guess.summary()]
    return "\n".join(lines)


def _plans(opener: Opener, jobs: Sequence[Job]) -> tuple[dict[Job, _Plan], list[Group]]:
    """Returns the plan for each job, and the groups that share programs.

    Of jobs whose files have equal shapes, only the first is read; for the others, the headers are.
    """
    shapes: dict[Job, Shapes | None] = {}
    wrong: dict[Job, str] = {}
    for job in jobs:
        try:
            shapes[job] = headers(opener.recipe, opener.config, job)
        except InputError as error:
            if len(jobs) == 1:
                raise
            shapes[job], wrong[job] = None, opener.spelling(str(error))
    alone = len(jobs) == 1
    known = {jobs[0]: None} if alone else shapes
    shared = groups(opener.recipe, opener.config, known, opener.canvases(jobs))
    read: dict[str, Opened] = {}
    plans = {}
    for group in shared:
        for job in group.jobs:
            try:
                state = f"fails: {wrong[job]}" if job in wrong else ""
                plans[job] = _Plan(job, state) if state else _plan(opener, job, group, shapes, read)
            except RefusedError:
                raise
            except InputError as error:
                if alone:
                    raise
                plans[job] = _Plan(job, f"fails: {opener.spelling(str(error))}")
    return {job: plans[job] for job in jobs}, shared


def _plan(
    opener: Opener, job: Job, group: Group, shapes: Mapping[Job, Shapes], read: dict[str, Opened]
) -> _Plan:
    changed = bool(opener.workdir.noted(job.stem)) and opener.has_changed(job)
    if not changed and opener.is_done(job):
        metrics = opener.workdir.metrics(job.stem)
        shapes = [metrics.get("image_shape"), metrics.get("output_shape")]
        return _Plan(job, "done", shapes if all(shapes) else (), metrics["steps"])
    key = f"{shapes[job]} {group.canvas}" if shapes[job].images else job.stem
    opened = read[key] = read.get(key) or opener.open(job, group.canvas)
    shown = (opened.source.shape, opened.shape)
    if not changed and opener.is_done(job, opened.limit):
        return _Plan(job, "done", shown, opened.limit)
    begun = opener.workdir.begun(job.stem)
    state = f"continues at step {begun}" if begun else "new"
    return _Plan(job, state, shown, opened.limit, opened, begun)


def _table(plans: Sequence[_Plan]) -> list[str]:
    """Returns a line for each image: its files, shapes and steps, and the plan for it."""
    rows = []
    for plan in plans:
        shapes = " -> ".join(map(_size, plan.shapes))
        steps = f"{plan.limit} steps" if plan.limit else ""
        rows.append((show_path(plan.job.name), shapes, steps, plan.state))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(f"{x:{n}}" for x, n in zip(row, widths)).rstrip() for row in rows]


def _stages(opened: Opened, opener: Opener) -> list[str]:
    """Returns the steps of an image in each stage."""
    method = over_replicas(opener.method(opened.placed))
    parts = []
    for _, alike in itertools.groupby(method.stages, lambda s: (s.step, s.steps)):
        first, *_, last = [*alike] * 2
        most = "" if first.done is never_done else "at most "
        name = f"{first.name!r}" if first is last else f"each of {first.name!r} to {last.name!r}"
        parts.append(f"{name}: {most}{first.steps} steps")
    replicas = opener.method(opened.placed).replicas
    seeds = f", each of {replicas} seeds side by side" if replicas > 1 else ""
    return [f"stages of an image: {'; '.join(parts)}{seeds}"]


class _Guess:
    """Estimates memory and time, group by group."""

    def __init__(self, opener: Opener, left: Mapping[Job, _Plan]):
        self._opener, self._left = opener, left
        self._rates = costs.measure()
        self._known = self._measured()
        self._memory, self._seconds = 0, 0.0
        self._bases: dict[str, None] = {}
        self._per_pixel: list[tuple[float, float]] = []  # seconds and bytes of traced programs

    def _measured(self) -> dict[tuple[int, ...], list[float]]:
        """Returns the seconds per step that earlier runs in the folder took, by image shape."""
        found: dict[tuple[int, ...], list[float]] = {}
        for stem in stems.owners(self._opener.workdir.path):
            metrics = self._opener.workdir.metrics(stem) or {}
            steps, shape = metrics.get("steps") or 0, metrics.get("image_shape")
            if steps and shape and metrics.get("seconds"):
                found.setdefault(tuple(shape), []).append(metrics["seconds"] / steps)
        return found

    def lines(self, group: Group) -> list[str]:
        """Returns the description of a group, and adds its cost to the totals."""
        plans = [self._left[job] for job in group.jobs if job in self._left]
        if not plans:
            return []
        first, parallel = plans[0].opened, self._opener.settings.parallel
        debug = self._opener.settings.debug_nans
        devices, lanes = spread(
            1 if debug else len(plans),
            images_per_device=parallel.images_per_device,
            devices=parallel.devices,
            method=self._opener.method(first.placed),
            inputs=first.placed,
        )
        memory = self._add(plans, first, devices)
        self._memory = max(self._memory, memory * lanes)
        holds = f"a step needs about {amount(memory)}"
        if first.room:  # a large run
            needed, free = amount(first.room.needed), amount(first.room.free)
            holds += f", a whole run about {needed} of the {free} that are free"
        if len(plans) == 1:
            return [f"{show_path(plans[0].job.stem)}: {holds}"]
        on = f" on a canvas of {group.canvas[0]}x{group.canvas[1]}" if group.canvas else ""
        together = devices * lanes
        how = f"{together} at once on {devices} devices" if together > 1 else "one at a time"
        return [f"{len(plans)} images{on}: the same programs, {how}; {holds} per image"]

    def _add(self, plans: Sequence[_Plan], first: Opened, devices: int) -> float:
        """Adds the seconds of a group; returns the bytes per image."""
        pixels = sum(np.size(x) for x in jax.tree.leaves(first.placed))
        if len(self._per_pixel) < _TRACED:
            method = over_replicas(self._opener.method(first.placed))
            stages, outputs = costs.of_method(method, first.placed)
            per_stage = [self._rates.seconds(one) for one in stages]
            training = sum(s.steps * t for s, t in zip(method.stages, per_stage))
            total = training + self._rates.seconds(outputs)
            memory = max(one.memory for one in (*stages, outputs))
            self._per_pixel.append((total / pixels, memory / pixels))
        else:
            total = statistics.mean(t for t, _ in self._per_pixel) * pixels
            memory = max(m for _, m in self._per_pixel) * pixels
        share = 1 if jax.default_backend() == "cpu" else devices
        for plan in plans:
            known = self._known.get(plan.opened.source.shape)
            left = 1 - plan.begun / plan.limit
            if known:
                self._seconds += statistics.mean(known) * plan.limit * left / share
                self._bases["images of the same shape in this folder"] = None
            else:
                self._seconds += total * left / share
                self._bases[self._basis()] = None
        return memory

    def _basis(self) -> str:
        rates = self._rates
        return (
            f"the operations of a step at {rates.flops / 1e9:.3g} GFLOP/s and "
            f"{rates.moved / 1e9:.3g} GB/s, the current speed of this machine"
        )

    def summary(self) -> list[str]:
        """Returns the memory and time of all groups."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        own *= 1 if sys.platform == "darwin" else 1024
        count = len(self._left)
        many = f" for {count} images" if count > 1 else ""
        bases = ", and ".join(self._bases)
        return [
            f"memory: about {amount(self._memory)} on each device (an estimate from the "
            f"operations of a step), in addition to {amount(own)} of the process itself",
            f"time: about {duration(self._seconds)}{many} (an estimate from {bases}), plus "
            "compilation of new programs",
        ]


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
