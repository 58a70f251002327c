"""Checks before a run whether it fits into memory, and estimates how long it takes."""

import dataclasses
import math
from collections.abc import Sequence

import jax

from deepinternal.engine import costs, memory
from deepinternal.replicas import over_replicas
from deepinternal.types import InputError, Inputs, Method, input_spec

_TOLD = 1e9  # minimum needed bytes of a run that is announced
_LITTLE = 8e6  # a run with at most this many bytes of inputs is not checked ...
_MOST = 500  # ... if this many times its inputs are free
_WRITING = 0.7  # bytes for writing results, relative to those of the results
_SCORING = 1.7  # the same for the ground truth and the comparison with it
_OWN = 0.3e9  # bytes for compiling, and for what the library itself allocates
_SURE = 3  # the estimate from traces is right within this factor
_SLACK = 1.1  # ratio of the memory that a run may take to the estimate


@dataclasses.dataclass(frozen=True)
class Room:
    """The memory that a run needs, and the memory that there is, in bytes.

    Attributes:
        needed: What the run needs besides what the process holds.
        free: What is free.
    """

    needed: float
    free: float

    def __str__(self) -> str:
        return f"{amount(self.needed)} of memory are needed, and {amount(self.free)} are free"


def check(
    method: Method,
    inputs: Inputs,
    shape: Sequence[int],
    *,
    scored: bool = False,
    hint: str = "",
    known: dict[tuple[str, bool], costs.Needs] | None = None,
) -> Room | None:
    """Compares the memory that a run needs with the memory that is free.

    If the traces of the programs leave doubt, the programs are compiled for an exact answer.

    Args:
        method: The method.
        inputs: Its inputs, on the host or the device.
        shape: The shape of the image or the video, for the message.
        scored: Whether the result is compared with a ground truth.
        hint: What else would help, for the message.
        known: Keeps what is found, for further inputs of the same shapes.

    Returns:
        The memory on the device or on the host, whichever is scarcer; None for a small run, which
        is not checked.

    Raises:
        InputError: The memory does not suffice.
    """
    method, size = over_replicas(method), costs.size_of(dict(inputs))
    device = jax.local_devices()[0]
    free = memory.free(device), memory.free_on_host()
    if size <= _LITTLE and _MOST * size <= min(free):
        return None
    writing = _WRITING + _SCORING * scored
    options = {"shared": device.platform == "cpu", "writing": writing}
    known, spec = {} if known is None else known, str(input_spec(inputs))

    def found(*, exactly: bool) -> Room:
        key = spec, exactly
        known[key] = known.get(key) or costs.needs(method, inputs, exactly=exactly)
        return _scarcer(known[key], free, **options)

    room = found(exactly=False)
    if _SURE * room.needed > room.free:
        room = found(exactly=True)
    if room.needed > room.free:
        raise InputError(_refusal(room, shape, hint))
    return room


def _scarcer(
    needs: costs.Needs, free: tuple[float, float], *, shared: bool, writing: float
) -> Room:
    """Returns the memory of the device or that of the host; on CPU, they are the same."""
    writing *= needs.made
    if shared:
        needed = max(needs.training, needs.results + writing)
        return Room(_SLACK * needed + _OWN, free[1])
    on_device = Room(_SLACK * max(needs.training, needs.results), free[0])
    on_host = Room(_SLACK * (needs.made + writing) + _OWN, free[1])
    return max(on_device, on_host, key=lambda room: room.needed / max(room.free, 1.0))


def _refusal(room: Room, shape: Sequence[int], hint: str) -> str:
    """Returns what is needed, what there is, and what would fit."""
    video = len(shape) == 4
    height, width = shape[1:3] if video else shape[:2]
    share = math.sqrt(max(room.free - _OWN, 0) / (room.needed - _OWN))
    fitting = [int(n * share) // 10 * 10 for n in (height, width)]
    what = "frames" if video else "an image"
    text = (
        f"{amount(room.needed)} of memory are needed for {height}x{width} pixels, but "
        f"{amount(room.free)} are free"
    )
    if min(fitting) > 0:
        text += f"; give {what} of at most {fitting[0]}x{fitting[1]} pixels"
    return text + (f", or {hint}" if hint else "")


def times(method: Method, inputs: Inputs) -> tuple[float, float]:
    """Estimates the seconds of the training and of the results from their operations.

    Args:
        method: The method.
        inputs: Its inputs, or their shapes.
    """
    method, rates = over_replicas(method), costs.measure()
    stages, outputs = costs.of_method(method, inputs)
    training = sum(s.steps * rates.seconds(one) for s, one in zip(method.stages, stages))
    return training, rates.seconds(outputs)


def announcement(name: str, room: Room | None, method: Method, inputs: Inputs) -> str:
    """Returns a line for the user before a large run; '' before a small one."""
    if room is None or room.needed < _TOLD:
        return ""
    training, results = map(duration, times(method, inputs))
    return (
        f"{name}: about {room}; training takes up to about {training} and the results about "
        f"{results} (estimates from their operations at the current speed of this machine)"
    )


def amount(size: float) -> str:
    """Returns a number of bytes as text."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 1):.0f} MB"


def duration(seconds: float) -> str:
    """Returns a time as text."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
