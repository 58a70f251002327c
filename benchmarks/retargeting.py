"""How well retargeted images preserve the patches of their source: classical methods and InGAN.

    python -m benchmarks.retargeting [--input=FILE] [--shrink=N] [--scale=V,H] [--ours=FILE ...]
                                     [--out=DIR] [--json=FILE]

Without --input, the image is scikit-image's coins at half size. The files of --ours are images of the
target size. benchmarks/README.md explains the columns.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from benchmarks import common, retargeters
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.ops import fitting
from deepinternal.ops.patches import measures, voting
from deepinternal.ops.resizing import output_size, resize
from deepinternal.types import InputError

SMALLEST = 28  # least side that holds a patch of 7 at a quarter of the size
COLUMNS = {
    "coherence": ("coherence", 1e4, ".1f"),
    "completeness": ("completeness", 1e4, ".1f"),
    "sifid": ("SIFID-like", 1e4, ".2f"),
    "seconds": ("seconds", 1, ".1f"),
}


def stretched(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image to (H', W', C) by cubic interpolation."""
    return np.clip(np.asarray(resize(image, output_shape=size)), 0, 1)


def tiled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Repeats the image, which preserves all patches except at the joints, but not the layout."""
    repeats = [math.ceil(a / b) for a, b in zip(size, image.shape)]
    return np.tile(image, (*repeats, 1))[: size[0], : size[1]]


def detailed(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Stretches the image at half size and enlarges it with its own patches, as the preset `lite`."""
    small = fitting.reduced(image, math.ceil(max(image.shape[:2]) / 2))
    made = stretched(small, tuple(max(-(-n // 2), 7) for n in size))  # at least one patch
    enlarge = jax.jit(functools.partial(voting.detailed, passes=3))
    return stretched(np.asarray(enlarge(made, small, image)), size)


METHODS: dict[str, Callable[[np.ndarray, tuple[int, int]], np.ndarray]] = {
    "stretched": stretched,
    "stretched, detail": detailed,
    "tiled": tiled,
    "seam carving": retargeters.seam_carving,
    "bidir": retargeters.bidirectional,
}


def sample() -> np.ndarray:
    """Returns scikit-image's coins at half size, (151, 192, 1) in [0, 1]."""
    import skimage.data

    coins = np.float32(skimage.data.coins())[..., None] / 255
    return shrunk(coins, 2)


def shrunk(image: np.ndarray, by: float) -> np.ndarray:
    """Reduces the sides of an image to 1 / `by`, rounded down."""
    return stretched(image, tuple(max(int(n / by), 1) for n in image.shape[:2]))


def parse_scale(text: str) -> tuple[float, float]:
    """Parses 'V,H' or one number for both.

    Raises:
        InputError: The text has another form, or a factor is not positive.
    """
    try:
        factors = [float(part) for part in text.split(",")]
    except ValueError:
        factors = []
    factors *= 2 if len(factors) == 1 else 1
    if len(factors) != 2 or not all(0 < f < math.inf for f in factors):
        raise InputError(f"--scale={text}: give two positive factors, vertical and horizontal: 1,2")
    return tuple(factors)


_bidirectional = jax.jit(measures.bidirectional_similarity)
_sifid = jax.jit(measures.sifid)


def measure(source: np.ndarray, result: np.ndarray) -> dict[str, Any]:
    """Computes the measures in the table for a result.

    Args:
        source: (H, W, C) in [0, 1].
        result: (H', W', C), which is first rounded to 8 bits, as in a file.

    Returns:
        Means over the scales, and 'coherences' and 'completenesses' at each scale.
    """
    result = np.float32(np.round(255 * result) / 255)
    found = _bidirectional(source, result)._asdict()
    figures = {name: np.asarray(value, np.float64).tolist() for name, value in found.items()}
    return figures | {"sifid": float(_sifid(source, result))}


def read_ours(path: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Reads a result of InGAN, (H', W', C).

    Raises:
        InputError: The size or the number of channels differs from the target's.
    """
    pixels = read_image(path).pixels
    if pixels.shape != shape:
        got, wanted = ("x".join(map(str, s)) for s in (pixels.shape, shape))
        raise InputError(f"--ours={path}: is {got}, must be {wanted} (H x W x channels)")
    return pixels


def report(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Formats the table."""

    def cells(name, figures):
        values = ((figures[c], factor, form) for c, (_, factor, form) in COLUMNS.items())
        return [name, *(common.number(v and v * f, form) for v, f, form in values)]

    head = ["method", *(f"{h} x 1e4" if f != 1 else h for h, f, _ in COLUMNS.values())]
    return common.table(head, [cells(name, figures) for name, figures in rows.items()])


def _define_flags() -> None:
    flags.DEFINE_string("input", None, "Image; default: half-size coins of scikit-image.")
    flags.DEFINE_float("shrink", 1.0, "The sides of the image are reduced to 1 / N.", lower_bound=1)
    flags.DEFINE_string("scale", "1,2", "Factors of the target's height and width.")
    flags.DEFINE_multi_string(
        "ours", [], "Image of a result to measure, too; may be given repeatedly."
    )
    flags.DEFINE_string("out", None, "Folder for the pictures; made if it does not exist.")


def main() -> int:
    """Makes and measures the results, prints the table, writes pictures and JSON file."""
    args = flags.FLAGS
    scale = parse_scale(args.scale)
    source = shrunk(read_image(args.input).pixels if args.input else sample(), args.shrink)
    size = output_size(source.shape[:2], scale)
    if min(*source.shape[:2], *size) < SMALLEST:
        raise InputError(f"--input, --shrink, --scale: sides must be at least {SMALLEST} pixels")
    ours = {Path(p).stem: read_ours(p, (*size, source.shape[-1])) for p in args.ours}
    if len(ours) < len(args.ours) or ours.keys() & METHODS.keys():
        raise InputError("--ours: all files must have different names")
    rows, pictures = {}, {"source": source}
    for name in (*METHODS, *ours):
        start = time.perf_counter()
        result = ours[name] if name in ours else METHODS[name](source, size)
        seconds = None if name in ours else time.perf_counter() - start
        rows[name] = measure(source, result) | {"seconds": seconds}
        pictures[name] = result
    if args.out:
        folder = Path(args.out)
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            write_image(folder / f"{name.replace(' ', '_')}.png", picture)
    facts = common.machine()
    (h, w), (height, width) = source.shape[:2], size
    print(f"{common.describe(facts)}\n\n{h}x{w} to {height}x{width}\n\n{report(rows)}")
    content = {"machine": facts, "input": args.input, "shrink": args.shrink, "scale": scale}
    common.write_json(content | {"size": size, "methods": rows})
    return 0


if __name__ == "__main__":
    common.start(main, _define_flags, fields=False)
