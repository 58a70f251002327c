"""Cases of `benchmarks.decomposition` with haze: real pairs, and photographs with synthetic haze.

In a folder, searched with its subfolders, NAME.png with NAME_gt.png is a photograph in haze and the
same view without; both are reduced to at most 512 pixels. All other colour photographs are reduced to
at most 320 pixels and get haze three times by I = t * J + (1 - t) * A. There t = exp(-beta * depth), of
the densities beta in `DENSITIES` and with made depths of three kinds; A is random and tinted. If the
folder has such photographs, and all are taken, those of scikit-image join them, one of which has a
measured depth. Hazy images are rounded to 8 bits.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.ndimage

from benchmarks.decomposition.restorations import Restoration, Rival, psnr
from deepinternal.codecs.image_io import read_image
from deepinternal.types import InputError

FIGURE = "psnr"
DENSITIES = (0.5, 1.0, 1.5)
_REAL_SIDE, _MADE_SIDE = 512, 320
_NEAR, _FAR = 0.2, 1.8  # depths of the nearest and of the farthest pixel
_SCIKIT = ("astronaut", "chelsea", "coffee", "rocket")


def find(folder: Path, *, limit: int = 0) -> list[Restoration]:
    """Returns the cases of a folder.

    Args:
        folder: A folder with photographs, in subfolders, too.
        limit: Greatest number of photographs; 0: all.

    Returns:
        One case for each pair of real haze and, for each other photograph, one for each density.
        `facts` hold `kind`, 'real' or that of the depth; made ones also `beta` and `airlight`.

    Raises:
        InputError: The folder has no photograph.
    """
    paths = {path.stem: path for path in sorted(Path(folder).rglob("*.png"))}
    paths = {name: path for name, path in paths.items() if not name.endswith("_gt")}
    if not paths:
        raise InputError(f"--data={folder}: has no .png; give a folder with photographs")
    truths = {n: p.with_name(f"{n}_gt.png") for n, p in paths.items()}
    cases, photographs = [], {}
    for name in list(paths)[: limit or None]:
        if truths[name].exists():
            pair = [_small(read_image(p).pixels, _REAL_SIDE) for p in (paths[name], truths[name])]
            if pair[0].shape != pair[1].shape:
                raise InputError(f"{truths[name]}: has another size than {paths[name].name}")
            cases.append(Restoration(name, *pair, facts={"kind": "real"}))
        elif _is_colour(pixels := read_image(paths[name]).pixels):
            photographs[name] = _small(pixels, _MADE_SIDE), None
    if photographs and not limit:
        photographs |= _scikit_image()
    for index, (name, (photograph, depth)) in enumerate(photographs.items()):
        cases += _made(name, photograph, depth, index)
    return cases


def score(outputs: Mapping[str, np.ndarray], case: Restoration) -> dict[str, float]:
    """Returns PSNR in dB, SSIM and, where the airlight is known, the greatest error of a channel."""
    import skimage.metrics

    made = np.clip(np.asarray(outputs["result"], np.float64), 0, 1)
    alike = skimage.metrics.structural_similarity(
        np.float64(case.truth), made, channel_axis=-1, data_range=1
    )
    found = {"psnr": psnr(made, case.truth), "ssim": float(alike)}
    if "airlight" in case.facts and "airlight_colour" in outputs:
        error = np.abs(np.asarray(outputs["airlight_colour"]) - case.facts["airlight"])
        found["airlight_error"] = float(error.max())
    return found


def dark_channel_prior(case: Restoration) -> np.ndarray:
    """Dehazing by He, Sun and Tang (CVPR 2009): windows of 15 pixels, omega .95, guided filter.

    The airlight is the mean colour of the 0.1 % of the pixels whose dark channel is highest.
    """
    import cv2

    image, window = np.float32(case.image), np.ones((15, 15), np.uint8)
    dark = cv2.erode(image.min(axis=-1), window)
    haziest = np.argsort(-dark, axis=None)[: max(dark.size // 1000, 1)]
    light = image.reshape(-1, 3)[haziest].mean(axis=0)
    t = 1 - 0.95 * cv2.erode((image / light).min(axis=-1), window)
    t = np.clip(_guided(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), t), 0.1, 1)[..., None]
    return np.clip((image - light) / t + light, 0, 1)


def _guided(guide: np.ndarray, target: np.ndarray, radius: int = 60, ridge: float = 1e-4):
    import cv2

    mean = lambda x: cv2.blur(x, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT)
    middle, level = mean(guide), mean(target)
    slope = (mean(guide * target) - middle * level) / (mean(guide * guide) - middle**2 + ridge)
    return mean(slope) * guide + mean(level - slope * middle)


PEERS: Mapping[str, Rival] = {"dark channel prior": dark_channel_prior}


def _scikit_image() -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """The photographs of scikit-image with their depths, if these are known."""
    import skimage.data

    found = {n: (_small(getattr(skimage.data, n)(), _MADE_SIDE), None) for n in _SCIKIT}
    left, _, disparity = skimage.data.stereo_motorcycle()
    known = np.isfinite(disparity) & (disparity > 0)
    nearest = scipy.ndimage.distance_transform_edt(
        ~known, return_distances=False, return_indices=True
    )
    depth = np.float32(1 / disparity[tuple(nearest)])
    return found | {"motorcycle": (_small(left, _MADE_SIDE), _small(depth, _MADE_SIDE))}


def _is_colour(pixels: np.ndarray) -> bool:
    return pixels.ndim == 3 and pixels.shape[-1] == 3 and bool(np.ptp(pixels, axis=-1).any())


def _small(pixels: np.ndarray, side: int) -> np.ndarray:
    """Returns an image in [0, 1], reduced with antialiasing to at most `side` pixels."""
    import skimage.transform
    import skimage.util

    image = skimage.util.img_as_float32(pixels) if pixels.dtype == np.uint8 else np.float32(pixels)
    scale = min(side / max(image.shape[:2]), 1)
    size = [round(n * scale) for n in image.shape[:2]]
    if size == [*image.shape[:2]]:
        return image
    return np.float32(skimage.transform.resize(image, size, anti_aliasing=True))


def _made(name: str, photograph: np.ndarray, depth: np.ndarray | None, index: int):
    """The cases of one photograph."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    cases = []
    for number, beta in enumerate(DENSITIES):
        kind = "measured" if depth is not None else [*_DEPTHS][(index + number) % len(_DEPTHS)]
        far = depth if depth is not None else _DEPTHS[kind](photograph, rng)
        far = _NEAR + (_FAR - _NEAR) * (far - far.min()) / max(np.ptp(far), 1e-6)
        light = np.clip(rng.uniform(0.7, 0.95) * (1 + rng.uniform(-0.1, 0.1, 3)), 0, 1)
        t = np.exp(-beta * far)[..., None]
        hazy = np.round(255 * (t * photograph + (1 - t) * light)) / 255
        facts = {"kind": kind, "beta": beta, "airlight": [round(float(a), 4) for a in light]}
        cases.append(Restoration(f"{name}-{beta}", np.float32(hazy), photograph, facts=facts))
    return cases


def _horizon(photograph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A ground that recedes to a horizon in the upper part; above it, all is as far."""
    height, width = photograph.shape[:2]
    below = np.maximum(np.linspace(0, 1, height) - rng.uniform(0.05, 0.35), 0)
    return np.repeat((1 / (0.25 + below))[:, None], width, axis=1)


def _slope(photograph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A plane that is inclined in a random direction, farther above than below."""
    y, x = np.mgrid[-1 : 1 : 1j * photograph.shape[0], -1 : 1 : 1j * photograph.shape[1]]
    angle = rng.uniform(-1.2, 1.2)
    return np.sin(angle) * x - np.cos(angle) * y


def _objects(photograph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field, with a step of depth at the outline of each segment of the photograph."""
    import skimage.segmentation

    shape = photograph.shape[:2]
    field = scipy.ndimage.gaussian_filter(rng.normal(size=shape), min(shape) / 5, mode="reflect")
    labels = skimage.segmentation.felzenszwalb(photograph, scale=400, sigma=1, min_size=400)
    steps = rng.normal(size=labels.max() + 1)[labels]
    return field / field.std() + 0.7 * steps


_DEPTHS = {"horizon": _horizon, "slope": _slope, "objects": _objects}
