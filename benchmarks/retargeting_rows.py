"""The ways of retargeting that `benchmarks.retargeting` compares."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from deepinternal import in_memory, retargeter
from deepinternal.methods import ingan
from deepinternal.methods.ingan import retargeting as nets
from deepinternal.ops.patches import sharpening
from deepinternal.ops.resizing import resize
from deepinternal.types import InputError

SMALLEST = 28  # least side that holds a patch of 7 at a quarter of the size
Size = tuple[int, int]
Net = retargeter.Retargeter


def stretched(image: np.ndarray, size: Size) -> np.ndarray:
    """Resizes an image to (H', W', C) by cubic interpolation."""
    return np.clip(np.asarray(resize(image, output_shape=size)), 0, 1)


def tiled(image: np.ndarray, size: Size) -> np.ndarray:
    """Repeats the image, which preserves all patches except at the joints, but not the layout."""
    repeats = [math.ceil(a / b) for a, b in zip(size, image.shape)]
    return np.tile(image, (*repeats, 1))[: size[0], : size[1]]


def by_patches(image: np.ndarray, size: Size, *, preset: str) -> np.ndarray:
    """Retargets an image with the method `patches`."""
    made = in_memory.run("patches", image, preset=preset, result_size="{},{}".format(*size))
    return made["result"]


def by_package(image: np.ndarray, size: Size) -> np.ndarray:
    """Carves seams with the package seam-carving, energy and order as in the preset `seams`.

    Raises:
        InputError: The package is not installed.
    """
    try:
        import seam_carving
    except ImportError:
        raise InputError("--rows: 'package' needs the package: pip install seam-carving") from None
    height, width = size
    pixels = np.uint8(np.round(255 * image))
    options = {"energy_mode": "backward", "order": "width-first"}
    made = seam_carving.resize(pixels.squeeze(), (width, height), **options)
    return np.float32(made.reshape(*size, -1)) / 255


def with_detail(image: np.ndarray, size: Size) -> np.ndarray:
    """Stretches the image at the size of InGAN's picture, and makes it sharp as InGAN's results are."""
    config = ingan.RECIPE.build("lite")
    full, small = image.shape[:2], ingan.reduced(config, image).shape[:2]
    factors = nets.patch_factors(config, full, small)
    start = stretched(image, nets.fitted(full, small, size))
    make = jax.jit(lambda start, image: sharpening.sharp(start, image, factors, size)[0])
    return np.asarray(make(start, image))


def by_net(net: Net, size: Size, *, patches: bool) -> np.ndarray:
    """Retargets the image of a trained InGAN, with the patches of the preset `lite` or without."""
    detail = ingan.RECIPE.build("lite").detail if patches else 0
    config = net.config.model_copy(update={"detail": detail})
    return dataclasses.replace(net, config=config).make(size)


ROWS: Mapping[str, Callable[[np.ndarray, Size], np.ndarray]] = {
    "stretched": stretched,
    "tiled": tiled,
    "seams": functools.partial(by_patches, preset="seams"),
    "package": by_package,
    "bidir": functools.partial(by_patches, preset="bidir"),
    "gpnn": functools.partial(by_patches, preset="gpnn"),
    "stretched+patches": with_detail,
}
NET_ROWS: Mapping[str, Callable[[Net, Size], np.ndarray]] = {
    "net": functools.partial(by_net, patches=False),
    "net+patches": functools.partial(by_net, patches=True),
}
ALL = (*ROWS, *NET_ROWS)


class Case:
    """An image, and the net that was trained on it, if any."""

    def __init__(self, name: str, image: np.ndarray, trained: Sequence[Net] = ()):
        """Finds the net of the image (H, W, C) in [0, 1] among trained ones."""
        self.name, self.image = name, image
        self._net = next((n for n in trained if np.array_equal(n.image.pixels, image)), None)

    def has(self, row: str) -> bool:
        """Whether a row can be made: those of a net need one."""
        return row in ROWS or self._net is not None

    def make(self, row: str, size: Size) -> np.ndarray:
        """Makes the result (H', W', C) of a row."""
        made = ROWS[row](self.image, size) if row in ROWS else NET_ROWS[row](self._net, size)
        return np.clip(made, 0, 1)

    def size(self, scale: tuple[float, float]) -> Size:
        """The size (H', W') of the results. Raises InputError if a side is too small to measure."""
        found = tuple(round(n * f) for n, f in zip(self.image.shape, scale))
        if min(*self.image.shape[:2], *found) < SMALLEST:
            raise InputError(
                f"--input, --scale: {self.name} would be {found[0]}x{found[1]}; the sides of the image "
                f"and the result must be at least {SMALLEST} pixels"
            )
        return found
