"""Checks of config fields that methods share; each mistake is one line."""

from collections.abc import Mapping

import ml_collections
import numpy as np

from deepinternal.types import InputError


def choices(config: ml_collections.ConfigDict, known: Mapping[str, tuple[str, ...]]) -> None:
    """Raises InputError unless each field has one of its known values."""
    for field, values in known.items():
        if config[field] not in values:
            raise InputError(f"config.{field}={config[field]!r}: choose one of {', '.join(values)}")


def least(config: ml_collections.ConfigDict, bounds: Mapping[str, float]) -> None:
    """Raises InputError where a field is under its bound, or not a number."""
    for field, bound in bounds.items():
        if not config[field] >= bound:
            raise InputError(f"config.{field}={config[field]}: must be at least {bound}")


def below(config: ml_collections.ConfigDict, bounds: Mapping[str, float]) -> None:
    """Raises InputError where a field is not under its bound."""
    for field, bound in bounds.items():
        if not config[field] < bound:
            raise InputError(f"config.{field}={config[field]}: must be less than {bound}")


def whole_numbers(
    config: ml_collections.ConfigDict, field: str, *, at_least: int, length: int = 0
) -> tuple[int, ...]:
    """Whole numbers of a text field, joined by commas.

    Args:
        config: the config.
        field: its field.
        at_least: lower bound of each.
        length: how many there must be; a single one stands for all of them. 0: any number.

    Returns:
        The numbers.

    Raises:
        InputError: something else stands there.
    """
    try:
        found = tuple(int(part) for part in config[field].split(","))
    except ValueError:
        found = ()
    if length and len(found) == 1:
        found *= length
    if not found or min(found) < at_least or (length and len(found) != length):
        count = f"one or {length} whole numbers" if length else "whole numbers"
        raise InputError(f"config.{field}={config[field]!r}: give {count} of at least {at_least}")
    return found


def same_size(field: str, side: np.ndarray, image: np.ndarray) -> None:
    """Raises InputError unless a mask or an image (H, W[, C]) has the size of another."""
    if side.shape[:2] != image.shape[:2]:
        (h, w), (y, x) = side.shape[:2], image.shape[:2]
        raise InputError(
            f"config.{field}: is {h}x{w}, the image {y}x{x}: give one of the same size"
        )


def smallest(image: np.ndarray, side: int) -> None:
    """Raises InputError where an image (H, W, C) has a side under `side` pixels."""
    if min(image.shape[:2]) < side:
        h, w = image.shape[:2]
        raise InputError(f"the image is {h}x{w}: its sides must be at least {side} pixels")
