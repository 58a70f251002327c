"""`load`: loads the run of one image from a work folder, as the `Result` that a call returns."""

import itertools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepinternal import methods, numerics
from deepinternal.codecs import image_io
from deepinternal.config import MethodConfig
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.files import expanded, sha256_files, show_path
from deepinternal.recipe import Grouping, Recipe
from deepinternal.replicas import over_replicas
from deepinternal.result import Result, history
from deepinternal.runs import opening, sources, stems
from deepinternal.runs.groups import groups
from deepinternal.runs.inputs import Job, jobs_of
from deepinternal.runs.renamed import renamed
from deepinternal.runs.settings import RunConfig
from deepinternal.task import Task
from deepinternal.types import InputError, Inputs, Method, TrainState, input_spec
from deepinternal.writers import flat, read_jsonl, read_object


def load(workdir: str | Path, stem: str = "", *, step: int | None = None) -> Result:
    """Loads the run of one image from a work folder.

    Args:
        workdir: The folder that was given to `launch.main` or `deepinternal train`.
        stem: The name of an image in it, such as 'IMG_1' or '2021/IMG_1'; may be empty if there is
            only one.
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
        recipe: The recipe of the method.
        config: The config of the runs.
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
        self._root, self._dashes = Path(expanded(workdir)), dashes
        self._named = f"{dashes}workdir={show_path(workdir)}"
        found = read_object(self._root / "config.json")
        try:
            saved = dict(found["config"])
            name = str(saved["method"])
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self._named}: holds no results of a run (no config.json)") from None
        if method and name != method:
            raise InputError(
                f"{self._named}: was made by {name!r}, not by {method}; give the folder of a run "
                f"with configs/{method}.py"
            )
        if ":" in name and name.partition(":")[0] not in sys.modules:
            raise InputError(  # a folder from elsewhere must not decide what is imported
                f"{self._named}: was made by {name}; import that module first"
            )
        self.recipe: Recipe = methods.find(name)
        fields = flat(saved) if "version" in found else renamed(self.recipe.name, flat(saved))
        known = self.recipe.config.model_fields
        own = {n: value for n, value in fields.items() if n.split(".")[0] in known}
        # Relative paths were given in the directory that the command ran in.
        self._directory = directory = str(found.get("directory", ""))
        sides = {n: _located(own[n], directory) for n in self.recipe.side_inputs if n in own}
        self.config: MethodConfig = self.recipe.build("", **own | sides)
        given = _located(saved.get("input", ""), directory)
        self._settings = RunConfig(input=given, color=saved.get("color", "keep"))

    @numerics.entry
    def load(self, stem: str = "", *, step: int | None = None) -> Result:
        """Returns the run of one of the images; see `load`."""
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
        names = sorted(
            p.parent.relative_to(self._root).as_posix() for p in found if any(p.iterdir())
        )
        if not names:
            raise InputError(f"{self._named}: holds no checkpoint of a trained method")
        if stem and stem not in names:
            raise InputError(f"{self._dashes}stem={stem}: there are: {', '.join(names)}")
        if not stem and len(names) > 1:
            pick = f"{self._dashes}stem"
            raise InputError(f"{self._named}: holds {', '.join(names)}: pick one with {pick}")
        return self._root / (stem or names[0])

    def _metrics(self, folder: Path, *, any_status: bool) -> dict[str, Any]:
        """Returns the contents of metrics.json. Raises InputError if the run has not ended."""
        metrics = read_object(folder / "metrics.json")
        ended = metrics.get("status") == "done" and not metrics.get("unsaved")
        if not any_status and not ended:
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
        noted = read_object(folder / stems.NOTED)
        try:
            job, files = self._recorded(name, noted.get("paths")) or (self._listed(name), None)
            source, sides, _ = opening.read(
                self.recipe, self.config, job, color=self._settings.color, files=files
            )
        except InputError as error:
            if (written := _written(folder, grouping)) is None:
                raise InputError(
                    f"{show_path(folder)}: its input cannot be read: {error}"
                ) from None
            return written, {}, None
        hashes = noted["files"] if isinstance(noted.get("files"), dict) else {}
        known = {"input": job.files, **{field: (path,) for field, path in (files or {}).items()}}
        for role, paths in known.items():
            if role not in hashes or not paths or any(map(os.path.isdir, paths)):
                continue
            if hashes[role] != sha256_files(paths):
                if role == "input" and (written := _written(folder, grouping)) is not None:
                    return written, sides, None
                what = job.name if role == "input" else show_path(paths[0])
                raise InputError(
                    f"{show_path(folder)}: {what} has changed since the run; restore the file"
                )
        canvas = noted.get("canvas")
        if not isinstance(canvas, list):
            return source, sides, self._canvas(job)
        return source, sides, (canvas[0], canvas[1]) if canvas else None

    def _recorded(self, name: str, paths: Any) -> tuple[Job, dict[str, Path]] | None:
        """Returns the job of an image, and its side inputs by field, if their files still exist."""
        if not isinstance(paths, dict) or not all(isinstance(p, list) for p in paths.values()):
            return None
        named = list(itertools.chain(*paths.values()))
        if not all(isinstance(path, str) and os.path.exists(path) for path in named):
            return None
        files = {role: tuple(map(Path, paths[role])) for role in paths if paths[role]}
        sides = {f: files[f][0] if len(files[f]) == 1 else files[f][0].parent for f in files}
        sides.pop("input", None)
        inputs = files.get("input", ())
        if self.recipe.grouping(self.config).kind == "video" and len(inputs) > 1:
            return Job(name, inputs[0].parent, inputs), sides
        return Job(name, inputs[0] if inputs else None, inputs if len(inputs) > 1 else ()), sides

    def _listed(self, name: str) -> Job:
        """Returns the job of an image from `config.input`, or from its metrics.json."""
        problem = InputError(f"config.input no longer names {name}")
        try:
            for job in self._jobs():
                if job.stem == name:
                    return job
        except InputError as error:
            problem = error
        given = self._metrics(self._root / name, any_status=True).get("input", "")
        path = Path(self._directory, str(given))
        if given and os.path.isfile(path):
            return Job(name, path)
        raise problem

    def _jobs(self) -> list[Job]:
        listed = jobs_of(self.recipe, self.config, self._settings)
        return stems.assign(listed, stems.owners(self._root))

    def _canvas(self, job: Job) -> tuple[int, int] | None:
        """Returns the canvas of a job's group, in a work folder that does not record it."""
        if self.recipe.canvas is None or job.path is None:
            return None
        if len(jobs := self._jobs()) == 1:
            return None
        shapes = {job: opening.shapes(self.recipe, self.config, job) for job in jobs}
        found = groups(self.recipe, self.config, shapes)
        canvases = {one.stem: group.canvas for group in found for one in group.jobs}
        return canvases.get(job.stem)

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
    """Returns paths that are valid in the current directory, joined by commas.

    Args:
        text: A path, or several joined by commas, as they were given in `directory`.
        directory: The directory that the command ran in; '' if it is unknown.
    """
    if not text.strip() or not directory:
        return text
    if os.path.lexists(whole := os.path.join(directory, text)):
        return whole
    return ",".join(os.path.join(directory, expanded(part.strip())) for part in text.split(","))


# Entries of the log that describe the program, not the training.
_NOT_METRICS = ("step", "seconds", "compile_seconds", "programs", "memory_mb")


def _is_metric(name: str, value: Any) -> bool:
    return (
        name not in _NOT_METRICS and isinstance(value, int | float) and not isinstance(value, bool)
    )


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
