"""ICC colour profiles: checks and describes them, makes them, and converts colours, by Little CMS.

Colours without a profile are sRGB.
"""

import functools
import io
from typing import Any

import numpy as np

_SPACES = {b"GRAY": "grey", b"RGB ": "RGB", b"CMYK": "CMYK"}
_WIDE = 0.05  # by which colours leave the range of sRGB, for a gamut to be called wide
_LINEAR = 0.65  # minimum value in sRGB of 0.5 with a gamma of up to 1.3
_SAME = 4 / 255  # maximum difference between profiles that count as the same
# The corners of the cube and a mid grey, float32 (1, 9, 3).
_CORNERS = np.array([[*np.ndindex(2, 2, 2), (0.5, 0.5, 0.5)]], np.float32)
_DATE = b"\x07\xd0\0\1\0\1" + bytes(6)  # of profiles made here, so that equal ones are equal bytes
_RELATIVE, _BLACK_POINT = 1, 8192  # rendering intent; compensation for the darkest black


@functools.lru_cache(maxsize=16)
def remarks(profile: bytes, colours: int) -> tuple[str, ...]:
    """Checks a profile and returns what the user should know about its colours.

    Args:
        profile: The profile.
        colours: The number of colour channels of the image, 1 or 3.

    Raises:
        ValueError: The profile is damaged, or is for another number of channels. The message
            continues 'the colour profile ...'.
    """
    title, kind = name(profile), _SPACES.get(profile[16:20], "another space")
    image = "grey" if colours == 1 else "RGB"
    if kind != image:
        raise ValueError(f"{title!r} is for {kind}, but the image is {image}")
    try:
        seen = _in_srgb(_CORNERS[..., :colours], profile)
    except Exception as error:  # whatever Little CMS raises for a profile that it cannot use
        raise ValueError("is damaged") from error
    found = []
    if colours == 3 and (seen.min() < -_WIDE or seen.max() > 1 + _WIDE):
        found.append(
            f"the colour profile {title!r} has colours beyond sRGB; the results keep it "
            "(config.color=srgb converts them)"
        )
    if seen[0, -1].min() >= _LINEAR:
        found.append(
            f"the colour profile {title!r} is linear: in training and in the figures, errors in dark "
            "areas count less than they do to the eye"
        )
    return tuple(found)


def name(profile: bytes | None) -> str:
    """Returns the description of a profile, in one line. Raises ValueError if it is damaged."""
    from PIL import ImageCms

    if profile is None:
        return "sRGB"
    try:
        text = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except Exception as error:
        raise ValueError("is damaged") from error
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if text in ("RGB built-in", "gray built-in"):  # of `described`
        return "described by the file"
    return text[:60] or "without a name"


def same(first: bytes | None, second: bytes | None) -> bool:
    """Whether two usable profiles give equal values the same colours; None is sRGB.

    If one of them is for grey, only greys are compared.
    """
    if first == second:
        return True
    patches = 0.4 + 0.3 * _CORNERS  # away from black, where curves are steep
    if any(profile is not None and profile[16:20] == b"GRAY" for profile in (first, second)):
        patches = patches[..., :1].repeat(3, -1)
    return bool(abs(_in_srgb(patches, first) - _in_srgb(patches, second)).max() <= _SAME)


def to_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """Converts colours to sRGB; those beyond sRGB become the nearest value of each channel.

    Args:
        pixels: (H, W, C) float32 in [0, 1], C = 1 or 3.
        profile: A profile for C channels that `remarks` accepts.

    Returns:
        The same shape, float32.
    """
    return np.clip(_in_srgb(pixels, profile)[..., : pixels.shape[2]], 0, 1)


def _in_srgb(values: np.ndarray, profile: bytes | None, flags: int = 0) -> np.ndarray:
    """Converts (H, W, C) to sRGB (H, W, 3); as floats, wide colours leave [0, 1]."""
    import imagecodecs

    if profile is None:
        return values
    space = {b"GRAY": "gray", b"RGB ": "rgb", b"CMYK": "cmyk"}[profile[16:20]]
    return imagecodecs.cms_transform(
        np.ascontiguousarray(values[..., 0] if space == "gray" else values),
        profile,
        imagecodecs.cms_profile("srgb"),
        colorspace=space,
        outcolorspace="rgb",
        intent=_RELATIVE,
        flags=flags,
    )


def cmyk_to_rgb(inks: np.ndarray, profile: bytes | None) -> tuple[np.ndarray, str]:
    """Converts inks (H, W, 4), uint8 or uint16, to sRGB, by their profile if that is usable.

    Returns:
        (H, W, 3) of the same dtype, and a sentence that says how they were converted.
    """
    problem = "its colour profile is damaged or not for CMYK"
    if not profile:
        problem = "the file has no colour profile"
    elif profile[16:20] == b"CMYK":
        try:
            said = f"converted from CMYK ({name(profile)}) to sRGB"
            return _in_srgb(inks, profile, _BLACK_POINT), said
        except Exception:  # whatever Little CMS raises for a profile that it cannot use
            pass
    top = np.iinfo(inks.dtype).max
    light = top - inks.astype(np.float32)
    return np.round(light[..., :3] * light[..., 3:] / top).astype(inks.dtype), (
        f"converted from CMYK to RGB by the simple formula, because {problem}; "
        "the colours are approximate"
    )


def adobe_rgb() -> bytes:
    """Returns a profile of Adobe RGB (1998)."""
    return _made("adobergb")


def _made(kind: str, **options: Any) -> bytes:
    import imagecodecs

    made = imagecodecs.cms_profile(kind, **options)
    return made[:24] + _DATE + made[36:]


def described(
    colours: int,
    *,
    gamma: float = 1 / 2.2,
    white: tuple[float, ...] = (0.3127, 0.3290),
    primaries: tuple[float, ...] = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
) -> bytes | None:
    """Returns a profile of colours that a PNG describes without one (chunks gAMA and cHRM).

    Args:
        colours: The number of colour channels, 1 or 3.
        gamma: The exponent from light to values.
        white: The chromaticity x, y of white.
        primaries: Those of red, green and blue.

    Returns:
        The profile; None if the colours are sRGB, or the values are impossible.
    """
    xyy = lambda values: [n for i in range(0, len(values), 2) for n in (*values[i : i + 2], 1.0)]
    try:
        made = _made(
            "gray" if colours == 1 else "rgb",
            whitepoint=xyy(white),
            primaries=xyy(primaries),
            gamma=1 / gamma,
        )
        remarks(made, colours)
        return made if 0.1 < gamma < 10 and not same(made, None) else None
    except Exception:  # whatever Little CMS raises for impossible values
        return None
