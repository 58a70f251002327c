"""How well images of another size keep the patches of their source: classical methods, and ours.

    python -m benchmarks.retargeting [--input=FILE] [--shrink=N] [--scale=V,H] [--ours=FILE ...]
                                     [--out=DIR] [--json=FILE]

Without --input, half-size coins of scikit-image. Results of --ours are pictures of the target size.
What the columns mean: benchmarks/README.md.
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
from deepinternal.ops.resize import output_size, resize
from deepinternal.types import InputError

SMALLEST = 28  # side with a patch of 7 at a quarter of the size
COLUMNS = {
    "coherence": ("coherence", 1e4, ".1f"),
    "completeness": ("completeness", 1e4, ".1f"),
    "sifid": ("SIFID-like", 1e4, ".2f"),
    "seconds": ("seconds", 1, ".1f"),
}


def stretched(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cubic resizing, (H', W', C)."""
    return np.clip(np.asarray(resize(image, output_shape=size)), 0, 1)


def tiled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image repeated and cut off: all patches but those at the joints, and no layout."""
    repeats = [math.ceil(a / b) for a, b in zip(size, image.shape)]
    return np.tile(image, (*repeats, 1))[: size[0], : size[1]]


def detailed(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image stretched at half its size and enlarged by its own patches, as `lite`'s results are."""
    small = fitting.reduced(image, math.ceil(max(image.shape[:2]) / 2))
    made = stretched(small, tuple(max(-(-n // 2), 7) for n in size))  # a patch at least
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
    """Half-size coins, (151, 192, 1) in [0, 1]."""
    import skimage.data

    coins = np.float32(skimage.data.coins())[..., None] / 255
    return shrunk(coins, 2)


def shrunk(image: np.ndarray, by: float) -> np.ndarray:
    """The image at 1 / `by` of its sides, rounded down."""
    return stretched(image, tuple(max(int(n / by), 1) for n in image.shape[:2]))


def parse_scale(text: str) -> tuple[float, float]:
    """'V,H' or one number for both.

    Raises:
        InputError: something else, or a factor that is not over 0.
    """
    try:
        factors = [float(part) for part in text.split(",")]
    except ValueError:
        factors = []
    factors *= 2 if len(factors) == 1 else 1
    if len(factors) != 2 or not all(0 < f < math.inf for f in factors):
        raise InputError(f"--scale={text}: give two factors over 0, vertical and horizontal: 1,2")
    return tuple(factors)


_bidirectional = jax.jit(measures.bidirectional_similarity)
_sifid = jax.jit(measures.sifid)


def measure(source: np.ndarray, result: np.ndarray) -> dict[str, Any]:
    """What the table shows of a result, less the seconds.

    Args:
        source: (H, W, C) in [0, 1].
        result: (H', W', C), rounded to 8 bits first, as a file is.

    Returns:
        Means over the scales, and 'coherences' and 'completenesses' for each.
    """
    result = np.float32(np.round(255 * result) / 255)
    found = _bidirectional(source, result)._asdict()
    figures = {name: np.asarray(value, np.float64).tolist() for name, value in found.items()}
    return figures | {"sifid": float(_sifid(source, result))}


def read_ours(path: str, shape: tuple[int, int, int]) -> np.ndarray:
    """A result of our own, (H', W', C).

    Raises:
        InputError: not of the target's size or colours.
    """
    pixels = read_image(path).pixels
    if pixels.shape != shape:
        got, wanted = ("x".join(map(str, s)) for s in (pixels.shape, shape))
        raise InputError(f"--ours={path}: it is {got}, the target {wanted} (H x W x channels)")
    return pixels


def report(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The table."""

    def cells(name, figures):
        values = ((figures[c], factor, form) for c, (_, factor, form) in COLUMNS.items())
        return [name, *(common.number(v and v * f, form) for v, f, form in values)]

    head = ["method", *(f"{h} x 1e4" if f != 1 else h for h, f, _ in COLUMNS.values())]
    return common.table(head, [cells(name, figures) for name, figures in rows.items()])


def _define_flags() -> None:
    flags.DEFINE_string("input", None, "Image; default: half-size coins of scikit-image.")
    flags.DEFINE_float("shrink", 1.0, "The image is taken at 1 / N of its sides.", lower_bound=1)
    flags.DEFINE_string("scale", "1,2", "Factors of the target's height and width.")
    flags.DEFINE_multi_string("ours", [], "Result to measure as well; may be given repeatedly.")
    flags.DEFINE_string("out", None, "Folder for the pictures; made if it does not exist.")


def main() -> int:
    """Makes and measures the results, prints the table, writes pictures and JSON file."""
    args = flags.FLAGS
    scale = parse_scale(args.scale)
    source = shrunk(read_image(args.input).pixels if args.input else sample(), args.shrink)
    size = output_size(source.shape[:2], scale)
    if min(*source.shape[:2], *size) < SMALLEST:
        raise InputError(f"--input, --shrink, --scale: no side may be under {SMALLEST} pixels")
    ours = {Path(p).stem: read_ours(p, (*size, source.shape[-1])) for p in args.ours}
    if len(ours) < len(args.ours) or ours.keys() & METHODS.keys():
        raise InputError("--ours: every file needs a name of its own")
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
