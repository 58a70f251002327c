"""The files that a run writes into the folder of an image, and how they are removed."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from deepinternal.report.downloads import ARCHIVE
from deepinternal.report.report import PROGRESS
from deepinternal.runs.stems import NOTED, is_below

# Besides the outputs that metrics.json names.
FILES = ("metrics.json", "train.jsonl", "report.html", "traceback.txt", "result.png")
FILES += ("baseline.png", "input.png", "input.mp4", ARCHIVE, NOTED)
FOLDERS = ("checkpoints", "input", PROGRESS, TENSORBOARD := "tensorboard")


def link_in(root: Path, stem: str) -> Path | None:
    """Returns a link among the folders of an image that a run writes to; None if there is none.

    In a work folder of unknown origin, a link may lead to files that a run would replace or remove.

    Args:
        root: The work folder, which may be a link itself.
        stem: The stem of the image.
    """
    above = [root / path for path in (Path(stem), *Path(stem).parents[:-1])]
    places = [*above, *(root / stem / name for name in FOLDERS)]
    return next((place for place in places if place.is_symlink()), None)


def discard(root: Path, stem: str, outputs: Sequence[str]) -> None:
    """Removes the results of an image, and the folders that are then empty; keeps the user's files.

    Args:
        root: The work folder.
        stem: The stem of the image.
        outputs: The outputs that its metrics.json names, which anyone may have written.
    """
    folder = root / stem
    if link_in(root, stem):
        return
    made = [n for n in outputs if isinstance(n, str) and is_below(n.removesuffix("/"))]
    inputs = [p.name for p in folder.glob("input-[0-9]*.png")]
    for name in (*FILES, *inputs, *made):
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    for name in (*FOLDERS, *(n for n in made if n.endswith("/"))):
        shutil.rmtree(folder / Path(name).name, ignore_errors=True)
    above = [root / name for name in Path(stem).parents[:-1]]
    for name in [*{(folder / name).parent for name in made}, folder, *above]:
        with contextlib.suppress(OSError):
            name.rmdir()
