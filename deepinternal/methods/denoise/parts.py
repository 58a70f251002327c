"""What an algorithm consists of."""

from collections.abc import Callable
from typing import NamedTuple

from deepinternal.types import Array, Inputs, Output, Stage, TrainState


class Parts(NamedTuple):
    """The functions of an algorithm; see `deepinternal.types.Method`."""

    init: Callable[[Array, Inputs], TrainState]
    stages: tuple[Stage, ...]
    outputs: Callable[[TrainState, Inputs], dict[str, Output]]
