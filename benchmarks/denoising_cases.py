"""The noisy images of `benchmarks.denoising`: which photographs there are, and how noise is added."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from deepinternal.codecs.image_io import read_image
from deepinternal.runs.inputs import IMAGE_SUFFIXES
from deepinternal.types import InputError

NOISES = ("float", "8bit")
_TRUTH = "_gt"  # the ending of the stem of a noisy photograph's ground truth


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photograph to be denoised.

    Attributes:
        group: The name of the set it belongs to.
        name: Its name in the set.
        path: The file, clean, or noisy if there is a ground truth.
        truth: The file of the ground truth of a photograph with noise of its own.
    """

    group: str
    name: str
    path: Path
    truth: Path | None = None


def find_photos(folder: Path, *, limit: int = 0) -> list[Photo]:
    """Finds the photographs in a folder, and in its subfolders, each of which is a set.

    Args:
        folder: The folder. Photographs X.* with a file X_gt.* beside them are noisy already.
        limit: The greatest number of photographs of a set; 0: all.

    Raises:
        InputError: There is no such folder, or no photograph in it.
    """
    if not folder.is_dir():
        raise InputError(f"--data={folder}: no such folder")
    found: list[Photo] = []
    for group in [folder, *sorted(p for p in folder.iterdir() if p.is_dir())]:
        files = sorted(p for p in group.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        truths = {p.stem.removesuffix(_TRUTH): p for p in files if p.stem.endswith(_TRUTH)}
        photos = [
            Photo(group.resolve().name, p.stem, p, truths.get(p.stem))
            for p in files
            if not p.stem.endswith(_TRUTH)
        ]
        if truths:
            photos = [photo for photo in photos if photo.truth]
        found += photos[: limit or None]
    if not found:
        raise InputError(f"--data={folder}: no photographs, neither in it nor in its subfolders")
    return found


def _gaussian(draws: np.random.Generator, image: np.ndarray, sigma: float) -> np.ndarray:
    return image + draws.normal(0, sigma, image.shape)


def _correlated(draws: np.random.Generator, image: np.ndarray, sigma: float) -> np.ndarray:
    """Adds gaussian noise blurred by a gaussian of one pixel, of the given standard deviation."""
    impulse = ndimage.gaussian_filter(np.pad([[1.0]], 8), 1.0)
    white = draws.normal(0, sigma / np.sqrt(np.sum(impulse**2)), image.shape)
    return image + ndimage.gaussian_filter(white, (1.0, 1.0, 0), mode="wrap")


def _poisson(draws: np.random.Generator, image: np.ndarray, sigma: float) -> np.ndarray:
    """Adds noise of the variance sigma^2 (0.2 + 1.6 image / 255), sigma^2 at mid-grey."""
    gain = 1.6 * sigma**2 / 255
    counted = gain * draws.poisson(image / gain) if gain else image
    return counted + draws.normal(0, np.sqrt(0.2) * sigma, image.shape)


def _impulses(draws: np.random.Generator, image: np.ndarray, sigma: float) -> np.ndarray:
    """Makes `sigma` percent of the pixels black or white."""
    shape = (*image.shape[:2], 1)
    wrong = draws.random(shape) < sigma / 100
    return np.where(wrong, 255.0 * (draws.random(shape) < 0.5), image)


KINDS: Mapping[str, Callable[[np.random.Generator, np.ndarray, float], np.ndarray]] = {
    "gaussian": _gaussian,
    "correlated": _correlated,
    "poisson": _poisson,
    "impulses": _impulses,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A noisy image.

    Attributes:
        photo: The photograph.
        sigma: The noise's standard deviation in 8-bit levels; for impulses, percent of the pixels.
        kind: A name of `KINDS`, or 'real'.
        noise: 'float': neither clipped nor rounded; '8bit': as in a file of 8 bits.
        seed: The seed of the noise.
        crop: The side of the part in the upper left that is used, in pixels; 0: all of it.
    """

    photo: Photo
    sigma: float = 0.0
    kind: str = "real"
    noise: str = "8bit"
    seed: int = 0
    crop: int = 0

    def facts(self) -> dict[str, Any]:
        """Returns the facts that identify the case in files."""
        facts = dataclasses.asdict(self)
        del facts["photo"]
        return {"set": self.photo.group, "image": self.photo.name, **facts}

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the truth and the noisy image, (H, W, C) in about [0, 1]; equal for equal cases."""
        cut = lambda path: read_image(path).pixels[: self.crop or None, : self.crop or None]
        if self.photo.truth:
            return cut(self.photo.truth), cut(self.photo.path)
        truth = cut(self.photo.path)
        noisy = add_noise(255 * truth, self.sigma, kind=self.kind, seed=self.seed)
        if self.noise == "8bit":
            noisy = np.clip(np.round(noisy), 0, 255)
        return truth, np.float32(noisy / 255)


def add_noise(image: np.ndarray, sigma: float, *, kind: str = "gaussian", seed: int) -> np.ndarray:
    """Adds noise to an image.

    Args:
        image: (H, W, C) in 8-bit levels, 0 to 255.
        sigma: See `Case`.
        kind: A name of `KINDS`.
        seed: The seed of `numpy.random.default_rng`.

    Returns:
        (H, W, C) in the same unit, neither rounded nor clipped.
    """
    return KINDS[kind](np.random.default_rng(seed), np.float64(image), sigma)


def cases(
    photos: list[Photo],
    sigmas: list[float],
    *,
    noises: list[str],
    kind: str = "gaussian",
    seeds: int = 1,
    crop: int = 0,
) -> Iterator[Case]:
    """Yields the cases, the first seed of all images first; see `Case`."""
    for seed in range(seeds):
        for noise in noises:
            for sigma in sigmas:
                clean = (p for p in photos if not p.truth)
                yield from (Case(p, sigma, kind, noise, seed, crop) for p in clean)
        if not seed:
            yield from (Case(p, crop=crop) for p in photos if p.truth)
