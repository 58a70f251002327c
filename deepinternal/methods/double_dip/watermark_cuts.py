"""Watermark removal without nets, `solver=cuts`: the mark has one colour, and its matte is inverted.

I = m w + (1 - m) c: `estimators.mark_removal` finds the colour w and the matte m, from which c follows,
so that nothing is invented where the mark is not opaque. For a single image, the user gives a region,
or the mark repeats and is found by its repetitions. Several images with the same mark need no region.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from deepinternal.estimators import mark_period, mark_removal, marks, mattes
from deepinternal.methods import untrained
from deepinternal.recipe import Figures
from deepinternal.types import InputError, Inputs, Method, Output

_MARGIN = 24  # width in pixels of the surroundings of the region that are used
_PIXELS = 40_000  # greatest number of pixels of a region that is searched at full size
_SEARCHED = 160_000  # greatest number of pixels of images that are searched as a whole
_VISIBLE = 0.02  # opacity below which a pixel stays as it is
_SURE = 150.0  # gain below which a remark says that hardly any mark was found


def single(image: np.ndarray, region: np.ndarray | None) -> Inputs:
    """Removes the mark of one image.

    Args:
        image: (H, W, C) in [0, 1].
        region: (H, W) booleans, where the mark is; None: it repeats.

    Returns:
        The inputs of `make`: `full` and `clean`, the image and the result; and `colour` (C,), `matte`
        (H, W) and `gain`, see `mark_removal.Removal`.

    Raises:
        InputError: There is no region, and nothing in the image repeats.
    """
    if region is not None:
        window = _window(region)
        part, free = image[window], region[window]
        found = _removed(part[None], free, marks.likely_marks(image, region, count=3))
        return _inputs([image], found, [window])
    period = mark_period.search_period(image)
    if period is None:
        raise InputError(
            "config.mask, config.box: give the region of the mark, as an image that is white there or "
            "as y0,x0,y1,x1; without one, only a mark that repeats over the whole image is found, and "
            "nothing here repeats"
        )
    whole = np.ones(image.shape[:2], bool)
    nodes = mark_period.repeated_nodes(whole.shape, period)
    share = min((_PIXELS / whole.size) ** 0.5, 1)
    part = tuple(slice(round((1 - share) / 2 * n), round((1 + share) / 2 * n)) for n in whole.shape)
    found = mark_removal.remove_mark(image[part][None], whole[part], [], nodes=nodes[part])
    mark = marks.Mark(found.colour, found.opacity, 0.0)
    scene = mattes.mark_scene(image[None], whole, nodes=nodes)
    found = _visible(mark_removal.apply_mark(image[None], scene, mark))
    return _inputs([image], found, [(slice(None), slice(None))])


def many(images: Sequence[np.ndarray]) -> Inputs:
    """Removes the mark that several images have in common.

    Args:
        images: Images (H, W, C) in [0, 1], of which the common centre is searched.

    Returns:
        The inputs of `make` as from `single`, but with `full1`, `clean1`, and so on; `matte` has the
        size of the common centre. Large images without an easily found mark stay as they are.
    """
    size = tuple(min(image.shape[axis] for image in images) for axis in (0, 1))
    corners = [[(n - m) // 2 for n, m in zip(image.shape[:2], size)] for image in images]
    parts = [x[y : y + size[0], c : c + size[1]] for x, (y, c) in zip(images, corners)]
    mark, region = marks.search_common(parts)
    if not region.any():  # a faint or thin mark; in large images, its search would take minutes
        region = np.full(size, size[0] * size[1] <= _SEARCHED)
    if not region.any():
        nothing = mark_removal.Removal(np.stack(parts), np.zeros(size), mark.colour, 0.0, 0.0)
        places = [tuple(slice(n, n + m) for n, m in zip(c, size)) for c in corners]
        return {**_inputs(images, nothing, places), "matte": np.zeros(size, np.float32)}
    window = _window(region)
    stack = np.stack([part[window] for part in parts])
    found = _removed(stack, region[window], [mark])
    places = [
        tuple(slice(n + s.start, n + s.stop) for n, s in zip(corner, window)) for corner in corners
    ]
    made = _inputs(images, found, places)
    matte = np.zeros(size, np.float32)
    matte[window] = found.matte
    return {**made, "matte": matte}


def _window(region: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of a region with a margin."""
    spans = [np.flatnonzero(region.any(axis=1 - axis)) for axis in (0, 1)]
    return tuple(
        slice(max(int(span[0]) - _MARGIN, 0), min(int(span[-1]) + 1 + _MARGIN, n))
        for span, n in zip(spans, region.shape)
    )


def _removed(images, free, beginnings) -> mark_removal.Removal:
    """Removes a mark; in a large region, it is first searched in reduced images."""
    factor = int(np.ceil(np.sqrt(free.sum() / _PIXELS)))
    if factor == 1:
        found = mark_removal.remove_mark(images, free, beginnings)
    else:
        small = np.stack([marks.block_means(image, factor) for image in images])
        rough = marks.block_means(np.float64(free)[..., None], factor)[..., 0] > 0.5
        found = mark_removal.remove_mark(small, rough, beginnings)
        grown = found.matte.repeat(factor, 0).repeat(factor, 1)[: free.shape[0], : free.shape[1]]
        near = ndimage.binary_dilation(grown > _VISIBLE, iterations=2 * factor) & free
        mark = marks.Mark(found.colour, found.opacity, 0.0)
        found = mark_removal.apply_mark(images, mattes.mark_scene(images, near), mark)
    return _visible(found)


def _visible(found: mark_removal.Removal) -> mark_removal.Removal:
    """Leaves out the pixels of the matte that hardly differ from the image."""
    matte = np.where(found.matte >= _VISIBLE, found.matte, 0)
    return found._replace(matte=matte.astype(np.float32))


def _inputs(images, found: mark_removal.Removal, windows) -> Inputs:
    """The inputs of `make`, from images and what was found in a window of each."""
    made: dict = {}
    many_ = len(images) > 1
    marked = found.matte[..., None] > 0
    for number, (image, clean, window) in enumerate(zip(images, found.images, windows), 1):
        result = np.array(image, np.float32)
        result[window] = np.where(marked, clean, result[window])
        end = str(number) if many_ else ""
        made |= {f"full{end}": np.asarray(image, np.float32), f"clean{end}": result}
    matte = np.zeros(images[0].shape[:2], np.float32)
    matte[windows[0]] = found.matte
    colour = found.colour.astype(np.float32)
    return {**made, "colour": colour, "matte": matte, "gain": np.float32(found.gain)}


def make(spec: Inputs) -> Method:
    """Makes the method that hands on what `single` or `many` has found."""
    count = sum(name.startswith("full") for name in spec)
    several = "full" not in spec

    def outputs(inputs: Inputs) -> dict[str, Output]:
        matte = inputs["matte"]
        shown = {
            "watermark": Output(jnp.where(matte[..., None] > 0, inputs["colour"], 0.0), "image"),
            "mask": Output(matte, "mask"),
        }
        if not several:
            return {"result": Output(inputs["clean"], "image"), **shown}
        numbers = range(1, count + 1)
        cleans = {f"clean{n}": Output(inputs[f"clean{n}"], "image", source=n - 1) for n in numbers}
        return {"result": cleans["clean1"], **cleans, **shown}

    baseline = lambda inputs: inputs["full1" if several else "full"]
    metrics = lambda inputs: {"gain": inputs["gain"]}
    return untrained.build("watermark", outputs, metrics=metrics, baseline=baseline)


def remarks(inputs: Inputs, figures: Figures) -> tuple[str, ...]:
    """Says which mark was found."""
    del figures
    if not (inputs["matte"] > 0).any() or inputs["gain"] < _SURE:
        return (
            "hardly any mark of one colour was found; check the region, or use the preset `single` or "
            "`many`, which takes hours on a CPU",
        )
    colour = ", ".join(f"{value:.2f}" for value in np.ravel(inputs["colour"]))
    opacity = float(np.max(inputs["matte"]))
    return (f"the mark has the colour ({colour}) and an opacity of up to {opacity:.2f}",)
