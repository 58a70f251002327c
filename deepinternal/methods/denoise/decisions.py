"""What is decided for an image before it is denoised: what its noise is like, and the algorithm.

The decisions are arrays among the inputs, so that images for which they differ share programs; only the
algorithm and its variant, see `Decision`, choose the program. Fields of the config can set each
of them instead.
"""

import dataclasses

import numpy as np

from deepinternal.estimators import image_facts
from deepinternal.estimators.impulses import find_impulses
from deepinternal.estimators.noise_model import NoiseModel, measure_noise
from deepinternal.methods.denoise import clipping
from deepinternal.methods.denoise.config import Config

LEVELS = {"low": 15 / 255, "middle": 35 / 255, "high": np.inf}  # greatest noise of each level
KINDS = ("none", "single", "salt and pepper", "random values")  # of impulses
QUIET = 2 / 255  # standard deviation below which measured noise is left as it is
SATURATED = 0.5  # fraction of values that are 0 or 1 above which nothing is taken for noise
LEAST = 8  # least side of an image that is denoised, in pixels


@dataclasses.dataclass(frozen=True)
class Decision:
    """The decisions for an image.

    Attributes:
        algorithm: The name of the algorithm.
        variant: What else the program depends on: the name of the level of noise for `ridge`, the
            kind of pairs for `pairs`.
        noise: The model of the noise as arrays by name: `std`, `gain`, `offset` (C,), `power` (16, 16,
            C); `level`, `variance` (1024, C), see `clipping.tables`.
        wrong: Bool (H, W), the pixels that are wrong and were replaced; None: there are none.
        image: (H, W, C), the image with these pixels replaced.
        facts: Numbers by name: `clipped`, the fraction of clipped values; `correlated`, whether the
            noise of neighbouring pixels is alike; `impulses`, the fraction of wrong pixels;
            `impulse_kind`, their kind in `KINDS`; `jpeg_quality`, 0 if the image does not count as a
            JPEG.
    """

    algorithm: str
    variant: str
    noise: dict[str, np.ndarray]
    wrong: np.ndarray | None
    image: np.ndarray
    facts: dict[str, np.float32]


def decide(config: Config, image: np.ndarray) -> Decision:
    """Measures the noise of an image, and chooses how to remove it.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1], without missing pixels.
    """
    found = measure_noise(image)
    saturated = found.clipped > SATURATED
    wrong = found.dead if _told(config.impulses, not saturated) else None
    repaired = image if wrong is None else find_impulses(image).filled
    jpeg, correlated = found.jpeg_quality, _told(config.correlated, found.correlated)
    if _told(config.jpeg, jpeg > 0) != (jpeg > 0):
        jpeg = image_facts.measure(image, compressed=config.jpeg)["jpeg_quality"]
    noise = _noise(config, found, repaired)
    quiet = saturated or noise["std"].max() <= QUIET
    if not (quiet or correlated):  # fine texture in flat parts is not taken for noise
        quiet = image_facts.measure(repaired)["measured_std"] <= QUIET
    algorithm = _algorithm(config, image, quiet=quiet)
    facts = {
        "clipped": found.clipped,
        "correlated": correlated,
        "impulses": found.impulses if wrong is not None else 0,
        "impulse_kind": KINDS.index(found.kind),
        "jpeg_quality": jpeg,
    }
    return Decision(
        algorithm=algorithm,
        variant=_variant(config, algorithm, noise["std"].max(), correlated),
        noise=noise,
        wrong=wrong,
        image=repaired,
        facts={name: np.float32(x) for name, x in facts.items()},
    )


def _told(field: str, measured: bool) -> bool:
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
    if config.correlated == "off":
        power = np.ones_like(power)
    std, gain = std * config.strength, gain * config.strength**2
    gain = np.minimum(gain, std**2 / np.maximum(mean, 1e-6))  # of no noise at black
    offset = std**2 - gain * mean
    noise = {"std": std, "gain": gain, "offset": offset, "power": power}
    noise |= clipping.tables(image, gain, offset)
    return {name: np.asarray(x, np.float32) for name, x in noise.items()}


def _algorithm(config: Config, image: np.ndarray, *, quiet: bool) -> str:
    """The algorithm: the given one, or `ridge`, if there is noise to remove."""
    if min(image.shape[:2]) < LEAST or not config.strength or (quiet and not config.noise_std):
        return "unchanged"
    return "ridge" if config.algorithm == "auto" else config.algorithm


def _variant(config: Config, algorithm: str, std: float, correlated: bool) -> str:
    """The static choice of an algorithm, see `Decision`."""
    if algorithm == "ridge":
        return next(name for name, most in LEVELS.items() if std <= most)
    if algorithm == "pairs":
        kind = "banks" if correlated else "halves"
        return kind if config.pairs_kind == "auto" else config.pairs_kind
    return "any"
