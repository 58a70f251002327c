"""What an item is: something that is prepared, then measured."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

Number = tuple[float | str, str]  # value and unit; '' for a ratio or a text
Numbers = dict[str, Number]


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a measurement.

    Attributes:
        small: Whether sizes are tiny, to try the programs on CPU.
        data: A folder of pairs of images, as in `benchmarks.quality`; '': photographs that
            scikit-image bundles.
        scratch: A folder for files of this item.
    """

    small: bool
    data: str
    scratch: Path


@dataclasses.dataclass(frozen=True)
class Item:
    """One measurement.

    Attributes:
        prepare: Makes and compiles what is measured; items are prepared in threads side by side.
        measure: Measures it, in the main thread, and returns the numbers.
    """

    prepare: Callable[[Settings], Any]
    measure: Callable[[Any], Numbers]


class Differs(Exception):  # noqa: N818  (a result, not a mistake of a program)
    """Raised by `measure` if results are not those expected; `numbers` say what they are."""

    def __init__(self, message: str, numbers: Numbers | None = None):
        super().__init__(message)
        self.numbers = numbers or {}
