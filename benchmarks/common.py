"""Functions that the benchmarks share: command lines, samples, timing in turns, tables, JSON files."""

import contextlib
import dataclasses
import datetime
import importlib.util
import io
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import flags

from benchmarks.tables import number as number
from benchmarks.tables import span as span
from benchmarks.tables import table as table
from deepinternal import by_name, methods
from deepinternal.cli import huge_pages, program
from deepinternal.config import MethodConfig, merge
from deepinternal.engine.compiling import compiler_options
from deepinternal.engine.loop import Loop
from deepinternal.engine.parallel import Programs
from deepinternal.engine.progress import Progress
from deepinternal.engine.run import Run
from deepinternal.files import atomic_write_text
from deepinternal.recipe import Recipe
from deepinternal.replicas import over_replicas
from deepinternal.runs import settings
from deepinternal.types import InputError, Inputs, Method, TrainState
from deepinternal.writers import to_json

# Command lines


def start(main: Callable[[], int], define: Callable[[], None], *, fields: bool = True) -> None:
    """Runs a program: parses its flags and exits with the status that `main` returns.

    Args:
        main: The program, which reads `flags.FLAGS`.
        define: Defines its flags; `--json` is added.
        fields: Whether it takes `--config.FIELD=VALUE`, which `given_fields` returns.
    """
    huge_pages.restart()
    sys.argv = as_fields(sys.argv) if fields else sys.argv
    define()
    flags.DEFINE_string("json", None, "JSON file for the results.")
    if fields:
        flags.DEFINE_multi_string("field", [], "FIELD=VALUE; the same as --config.FIELD=VALUE.")

    def checked() -> int:
        path = flags.FLAGS.json
        if path and (Path(path).is_dir() or not os.access(Path(path).absolute().parent, os.W_OK)):
            raise InputError(f"--json={path}: cannot be written; give a file in an existing folder")
        return main()

    program.run(checked)


def as_fields(argv: Sequence[str]) -> list[str]:
    """Rewrites `--config.FIELD=VALUE`, the form of the launcher, to `--field=FIELD=VALUE`."""
    prefix = "--config."
    return [f"--field={a[len(prefix) :]}" if a.startswith(prefix) else a for a in argv]


def given_fields(texts: Sequence[str]) -> dict[str, str]:
    """Parses 'FIELD=VALUE' to values by field, as text. Raises InputError if there is no '='."""
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not equals:
            raise InputError(f"--config.{name}: give FIELD=VALUE")
    return {name: value for name, _, value in pairs}


def load(
    text: str, fields: Mapping[str, Any], **more: Any
) -> tuple[Recipe, MethodConfig, settings.RunConfig]:
    """Loads the config that a `--config` flag names.

    Args:
        text: The flag as in `launch.main`, such as 'configs/zssr.py:fast' or 'zssr:fast'.
        fields: Fields that override it; nested ones have names with dots.
        **more: Fields that override all others.

    Raises:
        InputError: The file, the method, a preset or a field does not exist, or a value is impossible.
    """
    path, _, presets = by_name.as_file(text).partition(":")
    config = _module(Path(path)).get_config(presets or None)
    recipe = methods.find(config.method)
    values = merge({}, "", config.to_dict(), fields, more)
    return recipe, *settings.split(recipe, ml_collections.ConfigDict(values))


def _module(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"--config={path}: no such file; give a file or the name of a method")
    spec = importlib.util.spec_from_file_location(f"_config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise InputError(f"--config={path}: has no function get_config; give a file of configs/")
    return module


def whole_numbers(flag: str, texts: Sequence[str]) -> list[int]:
    """Parses a flag that lists positive whole numbers. Raises InputError for other values."""
    found = [int(text) if text.strip().isdecimal() else 0 for text in texts]
    if min(found, default=0) < 1:
        raise InputError(f"--{flag}={','.join(texts)}: give numbers, such as 2,3,4")
    return found


def choices(flag: str, texts: Sequence[str], known: Sequence[str]) -> list[str]:
    """Checks a flag that lists names. Raises InputError for an unknown one."""
    for text in texts:
        if text not in known:
            raise InputError(f"--{flag}={','.join(texts)}: {text!r} is none of {', '.join(known)}")
    return list(texts)


# Timed objects


def bundled_photo() -> np.ndarray:
    """Returns the photograph from which examples are made, (512, 512, 3) in [0, 1]."""
    import skimage.data

    return skimage.data.astronaut().astype(np.float32) / 255


def sample(recipe: Recipe, config: MethodConfig, photo: np.ndarray | None = None) -> Inputs:
    """Returns the prepared inputs of a recipe's example.

    Args:
        recipe: The recipe of the method.
        config: The config of the method.
        photo: (H, W, C) in [0, 1], from which the example is made; None: `bundled_photo()`.
    """
    made = recipe.example(config, bundled_photo() if photo is None else photo)
    return recipe.prepare(config, made.image, **made.sides)


class FullStep:
    """Training of images as in a user's run with its log, but without evaluations and checkpoints.

    Attributes:
        programs: The compiled programs.
        steps: Number of steps of each image in a run.
    """

    def __init__(
        self,
        method: Method,
        inputs: Inputs,
        *,
        steps: int = 1,
        images: int = 1,
        lanes: tuple[int, int] = (1, 1),
        **options: Any,
    ):
        """Prepares the training; the first run compiles it.

        Args:
            method: The method, of which the first stage is trained.
            inputs: The inputs of an image.
            steps: Number of steps of each image, rounded up to whole dispatches.
            images: Number of copies of the image that are trained.
            lanes: Number of devices, and number of images side by side on each.
            **options: Further arguments of `Programs`, such as `steps_per_dispatch`.
        """
        self.programs = _TimedPrograms(
            method, devices=lanes[0], images_per_device=lanes[1], **options
        )
        self._inputs, self._images = inputs, images
        self.set_steps(steps)

    def set_steps(self, steps: int) -> None:
        """Sets the number of steps of a run, rounded up to whole dispatches."""
        chunk, method = self.programs.chunk, self.programs.method
        self.steps = -(-max(steps, 1) // chunk) * chunk
        stage = dataclasses.replace(
            method.stages[0], steps=self.steps, evaluate=None, evaluate_every=0, advance=None
        )
        self.programs.method = dataclasses.replace(method, stages=(stage,))

    def train(self) -> tuple[float, TrainState]:
        """Trains all images; returns the seconds per step and image, and the last image's state."""
        self.programs.first = None
        with tempfile.TemporaryDirectory() as folder:
            state = None
            for run in Loop(self.programs).train(self._runs(Path(folder))):
                if run.error:
                    raise run.error
                state = run.state
        seconds = time.perf_counter() - self.programs.first
        return seconds / (self.steps * self._images), state

    def run(self) -> float:
        """Trains all images; returns the seconds per step and image."""
        return self.train()[0]

    def lengthen(self, seconds: float) -> None:
        """Sets the length of a run to about the given number of seconds, in whole dispatches."""
        self.run()  # compiles the step
        self.set_steps(round(seconds / (self.run() * self._images)))

    @property
    def memory(self) -> int:
        """Bytes that the largest program compiled so far needs; 0 where that is not known."""
        return max(map(program_memory, self.programs.compiled), default=0)

    def _runs(self, folder: Path) -> Iterator[Run]:
        for i in range(self._images):
            yield Run(
                self._inputs,
                seed=0,
                name=str(i),
                log_path=str(folder / f"{i}.jsonl"),
                progress=Progress("benchmark", self.steps, stream=io.StringIO()),
            )


class _TimedPrograms(Programs):
    """Programs that record when the first step of a run was dispatched."""

    first: float | None = None

    @property
    def compiled(self) -> list[jax.stages.Compiled]:
        """All programs compiled so far."""
        return [*self._compiled.values()]

    def steps(self, *args):
        """As in `Programs`."""
        if self.first is None:
            self.first = time.perf_counter()
        return super().steps(*args)


def program_memory(program: jax.stages.Compiled) -> int:
    """Returns the bytes that a program needs while it runs; 0 where that is not known."""
    sizes = program.memory_analysis()
    if not sizes:
        return 0
    total = sizes.temp_size_in_bytes + sizes.argument_size_in_bytes + sizes.output_size_in_bytes
    return total - sizes.alias_size_in_bytes


class MethodStep:
    """The jitted step of a method's first stage.

    Attributes:
        compile_seconds: Seconds for tracing and compiling it.
        memory: Bytes that it needs; 0 where that is not known.
    """

    def __init__(self, method: Method, inputs: Inputs, variant: Hashable = None):
        """Compiles the step and makes the first state.

        Args:
            method: The method.
            inputs: The inputs of an image.
            variant: The static variant of the step.
        """
        method = over_replicas(method)
        self._inputs = jax.tree.map(jnp.asarray, inputs)
        self._state = jax.jit(method.init)(jax.random.key(0), self._inputs)
        began = time.perf_counter()
        step = jax.jit(method.stages[0].step, static_argnums=2, donate_argnums=0)
        lowered = step.lower(self._state, self._inputs, variant)
        self._step = lowered.compile(compiler_options("steps"))
        self.compile_seconds = time.perf_counter() - began
        self.memory = program_memory(self._step)

    def run(self, steps: int) -> float:
        """Seconds per step."""
        began = time.perf_counter()
        for _ in range(steps):
            self._state, metrics = self._step(self._state, self._inputs)
        jax.block_until_ready((self._state, metrics))
        return (time.perf_counter() - began) / steps


def take_turns(turns: Mapping[Hashable, Callable[[], float]], rounds: int) -> dict[Any, list]:
    """Calls all functions once in each round; each round begins with another function."""
    taken: dict[Hashable, list[float]] = {name: [] for name in turns}
    names = list(turns)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            taken[name].append(turns[name]())
    return taken


def spread(values: Sequence[float]) -> dict[str, float]:
    """Returns the median, the minimum and the maximum of values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(a: Sequence[float], b: Sequence[float]) -> dict[str, float]:
    """Returns the spread of the ratios a / b within the rounds."""
    return spread([x / y for x, y in zip(a, b, strict=True)])


# Output


def machine() -> dict[str, Any]:
    """Describes the machine and the time of a measurement."""
    device = jax.local_devices()[0]
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "backend": jax.default_backend(),
        "device": device.device_kind,
        "device_count": jax.local_device_count(),
        "processor": _processor(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "date": datetime.date.today().isoformat(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe(facts: Mapping[str, Any]) -> str:
    """Formats `machine()` as one line."""
    device = "" if facts["backend"] == "cpu" else f"{facts['device_count']} x {facts['device']}, "
    return (
        f"{device}{facts['cores']} cores of {facts['processor']}, {facts['system']}, "
        f"Python {facts['python']}, jax {facts['jax']}, {facts['date']}"
    )


def peak_memory() -> dict[str, float]:
    """Returns the peak memory of this process in MB (1e6 bytes), on the host and on the device."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {"host": peak * (1 if sys.platform == "darwin" else 1024) / 1e6}
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        figures["device"] = stats["peak_bytes_in_use"] / 1e6
    return figures


def write_json(content: Mapping[str, Any]) -> None:
    """Writes the results to the file given by `--json`, if any."""
    if path := flags.FLAGS.json:
        atomic_write_text(Path(path), to_json(content, indent=2) + "\n")


@contextlib.contextmanager
def folder(path: str | None) -> Iterator[Path]:
    """Yields a folder of that name, which is made if needed; None: a temporary one."""
    if path:
        Path(path).mkdir(parents=True, exist_ok=True)
        yield Path(path)
    else:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)
