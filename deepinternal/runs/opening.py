"""Reads and prepares the inputs of jobs, each once, on its turn."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepinternal.codecs.image_io import image_shape
from deepinternal.config import MethodConfig
from deepinternal.engine.checkpoint import shapes_at
from deepinternal.files import printable, sha256_file
from deepinternal.recipe import Figures, Recipe
from deepinternal.runs import sources
from deepinternal.runs.groups import Shapes
from deepinternal.runs.inputs import Job, companion, mask_files
from deepinternal.runs.results import Truth, read_truth, write_input
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


@dataclasses.dataclass
class Opener:
    """Opens the jobs of a command, and finds which of them have nothing left to do.

    Attributes:
        recipe: The recipe of the method.
        config: Its config.
        settings: How to run.
        workdir: The work folder.
    """

    recipe: Recipe
    config: MethodConfig
    settings: RunConfig
    workdir: Workdir

    def __post_init__(self):
        self._grouping = self.recipe.grouping(self.config)
        self._methods: dict[str, Method] = {}
        self._result_shapes: dict[str, tuple[int, ...]] = {}

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

    # What is left to do

    def is_done(self, job: Job, limit: int | None = None) -> bool:
        """Whether a result exists that training would not change.

        Args:
            job: The job.
            limit: The maximum number of training steps; None: the same as when the image was last
                trained on, provided that the fields it follows from are unchanged.
        """
        old, noted = self.workdir.metrics(job.stem), self.workdir.noted(job.stem)
        if not old or not noted or old["status"] != "done":
            return False
        folder = self.workdir.path / job.stem
        if not any((folder / name).exists() for name in ("result.png", "result")):
            return False
        if old["steps"] < old["steps_limit"]:  # its own stopping rule ended it
            return True
        if limit is None:
            return noted.asked == self.workdir.asked
        return limit <= old["steps_limit"]

    def is_finished(self, job: Job) -> bool:
        """Whether nothing is left to do for a job, as far as is known without reading its inputs.

        Raises:
            InputError: A file is missing or cannot be read.
            RefusedError: A file has changed since the result was made.
        """
        if not self.is_done(job):
            return False
        files, noted = self.look_at(job), self.workdir.noted(job.stem)
        if files.stamps != noted.stamps:
            self.workdir.note(job.stem, dataclasses.replace(noted, stamps=files.stamps))
        path = self._truth_file(job)
        scored = (self.workdir.metrics(job.stem) or {}).get("ground_truth_sha256")
        return path is None or scored == sha256_file(path)

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
            method = self.method(inputs)
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
            method = self.method(inputs)
        except InputError as error:
            raise InputError(f"{source.name}: {error}" if job.files else str(error)) from None
        limit, shape = sum(stage.steps for stage in method.stages), self._result_shape(inputs)
        truth = None if truth is None else read_truth(truth, shape, name=source.name)
        noted = dataclasses.replace(files, steps=limit, asked=self.workdir.asked)
        self.workdir.check(job.stem, noted)
        placed = inputs if canvas is None else self.recipe.canvas.pad(config, inputs, canvas)
        remarks = self.remarks(source, inputs, None)
        return Opened(job, source, inputs, placed, truth, shape, limit, noted, started, remarks)

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
        source, sides, example = read(self.recipe, self.config, job)
        if example and truth is None and self.recipe.scored and not source.is_video:
            truth = example.truth
        return source, sides, truth

    def remarks(self, source: sources.Source, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
        """Returns the remarks on a job, one line each; `figures` as in `Recipe.remarks`."""
        found = (*source.remarks, *self.recipe.remarks(self.config, inputs, figures))
        return tuple(printable(" ".join(remark.split())) for remark in found)


def read(
    recipe: Recipe, config: MethodConfig, job: Job
) -> tuple[sources.Source, dict[str, Any], Example | None]:
    """Reads the files of a job; without files, the recipe's example takes their place.

    Args:
        recipe: The recipe of the method.
        config: Its config.
        job: The job.

    Returns:
        The input, its side inputs by field, and the example.

    Raises:
        InputError: A file cannot be read, or does not have the image's size.
    """
    kinds, files, grouping = recipe.side_inputs, _side_files(recipe, config, job), recipe.grouping
    sides = {f: sources.read_side(kinds[f], path, job, tag=f) for f, path in files.items()}
    example = None
    if job.path is not None:
        source = sources.read_source(job, grouping(config))
    else:
        example = recipe.example(config, _photo(), **sides)
        source = sources.from_example(example.image, grouping(config), name=example.name)
        sides = {**example.sides, **sides}
    sources.check_sides(sides, kinds, source, files)
    return source, sides, example


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
    sides = _side_files(recipe, config, job).items()
    return Shapes(images, {f: sources.side_shape(kinds[f], path) for f, path in sides})


def _side_files(recipe: Recipe, config: MethodConfig, job: Job) -> dict[str, Path]:
    """Returns the files that belong to a job, by field."""
    kinds = recipe.side_inputs.items()
    found = {f: companion(f, getattr(config, f), job, kind=kind, tag=f) for f, kind in kinds}
    return {field: path for field, path in found.items() if path}


def _photo() -> np.ndarray:
    """Returns the bundled photograph, (512, 512, 3) float32 in [0, 1]."""
    import skimage.data

    return skimage.data.astronaut().astype(np.float32) / 255
