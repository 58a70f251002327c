"""The photographs and clips of `benchmarks.decomposition`, their hints and their truth."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from deepinternal.codecs.image_io import read_image
from deepinternal.codecs.video_io import natural, read_frames
from deepinternal.runs.inputs import IMAGE_SUFFIXES
from deepinternal.types import InputError

AUTO = "auto"  # strokes: none
FIRST = "first frame"  # hints of clips: of the first frame's truth
INSIDE, OUTSIDE = 4, 6  # pixels between the hints of a clip and the outline of its first mask


@dataclasses.dataclass(frozen=True)
class Case:
    """A photograph with one set of strokes, or a clip.

    Attributes:
        name: The name of the file, or of the folder of frames.
        strokes: The name of the set of strokes: '1', '2', ...; `AUTO`; of clips `FIRST`.
        image: The file, or the files of the frames.
        truth: The file or files of the truth.
        hints: The files of the strokes, foreground and background; None: no files.
    """

    name: str
    strokes: str
    image: tuple[Path, ...]
    truth: tuple[Path, ...]
    hints: tuple[Path, Path] | None = None

    def load(self) -> "Loaded":
        """Reads the files.

        Raises:
            InputError: A file cannot be read, or has another size than the image.
        """
        image = read_frames(self.image)
        truths = [_read(path, image.shape[1:3]) for path in self.truth]
        truth = np.stack([t > 0.75 for t in truths])
        void = np.stack([(t >= 0.25) & (t <= 0.75) for t in truths])
        hints = None
        if self.strokes == FIRST:
            hints = clip_hints(truth[0], void[0])
        elif self.hints:
            hints = tuple(_read(path, image.shape[1:3]) > 0.5 for path in self.hints)
        if self.strokes != FIRST:
            image, truth, void = image[0], truth[0], void[0]
        return Loaded(image, truth, void, hints)


@dataclasses.dataclass(frozen=True)
class Loaded:
    """The contents of a case.

    Attributes:
        image: uint8 (H, W, C), of a clip (T, H, W, C).
        truth: (H, W) or (T, H, W) booleans, the foreground.
        void: Of the same shape, where the truth is unknown.
        hints: Foreground and background, (H, W) booleans each; of a clip, of its first frame; None:
            no hints.
    """

    image: np.ndarray
    truth: np.ndarray
    void: np.ndarray
    hints: tuple[np.ndarray, np.ndarray] | None


def clip_hints(truth: np.ndarray, void: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Makes the hints of a clip from the truth of its first frame.

    Args:
        truth: (H, W) booleans, the foreground.
        void: (H, W) booleans, where the truth is unknown.

    Returns:
        Foreground, the truth eroded by a disc with a radius of `INSIDE` pixels, and background, what is
        left outside the truth dilated by a disc with a radius of `OUTSIDE` pixels; void pixels belong
        to neither. The erosion of a thin object stops before nothing is left.
    """
    inside = ndimage.distance_transform_edt(truth)  # beyond the border, nothing is outside
    outside = ndimage.distance_transform_edt(~(truth | void))
    return inside > min(INSIDE, inside.max() - 1), outside > OUTSIDE


def find_images(folder: Path, strokes: list[str], *, limit: int = 0) -> list[Case]:
    """Finds photographs NAME.* with truth/NAME.*, and strokes foreground1/NAME.*, background1/NAME.*.

    Args:
        folder: The folder.
        strokes: The sets of strokes, such as '1', '2'; `AUTO`: without strokes.
        limit: The greatest number of photographs; 0: all.

    Raises:
        InputError: The folder, its photographs, or the strokes of one of them are missing.
    """
    found = []
    for path in _images(folder)[: limit or None]:
        truth = _beside(folder / "truth", path)
        for name in strokes:
            hints = None
            if name != AUTO:
                kinds = ("foreground", "background")
                hints = tuple(_beside(folder / f"{kind}{name}", path) for kind in kinds)
            found.append(Case(path.stem, name, (path,), (truth,), hints))
    return found


def find_clips(folder: Path, strokes: list[str], *, limit: int = 0) -> list[Case]:
    """Finds clips CLIP/*.png with the truth of each frame in truth/CLIP/.

    Args:
        folder: The folder.
        strokes: Ignored: the hints are made from the truth of the first frame.
        limit: The greatest number of clips; 0: all.

    Raises:
        InputError: The folder, its clips, or the truth of a frame is missing.
    """
    del strokes
    if not folder.is_dir():
        raise InputError(f"--data={folder}: no such folder")
    found = []
    for clip in sorted(p for p in folder.iterdir() if p.is_dir() and p.name != "truth"):
        frames = sorted(_files(clip), key=natural)
        if len(frames) > 1:
            truth = tuple(_beside(folder / "truth" / clip.name, frame) for frame in frames)
            found.append(Case(clip.name, FIRST, tuple(frames), truth))
    if not found:
        raise InputError(f"--data={folder}: no folders of at least two frames")
    return found[: limit or None]


def _files(folder: Path) -> Iterator[Path]:
    return (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"--data={folder}: no such folder")
    if not (found := sorted(_files(folder))):
        raise InputError(f"--data={folder}: no photographs in it")
    return found


def _beside(folder: Path, path: Path) -> Path:
    """Returns the file in a folder with the stem of a path."""
    found = sorted(folder.glob(f"{path.stem}.*")) if folder.is_dir() else []
    if not found:
        raise InputError(f"--data: {folder / path.stem}.png is missing, which belongs to {path}")
    return found[0]


def _read(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Reads a mask (H, W) in [0, 1]. Raises InputError if it has another size."""
    made = read_image(path).pixels.mean(-1)
    if made.shape != size:
        raise InputError(
            f"{path}: is {made.shape[0]}x{made.shape[1]}, but its image is {size[0]}x{size[1]}"
        )
    return made
