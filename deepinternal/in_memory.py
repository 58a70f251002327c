"""Runs methods on arrays in memory, without files: `run` and `fit`."""

import dataclasses
import functools
from collections.abc import Hashable, Mapping
from typing import Any

import jax
import numpy as np

from deepinternal import methods, notebook, numerics
from deepinternal.engine.kept import Kept
from deepinternal.engine.loop import train
from deepinternal.engine.parallel import Programs
from deepinternal.engine.progress import Progress
from deepinternal.result import Result, history
from deepinternal.runs import room
from deepinternal.task import Image, Task, as_array, read
from deepinternal.types import Callback, InputError, Inputs, Method

Outputs = Any  # a dict of arrays by name, or a `Result` with full=True

_KEPT = Kept(most=4)  # compiled programs, for the next images of the same size


@numerics.entry
def run(
    name: str,
    image: Image,
    *,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    start: Result | None = None,
    **options: Any,
) -> Outputs:
    """Runs a method on an image in memory.

    Args:
        name: The name of a method, see `methods.names`; or 'package.module:RECIPE'.
        image: (H, W) or (H, W, C); uint8, uint16, or float in [0, 1]. A sequence of images, or
            frames (T, H, W[, C]), for the methods that take them.
        preset: Names of presets joined by commas, see `presets`. The default is 'fast', or '' for a
            method without a preset of that name; '' stands for the published settings.
        seed: The seed of all random draws.
        progress: Whether to show progress on stderr, and in a notebook also a curve of the loss.
        callback: Called as `callback(step, metrics)` with the metrics, floats by name, of every
            tenth step, of every step with an evaluation, and of the last step. If it raises an
            exception, the run ends.
        full: Whether to return a `Result`, which also has the parameters and the history.
        start: The result of an earlier run on the same image, from `full=True` or from `load`. This run
            continues from its weights with other side inputs, such as the hints of a segmentation, and
            takes only a small part of the steps.
        **options: Fields of the method's config, see `fields`; arrays for its side inputs, such as
            `kernel`; functions and modules that its `make` takes, such as `net`. None counts as not
            given.

    Returns:
        The method's outputs by name: images in the dtype and the rank of `image` (float32 for
        floats), everything else as float32; an output of several images is a dict of arrays. With
        `full`, a `Result`.

    Raises:
        InputError: The method, a preset or an option is unknown, or a value or an image cannot be
            used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.full((16, 16, 3), 128, np.uint8)
        >>> made = di.run("zssr", image, steps=1, crop=16, full=True)
        >>> made.outputs["result"].shape, made.outputs["result"].dtype
        ((32, 32, 3), dtype('uint8'))
        >>> made.history["step"]
        array([1])
    """
    recipe = methods.find(name)
    if preset == "fast" and "fast" not in recipe.presets:
        preset = ""
    options = {key: value for key, value in options.items() if value is not None}
    take = lambda names: {key: options.pop(key) for key in names if key in options}
    # Text sets the field of that name, such as `net='subpixel'` of 'zssr'; all else is injected.
    modules = [name for name in recipe.injectable if not isinstance(options.get(name), str)]
    sides, injected = take(recipe.side_inputs), take(modules)
    config = recipe.build(preset, seed=seed, **recipe.given(sides), **options)
    task = read(recipe, config, image, sides, injected)
    result = train_task(task, progress=progress, callback=callback, start=start)
    return _returned(result, full)


@numerics.entry
def train_task(
    task: Task,
    *,
    progress: bool = False,
    callback: Callback | None = None,
    start: Result | None = None,
) -> Result:
    """Trains on a task and returns the result, whose outputs are computed on first access.

    Args:
        task: The task.
        progress: See `run`.
        callback: See `run`.
        start: See `run`.

    Raises:
        InputError: The inputs cannot be used, or the run cannot continue from `start`.
    """
    _check_callback(callback)
    if start is not None:
        _check_start(task, start)
    inputs = task.inputs()
    method = task.method(inputs)
    room.check(method, inputs, task.source.shape, hint=task.recipe.smaller)
    key = _key(task, method)
    programs = _KEPT.take(key, lambda: Programs(method)) if key else Programs(method)
    result = _train(programs, inputs, task.config.seed, progress, callback, start)
    if key:
        _KEPT.put(key, programs)
    make = functools.cache(result.make)
    remark = lambda: task.remarks(inputs, make())
    return dataclasses.replace(result, make=make, remark=remark, task=task)


def _check_start(task: Task, start: Any) -> None:
    """Raises InputError unless a run of a task can continue from a result."""
    if not isinstance(start, Result) or start.task is None:
        raise InputError(
            "start: is not the result of a run on an image; give what a call with full=True returns"
        )
    recipe, old = task.recipe, start.task
    if recipe.name != old.recipe.name or not recipe.continued:
        why = "cannot continue a run" if recipe.name == old.recipe.name else "is another method"
        raise InputError(f"start: is a result of {old.recipe.name!r}; {recipe.name!r} {why}")
    fields = [n for n in type(task.config).model_fields if n not in ("seed", *recipe.continued)]
    values = [(n, getattr(old.config, n), getattr(task.config, n)) for n in fields]
    if differing := [f"{n} ({a!r} there, {b!r} now)" for n, a, b in values if a != b]:
        raise InputError(f"start: is a result of another config: {', '.join(differing)}")
    given = [x if isinstance(x := one.source.given, list) else [x] for one in (old, task)]
    if len(given[0]) != len(given[1]) or not all(map(np.array_equal, *given)):
        raise InputError("start: is a result of another image; run the method without it")


def _key(task: Task, method: Method) -> Hashable:
    """Returns what the programs of a task depend on; None if they may contain the user's code."""
    if task.injected or not task.recipe.make.__module__.startswith(f"{__package__}."):
        return None
    leaves, tree = jax.tree.flatten(method.spec)
    shapes = tuple((x.shape, str(x.dtype)) for x in leaves)
    config = task.config.model_copy(update={"seed": 0})  # the seed is an argument of the programs
    return task.recipe.name, config, tree, shapes


def _returned(result: Result, full: bool) -> Outputs:
    """Returns the outputs, or with `full` the result with its outputs and remarks computed."""
    if not full:
        return result.outputs
    _ = result.outputs, result.remarks
    return result


@numerics.entry
def fit(
    method: Method,
    inputs: Mapping[str, Any],
    *,
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
) -> Outputs:
    """Runs any method, such as a decomposition that you have built, on its inputs.

    Args:
        method: A method, as `deepinternal.methods.fit.build` or `deepinternal.methods.make` returns
            it.
        inputs: Arrays by name, in the form that the method takes; images are float in [0, 1].
        seed: The seed of all random draws, at least 0.
        progress: See `run`.
        callback: See `run`.
        full: See `run`.

    Returns:
        The method's outputs by name, float32; with `full`, a `Result`.

    Raises:
        InputError: `method` is not a method, or an input is not an array of real numbers, holds an
            image of integers, or does not fit the method's `spec`.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> from deepinternal.methods import make
        >>> method = make("zssr", {"steps": 1, "crop": 16}, (16, 16, 3), preset="fast")
        >>> di.fit(method, {"image": np.full((16, 16, 3), 0.5)})["result"].shape
        (32, 32, 3)
    """
    if not isinstance(method, Method):
        raise InputError(
            f"method: is of type {type(method).__name__}; give a Method, as methods.make and "
            "methods.fit.build return it; use deepinternal.run to run a method by name"
        )
    if not isinstance(inputs, Mapping):
        raise InputError(
            f"inputs: is of type {type(inputs).__name__}; give arrays by name, such as "
            "{'image': image}"
        )
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise InputError(f"seed={seed}: must be a whole number from 0 to {2**32 - 1}")
    _check_callback(callback)
    given = {name: _input(x, f"inputs[{name!r}]") for name, x in inputs.items()}
    method.check(given)
    return _returned(_train(Programs(method), given, int(seed), progress, callback), full)


def _check_callback(callback: Any) -> None:
    if not (callback is None or callable(callback)):
        raise InputError(f"callback={callback!r}: give a function of (step, metrics)")


def _input(value: Any, name: str) -> Any:
    """Returns an input of a method, or a mapping of inputs, as arrays."""
    if isinstance(value, Mapping):
        return {key: _input(x, f"{name}[{key!r}]") for key, x in value.items()}
    array = as_array(value, name)
    if array.dtype in (np.uint8, np.uint16):
        most = np.iinfo(array.dtype).max
        raise InputError(
            f"{name}: values of type {array.dtype}; give images as float in [0, 1], such as "
            f"image / {most}"
        )
    if array.dtype.kind != "f":
        return array
    if np.isnan(array).any():
        raise InputError(f"{name}: contains NaN; give finite values")
    return array.astype(np.float32)


def _train(
    programs: Programs,
    inputs: Inputs,
    seed: int,
    progress: bool,
    callback: Callback | None,
    start: Result | None = None,
) -> Result:
    """Trains to the end and returns the result without a task."""
    method, steps, metrics = programs.method, [], []
    before = start and (jax.tree.map(lambda x: x.copy(), start.state), start.steps)
    limit = sum(stage.steps for stage in method.stages)
    curve = notebook.Curve(method.name) if progress and notebook.is_running() else None
    callbacks = [function for function in (curve, callback) if function is not None]

    def log(step: int, found: dict[str, float]) -> None:
        steps.append(step)
        metrics.append(found)
        for function in callbacks:
            function(step, dict(found))

    with Progress(method.name, limit, enabled=progress) as shown:
        trained = train(programs, inputs, seed=seed, progress=shown, callback=log, start=before)
        shown.close(f"done, {trained.steps} steps, {trained.seconds:.0f} s")
    if curve:
        curve.draw()
    state = trained.state
    assert state is not None  # the run has ended
    return Result(
        method=method,
        state=state,
        inputs=trained.inputs,
        history=history(steps, metrics, start.history if start else None),
        seconds=trained.seconds + (start.seconds if start else 0.0),
        make=lambda: programs.outputs(state, trained.inputs),
    )
