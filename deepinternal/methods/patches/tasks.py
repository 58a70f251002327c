"""The tasks of the method `patches`: their inputs, their first guesses and their results.

To add a task, add an entry to `TASKS` and its name to `Config.task`.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.methods.holes import known_pixels
from deepinternal.methods.patches import filling, pyramid
from deepinternal.methods.patches.config import Config, Size, least_side
from deepinternal.ops.patches.places import check_allowed
from deepinternal.recipe import Grouping, check_size
from deepinternal.types import Array, Example, InputError, Inputs

Images = np.ndarray | Sequence[np.ndarray]
_SAME = 0.5 / 255  # greatest difference of values of equal images
_DEEP = 2  # depth of a hole, in patches, from which on texture is compared
_PAIRS = 2**29  # greatest number of pairs of patches at the scale at which filling begins


def _at(image: np.ndarray, size: Size) -> np.ndarray:
    return np.asarray(pyramid.resized(jnp.asarray(image), size))


def _alone(config: Config, image: np.ndarray, **sides: np.ndarray) -> Inputs:
    """The image alone, for tasks that start from it or from noise."""
    del config, sides
    return {"image": np.asarray(image, np.float32)}


def _inpaint(
    config: Config,
    image: np.ndarray,
    mask: np.ndarray | None = None,
    layout: np.ndarray | None = None,
) -> Inputs:
    """The window around the holes; two more channels hold how strongly the image varies."""
    del layout
    image = np.asarray(image, np.float32)
    known = known_pixels(image, mask, task=config.task)
    try:
        check_allowed(known, patch=config.patch)
    except InputError as error:
        raise InputError(f"config.mask: {error}") from None
    filled = filling.continued(image, known)
    texture = filling.texture(filled, known)
    if filling.depth(known) < _DEEP * config.patch:  # thin holes are filled more exactly without it
        texture *= 0
    source = np.concatenate([filled, texture], axis=-1, dtype=np.float32)
    window = filling.window(known, least=least_side(config))
    return {
        "image": source,
        "allowed": known.astype(np.float32),
        "guess": source[window],
        "fixed": known[window].astype(np.float32),
        "shown": image,
        "corner": np.array([part.start for part in window], np.int32),
        "scales": np.ones(_scales(config, known, known[window].shape), np.float32),
    }


def _scales(config: Config, known: np.ndarray, window: Size) -> int:
    """The number of scales at which holes are filled: those with patches of known pixels only.

    Raises:
        InputError: There are such patches only at scales that are too large to begin at.
    """
    levels, sure = pyramid.levels(config, known.shape, window), known[..., None].astype(np.float32)
    for level in levels:
        inside = _at(sure, level.source)[..., 0] > 0.95
        whole = np.lib.stride_tricks.sliding_window_view(inside, (config.patch,) * 2)
        if whole.all(axis=(-2, -1)).any():
            break
    if level.pairs(config.patch) > _PAIRS:
        raise InputError(
            f"config.mask: only {known.mean():.0%} of the image are known, in parts too narrow to "
            "fill the rest from; mark less of it as missing, or give a smaller image"
        )
    return len(levels) - levels.index(level)


def _pasted(inputs: Inputs, made: Array) -> Array:
    """Puts the filled holes (N, H', W', C + 2) into the image; known pixels are those of the image."""
    shown, corner = inputs["shown"], inputs["corner"]
    size = (*made.shape[1:3], shown.shape[-1])
    at = (corner[0], corner[1], jnp.zeros_like(corner[0]))
    stays = inputs["fixed"][..., None] > 0.5

    def paste(one):
        window = jnp.where(stays, lax.dynamic_slice(shown, at, size), one[..., : size[-1]])
        return lax.dynamic_update_slice(shown, window, at)

    return jax.vmap(paste)(made)


def _like(layout: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Returns another image (H, W, 3) with as many channels as the image."""
    layout = np.asarray(layout, np.float32)
    return layout if image.shape[-1] == 3 else layout.mean(axis=-1, keepdims=True)


def _edit(
    config: Config, image: np.ndarray, layout: np.ndarray, mask: np.ndarray | None = None
) -> Inputs:
    """The edited image as the first guess; where the mask is white, it stays."""
    del config
    check_size("layout", layout, image)
    guess = _like(layout, image)
    if np.abs(guess - image).max() < _SAME:
        raise InputError("config.layout: is the image itself; give the image after a rough edit")
    inputs = {"image": np.asarray(image, np.float32), "guess": guess}
    if mask is None:
        return inputs
    check_size("mask", mask, image)
    if (stays := mask > 0.5).all():
        raise InputError(
            "config.mask: is white everywhere, so that all of the edit stays; it must be black where "
            "the image may change"
        )
    return {**inputs, "fixed": stays.astype(np.float32)}


def _structure(
    config: Config, image: np.ndarray, layout: np.ndarray, mask: np.ndarray | None = None
) -> Inputs:
    """The layout as the first guess, with the mean and the contrast of the image's channels."""
    del mask
    image, guess = np.asarray(image, np.float32), _like(layout, image)
    if guess.shape == image.shape and np.abs(guess - image).max() < _SAME:
        raise InputError(
            "config.layout: is the image itself; give another image, whose layout the result gets"
        )
    if max(np.ptp(guess, axis=(0, 1))) < 2 * _SAME:
        raise InputError("config.layout: has a single colour, so that there is no layout to take")
    guess = _at(guess, config.size(guess.shape[:2]))
    (mean, spread), (wanted, width) = ((x.mean((0, 1)), x.std((0, 1))) for x in (guess, image))
    guess = (guess - mean) / np.maximum(spread, 1e-2) * width + wanted
    return {"image": image, "guess": np.clip(guess, 0, 1)}


def _collage(config: Config, images: Sequence[np.ndarray], **sides: np.ndarray) -> Inputs:
    """The images side by side in rows, as the first guess; the same with gaps, as the source."""
    del sides
    images = [np.asarray(x, np.float32) for x in images]
    first = images[0]
    if all(x.shape == first.shape and np.abs(x - first).max() < _SAME for x in images[1:]):
        raise InputError("config.input: all images are equal; give different ones for a collage")
    height = round(float(np.median([x.shape[0] for x in images])))
    parts = [_at(x, (height, max(round(x.shape[1] * height / x.shape[0]), 1))) for x in images]
    rows = _divided(parts, math.isqrt(len(parts)))
    width = round(sum(x.shape[1] for x in parts) / len(rows))
    rows = [_of_width(row, width) for row in rows]
    whole = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    gap = math.ceil(height / least_side(config)) + 1
    marked = [[np.concatenate([x, np.ones_like(x[..., :1])], -1) for x in row] for row in rows]
    source = _with_gaps([_with_gaps(row, gap, axis=1) for row in marked], gap, axis=0)
    guess = _at(whole, config.size(whole.shape[:2]))
    return {"image": source[..., :-1], "allowed": source[..., -1], "guess": guess}


def _divided(parts: Sequence[np.ndarray], count: int) -> list[Sequence[np.ndarray]]:
    """Divides a sequence into `count` rows of nearly equal lengths."""
    ends = [round(i * len(parts) / count) for i in range(count + 1)]
    return [parts[a:b] for a, b in itertools.pairwise(ends)]


def _of_width(row: Sequence[np.ndarray], width: int) -> list[np.ndarray]:
    """Resizes images of equal height, such that their widths add up to `width`."""
    ends = np.cumsum([0, *(x.shape[1] for x in row)])
    height, ends = round(row[0].shape[0] * width / ends[-1]), np.round(ends * width / ends[-1])
    sizes = [(max(height, 1), max(int(b - a), 1)) for a, b in itertools.pairwise(ends)]
    return [_at(x, size) for x, size in zip(row, sizes)]


def _with_gaps(parts: Sequence[np.ndarray], gap: int, *, axis: int) -> np.ndarray:
    """Joins images whose last channel is 1, with their borders continued into gaps where it is 0.

    The gaps are wide enough to separate the images at the coarsest scale.
    """
    most = max(x.shape[1 - axis] for x in parts)
    padded = []
    for number, x in enumerate(parts, 1):
        after = [most - x.shape[0], most - x.shape[1]]
        after[axis] = gap if number < len(parts) else 0
        amount = tuple((0, n) for n in after)
        wide = np.pad(x, (*amount, (0, 0)), mode="edge")
        wide[..., -1] = np.pad(x[..., -1], amount)
        padded.append(wide)
    return np.concatenate(padded, axis=axis)


def _photo(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    del config, sides
    return Example("skimage.data.astronaut, a part", photo[:128, 128:288])


def _sample(name: str, size: int) -> np.ndarray:
    """The upper left of an image of scikit-image, reduced to half: (size, size, C)."""
    import skimage.data

    image = getattr(skimage.data, name)()[: 2 * size, : 2 * size].astype(np.float32) / 255
    return image.reshape(size, 2, size, 2, -1).mean(axis=(1, 3))


def _with_hole(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    del config, photo
    brick = _sample("brick", 144)
    mask = np.ones(brick.shape[:2], np.float32)
    mask[50:90, 60:100] = 0
    made = {} if "mask" in sides else {"mask": mask}
    return Example("skimage.data.brick, with a hole", brick * mask[..., None], brick, made)


def _moved(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    del config, photo
    image = _sample("brick", 144)
    edited = np.repeat(image, 3, axis=-1)
    edited[50:100, 40:100] = image[58:108, 47:107]
    made = {} if "layout" in sides else {"layout": edited}
    return Example("skimage.data.brick, with a moved rectangle", image, sides=made)


def _two_textures(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    del config, photo
    coins = np.repeat(_sample("coins", 144), 3, axis=-1)
    made = {} if "layout" in sides else {"layout": coins}
    name = "skimage.data.immunohistochemistry, in the layout of skimage.data.coins"
    return Example(name, _sample("immunohistochemistry", 144), sides=made)


def _parts(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    del config, sides
    parts = [photo[:128, 144:272], photo[:128, 320:448]]
    return Example("skimage.data.astronaut, two parts", parts)


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of the method.

    Attributes:
        prepare: `(config, image or images, **side inputs) -> inputs`, on the host. The inputs are:
            `image` (H, W, C), all of whose patches may be used if there is no `allowed`;
            `allowed` (H, W) of zeros and ones, 0 where pixels of `image` may not be used;
            `guess` (H', W', C), the first guess, whose size is that of the result;
            `fixed` (H', W') of zeros and ones, 1 where the result has the pixels of `guess`;
            `scales` (S,), whose length is the greatest number of scales; and what `finish` needs.
            All but `image` are optional.
        start: The first guess at the coarsest scale. 'grow': the image, whose size is changed
            gradually to that of the result; 'noise'; 'guess': the input `guess`; 'peel': `guess`, whose
            pixels that are not fixed are filled from the outside to the inside.
        finish: `(inputs, results (N, H', W', C)) -> images (N, ...)`, pure.
        grouping: `config -> Grouping`.
        example: `(config, photo, **sides) -> Example`.
        needs: The side inputs that must be given.
    """

    prepare: Callable[..., Inputs] = _alone
    start: Literal["grow", "noise", "guess", "peel"] = "guess"
    finish: Callable[[Inputs, Array], Array] = lambda inputs, made: made
    grouping: Callable[[Config], Grouping] = lambda config: Grouping()
    example: Callable[..., Example] = _photo
    needs: tuple[str, ...] = ()


TASKS: Mapping[str, Task] = {
    "retarget": Task(start="grow"),
    "generate": Task(start="noise"),
    "edit": Task(_edit, example=_moved, needs=("layout",)),
    "inpaint": Task(_inpaint, "peel", _pasted, example=_with_hole),
    "structure": Task(_structure, example=_two_textures, needs=("layout",)),
    "collage": Task(
        _collage,
        grouping=lambda config: Grouping("together", least=2, any_size=True),
        example=_parts,
    ),
}
