"""Sentences about what was decided for an image, and why."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from deepinternal.estimators.noise_model import NoiseModel, noise_sentences
from deepinternal.methods.denoise.config import Config
from deepinternal.methods.denoise.decisions import FILLING, KINDS, LEAST, MANY, SATURATED
from deepinternal.recipe import Figures
from deepinternal.types import Inputs

_LARGE = 12.0  # distance of missing pixels to the nearest known one, above which a hole is large


def remarks(config: Config, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
    """Describes the noise and how it is removed; see `recipe.Recipe`."""
    del figures
    (name,) = inputs["algorithm"]
    if min(inputs["image"].shape[:2]) < LEAST:
        return (f"the image is left as it is: a side is shorter than {LEAST} pixels",)
    model = _model(config, inputs)
    said = list(noise_sentences(model))
    if config.noise_std:
        said = [
            f"the noise has a standard deviation of {255 * config.noise_std:.3g} (of 255), as given"
        ]
        said += [text for text in noise_sentences(model)[1:] if not (model.flat or model.tiny)]
    if missing := _missing(inputs, name):
        said.insert(0, missing)
    if name in FILLING and not inputs["noise"]["std"].any():
        why = "config.strength is 0" if config.strength == 0 else "there is too little noise"
        said = [missing, f"the known pixels are left as they are, because {why}"]
    if name != "unchanged":
        return (*said, _choice(config, inputs, name))
    if config.strength == 0:
        return (*said, "the image is left as it is, because config.strength is 0")
    why = "noise that weak, or fine texture, is not removed"
    if model.tiny or model.flat:
        why = said.pop()
    elif model.clipped > SATURATED:
        why = "most of its values are black or white"
    return (
        *said,
        f"the image is left as it is: {why}; if you see noise, set config.noise_std, such as to 0.02",
    )


def _model(config: Config, inputs: Inputs) -> NoiseModel:
    """The model of the noise, with the changes that the fields other than `strength` ask for."""
    noise = {n: np.asarray(x, float) for n, x in inputs["noise"].items()}
    facts = {n: float(x) for n, x in inputs["facts"].items()}
    image, strength = inputs["image"], config.strength or 1
    wrong = None
    if facts["impulses"]:
        count = round(facts["impulses"] * image.shape[0] * image.shape[1])
        wrong = np.arange(image.shape[0] * image.shape[1]) < count
    return NoiseModel(
        std=noise["std"] / strength,
        gain=noise["gain"] / strength**2,
        offset=noise["offset"] / strength**2,
        power=noise["power"],
        mixing=noise["mixing"],
        correlated=bool(np.any(noise["power"] != 1)),
        impulses=facts["impulses"],
        dead=wrong,
        kind=KINDS[int(facts["impulse_kind"])],
        jpeg_quality=facts["jpeg_quality"],
        clipped=facts["clipped"],
        flat=bool(np.all(image == image[:1, :1])),
        tiny=min(image.shape[:2]) < noise["power"].shape[0],
    )


def _missing(inputs: Inputs, name: str) -> str:
    """A sentence about the pixels that the user's mask leaves out; '' if there are none."""
    if "mask" not in inputs:
        return ""
    share = float(np.mean(1 - np.asarray(inputs["mask"]))) - float(inputs["facts"]["impulses"])
    if share < 1e-6:
        return ""
    text = f"{100 * share:.2g} % of the pixels are missing"
    if name not in FILLING:
        text += " and were replaced from their neighbours"
        if share > MANY:
            text += "; algorithm bayes fills them in better"
    if distance_transform_edt(np.asarray(inputs["mask"])[..., 0] < 0.5).max() > _LARGE:
        text += "; for large holes, `deepinternal inpaint --method=patches` is better"
    return text


def _choice(config: Config, inputs: Inputs, name: str) -> str:
    """A sentence about the algorithm and its settings."""
    text = f"algorithm {name}"
    if config.algorithm == name:
        text += ", as given"
    elif inputs["facts"]["correlated"]:
        text += ", for correlated noise of neighbouring pixels"
    strength = f", with config.strength={config.strength:g}" if config.strength != 1 else ""
    return text + strength
