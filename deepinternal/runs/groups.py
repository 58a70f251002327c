"""Which images train with the same programs: those of equal shapes, or on a common canvas."""

import dataclasses
from collections.abc import Collection, Hashable, Mapping, Sequence

from deepinternal.config import MethodConfig
from deepinternal.recipe import Recipe
from deepinternal.runs.inputs import Job

SPARE = 4.0  # a canvas has at most so many times the pixels of each of its images


@dataclasses.dataclass(frozen=True)
class Group:
    """Jobs that share programs.

    Attributes:
        jobs: the jobs, in the order of the list.
        canvas: (H, W) that their images are put on, None where all have one shape.
    """

    jobs: tuple[Job, ...]
    canvas: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What the headers of a job's files say.

    Attributes:
        images: (H, W, C) of each image, or of the first frame after the number of frames; empty for a
            video file.
        sides: shapes of the side inputs by field, in the form in which `prepare` gets them.
    """

    images: tuple[tuple[int, ...], ...]
    sides: Mapping[str, tuple[int, ...]]


def groups(
    recipe: Recipe, config: MethodConfig, shapes: Mapping[Job, Shapes | None]
) -> list[Group]:
    """Groups of jobs, each group's and the groups themselves in the order of the list.

    Args:
        recipe: the method's.
        config: its config.
        shapes: of each job, None where a file cannot be read.
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
    order = {job: i for i, job in enumerate(shapes)}
    return sorted(found, key=lambda group: order[group.jobs[0]])


def _canvas(sizes: Collection[tuple[int, int]]) -> tuple[int, int] | None:
    return tuple(map(max, zip(*sizes))) if len(sizes) > 1 else None


def _by_area(jobs: Sequence[Job], sizes: Mapping[Job, tuple[int, int]]) -> list[list[Job]]:
    """Parts whose images are not lost on their common canvas."""
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
