"""Decisions about an image before it is denoised: the model of its noise, and the algorithm.

The decisions are arrays among the inputs, so that images for which they differ share programs; only the
algorithm and its variant, see `Decision`, choose the program. Fields of the config can set each
of them instead.
"""

import dataclasses

import numpy as np

from deepinternal.estimators import image_facts
from deepinternal.estimators.impulses import find_impulses
from deepinternal.estimators.noise_model import NoiseModel, measure_noise
from deepinternal.methods.denoise import bayes, clipping, ridge, scales
from deepinternal.methods.denoise.config import Config
from deepinternal.methods.denoise.fill import scattered_std

LEVELS = {"low": 15 / 255, "middle": 35 / 255, "high": np.inf}  # greatest noise of each level
KINDS = ("none", "single", "salt and pepper", "random values")  # of impulses
QUIET = 2 / 255  # standard deviation below which measured noise is left as it is
SATURATED = 0.5  # fraction of values that are 0 or 1 above which nothing is taken for noise
FILLING = ("blindspot", "bayes")  # the algorithms that fill in missing pixels
QUIET_SCATTERED = 4 / 255  # like QUIET, if more than MANY pixels are missing
DOUBTFUL = 12 / 255  # the same, if also the filled image shows no more noise than QUIET_SCATTERED
FEWEST = 16  # least number of known pixels for `blindspot`
MANY = 0.1  # fraction of missing pixels above which `bayes` is chosen instead of `ridge`
LEAST = 8  # least side of an image that is denoised, in pixels


@dataclasses.dataclass(frozen=True)
class Decision:
    """The decisions for an image.

    Attributes:
        algorithm: The name of the algorithm.
        variant: What else the program depends on: the name of the level of noise for `ridge`, with
            `ridge.MOSAIC` if the image is denoised at several sizes; the kind of pairs for `pairs`;
            whether many pixels are missing for `bayes`.
        noise: The model of the noise as arrays by name: `std`, `gain`, `offset` (C,), `power` (16, 16,
            C), `mixing` (C,), see `NoiseModel`; `level`, `variance` (1024, C), see `clipping.tables`.
        wrong: Bool (H, W), the pixels that are wrong and were replaced; None: there are none.
        image: (H, W, C), the image with these pixels replaced.
        facts: Numbers by name: `clipped`, the fraction of clipped values; `correlated`, whether the
            noise of neighbouring pixels is correlated; `impulses`, the fraction of wrong pixels;
            `impulse_kind`, their kind in `KINDS`; `jpeg_quality`, 0 if the image does not count as a
            JPEG.
    """

    algorithm: str
    variant: str
    noise: dict[str, np.ndarray]
    wrong: np.ndarray | None
    image: np.ndarray
    facts: dict[str, np.float32]


def decide(config: Config, image: np.ndarray, known: np.ndarray | None = None) -> Decision:
    """Measures the noise of an image, and chooses how to remove it.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1], in which missing pixels are replaced.
        known: Bool (H, W), false where they are missing. None: none is.
    """
    missing = 0.0 if known is None else 1 - np.mean(known)
    found = measure_noise(image)
    if missing > MANY:
        found = _scattered(found, image, known)
    saturated = found.clipped > SATURATED
    wrong = found.dead if _on(config.impulses, not saturated) else None
    repaired = image if wrong is None else find_impulses(image).filled
    jpeg, correlated = found.jpeg_quality, _on(config.correlated, found.correlated)
    if _on(config.jpeg, jpeg > 0) != (jpeg > 0):
        jpeg = image_facts.measure(image, compressed=config.jpeg)["jpeg_quality"]
    noise = _noise(config, found, repaired)
    quiet = saturated or noise["std"].max() <= QUIET
    # Fine texture in flat parts is not taken for noise; the errors of a JPEG are known.
    if not (quiet or correlated or jpeg or missing > MANY):
        quiet = found.white_std <= QUIET
    algorithm = _algorithm(config, image, quiet=quiet, missing=missing)
    if algorithm in FILLING and (not config.strength or (quiet and not config.noise_std)):
        noise = _noise(config.model_copy(update={"strength": 0.0}), found, repaired)
    facts = {
        "clipped": found.clipped,
        "correlated": correlated,
        "impulses": found.impulses if wrong is not None else 0,
        "impulse_kind": KINDS.index(found.kind),
        "jpeg_quality": jpeg,
    }
    return Decision(
        algorithm=algorithm,
        variant=_variant(config, algorithm, noise, image, missing),
        noise=noise,
        wrong=wrong,
        image=repaired,
        facts={name: np.float32(x) for name, x in facts.items()},
    )


def _on(field: str, measured: bool) -> bool:
    """Whether a field is on, or, if it is 'auto', whether its subject was measured."""
    return {"on": True, "off": False, "auto": measured}[field]


def _noise(config: Config, found: NoiseModel, image: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of `Decision.noise`: as measured, or as the fields say."""
    std, gain, power = (np.asarray(x, float) for x in (found.std, found.gain, found.power))
    mean = image.mean(axis=(0, 1))
    if config.noise_std:
        gain = gain * (config.noise_std / np.maximum(std, 1e-6)) ** 2
        std = np.full_like(std, config.noise_std)
    if config.noise_gain != "auto":
        gain = np.full_like(std, config.noise_gain)
    mixing = np.asarray(found.mixing, float)
    if config.correlated == "off":
        power, mixing = np.ones_like(power), np.ones_like(mixing)
    std, gain = std * config.strength, gain * config.strength**2
    gain = np.minimum(gain, std**2 / np.maximum(mean, 1e-6))  # of no noise at black
    offset = std**2 - gain * mean
    noise = {"std": std, "gain": gain, "offset": offset, "power": power, "mixing": mixing}
    noise |= clipping.tables(image, gain, offset)
    return {name: np.asarray(x, np.float32) for name, x in noise.items()}


def _algorithm(config: Config, image: np.ndarray, *, quiet: bool, missing: float) -> str:
    """The algorithm: the given one, or the one that suits the noise and the missing pixels."""
    quiet = not config.strength or (quiet and not config.noise_std)
    if min(image.shape[:2]) < LEAST:
        return "unchanged"
    if config.algorithm == "auto":
        filling = missing > (0 if quiet else MANY)
        return "bayes" if filling else "unchanged" if quiet else "ridge"
    filling = missing > 0 and config.algorithm in FILLING
    if filling and (1 - missing) * image.shape[0] * image.shape[1] < FEWEST:
        return "bayes"
    return "unchanged" if quiet and not filling else config.algorithm


def _scattered(found: NoiseModel, image: np.ndarray, known: np.ndarray) -> NoiseModel:
    """The model of white noise, measured from the known pixels of an image that lacks many."""
    std = scattered_std(image, known)
    # Each measure mistakes some texture for noise.
    most = DOUBTFUL if found.std.max() <= QUIET_SCATTERED else QUIET_SCATTERED
    if std.max() <= most:
        std = np.minimum(std, QUIET / 2)
    return dataclasses.replace(
        found,
        std=std,
        gain=np.zeros_like(std),
        offset=std**2,
        power=np.ones_like(found.power),
        mixing=np.ones_like(found.mixing),
        correlated=False,
        impulses=0.0,
        dead=None,
    )


def _variant(
    config: Config, algorithm: str, noise: dict[str, np.ndarray], image: np.ndarray, missing: float
) -> str:
    """The static choice of an algorithm, see `Decision`."""
    white = bool(np.all(noise["power"] == 1))
    if algorithm == "bayes":
        return "many" if missing > bayes.MANY else "few"
    if algorithm == "ridge":
        std, whole = noise["std"].max(), min(image.shape[:2]) >= scales.LEAST
        level = next(name for name, most in LEVELS.items() if std <= most)
        return level + (ridge.MOSAIC if whole and white else "")
    if algorithm == "pairs":
        kind = "halves" if white else "banks"
        return kind if config.pairs_kind == "auto" else config.pairs_kind
    return "any"
