"""Groups images that train with the same programs: of equal shapes, or on a common canvas."""

import dataclasses
from collections.abc import Collection, Hashable, Mapping, Sequence
from types import MappingProxyType

from deepinternal.config import MethodConfig
from deepinternal.recipe import Recipe
from deepinternal.runs.inputs import Job

SPARE = 4.0  # maximum ratio of a canvas's pixels to those of each of its images


@dataclasses.dataclass(frozen=True)
class Group:
    """Jobs that share programs.

    Attributes:
        jobs: The jobs, in the order of the list.
        canvas: The (H, W) that their images are placed on; None if all have one shape.
    """

    jobs: tuple[Job, ...]
    canvas: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The shapes in the headers of a job's files.

    Attributes:
        images: (H, W, C) of each image; for frames, the number of frames followed by the shape of
            the first one; empty for a video file.
        sides: The shapes of the side inputs by field, in the form that `prepare` takes.
    """

    images: tuple[tuple[int, ...], ...]
    sides: Mapping[str, tuple[int, ...]]


def groups(
    recipe: Recipe,
    config: MethodConfig,
    shapes: Mapping[Job, Shapes | None],
    begun: Mapping[Job, tuple[int, int] | None] = MappingProxyType({}),
) -> list[Group]:
    """Groups jobs; the groups, and the jobs in each group, keep the order of the list.

    Args:
        recipe: The recipe of the method.
        config: Its config.
        shapes: The shapes of each job; None if a file cannot be read.
        begun: The canvases of jobs with checkpoints, or None. They keep them, although the list, and
            so the size of the common canvas, may have changed.
    """
    alike: dict[Hashable, list[Job]] = {}
    on_canvas: set[Hashable] = set()
    for job, known in shapes.items():
        key = job if known is None else (known.images, tuple(sorted(known.sides.items())))
        if known and recipe.canvas and len(known.images) == 1:
            shared = recipe.canvas.group(config, known.images[0], known.sides)
            if shared is not None:
                on_canvas.add(key := ("canvas", shared))
        alike.setdefault(key, []).append(job)
    found = []
    for key, jobs in alike.items():
        if key in on_canvas:
            sizes = {job: shapes[job].images[0][:2] for job in jobs}
            parts = _by_area(jobs, sizes)
            found += [Group(tuple(p), _canvas({sizes[job] for job in p})) for p in parts]
        else:
            found.append(Group(tuple(jobs)))
    for group in list(found):
        parts = {begun.get(job, group.canvas): [] for job in group.jobs}
        for job in group.jobs:
            parts[begun.get(job, group.canvas)].append(job)
        found.remove(group)
        found += [Group(tuple(jobs), canvas) for canvas, jobs in parts.items()]
    order = {job: i for i, job in enumerate(shapes)}
    return sorted(found, key=lambda group: order[group.jobs[0]])


def _canvas(sizes: Collection[tuple[int, int]]) -> tuple[int, int] | None:
    return tuple(map(max, zip(*sizes))) if len(sizes) > 1 else None


def _by_area(jobs: Sequence[Job], sizes: Mapping[Job, tuple[int, int]]) -> list[list[Job]]:
    """Splits jobs into parts, each with a canvas not much larger than any of its images."""
    parts: list[list[Job]] = []
    area = lambda size: size[0] * size[1]
    for job in sorted(jobs, key=lambda job: -area(sizes[job])):
        for part in parts:
            together = [sizes[j] for j in (*part, job)]
            if area([*map(max, zip(*together))]) <= SPARE * min(map(area, together)):
                part.append(job)
                break
        else:
            parts.append([job])
    order = {job: i for i, job in enumerate(jobs)}
    return [sorted(part, key=order.get) for part in parts]
