"""Cases of `benchmarks.decomposition` with reflections on a window, whose backgrounds are known.

In a folder, searched with its subfolders, NAME.png (or another format) is a photograph through a window
and NAME_background.* the same view without the reflection.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.decomposition.restorations import Restoration, Rival, psnr
from deepinternal.codecs.image_io import read_image
from deepinternal.types import InputError

FIGURE = "ssim"
_MARK = "_background"
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def find(folder: Path, *, limit: int = 0) -> list[Restoration]:
    """Returns the photographs of a folder whose backgrounds are known.

    Args:
        folder: A folder with pairs of files, in subfolders, too.
        limit: Greatest number of photographs; 0: all.

    Returns:
        One case for each pair; `fields` hold the task.

    Raises:
        InputError: The folder has no pair, or a pair differs in size.
    """
    files = [p for p in sorted(Path(folder).rglob("*")) if p.suffix.lower() in _SUFFIXES]
    known = {(p.parent, p.stem): p for p in files}
    cases = []
    for (parent, name), path in known.items():
        truth = known.get((parent, name + _MARK))
        if truth is None or (limit and len(cases) == limit):
            continue
        pair = [read_image(p).pixels for p in (path, truth)]
        if pair[0].shape != pair[1].shape:
            raise InputError(f"{truth}: has another size or other channels than {path.name}")
        cases.append(Restoration(name, *pair, fields={"task": "reflection"}))
    if not cases:
        raise InputError(
            f"--data={folder}: has no pairs; give a folder with NAME.png and NAME{_MARK}.png"
        )
    return cases


def score(outputs: Mapping[str, np.ndarray], case: Restoration) -> dict[str, float]:
    """Returns PSNR in dB and SSIM of the background, and by how much they exceed the input's."""
    made = np.clip(np.asarray(outputs["result"], np.float64), 0, 1)
    figures = {"psnr": psnr(made, case.truth), "ssim": _ssim(made, case.truth)}
    input_ = {"psnr": psnr(case.image, case.truth), "ssim": _ssim(case.image, case.truth)}
    return figures | {f"{name}_gain": figures[name] - input_[name] for name in figures}


def relative_smoothness(case: Restoration, *, weight: float = 100.0, turns: int = 4) -> np.ndarray:
    """Separation by Li and Brown (CVPR 2014): a sparse background and a smooth reflection.

    Minimises rho(gradients of B) + weight * |Laplacian of I - B|^2 for each channel by half-quadratic
    splitting with Fourier transforms; a constant keeps B between 0 and I.
    """
    shape = case.image.shape[:2]
    spectrum = lambda kernel: np.fft.fft2(_rolled(kernel, shape))
    gradients = [spectrum(np.array([[1.0, -1.0]])), spectrum(np.array([[1.0], [-1.0]]))]
    laplacian = np.array([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    smooth = weight * np.abs(spectrum(laplacian)) ** 2
    made = np.empty(case.image.shape)
    for channel in range(made.shape[-1]):
        image = np.float64(case.image[..., channel])
        background = image
        for turn in range(turns):
            beta = 20.0 * 2 ** (turn + 1)
            top, bottom = smooth * np.fft.fft2(image), smooth + 1e-16
            for each in gradients:
                change = np.fft.ifft2(each * np.fft.fft2(background)).real
                change = np.where(np.abs(change) < 1 / beta, 0, change)
                top = top + beta * each.conj() * np.fft.fft2(change)
                bottom = bottom + beta * np.abs(each) ** 2
            background = _shifted(np.fft.ifft2(top / bottom).real, image)
        made[..., channel] = background
    return made


def black_point(case: Restoration) -> np.ndarray:
    """The image minus a constant colour, so that half a percent of each channel is black."""
    dark = np.percentile(case.image, 0.5, axis=(0, 1))
    return np.clip(case.image - dark, 0, 1)


PEERS: Mapping[str, Rival] = {
    "relative smoothness": relative_smoothness,
    "black point": black_point,
}


def _shifted(background: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Adds the constant for which a background lies best between 0 and the image, and clips it."""
    constant = 0.0
    for _ in range(100):
        moved = background + constant
        excess = np.minimum(moved, 0) + np.maximum(moved - image, 0)
        step = -2 * np.mean(excess)
        constant += step
        if abs(step) < 1 / image.size:
            break
    return np.clip(background + constant, 0, image)


def _rolled(kernel: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Returns a kernel in an image of zeros, with its centre at the first pixel."""
    made = np.zeros(shape)
    made[: kernel.shape[0], : kernel.shape[1]] = kernel
    return np.roll(made, (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), (0, 1))


def _ssim(made: np.ndarray, truth: np.ndarray) -> float:
    """Returns the SSIM of the luma, with a Gaussian window of 1.5 pixels."""
    import skimage.metrics

    luma = [np.asarray(x, np.float64) for x in (made, truth)]
    if luma[0].shape[-1] == 3:
        luma = [x @ np.array([0.299, 0.587, 0.114]) for x in luma]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(
        skimage.metrics.structural_similarity(*map(np.squeeze, luma), data_range=1, **options)
    )
