"""Whole runs as users start them, from files to files with reports: quality and images per hour."""

import shutil
import time
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from benchmarks import quality, timing
from benchmarks.accelerator.device import device as device
from benchmarks.accelerator.items import Item, Numbers, Settings
from deepinternal.ops.resizing import resize

CONFIG = "zssr:fast"
_PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "coins")  # that scikit-image bundles
_TINY = {"steps": 2, "layers": 3, "features": 6, "crop": 24, "ensemble": "off"}


def _photographs(settings: Settings) -> dict[str, np.ndarray]:
    """Returns photographs (H, W, C) uint8 with even sides, small parts of two in the small run."""
    import skimage.data

    found = {}
    for name in _PHOTOGRAPHS[: 2 if settings.small else None]:
        photo = getattr(skimage.data, name)()
        h, w = (48, 40) if settings.small else (n // 2 * 2 for n in photo.shape[:2])
        photo = photo[:h, :w] if photo.ndim == 3 else photo[:h, :w, None]
        found[name] = photo
    return found


def _halved(photo: np.ndarray) -> np.ndarray:
    """Returns a photograph (H, W, C) uint8 reduced by 2 with the cubic kernel."""
    small = np.asarray(resize(photo.astype(np.float32), scale=0.5))
    return np.clip(np.round(small), 0, 255).astype(np.uint8)


def _write(path: Path, image: np.ndarray) -> None:
    iio.imwrite(path, image[..., 0] if image.shape[-1] == 1 else image)


def _fields(settings: Settings, **more: Any) -> dict[str, Any]:
    return {"progress": False, **more, **(_TINY if settings.small else {})}


def _empty(settings: Settings, name: str) -> Path:
    folder = settings.scratch / name
    shutil.rmtree(folder, ignore_errors=True)  # of a call that was ended
    folder.mkdir(parents=True)
    return folder


def _quality(lanes: int) -> Item:
    """An item: super-resolution of photographs whose truth is known; lanes: 0 for the default."""

    def prepare(settings: Settings) -> tuple[Settings, Path]:
        folder = _empty(settings, "pairs")
        if settings.data:
            quality.link_pairs(quality.find_pairs(Path(settings.data)), folder)
            return settings, folder
        for name, photo in _photographs(settings).items():
            _write(folder / f"{name}_gt.png", photo)
            _write(folder / f"{name}.png", _halved(photo))
        return settings, folder

    def measure(prepared: tuple[Settings, Path]) -> Numbers:
        settings, folder = prepared
        fields = _fields(settings, **{"parallel.images_per_device": lanes})
        began = time.perf_counter()
        result = quality.run_config(CONFIG, fields, folder, _empty(settings, "work"))
        seconds, images = time.perf_counter() - began, _done(result)
        mean = result["mean"]
        return {
            "Y-PSNR": (mean["psnr_y"], "dB"),
            "SSIM": (mean["ssim_y"], ""),
            "cubic Y-PSNR": (mean["baseline_psnr_y"], "dB"),
            "images": (len(images), ""),
            "wall time": (seconds, "s"),
            "compiling": (max(m["compile_seconds"] for m in images), "s"),
            **{f"Y-PSNR of {m['image']}": (m["psnr_y"], "dB") for m in images},
        }

    return Item(prepare, measure)


def _done(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the images' metrics. Raises RuntimeError if one has failed."""
    for metrics in result["images"]:
        if metrics["status"] != "done":
            raise RuntimeError(f"{metrics['image']}: {metrics['status']}: {metrics['error']}")
    return result["images"]


def _files(count: int) -> Item:
    """An item: super-resolution of small images, with all that is read and written."""

    def prepare(settings: Settings) -> tuple[Settings, Path]:
        folder, rng = _empty(settings, "images"), np.random.default_rng(0)
        photo, side = _halved(np.uint8(timing.bundled_photo() * 255)), 24 if settings.small else 128
        for number in range(min(count, 2) if settings.small else count):
            top, left = rng.integers(0, 256 - side + 1, 2)
            _write(folder / f"{number:03d}.png", photo[top : top + side, left : left + side])
        return settings, folder

    def measure(prepared: tuple[Settings, Path]) -> Numbers:
        settings, folder = prepared
        began = time.perf_counter()
        result = quality.run_config(CONFIG, _fields(settings), folder, _empty(settings, "work"))
        seconds, images = time.perf_counter() - began, _done(result)
        compiling = max(m["compile_seconds"] for m in images)
        return {
            "images per hour": (3600 * len(images) / seconds, "1/h"),
            "without compiling": (3600 * len(images) / max(seconds - compiling, 1e-9), "1/h"),
            "wall time": (seconds, "s"),
            "compiling": (compiling, "s"),
            "images": (len(images), ""),
        }

    return Item(prepare, measure)


ITEMS = {
    "quality/one-lane": _quality(1),
    "quality/default-lanes": _quality(0),
    **{f"files/{count}": _files(count) for count in (1, 64)},
}
