"""Videos for a page: a small film itself, or a strip of frames."""

import base64
from pathlib import Path
from urllib.parse import quote

import numpy as np

from deepinternal.codecs.decoding import decode
from deepinternal.codecs.image_io import to_array
from deepinternal.types import InputError

EMBEDDED = 8_000_000  # maximum bytes of a film in a page
STRIP = 6  # maximum number of frames in a strip


def film(path: Path) -> dict[str, str]:
    """Returns the name, link and address of an MP4 file; a large one stays beside the page.

    `file` is the name if the address contains the file itself, else ''.
    """
    href = quote(path.name, safe="")
    found = {"name": path.name, "href": href, "src": href, "file": ""}
    if not 0 < path.stat().st_size <= EMBEDDED:
        return found
    data = base64.b64encode(path.read_bytes()).decode()
    return found | {"src": f"data:video/mp4;base64,{data}", "file": path.name}


def strip(folder: Path) -> tuple[np.ndarray, int] | None:
    """Returns frames of a folder side by side, uint8 (H, W, C), and their total number; or None."""
    paths = sorted(folder.glob("*.png"))
    some = np.linspace(0, len(paths) - 1, min(len(paths), STRIP)).round().astype(int)
    try:
        frames = [to_array(decode(paths[i], 100_000_000).samples).pixels for i in some]
    except InputError:
        return None
    if not frames:
        return None
    return np.round(np.concatenate(frames, axis=1) * 255).astype(np.uint8), len(paths)
