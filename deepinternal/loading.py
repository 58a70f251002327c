"""What a command has left in a work folder, as a call returns it: `load`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepinternal import methods
from deepinternal.codecs import image_io
from deepinternal.config import MethodConfig
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.files import sha256_files, show_path
from deepinternal.recipe import Grouping, Recipe
from deepinternal.replicas import over_replicas
from deepinternal.result import Result, history
from deepinternal.runs import opening, sources
from deepinternal.runs.groups import groups
from deepinternal.runs.inputs import Job, jobs_of
from deepinternal.runs.renamed import renamed
from deepinternal.runs.settings import RunConfig
from deepinternal.task import Task
from deepinternal.types import InputError, Inputs, Method, TrainState, input_spec
from deepinternal.writers import flat, read_jsonl


def load(workdir: str | Path, stem: str = "", *, step: int | None = None) -> Result:
    """The run of one image in a work folder.

    Args:
        workdir: as given to `launch.main` or `deepinternal train`.
        stem: which of its images; may be left empty where there is one.
        step: of a permanent checkpoint (`config.snapshot_every`), instead of the newest.

    Returns:
        What a call with `full=True` returns: method, config, params (the final weights), inputs,
        history; `outputs`, float32, made when asked for; `apply(image)` gives those of another image.

    Raises:
        InputError: no such folder; no finished run in it, several and no stem; files that are
            missing or have changed since; no such checkpoint.
    """
    return Folder(workdir).load(stem, step=step)


class Folder:
    """A work folder, to be read.

    Attributes:
        recipe: of its method.
        config: that it was made with.
    """

    def __init__(self, workdir: str | Path, *, dashes: str = "", method: str = ""):
        """Reads its config.

        Args:
            workdir: the folder.
            dashes: what stands before the names of arguments in messages.
            method: the only one that will do; '' for any.

        Raises:
            InputError: it holds no results, or those of another method.
        """
        if not isinstance(workdir, str | Path):
            raise InputError(f"{dashes}workdir={workdir!r}: give the path of a folder")
        self._root, self._dashes = Path(workdir), dashes
        self._named = f"{dashes}workdir={show_path(workdir)}"
        try:
            found = json.loads((self._root / "config.json").read_text(encoding="utf-8"))
            saved = dict(found["config"])
            name = str(saved["method"])
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{self._named}: holds no results of a run (no config.json)") from None
        if method and name != method:
            raise InputError(
                f"{self._named}: was made by {name!r}, not by {method}; give the folder of a run with "
                f"configs/{method}.py"
            )
        self.recipe: Recipe = methods.find(name)
        fields = flat(saved) if "version" in found else renamed(self.recipe.name, flat(saved))
        known = self.recipe.config.model_fields
        self.config: MethodConfig = self.recipe.build(
            "", **{n: value for n, value in fields.items() if n.split(".")[0] in known}
        )
        self._settings = RunConfig(input=saved.get("input", ""))

    def load(self, stem: str = "", *, step: int | None = None) -> Result:
        """The run of one of its images; see `load`."""
        folder = self._folder(stem)
        metrics = self._metrics(folder, any_status=step is not None)
        source, sides, canvas = self._source(folder)
        like = [x.pixels for x in source.images]
        if source.is_video:
            like = list(source.given[:1] / np.float32(255))
        task = Task(self.recipe, self.config, {}, source, sides, like)
        method, state, inputs = self._restored(folder, task, canvas, step)
        log = read_jsonl(folder / "train.jsonl")
        lines = [{k: v for k, v in line.items() if _is_metric(k, v)} for line in log]
        return Result(
            method=method,
            state=state,
            inputs=inputs,
            history=history([line["step"] for line in log], lines),
            seconds=metrics.get("seconds", 0.0),
            remark=lambda: tuple(metrics.get("remarks", ())),
            make=lambda: jax.jit(method.outputs)(state, inputs),
            task=task,
        )

    def _folder(self, stem: str) -> Path:
        """The folder of an image."""
        found = self._root.glob("**/checkpoints")
        stems = sorted(
            p.parent.relative_to(self._root).as_posix() for p in found if any(p.iterdir())
        )
        if not stems:
            raise InputError(f"{self._named}: holds no checkpoint of a trained method")
        if stem and stem not in stems:
            raise InputError(f"{self._dashes}stem={stem}: there are: {', '.join(stems)}")
        if not stem and len(stems) > 1:
            pick = f"{self._dashes}stem"
            raise InputError(f"{self._named}: holds {', '.join(stems)}: pick one with {pick}")
        return self._root / (stem or stems[0])

    def _metrics(self, folder: Path, *, any_status: bool) -> dict[str, Any]:
        """Its metrics.json, refused where the run has not ended."""
        try:
            metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            metrics = {}
        if not any_status and metrics.get("status") != "done":
            raise InputError(
                f"{show_path(folder)}: the run has not ended; give the same command again, "
                "and it goes on"
            )
        return metrics

    def _source(
        self, folder: Path
    ) -> tuple[sources.Source, Mapping[str, np.ndarray], tuple[int, int] | None]:
        """The input of a run, its side inputs, and the canvas that it lay on, if it did on one."""
        name, grouping = (
            folder.relative_to(self._root).as_posix(),
            self.recipe.grouping(self.config),
        )
        try:
            jobs = jobs_of(self.recipe, self.config, self._settings)
            job = next(job for job in jobs if job.stem == name)
            source, sides, _ = opening.read(self.recipe, self.config, job)
        except (InputError, StopIteration) as error:
            if (written := _written(folder, grouping)) is None:
                why = str(error) or f"config.input names no {name} any more"
                raise InputError(f"{show_path(folder)}: its input cannot be read: {why}") from None
            return written, {}, None
        if job.files and not _is_same(folder, job):
            if (written := _written(folder, grouping)) is None:
                raise InputError(
                    f"{show_path(folder)}: was made from other bytes than {job.name} has now; bring "
                    "the file back"
                )
            return written, sides, None
        return source, sides, self._canvas(jobs, job)

    def _canvas(self, jobs: list[Job], job: Job) -> tuple[int, int] | None:
        """The canvas of the group that a job was in."""
        if self.recipe.canvas is None or len(jobs) == 1:
            return None
        shapes = {job: opening.shapes(self.recipe, self.config, job) for job in jobs}
        found = groups(self.recipe, self.config, shapes)
        return next(group.canvas for group in found if job in group.jobs)

    def _restored(
        self, folder: Path, task: Task, canvas: tuple[int, int] | None, step: int | None
    ) -> tuple[Method, TrainState, Inputs]:
        """The method, and state and inputs of a checkpoint."""
        inputs = task.inputs()
        if canvas is not None and self.recipe.canvas is not None:
            inputs = self.recipe.canvas.pad(self.config, inputs, canvas)
        method = over_replicas(self.recipe.method(self.config, input_spec(inputs)))
        checkpoints = Checkpoints(folder / "checkpoints")
        try:
            found = checkpoints.restore(method, inputs, step)
            numbers = ", ".join(map(str, checkpoints.numbers()))
        finally:
            checkpoints.close()
        if found is None and step is not None:
            raise InputError(
                f"{self._dashes}step={step}: no such checkpoint that can be read in "
                f"{show_path(folder)}; there are {numbers or 'none'}"
            )
        if found is None:
            raise InputError(
                f"{show_path(folder)}/checkpoints: no checkpoint can be read; train again"
            )
        state, inputs, meta = found
        if meta["stage"] < len(method.stages) - 1:
            name = method.stages[meta["stage"]].name
            raise InputError(
                f"{show_path(folder)}: the checkpoint is of the stage {name!r}, not of the last one; "
                "give a later one"
            )
        return method, state, inputs


# What the log tells of the run as a program.
_NOT_METRICS = ("step", "seconds", "compile_seconds", "programs", "memory_mb")


def _is_metric(name: str, value: Any) -> bool:
    return (
        name not in _NOT_METRICS and isinstance(value, int | float) and not isinstance(value, bool)
    )


def _is_same(folder: Path, job: Job) -> bool:
    """Whether a job's files have the bytes that its results were made from, as far as that is known."""
    try:
        noted = json.loads((folder / "input.json").read_text(encoding="utf-8"))["files"]["input"]
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return noted == sha256_files(job.files)


def _written(folder: Path, grouping: Grouping) -> sources.Source | None:
    """The input as its run has written it into the folder; None where it has not."""
    if grouping.kind == "video" or not (folder / "input.png").exists():
        return None
    files = [folder / "input.png"]
    for pattern in ("input{}.png", "input-{}.png") if grouping.kind == "together" else ():
        number = 2
        while (path := folder / pattern.format(number)).exists():
            files.append(path)
            number += 1
    return sources.of_images([image_io.read_image(path) for path in files], grouping)
