"""A model of the noise in an image: its level, its spectrum, its growth with brightness, impulses."""

import dataclasses

import numpy as np

from deepinternal.estimators import image_facts
from deepinternal.estimators.impulses import find_impulses
from deepinternal.estimators.noise_windows import SIDE, Levels, Spectrum, spectrum, white_levels

_CORRELATED = (
    1.4  # smallest slope of the spectrum of correlated noise; most white noise has up to 1.3
)
_EXCESS = 1.6  # greatest excess of correlated noise, relative to the slope; texture has more
_ALIKE = 1.6  # greatest ratio of the slopes at different brightnesses
_GROWTH = 1.3  # smallest ratio of the noise in bright and dark parts if it depends on brightness
_BETTER = 0.5  # greatest misfit of the line, relative to the misfit of a constant
_TEXTURE = 0.25  # excess over the fit above which a bin has less weight


@dataclasses.dataclass(frozen=True)
class NoiseModel:
    """The noise in an image, for images in [0, 1].

    Attributes:
        std: float32 (C,), standard deviation at the mean brightness of each channel, before clipping.
        gain: float32 (C,), the growth of the variance with the brightness x: gain * x + offset.
        offset: float32 (C,), the variance at black.
        power: float32 (16, 16, C), the power spectrum over windows of 16x16 pixels in the order of
            `numpy.fft.fft2`, with mean 1; all ones for white noise. It is an even function of each
            frequency. For colour images, the channels are luma and both chroma channels, see
            `ops.color.OPPONENT`.
        mixing: float32 (C,), the variances of luma and chroma, relative to those of noise that is
            independent in the channels; ones for independent noise, and for grey images.
        correlated: Whether the noise of neighbouring pixels is correlated.
        impulses: The fraction of the pixels that are impulses.
        dead: bool (H, W), the positions of the impulses; None if there are none.
        kind: 'none', 'single', 'salt and pepper' or 'random values', see `impulses.Impulses`.
        jpeg_quality: From 1 to 100; 0 if the image does not count as a JPEG.
        white_std: The standard deviation of white noise over all channels by `noise.noise_std`, which
            is less affected by texture.
        clipped: The fraction of the values that are 0 or 1.
        flat: Whether all pixels are equal.
        tiny: Whether a side is shorter than 16 pixels, so that nothing could be measured.
    """

    std: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    power: np.ndarray
    mixing: np.ndarray
    correlated: bool = False
    impulses: float = 0.0
    dead: np.ndarray | None = None
    kind: str = "none"
    jpeg_quality: float = 0.0
    white_std: float = 0.0
    clipped: float = 0.0
    flat: bool = False
    tiny: bool = False


def measure_noise(image: np.ndarray) -> NoiseModel:
    """Measures the noise of an image, on the host.

    First, impulses are found and replaced. Then the noise is measured in the windows with the least
    texture at each brightness. It counts as correlated if the middle frequencies have more energy
    than the high ones at all brightnesses, and if this energy varies little from window to window;
    the energy of texture varies more. A line is fitted to the variance over the brightness if the
    noise grows with it; bins with texture have less weight. The part of the variance that is lost by
    clipping at black and white is added. In a JPEG whose noise does not count as correlated, the
    level is at least that of the compression error.

    Texture at the scale of pixels all over an image (grass, gravel) counts as noise. In flat parts, the
    noise of camera files after demosaicking and denoising is mostly estimated within 25 %.

    Args:
        image: (H, W, C) in [0, 1], C = 1 or 3.

    Returns:
        The model. Rounding to 8 bits alone gives a `std` of about 0.3 / 255.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> noise = 0.05 * np.random.default_rng(0).standard_normal((64, 64, 3))
        >>> model = di.estimators.measure_noise(0.5 + noise)
        >>> print(model.std.round(2), model.correlated, model.kind)
        [0.05 0.05 0.05] False none

    References:
        Ponomarenko et al. 2007 and Pyatykh et al. 2013, see `noise.noise_std` (flat windows, principal
        directions).
        Foi, Trimeche, Katkovnik, Egiazarian: Practical Poissonian-Gaussian Noise Modeling and Fitting
        for Single-Image Raw-Data. TIP 2008 (variance as a line over brightness; the fit differs).
    """
    image = np.asarray(image, np.float32)
    model = _no_noise(image)
    if model.flat or model.tiny:
        return model
    wrong = find_impulses(image)
    dead = np.any(wrong.places, axis=-1)
    levels, std, found = _gaussian(wrong.filled)
    correlated = found is not None
    facts = image_facts.measure(wrong.filled)
    gain, offset = _line(levels)
    if facts["jpeg_quality"] and not correlated:  # compression leaves less in high frequencies
        std = np.maximum(std, facts["noise_std"])
        gain, offset, variance = 0 * gain, std**2, std**2
    elif _grows(levels, gain, offset):
        variance = gain * wrong.filled.mean(axis=(0, 1)) + offset
    else:
        gain, offset, variance = 0 * gain, std**2, std**2
    return dataclasses.replace(
        model,
        std=np.sqrt(variance).astype(np.float32),
        gain=gain.astype(np.float32),
        offset=offset.astype(np.float32),
        power=_on_grid(found.power) if correlated else model.power,
        mixing=found.mixing.astype(np.float32) if correlated else model.mixing,
        correlated=correlated,
        impulses=float(dead.mean()),
        dead=dead if dead.any() else None,
        kind=wrong.kind,
        jpeg_quality=facts["jpeg_quality"],
        white_std=facts["measured_std"],
    )


def noise_sentences(model: NoiseModel) -> tuple[str, ...]:
    """Describes what was measured.

    Args:
        model: As returned by `measure_noise`.

    Returns:
        Sentences without a full stop, the most important first.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> model = di.estimators.measure_noise(np.full((16, 16, 3), 0.5))
        >>> di.estimators.noise_sentences(model)
        ('there is no noise: all pixels are equal',)
    """
    if model.tiny:
        return (f"the noise was not measured: a side is shorter than {SIDE} pixels",)
    if model.flat:
        return ("there is no noise: all pixels are equal",)
    std = 255 * model.std
    names = ("red", "green", "blue") if len(std) == 3 else ("",)
    unequal = std.max() > 1.2 * std.min()
    each = ", ".join(f"{x:.1f} in {name}" for x, name in zip(std, names))
    level = each if unequal and len(std) == 3 else f"{np.sqrt(np.mean(std**2)):.1f}"
    said = [f"the noise in flat parts has a standard deviation of {level} (of 255)"]
    if model.correlated:
        low, high = model.power[2:6, :6].mean(), model.power[7:10, 7:10].mean()
        said.append(
            "it is correlated between neighbouring pixels: its power is "
            f"{low / max(high, 1e-3):.0f} times as large at low as at high frequencies"
        )
    if np.any(model.gain > 0):
        black, white = (255 * np.sqrt(np.mean(model.offset + x * model.gain)) for x in (0, 1))
        said.append(f"it grows with brightness, from {black:.1f} at black to {white:.1f} at white")
    if model.dead is not None:
        what = {"single": "dead or hot", "random values": "impulses of random values"}
        said.append(
            f"{np.sum(model.dead)} pixels ({100 * model.impulses:.2g} %) are "
            f"{what.get(model.kind, model.kind)}: they differ from all their neighbours"
        )
    if model.jpeg_quality:
        said.append(f"the image was compressed as a JPEG of quality {model.jpeg_quality:.0f}")
    if model.clipped > 0.01:
        said.append(f"{100 * model.clipped:.0f} % of the values are black or white")
    return tuple(said)


def _no_noise(image: np.ndarray) -> NoiseModel:
    """Returns the model of an image without noise, with the facts that need no measurement."""
    zeros = np.zeros(image.shape[-1], np.float32)
    return NoiseModel(
        std=zeros,
        gain=zeros,
        offset=zeros,
        power=np.ones((SIDE, SIDE, len(zeros)), np.float32),
        mixing=np.ones_like(zeros),
        clipped=float(np.mean((image <= 0) | (image >= 1))),
        flat=bool(np.all(image == image[:1, :1])),
        tiny=min(image.shape[:2]) < SIDE,
    )


def _gaussian(image: np.ndarray) -> tuple[Levels, np.ndarray, Spectrum | None]:
    """Returns levels, standard deviation (C,), and the spectrum if the noise is correlated."""
    std = np.zeros(image.shape[-1])
    for _ in range(2):  # the second time with a correction for clipping
        levels, variance = white_levels(image, std)
        std = np.sqrt(variance)
    found = spectrum(image, std)
    broad = _typical(found.levels)
    if not _is_correlated(found, np.sqrt(np.mean(broad))):
        return levels, std, None
    found = spectrum(image, np.sqrt(broad))
    return found.levels, np.sqrt(_typical(found.levels)), found


def _is_correlated(found: Spectrum, std: float) -> bool:
    texture = found.excess > _EXCESS * found.slope or found.alike > _ALIKE
    return found.slope > _CORRELATED and not texture and std > image_facts.QUIET


def _typical(levels: Levels) -> np.ndarray:
    """Returns the median variance of the bins with a positive weight, (C,)."""
    return np.median(levels.variance[levels.weight[:, 0] > 0], axis=0)


def _on_grid(power: np.ndarray) -> np.ndarray:
    """Converts a power spectrum from the frequencies of the DCT to those of the Fourier transform."""
    index = np.minimum(2 * np.minimum(np.arange(SIDE), SIDE - np.arange(SIDE)), SIDE - 1)
    near = np.stack([np.maximum(index - 1, 0), index, np.minimum(index + 1, SIDE - 1)])
    smooth = power[near].mean(axis=0)[:, near].mean(axis=1)
    return (smooth / smooth.mean(axis=(0, 1))).astype(np.float32)


def _line(levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """Fits the variance by gain * brightness + offset, both at least 0, robustly: (C,) each."""
    lines = []
    for x, v, weight in zip(*(np.asarray(part, float).T for part in levels)):
        fit = np.full_like(v, max(np.median(v), 1e-12))
        for _ in range(10):
            w = weight / fit**2 * np.minimum(1, _TEXTURE / np.maximum(v / fit - 1, 1e-9)) ** 2
            mean, level = np.average(x, weights=w), np.average(v, weights=w)
            gain = np.sum(w * (x - mean) * (v - level)) / max(np.sum(w * (x - mean) ** 2), 1e-12)
            gain = max(gain, 0.0)
            if level < gain * mean:  # through the origin
                gain = np.sum(w * x * v) / np.sum(w * x**2)
            offset = max(level - gain * mean, 0.0)
            fit = np.maximum(gain * x + offset, 0.05 * level + 1e-12)
        lines.append((gain, offset))
    return tuple(np.array(lines).T)


def _grows(levels: Levels, gain: np.ndarray, offset: np.ndarray) -> bool:
    """Returns whether a line explains the variances much better than constants do."""
    used = levels.weight[:, 0] > 0
    x, v = levels.mean[used], levels.variance[used]
    line = np.maximum(gain * x + offset, 1e-12)
    ratio = np.sqrt(np.median(line.max(axis=0) / line.min(axis=0)))
    misfits = [
        np.sum(np.minimum(np.log(np.maximum(v, 1e-12) / fit) ** 2, 1))
        for fit in (line, np.maximum(np.median(v, axis=0), 1e-12))
    ]
    return len(x) > 2 and ratio > _GROWTH and misfits[0] < _BETTER * misfits[1]
