"""Loads what a command wrote into a work folder as the `Result` that a call returns: `load`."""

import json
import os
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
    """Loads the run of one image from a work folder.

    Args:
        workdir: The folder that was given to `launch.main` or `deepinternal train`.
        stem: The name of an image in it; may be empty if there is only one.
        step: The step of a permanent checkpoint (`config.snapshot_every`) to load instead of the
            newest.

    Returns:
        The same as a call with `full=True`: method, config, params (the final weights), inputs and
        history; `outputs` are float32 and computed on first access; `apply(image)` returns the
        outputs for another image.

    Raises:
        InputError: The folder does not exist or holds no finished run; it holds several and no stem
            is given; files are missing or have changed since; or the checkpoint does not exist.
    """
    return Folder(workdir).load(stem, step=step)


class Folder:
    """A work folder, for reading.

    Attributes:
        recipe: The recipe of its method.
        config: The config of its runs.
    """

    def __init__(self, workdir: str | Path, *, dashes: str = "", method: str = ""):
        """Reads the config of the folder.

        Args:
            workdir: The folder.
            dashes: The prefix of argument names in messages, such as '--'.
            method: The only accepted method; '' accepts any.

        Raises:
            InputError: The folder holds no results, or those of another method.
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
                f"{self._named}: was made by {name!r}, not by {method}; give the folder of a run "
                f"with configs/{method}.py"
            )
        self.recipe: Recipe = methods.find(name)
        fields = flat(saved) if "version" in found else renamed(self.recipe.name, flat(saved))
        known = self.recipe.config.model_fields
        own = {n: value for n, value in fields.items() if n.split(".")[0] in known}
        # Relative paths were given in the directory that the command ran in.
        directory = str(found.get("directory", ""))
        sides = {n: _located(own[n], directory) for n in self.recipe.side_inputs if n in own}
        self.config: MethodConfig = self.recipe.build("", **own | sides)
        self._settings = RunConfig(input=_located(saved.get("input", ""), directory))

    def load(self, stem: str = "", *, step: int | None = None) -> Result:
        """Returns the run of one of its images; see `load`."""
        folder = self._folder(stem)
        metrics = self._metrics(folder, any_status=step is not None)
        source, sides, canvas = self._source(folder)
        like = [x.pixels[..., 0] if x.grey else x.pixels for x in source.images]
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
        """Returns the folder of an image."""
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
        """Returns the contents of its metrics.json. Raises InputError if the run has not ended."""
        try:
            metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            metrics = {}
        if not any_status and metrics.get("status") != "done":
            raise InputError(
                f"{show_path(folder)}: the run has not ended; give the same command again to "
                "continue it"
            )
        return metrics

    def _source(
        self, folder: Path
    ) -> tuple[sources.Source, Mapping[str, np.ndarray], tuple[int, int] | None]:
        """Returns the input of a run, its side inputs, and its canvas, or None if it has none."""
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
                why = str(error) or f"config.input no longer names {name}"
                raise InputError(f"{show_path(folder)}: its input cannot be read: {why}") from None
            return written, {}, None
        if job.files and not _is_same(folder, job):
            if (written := _written(folder, grouping)) is None:
                raise InputError(
                    f"{show_path(folder)}: {job.name} has changed since the run; restore the file"
                )
            return written, sides, None
        return source, sides, self._canvas(jobs, job)

    def _canvas(self, jobs: list[Job], job: Job) -> tuple[int, int] | None:
        """Returns the canvas of a job's group."""
        if self.recipe.canvas is None or len(jobs) == 1:
            return None
        shapes = {job: opening.shapes(self.recipe, self.config, job) for job in jobs}
        found = groups(self.recipe, self.config, shapes)
        return next(group.canvas for group in found if job in group.jobs)

    def _restored(
        self, folder: Path, task: Task, canvas: tuple[int, int] | None, step: int | None
    ) -> tuple[Method, TrainState, Inputs]:
        """Returns the method, and the state and inputs of a checkpoint."""
        inputs = task.inputs()
        if canvas is not None and self.recipe.canvas is not None:
            inputs = self.recipe.canvas.pad(self.config, inputs, canvas)
        method = over_replicas(self.recipe.method(self.config, input_spec(inputs)))
        checkpoints = Checkpoints(folder / "checkpoints")
        found = checkpoints.restore(method, inputs, step)
        numbers = ", ".join(map(str, checkpoints.numbers()))
        if found is None and step is not None:
            raise InputError(
                f"{self._dashes}step={step}: there is no readable checkpoint of this step in "
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
                f"{show_path(folder)}: the checkpoint belongs to the stage {name!r}, not to the "
                "last one; give a later one"
            )
        return method, state, inputs


def _located(text: str, directory: str) -> str:
    """Returns paths, joined by commas, as seen from here; they were given in a directory.

    Args:
        text: A path, or several.
        directory: Where the command ran; '' if it is not known.
    """
    if not text.strip() or not directory:
        return text
    if os.path.lexists(whole := os.path.join(directory, text)):
        return whole
    return ",".join(os.path.join(directory, part.strip()) for part in text.split(","))


# Entries of the log that describe the program, not the training.
_NOT_METRICS = ("step", "seconds", "compile_seconds", "programs", "memory_mb")


def _is_metric(name: str, value: Any) -> bool:
    return (
        name not in _NOT_METRICS and isinstance(value, int | float) and not isinstance(value, bool)
    )


def _is_same(folder: Path, job: Job) -> bool:
    """Whether a job's files are unchanged since its run; True if this is unknown."""
    try:
        noted = json.loads((folder / "input.json").read_text(encoding="utf-8"))["files"]["input"]
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return noted == sha256_files(job.files)


def _written(folder: Path, grouping: Grouping) -> sources.Source | None:
    """Returns the input that a run wrote into its folder; None if it wrote none."""
    if grouping.kind == "video" or not (folder / "input.png").exists():
        return None
    files = [folder / "input.png"]
    for pattern in ("input{}.png", "input-{}.png") if grouping.kind == "together" else ():
        number = 2
        while (path := folder / pattern.format(number)).exists():
            files.append(path)
            number += 1
    return sources.of_images([image_io.read_image(path) for path in files], grouping)
