"""Reads videos to uint8 frames, and writes them atomically as an MP4 beside a folder of frames.

Frames in folders need only the image reader. Video files are read and written by the ffmpeg program of
the package imageio-ffmpeg, in a process of its own.
"""

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from deepinternal import files
from deepinternal.codecs import image_io
from deepinternal.codecs.transparency import extended
from deepinternal.messages import tell
from deepinternal.types import InputError

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".gif")
FRAME_RATE = 25.0  # default in frames per second
MAX_SAMPLES = 2_000_000_000  # greatest number of bytes of a video in memory
_INSTALL = "pip install 'imageio-ffmpeg>=0.5'"


def natural(path: Path) -> list:
    """Returns a sorting key for which 2.png comes before 10.png."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]


def read_video(path: str | os.PathLike) -> tuple[np.ndarray, float]:
    """Reads all frames of a video file, upright, and its frame rate.

    Args:
        path: A file that ffmpeg can decode; sound is ignored.

    Returns:
        uint8 (T, H, W, 3), and the frames per second, 0 if the file does not say.

    Raises:
        InputError: The file is missing, damaged or truncated, it has more than `MAX_SAMPLES` bytes of
            frames, or ffmpeg is missing.
    """
    name, program = files.show_path(path), _ffmpeg()
    with files.open_file(path):
        pass
    if program is None:
        raise InputError(f"{name}: video files need ffmpeg; {_INSTALL}, or give a folder of frames")
    command = [program, "-nostdin", "-nostats", "-v", "level+info", "-protocol_whitelist", "file"]
    command += ["-i", f"file:{os.fspath(path)}", "-map", "0:v:0", "-fps_mode", "passthrough"]
    command += ["-c:v", "ppm", "-pix_fmt", "rgb24", "-f", "image2pipe", "-"]
    frames, room = [], MAX_SAMPLES
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
        ) as p,
    ):
        try:
            for frame in _parse(p.stdout):
                frames.append(frame)
                room -= frame.size
                if room < 0:
                    raise InputError(
                        f"{name}: has more than {MAX_SAMPLES:.0e} bytes of frames; give a shorter or "
                        "smaller video"
                    )
        finally:
            p.kill()  # has no effect if the process has ended
        log.seek(0)
        said = log.read().decode("utf-8", "replace")
    wrong = [line for line in said.splitlines() if "[error]" in line or "[fatal]" in line]
    if wrong or not frames:
        why = re.sub(r"\[[^]]*\] *", "", wrong[0]) if wrong else "no frames"
        raise InputError(
            f"{name}: damaged, cut short or no video ({why[:150].strip()}); give a complete video"
        )
    rate = re.search(r" (\d+(?:\.\d+)?) fps", said)
    return np.stack(frames), float(rate[1]) if rate else 0.0


def _parse(stream: BinaryIO) -> Iterator[np.ndarray]:
    """Yields the frames (H, W, 3) of a stream of PPM images, without an incomplete last one."""
    while stream.readline() == b"P6\n":
        width, height = map(int, stream.readline().split())
        stream.readline()
        data = stream.read(3 * width * height)
        if len(data) == 3 * width * height:
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)


def read_frames(paths: Sequence[Path]) -> np.ndarray:
    """Reads image files of one size as uint8 (T, H, W, C), where C = 1 if all are grey, else 3.

    Raises:
        InputError: A file is unreadable or of another size than the first, or there are too many bytes.
    """
    frames, colours = [], 1
    for path in paths:
        image = extended(image_io.read_image(path)).pixels
        if frames and image.shape[:2] != frames[0].shape[:2]:
            (h, w), (y, x) = frames[0].shape[:2], image.shape[:2]
            raise InputError(
                f"{files.show_path(path)}: the frame is {y}x{x} but "
                f"{files.show_path(paths[0])} is {h}x{w}; give frames of one size"
            )
        colours = max(colours, image.shape[2])
        if 3 * image.shape[0] * image.shape[1] * len(paths) > MAX_SAMPLES:
            raise InputError(
                f"{files.show_path(path.parent)}: {len(paths)} frames are more than "
                f"{MAX_SAMPLES:.0e} bytes; give fewer or smaller frames"
            )
        frames.append(np.round(image * 255).astype(np.uint8))
    return np.stack([np.broadcast_to(f, (*f.shape[:2], colours)) for f in frames])


def write_frames(folder: Path, name: str, frames: np.ndarray, rate: float) -> list[str]:
    """Writes `<name>/00000.png`, ... and, with ffmpeg, `<name>.mp4`, both atomically.

    Args:
        folder: The folder to write to.
        name: Name of the video.
        frames: (T, H, W), (T, H, W, 1) or (T, H, W, 3), float; clipped to [0, 1].
        rate: Frames per second.

    Returns:
        The names of the results: `<name>.mp4`, if ffmpeg wrote it, and `<name>/`.
    """
    temporary = folder / f".{secrets.token_hex(8)}.tmp"
    temporary.mkdir()
    try:
        for number, frame in enumerate(frames):
            image_io.write_image(temporary / f"{number:05d}.png", frame)
        _replace_folder(temporary, folder / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    wrong = f"ffmpeg is missing; {_INSTALL}" if _ffmpeg() is None else ""
    wrong = wrong or _write_mp4(folder / f"{name}.mp4", frames, rate)
    if wrong:
        path = files.show_path(folder / name)
        tell(f"{path}: only the frames are written, without {name}.mp4: {wrong}")
        return [f"{name}/"]
    return [f"{name}.mp4", f"{name}/"]


def _replace_folder(new: Path, path: Path) -> None:
    """Renames a folder to a path and removes an older folder there."""
    old = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, old)
    os.replace(new, path)
    if old.is_dir():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink(missing_ok=True)


def _write_mp4(path: Path, frames: np.ndarray, rate: float) -> str:
    """Writes an H.264 video that every player can read; returns an error message, or ''.

    Such videos have even sizes; the last row or column of a frame of odd size is repeated.
    """
    height, width = (n + n % 2 for n in frames.shape[1:3])
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    command = [_ffmpeg(), "-nostats", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", f"{rate:g}", "-i", "-", "-an", "-c:v", "libx264"]
    # Untagged colours are shown as BT.601 by some players and as BT.709 by others.
    command += ["-vf", "scale=out_color_matrix=bt709:out_range=tv", "-pix_fmt", "yuv420p"]
    command += [
        part for kind in ("space", "_primaries", "_trc") for part in (f"-color{kind}", "bt709")
    ]
    command += ["-crf", "16", "-movflags", "+faststart", "-f", "mp4", str(temporary.absolute())]
    try:
        with (
            tempfile.TemporaryFile() as log,
            # In a session of its own, so that a Ctrl-C in the terminal reaches only this process.
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stderr=log, start_new_session=True
            ) as process,
        ):
            with contextlib.suppress(BrokenPipeError):
                for frame in frames:
                    process.stdin.write(_samples(frame, height, width))
                process.stdin.close()
            status = process.wait()
            log.seek(0)
            said = log.read().decode("utf-8", "replace").strip()
        if status:
            return f"ffmpeg failed: {said.splitlines()[-1] if said else status}"
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        return ""
    finally:
        temporary.unlink(missing_ok=True)


def _samples(frame: np.ndarray, height: int, width: int) -> bytes:
    """Converts a frame (H, W[, C]) to RGB bytes of an even size."""
    frame = frame.reshape(*frame.shape[:2], -1)
    samples = np.round(np.clip(frame, 0, 1) * 255).astype(np.uint8)
    room = [(0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)]
    return np.broadcast_to(np.pad(samples, room, mode="edge"), (height, width, 3)).tobytes()


def _ffmpeg() -> str | None:
    """Returns the path of the ffmpeg program, or None."""
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return None
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        return None
