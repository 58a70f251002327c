"""Reads and prepares the inputs of each job once, when its turn comes."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepinternal.codecs.image_io import MAX_PIXELS, image_shape
from deepinternal.config import MethodConfig
from deepinternal.engine.checkpoint import shapes_at
from deepinternal.engine.costs import Needs
from deepinternal.files import printable, sha256_file
from deepinternal.recipe import Figures, Recipe
from deepinternal.replicas import over_replicas
from deepinternal.runs import sides, sources
from deepinternal.runs.companions import companion, mask_files
from deepinternal.runs.groups import Shapes
from deepinternal.runs.inputs import Job
from deepinternal.runs.results import Truth, read_truth, write_input
from deepinternal.runs.room import Room, check
from deepinternal.runs.settings import RunConfig
from deepinternal.runs.workdir import Noted, Workdir
from deepinternal.types import Example, InputError, Inputs, Method, input_spec


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """A job that has been read and prepared.

    Attributes:
        job: The job.
        source: Its files, read.
        inputs: The method's inputs as `prepare` made them, on the host.
        placed: The same inputs on the canvas of the group, if there is one.
        truth: The ground truth, or None.
        shape: The shape of the result.
        limit: The maximum number of training steps.
        noted: The record of the job that `Opener.note` writes to the work folder.
        started: `time.monotonic()` when reading it began.
        remarks: The remarks before training: on the files, then the method's.
        room: The memory that a large run needs; None for a small one.
    """

    job: Job
    source: sources.Source
    inputs: Inputs
    placed: Inputs
    truth: Truth | None
    shape: tuple[int, ...]
    limit: int
    noted: Noted
    started: float
    remarks: tuple[str, ...]
    room: Room | None


@dataclasses.dataclass
class Opener:
    """Opens the jobs of a command, and finds which of them have nothing left to do.

    Attributes:
        recipe: The recipe of the method.
        config: Its config.
        settings: How to run.
        workdir: The work folder.
        spelling: Rewrites failures and remarks for the user, see `jobs.run_all`.
    """

    recipe: Recipe
    config: MethodConfig
    settings: RunConfig
    workdir: Workdir
    spelling: Callable[[str], str] = str

    def __post_init__(self):
        self._grouping = self.recipe.grouping(self.config)
        self._methods: dict[str, Method] = {}
        self._result_shapes: dict[str, tuple[int, ...]] = {}
        self._needs: dict[tuple[str, bool], Needs] = {}

    # Files

    def _side_files(self, job: Job) -> dict[str, Path]:
        return _side_files(self.recipe, self.config, job)

    def _truth_file(self, job: Job) -> Path | None:
        if not self.recipe.scored or self._grouping.kind == "video":
            return None
        given = self.settings.ground_truth
        return companion("ground_truth", given, job, tag="gt", beside=True)

    def look_at(self, job: Job) -> Noted:
        """Returns the hashes of a job's files; see `Workdir.look_at`."""
        paths = {"input": job.files} if job.files else {}
        for field, path in self._side_files(job).items():
            several = mask_files(path, field).values() if path.is_dir() else ()
            paths[field] = tuple(several) or (path,)
        return self.workdir.look_at(job.stem, paths)

    def shapes(self, job: Job) -> Shapes | None:
        """Returns the shapes in the headers of a job's files; None if one cannot be read."""
        return shapes(self.recipe, self.config, job)

    def canvases(self, jobs: Sequence[Job]) -> dict[Job, tuple[int, int] | None]:
        """Returns the canvases of the jobs with checkpoints, as far as they are known."""
        noted = {job: self.workdir.noted(job.stem) for job in jobs if self.workdir.begun(job.stem)}
        known = {job: one.canvas for job, one in noted.items() if one and one.canvas is not None}
        return {job: tuple(canvas) or None for job, canvas in known.items()}

    # What is left to do

    def is_done(self, job: Job, limit: int | None = None) -> bool:
        """Whether a result exists that training would not change.

        Args:
            job: The job.
            limit: The maximum number of training steps; None: the same as when the image was last
                trained on, provided that the fields it follows from are unchanged.
        """
        old, noted = self.workdir.metrics(job.stem), self.workdir.noted(job.stem)
        if not old or not noted or old["status"] != "done" or "steps_limit" not in old:
            return False
        if old.get("changes", 0) != noted.changes:  # a continuation was interrupted
            return False
        folder = self.workdir.path / job.stem
        if not any((folder / name).exists() for name in ("result.png", "result")):
            return False
        if old.get("unsaved") and self.workdir.begun(job.stem) < old["steps"]:
            return False
        if old["steps"] < old["steps_limit"]:  # its own stopping rule ended it
            return True
        if limit is None:
            if noted.asked != self.workdir.asked:
                return False
            limit = noted.steps  # more than the result has, if a continuation was interrupted
        return limit <= old["steps_limit"]

    def check_finished(self, job: Job) -> bool:
        """Finds whether nothing is left to do for a job, without decoding its inputs.

        If its files have the same contents as before but other stamps or paths, these are recorded, so
        that the next command need not hash the files.

        Returns:
            Whether the job is finished, as far as its files and the records in the work folder tell.

        Raises:
            InputError: A file is missing or cannot be read.
            RefusedError: A file has changed since the result was made, with which the run cannot
                continue.
        """
        if not self.is_done(job) or self.has_changed(job):
            return False
        files, noted = self.look_at(job), self.workdir.noted(job.stem)
        if (files.stamps, files.paths) != (noted.stamps, noted.paths):
            now = dataclasses.replace(noted, stamps=files.stamps, paths=files.paths)
            self.workdir.note(job.stem, now)
        path = self._truth_file(job)
        scored = (self.workdir.metrics(job.stem) or {}).get("ground_truth_sha256")
        return path is None or scored == sha256_file(path)

    def has_changed(self, job: Job) -> bool:
        """Whether a job with results continues with other inputs, see `Recipe.continued`.

        Raises:
            InputError: A file is missing or cannot be read.
            RefusedError: A file has changed with which the run cannot continue.
        """
        noted = self.workdir.noted(job.stem)
        return noted is not None and not noted.same_inputs(self.look_at(job))

    # Reading

    def method(self, inputs: Inputs) -> Method:
        """Returns the method for inputs of these shapes, which is made only once."""
        spec = input_spec(inputs)
        if str(spec) not in self._methods:
            self._methods[str(spec)] = self.recipe.method(self.config, spec)
        return self._methods[str(spec)]

    def _result_shape(self, inputs: Inputs) -> tuple[int, ...]:
        """Returns the shape of 'result' without computing it, for inputs without a canvas."""
        key = str(input_spec(inputs))
        if key not in self._result_shapes:
            method = over_replicas(self.method(inputs))
            outputs = jax.eval_shape(method.outputs, *shapes_at(method, inputs))
            self._result_shapes[key] = outputs["result"].value.shape
        return self._result_shapes[key]

    def open(self, job: Job, canvas: tuple[int, int] | None = None) -> Opened:
        """Reads and prepares a job; writes nothing.

        Args:
            job: The job.
            canvas: The (H, W) of its group's canvas, or None.

        Raises:
            InputError: One of its files cannot be used.
            RefusedError: The work folder has results of it from different files, or with more
                steps.
        """
        started, config = time.monotonic(), self.config
        files = self.look_at(job)
        source, sides, truth = self._read(job)
        try:
            inputs = self.recipe.prepare(config, source.given, **sides)
            method, shape = self.method(inputs), self._result_shape(inputs)
            placed = inputs if canvas is None else self.recipe.canvas.pad(config, inputs, canvas)
            hint, known = self.recipe.smaller, self._needs
            options = {"scored": truth is not None, "hint": hint, "known": known}
            room = check(self.method(placed), placed, source.shape, **options)
        except InputError as error:
            raise InputError(f"{source.name}: {error}" if job.files else str(error)) from None
        limit = sum(stage.steps for stage in method.stages)
        if truth is not None:
            color, about = self.settings.color, source.images[0].metadata
            known = {"size": source.size, "name": source.name, "color": color, "about": about}
            truth = read_truth(truth, shape, **known)
        if truth is not None:
            source = dataclasses.replace(source, remarks=(*source.remarks, *truth.remarks))
        noted = dataclasses.replace(
            files, steps=limit, asked=self.workdir.asked, canvas=list(canvas or ())
        )
        self.workdir.check(job.stem, noted)
        remarks = self.remarks(source, inputs, None)
        found = (limit, noted, started, remarks, room)
        return Opened(job, source, inputs, placed, truth, shape, *found)

    def note(self, opened: Opened) -> None:
        """Records in the work folder what a job is made from, and writes the sample if it is one.

        Raises:
            RefusedError: The work folder has results of it from different files, or with more
                steps.
            InputError: The job's folder cannot be created.
        """
        self.workdir.note(opened.job.stem, opened.noted)
        if opened.job.path is None:
            write_input(opened.source, self.workdir.folder(opened.job.stem))

    def _read(self, job: Job) -> tuple[sources.Source, dict[str, Any], Path | np.ndarray | None]:
        """Returns the input, its side inputs, and its ground truth: a path, an array or None."""
        truth = self._truth_file(job)
        source, sides, example = read(self.recipe, self.config, job, color=self.settings.color)
        if example and truth is None and self.recipe.scored and not source.is_video:
            truth = example.truth
        return source, sides, truth

    def remarks(self, source: sources.Source, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
        """Returns the remarks on a job, one line each; `figures` as in `Recipe.remarks`."""
        found = [*source.remarks, *self.recipe.remarks(self.config, inputs, figures)]
        pixels = math.prod(self._result_shape(inputs)[:2])
        if not source.is_video and pixels > MAX_PIXELS:
            found.append(
                f"the result has {pixels / 1e6:.0f} million pixels, but this program reads "
                f"images of up to {MAX_PIXELS / 1e6:.0f} million, and other programs may have limits"
            )
        return tuple(printable(" ".join(self.spelling(remark).split())) for remark in found)


def read(
    recipe: Recipe,
    config: MethodConfig,
    job: Job,
    *,
    color: str = "keep",
    files: Mapping[str, Path] | None = None,
) -> tuple[sources.Source, dict[str, Any], Example | None]:
    """Reads the files of a job; without files, the recipe's example takes their place.

    Args:
        recipe: The recipe of the method.
        config: Its config.
        job: The job.
        color: See `RunConfig`.
        files: The files of its side inputs by field; None: those that the config names.

    Returns:
        The input, its side inputs by field, and the example.

    Raises:
        InputError: A file cannot be read, or does not have the image's size.
    """
    kinds, grouping = recipe.side_inputs, recipe.grouping
    files = _side_files(recipe, config, job) if files is None else files
    found = {
        f: sides.read_side(kinds[f], path, job, field=f, config=config) for f, path in files.items()
    }
    example = None
    if job.path is not None:
        source = sources.read_source(job, grouping(config), color=color)
    else:
        given = {field: side.value for field, side in found.items()}
        example = recipe.example(config, _photo(), **given)
        source = sources.from_example(example.image, grouping(config), name=example.name)
        found = {field: sides.Side(x) for field, x in example.sides.items()} | found
    return *sides.joined(recipe, config, source, found, files), example


def shapes(recipe: Recipe, config: MethodConfig, job: Job) -> Shapes | None:
    """Returns the result of `headers`; None if a file cannot be read."""
    try:
        return headers(recipe, config, job)
    except InputError:
        return None


def headers(recipe: Recipe, config: MethodConfig, job: Job) -> Shapes:
    """Returns the shapes in a job's file headers. Raises InputError if one is unreadable."""
    kinds = recipe.side_inputs
    if recipe.grouping(config).kind != "video":
        images = tuple(map(image_shape, job.files))
    else:  # the size of a video file is only known after reading
        images = ((len(job.several), *image_shape(job.files[0])),) if job.several else ()
    files = _side_files(recipe, config, job).items()
    return Shapes(images, {f: sides.side_shape(kinds[f], path) for f, path in files})


def _side_files(recipe: Recipe, config: MethodConfig, job: Job) -> dict[str, Path]:
    """Returns the files that belong to a job, by field."""
    kinds = recipe.side_inputs.items()
    scale = str(config.plain().get("scale", ""))
    find = lambda f, kind: companion(f, getattr(config, f), job, kind=kind, tag=f, scale=scale)
    found = {f: find(f, kind) for f, kind in kinds}
    return {field: path for field, path in found.items() if path}


def _photo() -> np.ndarray:
    """Returns the bundled photograph, (512, 512, 3) float32 in [0, 1]."""
    import skimage.data

    return skimage.data.astronaut().astype(np.float32) / 255
