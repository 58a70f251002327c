"""What the values of masks mean: black and white, soft edges, or labels."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from deepinternal.types import InputError

Label = int | Literal["any"]
_VOID_COLOUR = (224, 224, 192)  # colour 255 of the palette of Pascal VOC and DAVIS
_PLAIN = 4  # greatest label of a grey mask that is understood without a choice
_SOFT = 16  # distinct grey levels of a mask that are more likely soft edges than labels
_MANY = 8  # maximum number of values that a message lists


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """A mask as it is stored.

    Attributes:
        values: (H, W): labels, or grey levels as uint8, uint16, or float in [0, 1].
        name: Its name in messages.
        palette: (N, 3) uint8, the colours of the labels; None: the values are grey levels.
        lossy: Whether grey levels are altered by compression.
        remarks: What the user should know about the file.
    """

    values: np.ndarray
    name: str
    palette: np.ndarray | None = None
    lossy: bool = False
    remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Choice:
    """The user's choice of a label, and the field that it was made by."""

    label: Label
    field: str

    def check(self, found: list[int], name: str) -> None:
        """Refuses a label that does not occur."""
        if self.label not in found:
            raise InputError(
                f"{name}: config.{self.field}={self.label}: no pixel has this label; there are "
                f"{_listed(found)}"
            )

    def ask(self, found: list[int], name: str, why: str, way: str = "") -> None:
        """Refuses values whose meaning is unclear without a choice."""
        one = next(filter(None, found), 0)
        raise InputError(
            f"{name}: has the values {_listed(found)}, {why}; choose one, such as "
            f"config.{self.field}={one}{way}"
        )


def understood(masks: Sequence[Stored], choice: Choice) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns masks (T, H, W) in [0, 1] by what their values mean, and remarks."""
    name = masks[0].name
    name += " and others" if any(mask.name != name for mask in masks) else ""
    palettes = [mask.palette for mask in masks if mask.palette is not None]
    odd = [m for m in masks if palettes and m.palette is None and m.values.any()]
    if odd or len({mask.values.dtype for mask in masks}) > 1:
        odd = odd or [m for m in masks if m.values.dtype != masks[0].values.dtype]
        raise InputError(
            f"{odd[0].name}: is of another kind than the other masks (its bit depth or its palette "
            "differs); give masks of one kind"
        )
    for mask in masks:
        if mask.values.shape != masks[0].values.shape:
            (h, w), (y, x) = masks[0].values.shape, mask.values.shape
            raise InputError(
                f"{mask.name}: the mask is {y}x{x}, but the first one is {h}x{w}; give masks of one "
                "size"
            )
    values = np.stack([mask.values for mask in masks])
    if palettes:
        return _of_palette(values, palettes[0], choice, name).astype(np.float32), ()
    if any(mask.lossy for mask in masks):
        return _nearer(values, name)
    if values.dtype.kind == "f":
        return values, ()
    found = np.flatnonzero(np.bincount(values.ravel())).tolist()
    top = np.iinfo(values.dtype).max
    chosen = choice.label in found and len(found) <= _SOFT
    if not chosen and (set(found) <= {0, 255, top} or _are_soft(found, top)):
        top = 255 if found[-1] == 255 else top
        return values / np.float32(top), ()
    if choice.label != "any":
        choice.check(found, name)
        return (values == choice.label).astype(np.float32), ()
    if found[-1] > _PLAIN or found not in ([1], [*range(len(found))]):
        why = "which may be labels or grey levels"
        choice.ask(found, name, why, ", or give a mask of 0 and 255")
    remark = f"{name}: its values {_listed(found)} are labels, of which all but 0 count as white"
    return (values > 0).astype(np.float32), (remark,) if len(found) > 2 else ()


def _are_soft(found: list[int], top: int) -> bool:
    """Whether grey levels look like those of a soft mask, not like labels."""
    if found[-1] <= top // 2:
        return False
    if len(found) == 2 and found[0] == 0:  # both readings give the same mask
        return True
    if found[-1] < top:
        return len(found) > _SOFT
    return len(found) < 2 or found[-2] > top // 8  # otherwise few labels, and 255 for void


def _of_palette(values: np.ndarray, palette: np.ndarray, choice: Choice, name: str) -> np.ndarray:
    """Returns where indices (T, H, W) of a palette have the label."""
    found = np.flatnonzero(np.bincount(values.ravel())).tolist()
    if choice.label != "any":
        choice.check(found, name)
        return values == choice.label
    if palette[0].any():
        why = f"of a palette that begins with {tuple(map(int, palette[0]))}, not with black"
        choice.ask(found, name, why, ", or give a mask of black and white")
    if tuple(palette[255]) == _VOID_COLOUR:
        return (values > 0) & (values < 255)
    if 255 in found and len(found) > 2:
        choice.ask(found, name, "of which 255 may be void")
    return values > 0


def _nearer(values: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns black or white, whichever is nearer, for masks (T, H, W) altered by compression."""
    top = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    share = values / np.float32(top)
    between = np.mean((share > 0.3) & (share < 0.7))
    if between > 0.1:
        raise InputError(
            f"{name}: {between:.0%} of its pixels are neither black nor white, and their levels are "
            "altered by compression; give a PNG file"
        )
    white = share > 0.5
    exact = np.array_equal(white, share)
    remark = f"{name}: its grey levels, altered by compression, are set to black or white"
    return white.astype(np.float32), () if exact else (remark,)


def _listed(found: list[int]) -> str:
    """Lists values, at most a few of them."""
    shown = [str(x) for x in found[:_MANY]]
    return ", ".join(shown) + (f" and {len(found) - _MANY} more" if len(found) > _MANY else "")
