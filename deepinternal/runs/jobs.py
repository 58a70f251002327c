"""Runs a list of image files into a work folder."""

import contextlib
import importlib.util
from collections.abc import Callable

import jax

from deepinternal.config import MethodConfig
from deepinternal.engine import compiling
from deepinternal.engine.signals import StopSignal
from deepinternal.files import expanded
from deepinternal.recipe import Recipe
from deepinternal.runs import settings as run_settings
from deepinternal.runs.claims import CLAIMS, Claims
from deepinternal.runs.inputs import jobs_of
from deepinternal.runs.opening import Opener
from deepinternal.runs.runner import Runner, check_unused
from deepinternal.runs.settings import RunConfig
from deepinternal.runs.workdir import Workdir
from deepinternal.types import InputError


def run_all(
    recipe: Recipe,
    config: MethodConfig,
    settings: RunConfig,
    workdir: str,
    *,
    overwrite: bool = False,
    process: tuple[int, int] = (0, 1),
    wait: bool = True,
    spelling: Callable[[str], str] = str,
) -> int | None:
    """Trains on all inputs of `config.input`, and writes the results to `workdir`.

    Several processes may do so at once: each image is claimed by one of them. In the end, each
    process waits for the others, and continues what they abandon.

    Args:
        recipe: The recipe of the method.
        config: Its config.
        settings: How to run.
        workdir: The folder for results.
        overwrite: Discard results of another config instead of refusing.
        process: The index of this process and the number of processes; each starts with its own
            share.
        wait: Whether to wait for other processes.
        spelling: Rewrites failures and remarks for the user, such as `config.FIELD` to the name of an
            option; default: unchanged. Exceptions are raised unchanged.

    Returns:
        The exit status: 0 if all images are done, by whichever process, 1 if some are not, 128 +
        signal after a signal; None if other processes are working on the rest and `wait` is False.

    Raises:
        InputError: The config, the work folder or the input list cannot be used; or the only image
            cannot be used.
        OSError: The work folder was removed.
    """
    check(recipe, config, settings)
    jobs = jobs_of(recipe, config, settings, quiet=False)
    workdir = expanded(workdir)
    if overwrite:
        check_unused(workdir)
    folder = Workdir(workdir, recipe, config, settings, overwrite=overwrite)
    claims = Claims(folder.path / CLAIMS)
    try:
        runner = Runner(Opener(recipe, config, settings, folder, spelling), claims, process)
        with StopSignal() as stop:
            jobs = runner.work(jobs, stop, wait=wait)
        if stop.signum:
            with contextlib.suppress(OSError):
                runner.outcomes.summarise(jobs)
            return 128 + stop.signum
        all_done = runner.outcomes.summarise(jobs)
        runner.outcomes.say_if_finished(jobs)
        return None if runner.outcomes.held_elsewhere and not wait else int(not all_done)
    finally:
        claims.close()


def check(recipe: Recipe, config: MethodConfig, settings: RunConfig) -> None:
    """Raises InputError for mistakes in a command that show before any image is read."""
    run_settings.check(recipe)
    if settings.tensorboard and importlib.util.find_spec("tensorboardX") is None:
        raise InputError("config.tensorboard: needs tensorboardX; pip install 'tensorboardX>=2.6'")
    devices, most = settings.parallel.devices, jax.local_device_count()
    if devices > most:
        raise InputError(f"config.parallel.devices={devices}: must be from 0 to {most}")
    compiling.check_options(settings.parallel.compiler_options)
    is_video = recipe.grouping(config).kind == "video"
    if settings.ground_truth and (is_video or not recipe.scored):
        what = "videos" if is_video else f"results of {recipe.name}"
        raise InputError(f"config.ground_truth: {what} are not scored; leave it empty")
