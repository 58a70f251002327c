"""Double-DIP dehazing (Gandelsman, Shocher, Irani, CVPR 2019, section 6).

I = t * J + (1 - t) * A: one net each for the haze-free image J, the transmission t and, unless it is
uniform, the airlight A. J of one kind of patches and a smooth t are easier to make than their mixture.

Where the paper is in the code: eq. 5 -> `_loss`; the airlight to begin with -> `ops.haze` (dark
channel: He, Sun, Tang 2009; patch recurrence: Bahat, Irani 2016); non-uniform airlight -> the net 'A',
pulled to it at first; the final J -> `_solve`.

Deliberate deviations from the authors' code: the airlight to begin with is estimated from patch
recurrence unless it is given; sides over `fit_side` are reduced by a whole factor; transmission and
airlight of two passes are reported combined, so that they explain the input. Beyond the paper, by
fields (preset `fast`): `dark_prior` keeps the transmission near the dark channel prior's (He, Sun, Tang
2009), `bounded` from falling under it; `omega` leaves some of the haze.

Presets: configs/dehazing.py.
"""

import functools

import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.pixel import l2
from deepinternal.losses.smoothness import std_blur
from deepinternal.methods import checks, fit
from deepinternal.methods.double_dip import common
from deepinternal.ops import fitting, haze
from deepinternal.types import Example, InputError, Inputs, Method, Output

SIDE_INPUTS = {}
FLOOR = 0.1  # the least transmission that the haze-free image is divided by


def defaults() -> ml_collections.ConfigDict:
    """The published settings, with a learned airlight."""
    return ml_collections.ConfigDict(
        {
            "seed": 0,
            "steps": 0,  # at most so many in each pass; 0: as below
            "fit_steps": 4000,
            "anchor_until": 1000,  # steps in which the airlight is pulled to the one to begin with
            "passes": 2,  # the second works on the first one's result
            "airlight": "auto",  # patch recurrence; or dark_channel; or 'red,green,blue' in [0, 1]
            "uniform": False,  # the airlight is what it is to begin with
            "smoothness": 0.005,  # weight of the transmission's deviation from its blurred self
            "dark_prior": 0.0,  # weight of the transmission's distance from the dark channel's; 0: none
            "bounded": False,  # no transmission less than what would leave negative colours
            "omega": 1.0,  # share of the haze that these two take for haze
            "fit_side": 799,  # the image is fitted with no side over so many pixels; 0: as it is
            "channels": "8,16,32,64,128",
            "skip": "0,0,0,4,4",
            "learning_rate": 1e-3,
            "schedule": "constant",  # or cosine
        }
    )


PRESETS = {
    "default": {},
    "uniform": {"uniform": True},
    "fast": {
        **{"fit_side": 320, "fit_steps": 200, "anchor_until": 200, "passes": 1},
        **{"learning_rate": 5e-3, "schedule": "cosine"},
        **{"smoothness": 0.5, "dark_prior": 0.3, "bounded": True, "omega": 0.95},
    },
    "smoke": {"steps": 10, "fit_side": 96, "passes": 1, "channels": "8,16", "skip": "0,4"},
}


def example(config: ml_collections.ConfigDict, photo: np.ndarray, **sides) -> Example:
    """The sample photograph behind haze that grows towards the top."""
    del config
    photo = photo[:256, 128:384]
    depth = np.linspace(1.4, 0.2, photo.shape[0], dtype=np.float32)[:, None, None]
    hazy = haze.haze(photo, np.exp(-depth), np.array([0.8, 0.84, 0.88], np.float32))
    return Example(np.asarray(hazy, np.float32), photo, sides)


def prepare(config: ml_collections.ConfigDict, image: np.ndarray) -> Inputs:
    """The inputs of the method from what the user gave; on the host.

    Args:
        config: as `defaults()`.
        image: (H, W, C) in [0, 1].

    Returns:
        `full` (H, W, C), `image` (h, w, C) to be fitted, `airlight` (1, 1, C) to begin with; with a
        dark prior `expected` (h, w, 1), the transmission to be near to.

    Raises:
        InputError: the image is too small, or the airlight has another number of channels.
    """
    checks.smallest(image, 16)
    small = fitting.reduced(image, config.fit_side)
    given = _airlight(config)
    if given is None:
        estimate = {
            "auto": haze.airlight_patch_recurrence,
            "dark_channel": haze.airlight_dark_channel,
        }[config.airlight]
        light = np.asarray(estimate(jnp.asarray(image)))
    else:
        light = np.asarray(given, np.float32)
        if image.shape[-1] == 1:
            light = light.mean(keepdims=True)
    light = np.asarray(light, np.float32).reshape(1, 1, -1)
    inputs = {"full": np.asarray(image, np.float32), "image": small, "airlight": light}
    if config.dark_prior:
        inputs["expected"] = np.asarray(_expected(config, jnp.asarray(small), light))
    return inputs


def _airlight(config: ml_collections.ConfigDict) -> tuple[float, ...] | None:
    """The airlight given, None where it is to be estimated."""
    if config.airlight in ("auto", "dark_channel"):
        return None
    try:
        given = tuple(float(part) for part in config.airlight.split(","))
    except ValueError:
        given = ()
    if len(given) != 3 or not all(0 < a <= 1 for a in given):
        raise InputError(
            f"config.airlight={config.airlight!r}: give auto, dark_channel, or red,green,blue, each "
            "over 0 and at most 1, such as 0.56,0.65,0.73"
        )
    return given


def _light(layers, inputs):
    return layers["A"] if "A" in layers else inputs["airlight"]


def _loss(config, until: int, layers, inputs, step):
    """Reconstruction (eq. 5), a smooth transmission, an airlight near the one to begin with."""
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
    if config.dark_prior:
        terms["dark_channel"] = l2(t, inputs["expected"])
        weights["dark_channel"] = config.dark_prior
    psnr = -10 * jnp.log10(terms["reconstruction"])
    return weighted_sum(terms, weights), {**terms, "psnr": psnr}


def _dark(config, image, light):
    """Transmission (h, w, 1) after the dark channel prior; the window grows with the image."""
    window = max(min(image.shape[:2]) // 30, 3) * 2 + 1  # 15 pixels at 210 to 239
    return haze.transmission_dark_channel(image, light, window, config.omega)[..., None]


def _expected(config, image, light):
    """The dark channel's transmission (h, w, 1), its edges the image's."""
    return common.refined(_dark(config, image, light), image)[..., None]


def _solve(config, layers, inputs):
    """Haze-free image, transmission (H, W, 1) and airlight (H, W, C) at full size."""
    full, t = inputs["full"], layers["t"]
    if config.bounded:
        t = jnp.maximum(t, _dark(config, inputs["image"], _light(layers, inputs)))
    t = jnp.clip(common.refined(t, full), FLOOR, 1)[..., None]
    light = jnp.broadcast_to(_light(layers, inputs), (*layers["t"].shape[:2], full.shape[-1]))
    light = fitting.enlarged(light, full.shape[:2])
    return haze.dehaze(full, t, light, floor=FLOOR), t, light


def _second(config, layers, inputs) -> Inputs:
    """The inputs of the second pass: the first one's result, its airlight as the anchor."""
    result, t, light = _solve(config, layers, inputs)
    small = result
    if result.shape != inputs["image"].shape:
        small = fitting.shrunk(result, inputs["image"].shape[:2])
    mean = jnp.mean(light, axis=(0, 1), keepdims=True)
    expected = {"expected": _expected(config, small, mean)} if config.dark_prior else {}
    return {
        **expected,
        **{"full": result, "image": small, "airlight": mean},
        **{"first_transmission": t, "first_airlight": light},
    }


def _outputs(config, layers, inputs) -> dict[str, Output]:
    """Haze-free image; transmission and airlight that explain the image as it came."""
    result, t, light = _solve(config, layers, inputs)
    if "first_transmission" in inputs:
        first, first_light = inputs["first_transmission"], inputs["first_airlight"]
        both = first * t
        veil = first * (1 - t) * light + (1 - first) * first_light
        light = jnp.where(both < 0.999, veil / jnp.maximum(1 - both, 1e-3), first_light)
        t = both
    light = jnp.clip(light, 0, 1)
    weight = 1 - t
    colour = jnp.sum(weight * light, axis=(0, 1)) / jnp.maximum(jnp.sum(weight), 1e-6)
    return {
        "result": Output(result, "image"),
        "transmission": Output(t[..., 0], "mask"),
        "airlight": Output(light, "image"),
        "airlight_colour": Output(colour, "scalar"),
    }


def make(config: ml_collections.ConfigDict, input_spec: Inputs) -> Method:
    """Dehazing of images of one shape.

    Args:
        config: as `defaults()`.
        input_spec: shapes of `prepare`'s inputs.

    Returns:
        The method. Outputs: `result` (H, W, C), haze-free; `transmission` (H, W); `airlight`
        (H, W, C); `airlight_colour` (C,), its mean where there is haze.

    Raises:
        InputError: a field out of range.
    """
    check(config)
    *shape, channels = input_spec["image"].shape
    # Published: noise of +-0.05 for the two layers, of which only J's is perturbed.
    wide = {"depth": 8, "low": -0.05, "high": 0.05}
    generators = {
        "J": fit.Generator(common.net(config, channels), jitter=1 / 30, **wide),
        "t": fit.Generator(common.net(config, 1), **wide),
    }
    if not config.uniform:
        light = common.net(config, channels)
        generators["A"] = fit.Generator(light, source="meshgrid", jitter=1 / 30)
    steps = common.limited(config, config.fit_steps)
    phases = [
        fit.Phase(
            f"pass {number}",
            steps,
            functools.partial(_loss, config, max(min(config.anchor_until, steps), 1)),
            learning_rate=common.rate(config, steps),
            keep="best",
            restart=tuple(generators) if number > 1 else (),
            carry=functools.partial(_second, config) if number < config.passes else None,
        )
        for number in range(1, config.passes + 1)
    ]
    baseline = lambda inputs: inputs["full"]
    outputs = functools.partial(_outputs, config)
    return fit.build("dehazing", generators, phases, outputs, shape=shape, baseline=baseline)


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses settings that work with no image, in one line each."""
    common.check(config, ("fit_steps", "anchor_until"))
    checks.least(config, {"fit_side": 0, "smoothness": 0, "dark_prior": 0, "omega": 0})
    if not config.omega <= 1:
        raise InputError(f"config.omega={config.omega}: at most 1")
    if config.passes not in (1, 2):
        raise InputError(f"config.passes={config.passes}: 1 or 2")
    _airlight(config)
