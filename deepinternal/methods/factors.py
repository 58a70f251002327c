"""Factors by which users change the sides of an image: as text, as a field, and as sizes."""

from deepinternal.config import numbers, parsed

Scale = tuple[float, float]
LEAST, MOST = 0.05, 8  # the factors that are possible
FORM = (
    f"vertical,horizontal factors from {LEAST:g} to {MOST:g}, such as 1,2, or one factor for both"
)


def parse_scale(text: str) -> Scale:
    """Parses the factors of an image's sides.

    Args:
        text: 'vertical,horizontal', or one factor for both.

    Raises:
        ValueError: The text has another form, or a factor is not from 0.05 to 8.
    """
    try:
        found = numbers(text)
    except ValueError:
        found = ()
    found = found * 2 if len(found) == 1 else found
    if len(found) != 2 or not all(LEAST <= factor <= MOST for factor in found):
        raise ValueError(f"must be {FORM}")
    return found


def scale_text(scale: Scale) -> str:
    """Returns the text from which `parse_scale` reads these factors."""
    return ",".join(repr(factor).removesuffix(".0") for factor in scale)


ScaleField = parsed(Scale, parse_scale, scale_text, FORM)


def scaled(size: tuple[int, int], scale: Scale) -> tuple[int, int]:
    """Returns the size (H, W), at least 1x1, of an image of a given size after scaling its sides."""
    return tuple(max(round(n * f), 1) for n, f in zip(size, scale))
