"""All outputs of an image as one ZIP file, packed by the page or stored beside it."""

import base64
import io
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from deepinternal.files import atomic_write_bytes

ARCHIVE = "outputs.zip"  # stored beside the page if the outputs are too large for it
PACKED = 16_000_000  # maximum bytes of outputs in a page


def download(folder: Path, outputs: Sequence[str], shown: Collection[str]) -> dict[str, Any] | None:
    """Returns the values that a page needs for its download; None if there are no outputs.

    Writes the archive if the outputs are too large for the page.

    Args:
        folder: The folder of the page.
        outputs: Files and folders (`name/`) in it.
        shown: Files whose bytes the page already contains, as pictures or films.

    Returns:
        `size` of the files, as text; `href` of the archive, or '' and `files`: the base64 contents
        by name, None for shown files.
    """
    paths = [p for name in outputs for p in _files(folder / name)]
    sizes = {p.relative_to(folder).as_posix(): p.stat().st_size for p in paths}
    if not sizes:
        return None
    total = sum(sizes.values())
    found = {"size": _size(total), "href": "", "files": {}}
    if total > PACKED:
        _write(folder, sizes)
        return found | {"href": ARCHIVE}
    (folder / ARCHIVE).unlink(missing_ok=True)
    read = lambda name: base64.b64encode((folder / name).read_bytes()).decode()
    return found | {"files": {name: None if name in shown else read(name) for name in sizes}}


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _write(folder: Path, names: Collection[str]) -> None:
    """Writes the archive without compression, because pictures and films are compressed."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", strict_timestamps=False) as archive:
        for name in names:
            archive.write(folder / name, name)
    atomic_write_bytes(folder / ARCHIVE, data.getvalue())


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{max(count / 1e3, 0.1):.1f} kB"
