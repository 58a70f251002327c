"""The inputs of watermark removal, from images and regions; see `watermark`."""

import bisect
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepinternal.config import spelled
from deepinternal.methods.double_dip import common, hints, watermark_cuts
from deepinternal.methods.double_dip.watermark_config import Config
from deepinternal.ops import fitting
from deepinternal.recipe import check_size, check_smallest
from deepinternal.types import Example, InputError, Inputs

LEAST_MARGIN = 48  # pixels of surroundings that the fit of a part of a large image needs


def example(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    """Returns one or two parts of the photograph with a ring drawn over them, and a rough mask."""
    y, x = np.mgrid[:160, :160]
    mark = 0.6 * (np.abs(np.hypot(y - 80, x - 80) - 24) < 4)[..., None].astype(np.float32)
    parts = [photo[:160, 160:320], photo[320:480, 40:200]]
    marked = [mark + (1 - mark) * part for part in parts]
    if config.task == "many":
        return Example("skimage.data.astronaut, two parts with a ring", marked, parts[0])
    rough = np.zeros((160, 160), np.float32)
    rough[48:112, 48:112] = 1
    sides = {} if config.box or "mask" in sides else {"mask": rough}
    return Example("skimage.data.astronaut, a part with a ring", marked[0], parts[0], sides)


def prepare(
    config: Config,
    image: np.ndarray | Sequence[np.ndarray],
    mask: np.ndarray | None = None,
) -> Inputs:
    """Makes the method's inputs from the user's arrays, on the host.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1]; for `many` a list of images.
        mask: (H, W), roughly above 0.5 where the mark is; for `single` only.

    Returns:
        For `single`: `full` (H, W, C); `image` (h, w, C), the part of it that is fitted; `corner` (2,)
        int32, the place (row, column) of that part in `full`; and `region` (h, w, 1) of zeros and ones.
        For `many`: `full1`, ...; `image1`, ... of one size; `corner1`, ...; `corner`, the place in the
        common centre. If a fitted part has more than `fit_pixels`, `image` (`image1`, ...) and `region`
        are reduced, and `part` (`part1`, ...) and `part_region` are not. For `solver=cuts`, those of
        `watermark_cuts`.

    Raises:
        InputError: An image is too small; or the region is missing (for `cuts`: and nothing repeats),
            empty, the whole image, outside the image, or given in both forms.
    """
    if config.task == "many":
        return _prepare_many(image, mask, config)
    check_smallest(image, 32)
    if config.solver == "cuts":
        given = config.box or mask is not None
        return watermark_cuts.single(image, _region(config, image, mask) if given else None)
    region = _region(config, image, mask)
    window = _window(region, config)
    part, region = np.asarray(image[window], np.float32), region[window]
    inputs = {
        "full": np.asarray(image, np.float32),
        "image": part,
        "corner": np.array([s.start for s in window], np.int32),
        "region": region[..., None].astype(np.float32),
    }
    if common.is_large(config, part.shape):
        small = common.reduced(config, part)
        region = hints.fitted(region, small.shape[:2])
        inputs |= {"part": part, "part_region": inputs["region"], "image": small}
        inputs["region"] = region[..., None].astype(np.float32)
    return inputs


def _region(config: Config, image: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Returns the user's region of the mark, (H, W) booleans. Raises the errors of `prepare`."""
    if mask is not None and config.box:
        raise InputError("config.mask and config.box exclude each other: give only one of them")
    if config.box:
        (y0, x0, y1, x1), (h, w) = config.box, image.shape[:2]
        if not (0 <= y0 < y1 <= h and 0 <= x0 < x1 <= w):
            raise InputError(
                f"config.box={spelled(config.box)}: must be inside the image of {h}x{w}, with "
                "0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width"
            )
        region = np.zeros((h, w), bool)
        region[y0:y1, x0:x1] = True
    elif mask is not None:
        check_size("mask", mask, image)
        region = mask > 0.5
    else:
        raise InputError(
            "config.mask, config.box: give the region of the mark, as an image that is white there or "
            "as y0,x0,y1,x1"
        )
    if not region.any() or region.all():
        what = "nothing is white" if not region.any() else "covers the whole image"
        raise InputError(
            f"config.{'box' if config.box else 'mask'}: {what}; give the region of the mark, with "
            "clean pixels around it"
        )
    return region


def _prepare_many(images, mask, config: Config) -> Inputs:
    """The inputs of several images, of which the common centre is fitted."""
    if mask is not None or config.box:
        raise InputError("config.mask, config.box: must be empty for several images")
    for image in images:
        check_smallest(image, 32)
    if config.solver == "cuts":
        return watermark_cuts.many(images)
    size = tuple(min(image.shape[axis] for image in images) for axis in (0, 1))
    corners = [[(n - m) // 2 for n, m in zip(image.shape[:2], size)] for image in images]
    cut = lambda x, y0, x0, h, w: np.asarray(x[y0 : y0 + h, x0 : x0 + w], np.float32)
    parts = [cut(image, *corner, *size) for image, corner in zip(images, corners)]
    window = _surroundings(np.ones(size, bool), config.margin)
    start = np.array([s.start for s in window], np.int32)
    inputs: dict = {"corner": start}
    for number, (image, part, corner) in enumerate(zip(images, parts, corners), 1):
        part = part[window]
        inputs[f"full{number}"] = np.asarray(image, np.float32)
        inputs[f"image{number}"] = common.reduced(config, part)
        if common.is_large(config, part.shape):
            inputs[f"part{number}"] = part
        inputs[f"corner{number}"] = start + np.array(corner, np.int32)
    return inputs


def _window(region: np.ndarray, config: Config) -> tuple[slice, slice]:
    """Returns the rows and columns of the fitted part of one image.

    Of a large image, it is not larger than is fitted at once if the region of the mark allows this with
    a margin of `LEAST_MARGIN`; the margin is then as wide as possible.
    """
    window = _surroundings(region, config.margin)
    size = lambda window: tuple(s.stop - s.start for s in window)
    if config.margin or not common.is_large(config, size(window)):
        return window
    fits = lambda margin: not common.is_large(config, size(_surroundings(region, margin)))
    if not fits(LEAST_MARGIN):
        by = fitting.factor(size(_surroundings(region, LEAST_MARGIN)), pixels=config.fit_pixels)
        return _surroundings(region, LEAST_MARGIN * by)
    margins = range(LEAST_MARGIN, max(region.shape))
    return _surroundings(region, margins[bisect.bisect(margins, 0, key=lambda m: not fits(m)) - 1])


def _surroundings(region: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Returns the rows and columns within a margin of the region, at least 32 if the image has as many.

    Args:
        region: (H, W) booleans, not all False.
        margin: In pixels; 0: all rows and columns.

    Returns:
        Two slices.
    """
    if not margin:
        return tuple(slice(0, n) for n in region.shape)
    found = []
    for axis, length in enumerate(region.shape):
        places = np.flatnonzero(region.any(axis=1 - axis))
        first, last = places[0] - margin, places[-1] + 1 + margin
        missing = max(32 - (last - first), 0)
        first = min(max(first - missing, 0), max(length - 32, 0))
        found.append(slice(int(first), int(min(max(last, first + 32), length))))
    return tuple(found)
