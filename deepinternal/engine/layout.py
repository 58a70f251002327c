"""How training is laid out on a backend: devices, images side by side, steps per dispatch."""

import contextlib

import jax

from deepinternal.engine import costs
from deepinternal.engine.memory import free
from deepinternal.replicas import over_replicas
from deepinternal.types import Inputs, Method

ACCELERATOR_STEPS = 50  # of a dispatch on an accelerator
MOST_LANES = 64  # default maximum number of images on an accelerator; on an H200 better than 16
# On an accelerator, more lanes are faster until the values of a step need this many bytes over all
# lanes. A step reads and writes 20 to 50 times its memory; for 1 GB, that takes an H100 about three
# times as long as launching the thousand kernels of a step. More than 1 GB was not timed.
_FILLED = 1e9


def force_cpu_devices(count: int) -> None:
    """If there is only a CPU, splits it into `count` virtual devices that share its cores.

    A step of a small net does not use several cores; several steps at once do. This has no effect
    after JAX has been used.
    """
    if count > 1:
        with contextlib.suppress(RuntimeError):  # JAX is already in use
            jax.config.update("jax_num_cpu_devices", min(count, 64))


def spread(
    images: int,
    *,
    images_per_device: int = 0,
    devices: int = 0,
    method: Method | None = None,
    inputs: Inputs | None = None,
) -> tuple[int, int]:
    """Returns how many devices to use, and how many images to train on each.

    Args:
        images: The number of images.
        images_per_device: The maximum per device; 0 for the default. On CPU, this is 1, because a
            batch takes longer than its images one by one. On an accelerator, it is at most 64, and
            fewer if the memory of a step shows that they would fill or exceed the device.
        devices: The maximum number of devices; 0 for all of this process.
        method: The method, whose memory decides the default; None: it is not considered.
        inputs: The method's inputs, or their shapes.

    Returns:
        (devices, images per device), not more than are needed for all images at once.
    """
    images, most = max(images, 1), jax.local_device_count()
    devices = min(devices or most, most, images)
    needed = -(-images // devices)
    if images_per_device or needed == 1:
        return devices, min(images_per_device or 1, needed)
    return devices, min(_default_lanes(method, inputs), needed)


def _default_lanes(method: Method | None, inputs: Inputs | None) -> int:
    """Returns the default of the maximum number of images on a device."""
    if jax.default_backend() == "cpu":
        return 1
    if method is None:
        return MOST_LANES
    if method.lanes == "map":  # one after another, which is not faster
        return 1
    memory = costs.memory_of_training(over_replicas(method), inputs)
    # Half of the free memory, because the estimate is rough.
    room = min(_FILLED, free(jax.local_devices()[0]) / 2)
    return int(min(max(room // memory, 1), MOST_LANES))


def default_steps_per_dispatch(method: Method) -> int:
    """Returns 1 on CPU, else up to 50, preferably a divisor of the steps of each stage."""
    if jax.default_backend() == "cpu":
        return 1
    ends = [stage.evaluate_every or stage.steps for stage in method.stages]
    fitting = (n for n in range(ACCELERATOR_STEPS, 24, -1) if not any(e % n for e in ends))
    return next(fitting, ACCELERATOR_STEPS)
