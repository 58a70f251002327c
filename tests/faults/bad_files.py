"""Gives bad files to the command of every method.

    python -m tests.faults.bad_files --out=DIR [--runs="NAME ..."]

Each kind of `KINDS` is an input, together with a good one where the method takes a list; and a side
input (mask, kernel, ground truth) of the methods that have one. Each bad file is refused in one line
that names it (kinds marked as bad in any case), or give a result (the others), never a traceback; the
good image of the list must be done. Prints a table; the exit status is 1 if anything is wrong.
"""

import json
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from absl import app
from absl import flags as absl_flags
from PIL import Image

from tests.codecs.image_samples import SIGNATURE, chunk
from tests.faults import commands

_OUT = absl_flags.DEFINE_string("out", None, "Folder for runs.", required=True)
_RUNS = absl_flags.DEFINE_spaceseplist("runs", list(commands.RUNS), "Runs to try.")

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (64, 64, 3), np.uint8)


def _png(path: Path, samples=NOISE, **options) -> bytes:
    Image.fromarray(samples).save(path, "PNG", **options)
    return path.read_bytes()


def _saved(path: Path, kind: str, samples=NOISE, mode: str = "", **options) -> bytes:
    image = Image.fromarray(samples)
    (image.convert(mode) if mode else image).save(path, kind, **options)
    return path.read_bytes()


def _cut(kind: str, part: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes((d := _saved(path, kind))[: int(len(d) * part)]) and None


def _flip(kind: str, at: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        data = bytearray(_saved(path, kind))
        for i in range(40):
            data[int(len(data) * at) + i] ^= 0xA5
        path.write_bytes(data)

    return make


def _header(width: int, height: int) -> Callable[[Path], None]:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return lambda path: path.write_bytes(SIGNATURE + body) and None


def _floats(value: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        samples = (NOISE / 255).astype(np.float32)
        samples[3, 4] = value
        tifffile.imwrite(path, samples, photometric="rgb")

    return make


def _bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def _frames(path: Path) -> None:
    pages = [Image.fromarray(NOISE[:, :, i]) for i in range(3)]
    pages[0].save(path, "GIF", save_all=True, append_images=pages[1:])


# By name: whether the file is bad in any case, its suffix, and how to write it.
KINDS: dict[str, tuple[bool, str, Callable[[Path], object]]] = {
    "empty": (True, ".png", _bytes(b"")),
    "one byte": (True, ".png", _bytes(b"\x89")),
    "text": (True, ".png", _bytes(b"no image at all\n")),
    "html": (True, ".jpg", _bytes(b"<!doctype html><title>404</title>")),
    "zeros": (True, ".tif", _bytes(bytes(5000))),
    "random": (True, ".webp", _bytes(RNG.bytes(5000))),
    "pickle": (True, ".png", _bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00.")),
    "zip": (True, ".tif", _bytes(b"PK\x03\x04" + bytes(200))),
    "head of a png": (True, ".png", _bytes(SIGNATURE)),
    "head of a tiff": (True, ".tif", _bytes(b"II*\0\x08\0\0\0")),
    "head of a big tiff": (True, ".tif", _bytes(b"II+\0\x08\0\0\0" + bytes(8))),
    "tiff without end": (True, ".tif", _bytes(b"II*\0\x08\0\0\0" + b"\x00\x00\x08\x00\x00\x00")),
    "cut png": (True, ".png", _cut("PNG", 0.5)),
    "cut jpeg": (True, ".jpg", _cut("JPEG", 0.5)),
    "cut tiff": (True, ".tif", _cut("TIFF", 0.6)),
    "cut webp": (True, ".webp", _cut("WEBP", 0.5)),
    "cut bmp": (True, ".bmp", _cut("BMP", 0.5)),
    "cut gif": (True, ".gif", _cut("GIF", 0.5)),
    "flipped png": (True, ".png", _flip("PNG", 0.5)),
    "flipped jpeg": (False, ".jpg", _flip("JPEG", 0.6)),
    "flipped head of jpeg": (False, ".jpg", _flip("JPEG", 0.02)),
    "flipped webp": (False, ".webp", _flip("WEBP", 0.4)),
    "bomb": (True, ".png", _header(60000, 60000)),
    "no columns": (True, ".png", _header(0, 64)),
    "too few rows": (True, ".png", _header(64, 64)),
    "nan": (True, ".tif", _floats(float("nan"))),
    "infinite": (True, ".tif", _floats(float("inf"))),
    "too bright": (True, ".tif", _floats(7.0)),
    "negative": (True, ".tif", _floats(-1.0)),
    "complex": (True, ".tif", lambda p: tifffile.imwrite(p, np.ones((64, 64), np.complex64))),
    "five channels": (True, ".tif", lambda p: tifffile.imwrite(p, np.ones((64, 64, 5), "u1"))),
    "animated": (True, ".gif", _frames),
    "one pixel": (False, ".png", lambda p: _png(p, NOISE[:1, :1])),
    "one row": (False, ".png", lambda p: _png(p, NOISE[:1])),
    "tiny": (False, ".png", lambda p: _png(p, NOISE[:5, :7])),
    "thin": (False, ".png", lambda p: _png(p, np.tile(NOISE[:3], (1, 6, 1)))),
    "flat black": (False, ".png", lambda p: _png(p, NOISE * 0)),
    "flat white": (False, ".png", lambda p: _png(p, NOISE * 0 + 255)),
    "grey": (False, ".png", lambda p: _saved(p, "PNG", mode="L")),
    "invisible": (False, ".png", lambda p: _png(p, np.dstack([NOISE, NOISE[..., 0] * 0]))),
    "half visible": (False, ".png", lambda p: _png(p, np.dstack([NOISE, NOISE[..., 0]]))),
    "16 bits": (False, ".tif", lambda p: tifffile.imwrite(p, NOISE.astype("u2") * 257)),
    "cmyk": (False, ".jpg", lambda p: _saved(p, "JPEG", mode="CMYK")),
    "palette": (False, ".png", lambda p: _saved(p, "PNG", mode="P")),
    "one bit": (False, ".png", lambda p: _saved(p, "PNG", mode="1")),
}


class Trial:
    """Runs commands on bad files and collects what is wrong."""

    def __init__(self, out: Path):
        self.out, self.launched = out, commands.launcher(out)
        self.inputs = commands.make_inputs(out / "inputs")
        self.count, self.wrong = 0, []

    def say(self, what: str, problem: str) -> None:
        """Notes a problem."""
        print(f"    {what}: {problem}", flush=True)
        self.wrong.append(f"{what}: {problem}")

    def run(self, name: str, workdir: Path, **fields) -> tuple[int, list[str]]:
        """Runs a command; returns its exit status and the lines that it printed."""
        shutil.rmtree(workdir, ignore_errors=True)
        process, printed = self.launched.start(
            *commands.flags(name, self.inputs, workdir, **fields)
        )
        status = self.launched.wait(process, 900)
        lines = printed.read_text(encoding="utf-8", errors="replace").splitlines()
        if any("Traceback" in line for line in lines) or list(workdir.rglob("traceback.txt")):
            self.say(name, f"a traceback: {lines[-3:]}")
        self.count += 1
        return status, lines

    def listed(self, name: str) -> None:
        """Tries all kinds as inputs of one command, beside a good one."""
        folder, workdir = self.out / f"{name} files", self.out / f"{name} out"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for kind, (_, suffix, make) in KINDS.items():
            make(folder / f"{kind}{suffix}")
        shutil.copy(self.inputs["a"], folder / "zz good.png")
        status, lines = self.run(name, workdir, input=folder, steps=2)
        if status != 1:
            self.say(name, f"status {status}: {lines[-3:]}")
            return
        summary = json.loads((workdir / "summary.json").read_text(encoding="utf-8"))
        found = {image["image"]: image for image in summary["images"]}
        if found["zz good"]["status"] != "done":
            self.say(name, f"the good image: {found['zz good']['error']}")
        for kind, (is_bad, _, _) in KINDS.items():
            image = found[kind]
            if is_bad and image["status"] != "failed":
                self.say(f"{name}, {kind}", f"is {image['status']}")
            error = image["error"]
            if image["status"] == "failed" and not (kind in error or "image" in error):
                self.say(f"{name}, {kind}", f"names no file: {error}")

    def alone(self, name: str, field: str, what: str, files: Callable) -> None:
        """Tries each kind as a field of a command that takes it for one job."""
        place = self.out / f"{name} {what}"
        for kind, (is_bad, suffix, make) in KINDS.items():
            if what == "frame" and suffix == ".gif":
                continue  # is a video, which is left out beside frames
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place / f"{kind}{suffix}")
            value = files(place, place / f"{kind}{suffix}")
            status, lines = self.run(name, self.out / f"{name} out", steps=2, **{field: value})
            if status not in (0, 1, 2) or (is_bad and status == 0):
                self.say(f"{name}, {what} {kind}", f"status {status}: {lines[-3:]}")
            if status == 2 and len(lines) != 1:
                self.say(f"{name}, {what} {kind}", f"{len(lines)} lines: {lines[-3:]}")


def main(argv) -> None:
    """Runs all trials."""
    del argv
    trial = Trial(Path(_OUT.value).absolute())
    partner = lambda folder, path: f"{trial.inputs['a']},{path}"

    def among_frames(folder: Path, path: Path) -> Path:
        for i in range(2):
            _png(folder / f"frame {i}.png")
        return folder

    for name in _RUNS.value:
        method = name.partition(":")[0]
        if method == "transparency":
            trial.alone(name, "input", "partner", partner)
        elif method == "video_segmentation":
            trial.alone(name, "input", "frame", among_frames)
        else:
            trial.listed(name)
        only = lambda folder, path: path
        if "inpaint" in name:
            trial.alone(name, "mask", "mask", only)
        if name == "zssr:fast":
            trial.alone(name, "ground_truth", "truth", only)
            trial.alone(name, "kernel", "kernel", only)
        if method == "segmentation":
            trial.alone(name, "foreground", "hint", only)
        print(f"{name}: {trial.count} commands, {len(trial.wrong)} wrong", flush=True)
    trial.launched.close()
    sys.exit(bool(trial.wrong))


if __name__ == "__main__":
    app.run(main)
