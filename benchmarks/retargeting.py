"""How well retargeted images keep the patches and the layout of their source, for several methods.

    python -m benchmarks.retargeting [--input=FILE ...] [--scale=V,H ...] [--rows=NAMES]
                                     [--ingan=WORKDIR ...] [--stride=2] [--out=DIR] [--json=FILE]

Without --input, the image is scikit-image's coins. The results are kept in DIR: pictures, and the
measures in figures.json. The same command continues where it stopped; a row whose picture was
deleted is made again. benchmarks/retargeting.md explains rows and columns.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from benchmarks import common
from benchmarks.retargeting_rows import ALL, Case
from deepinternal import retargeter
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.files import atomic_write_text
from deepinternal.ops.patches import measures
from deepinternal.types import InputError
from deepinternal.writers import read_object, to_json

COLUMNS = {  # figure -> title, factor, format
    "coherence": ("coherence", 1e4, ".1f"),
    "completeness": ("completeness", 1e4, ".1f"),
    "sifid": ("SIFID-like", 1e4, ".2f"),
    "layout": ("layout", 1, ".2f"),
    "copied": ("copied %", 100, ".1f"),
    "evenness": ("evenness", 1, ".2f"),
    "seconds": ("seconds", 1, ".1f"),
    "cpu_seconds": ("CPU seconds", 1, ".1f"),
}


def sample() -> np.ndarray:
    """Returns scikit-image's coins, (303, 384, 1) in [0, 1]."""
    import skimage.data

    return np.float32(skimage.data.coins())[..., None] / 255


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


def parse_rows(text: str) -> list[str]:
    """Parses names of rows joined by commas. Raises InputError for an unknown one."""
    found = [name.strip() for name in text.split(",")]
    for name in found:
        if name not in ALL:
            raise InputError(f"--rows={text}: {name!r} is no row; choose of {', '.join(ALL)}")
    return found


@functools.cache
def _compare(stride: int) -> Callable:
    return jax.jit(functools.partial(measures.compare, stride=stride))


def measure(source: np.ndarray, result: np.ndarray, *, stride: int = 2) -> dict[str, Any]:
    """Computes the measures in the table for a result.

    Args:
        source: (H, W, C) in [0, 1].
        result: (H', W', C) in [0, 1].
        stride: Stride of the patches whose nearest patches are searched.

    Returns:
        The measures by name: means over the scales, 'coherences' and 'completenesses' at each scale,
        and those of the layout and of the origins.
    """
    found = jax.device_get(_compare(stride)(source, result))
    figures = found.similarity._asdict() | {"sifid": found.sifid, "layout": found.layout}
    figures |= {"copied": found.copied, "share": found.usage.share}
    figures["evenness"] = found.usage.evenness
    return {name: np.asarray(value, np.float64).tolist() for name, value in figures.items()}


class Results:
    """A folder with pictures of results, and their figures in figures.json.

    Attributes:
        figures: Image -> scale -> row -> figure -> value.
    """

    def __init__(self, folder: Path):
        """Reads what the folder holds."""
        self._folder, self._file = folder, folder / "figures.json"
        self.figures: dict[str, Any] = read_object(self._file)

    def make(self, case: Case, scale: tuple[float, float], row: str) -> None:
        """Makes the picture of a row, unless it exists."""
        kept, path = self._of(case, scale, row)
        if "seconds" in kept and path.exists():
            return
        size = case.size(scale)
        wall, cpu = time.perf_counter(), time.process_time()
        made = case.make(row, size)
        kept.clear()  # of another picture
        kept["seconds"] = time.perf_counter() - wall
        kept["cpu_seconds"] = time.process_time() - cpu
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, made)
        self._save()
        print(f"{path.relative_to(self._folder)}: {kept['seconds']:.1f} s", flush=True)

    def measure(self, case: Case, scale: tuple[float, float], row: str, *, stride: int) -> None:
        """Measures the picture of a row, unless its figures exist; see `measure`."""
        kept, path = self._of(case, scale, row)
        if "coherence" not in kept:
            kept |= measure(case.image, read_image(path).pixels, stride=stride)
            self._save()

    def _of(self, case: Case, scale: tuple[float, float], row: str) -> tuple[dict, Path]:
        name = "{:g}x{:g}".format(*scale)
        rows = self.figures.setdefault(case.name, {}).setdefault(name, {})
        return rows.setdefault(row, {}), self._folder / case.name / name / f"{row}.png"

    def _save(self) -> None:
        atomic_write_text(self._file, to_json(self.figures, indent=1) + "\n")


def run(
    cases: Sequence[Case],
    scales: Sequence[tuple[float, float]],
    rows: Sequence[str],
    folder: Path,
    *,
    stride: int = 2,
) -> dict[str, Any]:
    """Makes all pictures that are missing in a folder, and then measures them.

    Args:
        cases: The images.
        scales: Vertical and horizontal factors.
        rows: The names of the rows.
        folder: Where pictures and figures.json are kept.
        stride: See `measure`.

    Returns:
        All figures in the folder: image -> scale -> row -> figure -> value.
    """
    results = Results(folder)
    wanted = [(c, s, row) for row in rows for c in cases for s in scales if c.has(row)]
    for one in wanted:
        results.make(*one)
    for one in wanted:
        results.measure(*one, stride=stride)
    return results.figures


def report(figures: Mapping[str, Any]) -> str:
    """Formats the figures as one table, and their means over the images as another."""

    def cells(found):
        values = ((found[c], factor, form) for c, (_, factor, form) in COLUMNS.items())
        return [common.number(v * f, form) for v, f, form in values]

    titles = [f"{h} x 1e4" if f == 1e4 else h for h, f, _ in COLUMNS.values()]
    flat = [
        (image, scale, row, found)
        for image, scales in figures.items()
        for scale, rows in scales.items()
        for row, found in sorted(rows.items(), key=lambda item: ALL.index(item[0]))
        if "coherence" in found
    ]
    each = [[image, scale, row, *cells(found)] for image, scale, row, found in flat]
    groups: dict[tuple[str, str], list] = {}
    for _, scale, row, found in flat:
        groups.setdefault((scale, row), []).append(found)
    order = sorted(groups, key=lambda key: (key[0], ALL.index(key[1])))
    means = [
        [
            *key,
            str(len(groups[key])),
            *cells({c: np.mean([g[c] for g in groups[key]]) for c in COLUMNS}),
        ]
        for key in order
    ]
    tables = (
        common.table(["image", "scale", "row", *titles], each),
        common.table(["scale", "row", "images", *titles], means),
    )
    return "\n\n".join(tables)


def _define_flags() -> None:
    flags.DEFINE_multi_string(
        "input", [], "Image, any number of times; default: scikit-image's coins."
    )
    flags.DEFINE_multi_string("scale", ["1,2"], "Factors of the height and the width.")
    flags.DEFINE_string("rows", ",".join(r for r in ALL if r != "package"), "Rows to make.")
    flags.DEFINE_multi_string("ingan", [], "Work folder of an InGAN of one of the images.")
    flags.DEFINE_integer("stride", 2, "Stride of the patches that are compared.", lower_bound=1)
    flags.DEFINE_string("out", None, "Folder where pictures and measures are kept.")


def main() -> int:
    """Makes and measures what is missing, and prints the tables."""
    args = flags.FLAGS
    scales, rows = [parse_scale(text) for text in args.scale], parse_rows(args.rows)
    images = {Path(path).stem: read_image(path).pixels for path in args.input}
    if len(images) < len(args.input):
        raise InputError("--input: all files must have different names")
    trained = [retargeter.load(folder) for folder in args.ingan]
    cases = [Case(*item, trained) for item in (images or {"coins": sample()}).items()]
    with common.folder(args.out) as folder:
        figures = run(cases, scales, rows, folder, stride=args.stride)
    facts = common.machine()
    print(f"{common.describe(facts)}\n\n{report(figures)}")
    common.write_json({"machine": facts, "figures": figures})
    return 0


if __name__ == "__main__":
    common.start(main, _define_flags, fields=False)
