"""What is refused before any image is read."""

import importlib.util
import math
import os
from types import ModuleType

import jax
import ml_collections

from deepinternal.runs.claims import Claims
from deepinternal.files import show_path
from deepinternal.runs.sources import grouping_of, is_scored
from deepinternal.runs.workdir import CLAIMS, RefusedError
from deepinternal.types import InputError


def check_unused(workdir: str) -> None:
    """Refuses to discard what another process is working on."""
    if not os.path.isdir(os.path.join(workdir, CLAIMS)):
        return
    claims = Claims(os.path.join(workdir, CLAIMS))
    owner = claims.others()
    claims.close()
    if owner:
        raise RefusedError(
            f"--overwrite: {owner} is working in {show_path(workdir)}; end it first, or use another "
            "--workdir"
        )


def check_truth(module: ModuleType, config: ml_collections.ConfigDict) -> None:
    """Refuses a ground truth where there is nothing to compare it with."""
    if not config.ground_truth:
        return
    if grouping_of(module, config) == "video":
        raise InputError("config.ground_truth: videos are not scored; leave it empty")
    if not is_scored(module):
        raise InputError(
            f"config.ground_truth: results of {config.method} are not scored; leave it empty"
        )


def check_fields(config: ml_collections.ConfigDict) -> None:
    """Refuses run fields out of range, and a preset without what it needs."""
    for field in filter(None, config.required.split(",")):
        if not config.get(field):
            raise InputError(f"config.{field} must be given with this preset")
    if config.tensorboard and importlib.util.find_spec("tensorboardX") is None:
        raise InputError("config.tensorboard: needs tensorboardX; pip install 'tensorboardX>=2.6'")
    parallel = config.parallel
    for field, value, least, most in (
        ("seed", config.seed, 0, 2**32 - 1),
        ("log_every", config.log_every, 1, math.inf),
        ("checkpoint_every", config.checkpoint_every, 0, math.inf),
        ("snapshot_every", config.snapshot_every, 0, math.inf),
        ("profile", config.profile, 0, math.inf),
        ("parallel.steps_per_dispatch", parallel.steps_per_dispatch, 0, math.inf),
        ("parallel.images_per_device", parallel.images_per_device, 0, math.inf),
        ("parallel.devices", parallel.devices, 0, jax.local_device_count()),
    ):
        if not least <= value <= most:
            bounds = f"at least {least}" if most == math.inf else f"from {least} to {most}"
            raise InputError(f"config.{field}={value}: must be {bounds}")
