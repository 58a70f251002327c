"""Times the searches for nearest patches, and measures how far approximate ones are from the exact one.

    python -m benchmarks.patch_search [--size=256] [--patch=7] [--data=DIR] [--faiss] [--json=FILE]

The patches of the left part of a photograph are searched for in its right part, both squares of
`size` pixels. DIR holds photographs that are at least as large; by default it is one of scikit-image.
`--faiss` times the library faiss beside them, on CPU (`pip install faiss-cpu`). Seconds are the least
of three runs, or of one that is long; CPU seconds are those of all cores. Those of faiss include
building the index. Excess is how much larger the mean distance is than that of the exact search.
"""

import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from absl import flags

from benchmarks import common, timing
from deepinternal.codecs.image_io import read_image
from deepinternal.ops import patches
from deepinternal.ops.resizing import resize
from deepinternal.types import InputError

FLAGS = flags.FLAGS
Search = Callable[[np.ndarray, np.ndarray], np.ndarray]  # the numbers of the patches, (N,)
_LONG = 5.0  # seconds


def _define() -> None:
    flags.DEFINE_integer("size", 256, "Side of the images in pixels.")
    flags.DEFINE_integer("patch", 7, "Side of the patches in pixels.")
    flags.DEFINE_string("data", "", "Folder of photographs; default: a photograph of scikit-image.")
    flags.DEFINE_bool("faiss", False, "Time faiss as well.")


def pairs(size: int, folder: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields two parts (size, size, C) of each photograph, its upper left and upper right corners.

    Args:
        size: Side of the parts in pixels.
        folder: Folder of photographs; '': the photograph of `timing.bundled_photo`.

    Raises:
        InputError: There are no photographs, or one is too small.
    """
    names = sorted(x for x in Path(folder).iterdir() if x.suffix == ".png") if folder else [None]
    if not names:
        raise InputError(f"--data={folder}: no PNG files")
    for name in names:
        photo = timing.bundled_photo() if name is None else read_image(name).pixels
        if min(photo.shape[:2]) < size or photo.shape[1] == size:
            raise InputError(f"--size={size}: must be less than the sides of {name or 'the photo'}")
        yield photo[:size, :size], photo[:size, -size:]


def _exact(image, searched, *, patch):
    return patches.nearest(image, searched, patch=patch).place


def _approximate(image, searched, *, patch, orders):
    key = jax.random.key(0)
    return patches.approximate(image, searched, key=key, patch=patch, orders=orders).place


def _from_coarser(image, searched, field, coarse, *, patch, orders):
    sizes = image.shape[:2], searched.shape[:2]
    start = patches.enlarged(field, *sizes, patch=patch, coarse_searched_size=coarse)
    key = jax.random.key(0)
    return patches.propagated(image, searched, start, key=key, patch=patch, orders=orders).place


def searches(patch: int) -> dict[str, Callable]:
    """Returns the library's searches by name, to be compiled: (image, searched) to places."""
    found = {"exact": functools.partial(_exact, patch=patch)}
    for orders in (1, 2, 3):
        name = f"approximate, {orders} order{'s' * (orders > 1)}"
        found[name] = functools.partial(_approximate, patch=patch, orders=orders)
    return found


def rows_of(image: np.ndarray, patch: int) -> np.ndarray:
    """Returns all patches of an image in reading order, float32 (N, patch * patch * C)."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (patch, patch), axis=(0, 1))
    return np.ascontiguousarray(windows.transpose(0, 1, 3, 4, 2)).reshape(-1, windows[0, 0].size)


def faiss_searches(length: int) -> dict[str, Search]:
    """Returns searches of faiss by name: rows of queries and of what is searched to numbers."""
    import faiss

    def search(make, prepare=lambda index: None):
        def run(queries, keys):
            index = make()
            index.train(keys)
            index.add(keys)
            prepare(index)
            return index.search(queries, 1)[1][:, 0]

        return run

    factory = lambda text: lambda: faiss.index_factory(length, text)

    def probes(count):
        return lambda index: faiss.ParameterSpace().set_index_parameter(index, "nprobe", count)

    return {
        "faiss, exact (Flat)": search(factory("Flat")),
        "faiss, inverted lists (IVF256), 1 probe": search(factory("IVF256,Flat"), probes(1)),
        "faiss, inverted lists (IVF256), 8 probes": search(factory("IVF256,Flat"), probes(8)),
        "faiss, inverted lists of 40 components": search(factory("PCA40,IVF256,Flat"), probes(8)),
        "faiss, graph (HNSW32)": search(factory("HNSW32,Flat")),
    }


def timed(run: Callable[[], object]) -> tuple[dict[str, float], object]:
    """Returns the least wall and CPU seconds of three runs, or of one if it is long, and the result."""
    wall, cpu = [], []
    while len(wall) < 3 and sum(wall) < _LONG:
        before = time.perf_counter(), time.process_time()
        found = jax.block_until_ready(run())
        wall.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
    return {"run": min(wall), "cpu": min(cpu)}, found


def mean_distance(a: np.ndarray, b: np.ndarray, number: np.ndarray) -> float:
    """Returns the mean squared difference of rows (N, D) and of those of given numbers, in float64."""
    parts = np.array_split(np.arange(len(a)), 16)
    return (
        sum(float(np.square(a[i] - b[number[i]], dtype=np.float64).sum()) for i in parts) / a.size
    )


def measure(
    image: np.ndarray, searched: np.ndarray, patch: int, *, with_faiss: bool
) -> dict[str, dict[str, float]]:
    """Returns for each search its seconds to compile and to run, and the mean distance."""
    a, b = (rows_of(x, patch) for x in (image, searched))
    width, results = searched.shape[1] - patch + 1, {}

    def ours(name, function, *args):
        began = time.perf_counter()
        program = jax.jit(function).lower(*args).compile()
        compiling = {"compile": time.perf_counter() - began}
        seconds, place = timed(lambda: program(*args))
        number = np.asarray(place[..., 0] * width + place[..., 1]).reshape(-1)
        results[name] = compiling | seconds | {"distance": mean_distance(a, b, number)}

    for name, function in searches(patch).items():
        ours(name, function, image, searched)
    coarse = tuple(-(-n // 2) for n in searched.shape[:2])
    small = (resize(x, scale=0.5) for x in (image, searched))
    field = patches.nearest(*small, patch=patch).place
    for orders, name in ((0, "no order"), (1, "1 order")):
        run = functools.partial(_from_coarser, coarse=coarse, patch=patch, orders=orders)
        ours(f"from the field at half size, {name}", run, image, searched, field)
    for name, search in faiss_searches(a.shape[1]).items() if with_faiss else ():
        seconds, number = timed(functools.partial(search, a, b))
        results[name] = seconds | {"distance": mean_distance(a, b, number)}
    return results


def main() -> int:
    """Prints the table. Returns the exit status."""
    found = [
        measure(*pair, FLAGS.patch, with_faiss=FLAGS.faiss)
        for pair in pairs(FLAGS.size, FLAGS.data)
    ]
    rows = []
    for name, first in found[0].items():
        cells = [
            np.mean([x[name][key] for x in found]) if key in first else None
            for key in ("compile", "run", "cpu")
        ]
        excess = np.mean([x[name]["distance"] / x["exact"]["distance"] - 1 for x in found])
        shown = (common.number(cell, ".2f") for cell in cells)
        rows.append([name, *shown, f"{100 * excess:.1f} %"])
    facts = common.machine()
    print(common.describe(facts))
    print(common.table(["search", "compile, s", "run, s", "CPU seconds", "excess"], rows))
    common.write_json({"machine": facts, "images": found})
    return 0


if __name__ == "__main__":
    common.start(main, _define, fields=False)
