"""From a job's files to inputs of the method: each image is read and prepared once, on its turn."""

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
        job: the job.
        source: its file or files.
        inputs: the method's, as `prepare` made them, on the host.
        placed: the same on the canvas of its group, where there is one.
        truth: the ground truth, if there is one.
        shape: of the result.
        limit: steps that training may take.
        noted: what `Opener.note` notes of it in the work folder.
        started: `time.monotonic()` when reading it began.
        remarks: what the method said of it before training.
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
    """Opens the jobs of a command, and knows which of them have nothing left to do.

    Attributes:
        recipe: the method's.
        config: its config.
        settings: how to run.
        workdir: the work folder.
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
        """What a job's files are, as `Workdir.look_at` says it."""
        paths = {"input": job.files} if job.files else {}
        for field, path in self._side_files(job).items():
            several = mask_files(path, field).values() if path.is_dir() else ()
            paths[field] = tuple(several) or (path,)
        return self.workdir.look_at(job.stem, paths)

    def shapes(self, job: Job) -> Shapes | None:
        """What the headers of a job's files say; None where one cannot be read."""
        return shapes(self.recipe, self.config, job)

    # What is left to do

    def is_done(self, job: Job, limit: int | None = None) -> bool:
        """Whether a result is there that training would not change.

        Args:
            job: the job.
            limit: steps that training may take; None: those that followed from the same fields when
                the image was last worked on, where they are the same.
        """
        old, noted = self.workdir.metrics(job.stem), self.workdir.noted(job.stem)
        if not old or not noted or old["status"] != "done":
            return False
        folder = self.workdir.path / job.stem
        if not any((folder / name).exists() for name in ("result.png", "result")):
            return False
        if old["steps"] < old["steps_limit"]:  # it came to its own end
            return True
        if limit is None:
            return noted.asked == self.workdir.asked
        return limit <= old["steps_limit"]

    def is_finished(self, job: Job) -> bool:
        """Whether nothing at all is left to do for a job, as far as can be told without reading it.

        Raises:
            InputError: a file that is missing or cannot be read.
            RefusedError: some file has other bytes than when the result was made.
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
        """The method for inputs of such shapes, made once for each."""
        spec = input_spec(inputs)
        if str(spec) not in self._methods:
            self._methods[str(spec)] = self.recipe.method(self.config, spec)
        return self._methods[str(spec)]

    def _result_shape(self, inputs: Inputs) -> tuple[int, ...]:
        """Shape of the output 'result' without computing it; of inputs that are on no canvas."""
        key = str(input_spec(inputs))
        if key not in self._result_shapes:
            method = self.method(inputs)
            outputs = jax.eval_shape(method.outputs, *shapes_at(method, inputs))
            self._result_shapes[key] = outputs["result"].value.shape
        return self._result_shapes[key]

    def open(self, job: Job, canvas: tuple[int, int] | None = None) -> Opened:
        """Reads and prepares a job; writes nothing.

        Args:
            job: the job.
            canvas: (H, W) of its group, None where there is none.

        Raises:
            InputError: something is wrong with one of its files.
            RefusedError: the work folder has it from other files, or with more steps.
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
        remarks = self.remarks(inputs, None)
        return Opened(job, source, inputs, placed, truth, shape, limit, noted, started, remarks)

    def note(self, opened: Opened) -> None:
        """Notes in the work folder what a job is made from, and writes the sample if it is one.

        Raises:
            RefusedError: the work folder has it from other files, or with more steps.
            InputError: the job's folder cannot be made.
        """
        self.workdir.note(opened.job.stem, opened.noted)
        if opened.job.path is None:
            write_input(opened.source, self.workdir.folder(opened.job.stem))

    def _read(self, job: Job) -> tuple[sources.Source, dict[str, Any], Path | np.ndarray | None]:
        """The input, its side inputs, and its ground truth: a path, an array or None."""
        truth = self._truth_file(job)
        source, sides, example = read(self.recipe, self.config, job)
        if example and truth is None and self.recipe.scored and not source.is_video:
            truth = example.truth
        return source, sides, truth

    def remarks(self, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
        """What the method says of its decisions, a line each; `figures` as of `Recipe.remarks`."""
        found = self.recipe.remarks(self.config, inputs, figures)
        return tuple(printable(" ".join(remark.split())) for remark in found)


def read(
    recipe: Recipe, config: MethodConfig, job: Job
) -> tuple[sources.Source, dict[str, Any], Example | None]:
    """Reads the files of a job; without files, the recipe's example takes their place.

    Args:
        recipe: the method's.
        config: its config.
        job: the job.

    Returns:
        The input, its side inputs by field, and the example.

    Raises:
        InputError: a file that cannot be read or is not of the image's size.
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
    """What `headers` returns; None where a file cannot be read."""
    try:
        return headers(recipe, config, job)
    except InputError:
        return None


def headers(recipe: Recipe, config: MethodConfig, job: Job) -> Shapes:
    """What the headers of a job's files say. Raises InputError where one cannot be read."""
    kinds = recipe.side_inputs
    if recipe.grouping(config).kind != "video":
        images = tuple(map(image_shape, job.files))
    else:  # a video file tells its size when it is read
        images = ((len(job.several), *image_shape(job.files[0])),) if job.several else ()
    sides = _side_files(recipe, config, job).items()
    return Shapes(images, {f: sources.side_shape(kinds[f], path) for f, path in sides})


def _side_files(recipe: Recipe, config: MethodConfig, job: Job) -> dict[str, Path]:
    """The files that go with a job, by field."""
    kinds = recipe.side_inputs.items()
    found = {f: companion(f, getattr(config, f), job, kind=kind, tag=f) for f, kind in kinds}
    return {field: path for field, path in found.items() if path}


def _photo() -> np.ndarray:
    """The bundled photograph, (512, 512, 3) float32 in [0, 1]."""
    import skimage.data

    return skimage.data.astronaut().astype(np.float32) / 255
