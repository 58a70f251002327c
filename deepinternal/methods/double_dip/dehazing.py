"""Double-DIP dehazing (Gandelsman, Shocher, Irani, CVPR 2019, section 6).

I = t * J + (1 - t) * A: one net each for the haze-free image J, the transmission t and, unless it is
uniform, the airlight A. A net fits J, whose patches are of one kind, and a smooth t more easily than
their mixture.

Where the paper is in the code: eq. 5 -> `_loss`; the initial airlight ->
`ops.atmosphere` (dark channel: He, Sun, Tang 2009) and `estimators.airlight` (patch recurrence: Bahat,
Irani 2016); non-uniform airlight -> the net 'A', at first pulled to the initial one; J -> `_solve`.

Deliberate deviations from the authors' code: the initial airlight is estimated from patch recurrence
unless it is given; images with sides over `fit_side` are reduced by a whole factor; the transmissions
and airlights of two passes are combined, so that they explain the input.

Beyond the paper, by the field `transmission` (preset `fast`): nothing is trained. The transmission
comes from the dark channel (`estimators.haze`), the airlight is uniform, and less haze is removed from
an image that shows little evidence of it.
"""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from deepinternal.estimators import haze
from deepinternal.estimators.airlight import airlight_and_confidence, airlight_patch_recurrence
from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.pixel import l2
from deepinternal.losses.smoothness import std_blur
from deepinternal.methods import fit, untrained
from deepinternal.methods.double_dip import common
from deepinternal.methods.double_dip.dehazing_config import PRESETS, Config
from deepinternal.ops import atmosphere, fitting
from deepinternal.ops.metrics import mse_to_psnr
from deepinternal.recipe import Figures, Recipe, check_smallest
from deepinternal.types import Example, Inputs, Method, Output

FLOOR = 0.1  # the least transmission by which the image is divided
_ESTIMATES = {"auto": airlight_patch_recurrence, "dark_channel": atmosphere.airlight_dark_channel}


def example(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    """Returns the photograph with haze that grows towards the top."""
    del config, sides
    photo = photo[:256, 128:384]
    depth = np.linspace(1.4, 0.2, photo.shape[0], dtype=np.float32)[:, None, None]
    hazy = atmosphere.haze(photo, np.exp(-depth), np.array([0.8, 0.84, 0.88], np.float32))
    name = "skimage.data.astronaut, a part behind made-up haze"
    return Example(name, np.asarray(hazy, np.float32), photo)


def prepare(config: Config, image: np.ndarray) -> Inputs:
    """Makes the method's inputs from the user's image, on the host.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1].

    Returns:
        `full` (H, W, C), `image` (h, w, C) to be fitted, and the initial `airlight` (1, 1, C). If the
        transmission is estimated, also `transmission` (H, W, 1); `haziness` and `amount` (), see
        `estimators.haze`; and `confidence` (), that of the airlight if several estimates were combined
        (`auto`), else 1.

    Raises:
        InputError: The image is too small.
    """
    check_smallest(image, 16)
    small = common.reduced(config, image)
    # The windows of the estimates have fixed sizes, made for ordinary images.
    shown = small if common.is_large(config, image.shape) else image
    confidence = 1.0
    if config.airlight == "auto" and config.transmission == "estimated":
        light, confidence = airlight_and_confidence(shown)
    elif config.airlight in _ESTIMATES:
        light = np.asarray(_ESTIMATES[config.airlight](shown))
    else:
        light = np.asarray(config.airlight, np.float32)
        if image.shape[-1] == 1:
            light = light.mean(keepdims=True)
    light = np.asarray(light, np.float32).reshape(1, 1, -1)
    inputs = {"full": np.asarray(image, np.float32), "image": small, "airlight": light}
    if config.transmission == "learned":
        return inputs
    return {**_estimated(config, inputs), "confidence": np.asarray(confidence, np.float32)}


def _estimated(config: Config, inputs: Inputs) -> Inputs:
    """Adds to the inputs of `prepare` what is estimated of the haze."""
    small, full = inputs["image"], inputs["full"]
    light = np.maximum(inputs["airlight"].reshape(-1), 1e-3)
    haziness = haze.haziness(haze.reduced(small), light)
    amount = haze.removable(haziness) if config.amount == "auto" else config.amount
    t = haze.transmission(small, light, amount=amount, floor=FLOOR, guide=full)
    return {
        **inputs,
        "transmission": t[..., None],
        **{"haziness": np.float32(haziness), "amount": np.float32(amount)},
    }


def _light(layers, inputs):
    return layers["A"] if "A" in layers else inputs["airlight"]


def _loss(config, until: int, layers, inputs, step):
    """Terms of eq. 5: reconstruction, a smooth transmission, an airlight near the initial one."""
    image, t = inputs["image"], layers["t"]
    light = _light(layers, inputs)
    made = t * layers["J"] + (1 - t) * light
    terms = {"reconstruction": l2(made, image), "transmission_blur": std_blur(t)}
    weights = {"reconstruction": 1.0, "transmission_blur": config.smoothness}
    if "A" in layers:
        terms |= {
            "airlight": l2(light, inputs["airlight"] + 0 * light),
            "airlight_blur": std_blur(light),
        }
        weights |= {"airlight": jnp.where(step < until, 1.0, 0.0), "airlight_blur": 0.1}
    psnr = mse_to_psnr(terms["reconstruction"])
    return weighted_sum(terms, weights), {**terms, "psnr": psnr}


def _solve(config, layers, inputs):
    """Returns the haze-free image, the transmission (H, W, 1) and the airlight (H, W, C)."""
    full, t = inputs["full"], layers["t"]
    t = jnp.clip(common.refined(t, full, pixels=config.fit_pixels), FLOOR, 1)[..., None]
    light = jnp.broadcast_to(_light(layers, inputs), (*layers["t"].shape[:2], full.shape[-1]))
    light = fitting.enlarged(light, full.shape[:2])
    return atmosphere.dehaze(full, t, light, floor=FLOOR), t, light


def _second(config, layers, inputs) -> Inputs:
    """The inputs of the second pass: the result of the first pass, and the mean of its airlight.

    The second pass pulls its own airlight to this mean.
    """
    result, t, light = _solve(config, layers, inputs)
    small = result
    if result.shape != inputs["image"].shape:
        small = fitting.shrunk(result, inputs["image"].shape[:2])
    mean = jnp.mean(light, axis=(0, 1), keepdims=True)
    return {
        **{"full": result, "image": small, "airlight": mean},
        **{"first_transmission": t, "first_airlight": light},
    }


def _outputs(config, layers, inputs) -> dict[str, Output]:
    """The haze-free image, and the transmission and airlight that explain the user's image."""
    result, t, light = _solve(config, layers, inputs)
    if "first_transmission" in inputs:
        first, first_light = inputs["first_transmission"], inputs["first_airlight"]
        both = first * t
        veil = first * (1 - t) * light + (1 - first) * first_light
        light = jnp.where(both < 0.999, veil / jnp.maximum(1 - both, 1e-3), first_light)
        t = both
    return _described(result, t, light)


def _described(result, t, light) -> dict[str, Output]:
    """The outputs of a solution; the airlight may have any size that broadcasts."""
    light = jnp.broadcast_to(jnp.clip(light, 0, 1), result.shape)
    weight = 1 - t
    colour = jnp.sum(weight * light, axis=(0, 1)) / jnp.maximum(jnp.sum(weight), 1e-6)
    return {
        "result": Output(result, "image"),
        "transmission": Output(t[..., 0], "mask"),
        "airlight": Output(light, "image"),
        "airlight_colour": Output(colour, "scalar"),
    }


def _estimated_outputs(inputs) -> dict[str, Output]:
    """The outputs if the transmission is estimated."""
    t, light = inputs["transmission"], inputs["airlight"]
    result = atmosphere.dehaze(inputs["full"], t, light, floor=FLOOR)
    outputs = _described(result, t, light) | {"airlight_colour": Output(light[0, 0], "scalar")}
    return {
        **outputs,
        **{n: Output(inputs[n], "scalar") for n in ("confidence", "haziness", "amount")},
    }


def make(config: Config, spec: Inputs) -> Method:
    """Makes dehazing for images of one shape.

    Args:
        config: The settings.
        spec: The shapes of the inputs that `prepare` returns.

    Returns:
        The method. Its outputs are `result` (H, W, C), the haze-free image; `transmission` (H, W);
        `airlight` (H, W, C); and `airlight_colour` (C,), the mean of the airlight weighted by the haze.
        If the transmission is estimated, also `confidence`, `haziness` and `amount`, see `prepare`.
    """
    baseline = lambda inputs: inputs["full"]
    if config.transmission == "estimated":
        return untrained.build("dehazing", _estimated_outputs, baseline=baseline)
    *shape, channels = spec["image"].shape
    # Published: input noise of +-0.05 for both layers; only the input of J is perturbed.
    wide = {"depth": 8, "low": -0.05, "high": 0.05}
    generators = {
        "J": fit.Generator(common.net(config, channels), jitter=1 / 30, **wide),
        "t": fit.Generator(common.net(config, 1), **wide),
    }
    if not config.uniform:
        light = common.net(config, channels)
        generators["A"] = fit.Generator(light, source="meshgrid", jitter=1 / 30)
    steps = common.limited(config, config.pass_steps)
    phases = [
        fit.Phase(
            f"pass {number}",
            steps,
            functools.partial(_loss, config, max(min(config.anchor_until, steps), 1)),
            learning_rate=config.rate(steps),
            keep="best",
            restart=tuple(generators) if number > 1 else (),
            carry=functools.partial(_second, config) if number < config.passes else None,
        )
        for number in range(1, config.passes + 1)
    ]
    outputs = functools.partial(_outputs, config)
    seeds = common.over_seeds(
        config.replicas, ("result", "transmission", "airlight", "airlight_colour")
    )
    return fit.build(
        "dehazing", generators, phases, outputs, shape=shape, baseline=baseline, **seeds
    )


def _remarks(config: Config, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
    """Says how sure the estimates are, and whether a large image was fitted at a smaller size."""
    del figures
    reduced = common.remarks(config, inputs["full"].shape, inputs["image"].shape)
    if config.transmission == "learned":
        return reduced
    found, amount = [], float(inputs["amount"])
    hardly_any = config.amount == "auto" and amount < 0.3
    if config.amount == "auto" and amount < haze.MUCH:
        little = "hardly any haze" if hardly_any else "little evidence of haze"
        found.append(
            f"there is {little}: the darkest colours of textured parts are at "
            f"{100 * float(inputs['haziness']):.0f} % of the airlight, as in bright photographs "
            f"without haze; {100 * amount:.0f} % of what may be haze is removed; give config.amount=1 "
            "to remove it all"
        )
    if config.airlight == "auto" and not hardly_any:
        light = ",".join(f"{value:.2f}" for value in inputs["airlight"].reshape(-1))
        found.append(
            f"the airlight is estimated as {light} with a confidence of "
            f"{100 * float(inputs['confidence']):.0f} %; give config.airlight=R,G,B if the colours "
            "look wrong"
        )
    return (*found, *reduced)


def _equations(config: Config, inputs: Inputs) -> tuple[str, ...]:
    """The equation of the layers."""
    del config, inputs
    return ("input = transmission * result + (1 - transmission) * airlight",)


RECIPE = Recipe(
    name="dehazing",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    remarks=_remarks,
    equations=_equations,
    smaller=common.SMALLER,
)
