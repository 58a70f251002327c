"""Makes images of any size from the patches of an image, without a trained net."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.codecs import image_io
from deepinternal.in_memory import run
from deepinternal.ops.patches import sharpening, synthesis
from deepinternal.resizer import Resizer, Size
from deepinternal.types import Array, InputError

_COARSEST = 40  # smallest shorter side, in pixels, of the image at the coarsest scale of a video
_GROWTH = 1.05  # greatest ratio of the sides of successive images that lead to the first frame


@dataclasses.dataclass(frozen=True, repr=False)
class PatchRetargeter(Resizer):
    """An image that is made again at other sizes by the method 'patches'.

    Attributes:
        image: The image.
        options: The options of `run`, such as `preset`.
    """

    image: image_io.ImageFile
    options: Mapping[str, Any]

    def frames(
        self, wanted: Iterable[tuple[Sequence[int], Any]], *, coherent: bool = False
    ) -> Iterator[np.ndarray]:
        """Makes images one after the other.

        Args:
            wanted: The size of each image, and None in place of shifts, which need a trained net.
            coherent: Whether each image starts from the previous one and keeps patches of it, as the
                frames of a video should. Then options have no effect.

        Yields:
            (H, W, C) float32 in [0, 1].

        Raises:
            InputError: There are shifts, or a size or an option cannot be used.
        """
        pairs = list(wanted)
        if any(shifts is not None for _, shifts in pairs):
            raise InputError("shapes that are not rectangular need --workdir of a trained InGAN")
        if coherent:
            yield from self._coherent([(height, width) for (height, width), _ in pairs])
            return
        for size, _ in pairs:
            yield run("patches", self.image.pixels, result_size=size, **self.options)["result"]

    def _coherent(self, sizes: Sequence[Size]) -> Iterator[np.ndarray]:
        """Makes images on one canvas with one program, each from the previous one."""
        full = self.image.pixels
        start: Size = full.shape[:2]
        lead = _way(start, sizes[0])
        every = [*lead, *sizes]
        canvas: Size = (max(h for h, _ in [start, *every]), max(w for _, w in [start, *every]))
        found = synthesis.scale_factors(4, min(_COARSEST / min(start), 1))
        program = jax.jit(functools.partial(_next, found, canvas))
        edge = ((0, canvas[0] - start[0]), (0, canvas[1] - start[1]), (0, 0))
        made, size = jnp.pad(jnp.asarray(full), edge), start
        before = sharpening.none_before(found, canvas)
        for number, following in enumerate(every):
            at_scales = _sizes(found, following)
            given = made, jnp.asarray(full), jnp.array(size, jnp.int32), at_scales, before
            made, places = program(*given)
            size = following
            before = before._replace(places=places, sizes=at_scales, used=jnp.asarray(True))
            if number >= len(lead):
                yield np.asarray(made[: size[0], : size[1]])

    def __repr__(self) -> str:
        return "PatchRetargeter of a {}x{}x{} image".format(*self.image.pixels.shape)


def _way(start: Size, end: Size) -> list[Size]:
    """Returns sizes from `start` to `end`, without these, whose sides change by small factors."""
    ratios = [b / a for a, b in zip(start, end)]
    steps = math.ceil(max(abs(math.log(r)) for r in ratios) / math.log(_GROWTH))
    at = lambda side, part: round(start[side] * ratios[side] ** part)
    return [(at(0, i / steps), at(1, i / steps)) for i in range(1, steps)]


def _sizes(found: Sequence[float], size: Size) -> Array:
    return jnp.array(sharpening.scale_sizes(found, size), jnp.int32)


def _next(
    found: Sequence[float],
    canvas: Size,
    made: Array,
    full: Array,
    size: Sequence[Array],
    sizes: Sequence[Sequence[Array]],
    before: synthesis.Before,
) -> tuple[Array, tuple[Array, ...]]:
    """Makes the next image of a video from the previous one; see `sharpening.sharp`."""
    return sharpening.sharp(made, full, found, canvas, size=size, sizes=sizes, before=before)


def of_image(image: image_io.ImageFile, *, preset: str = "fast", **options: Any) -> PatchRetargeter:
    """Returns the retargeter of an image.

    Args:
        image: The image.
        preset: Names of presets of 'patches', joined by commas.
        **options: See `PatchRetargeter`.
    """
    return PatchRetargeter(image, {"preset": f"retarget,{preset}", **options})
