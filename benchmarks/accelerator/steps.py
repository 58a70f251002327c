"""The time of training steps: of many images, of forms and precisions, of methods, with options."""

import dataclasses
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks import batching, peer_ingan, timing
from benchmarks.accelerator import peers
from benchmarks.accelerator.device import device as device
from benchmarks.accelerator.items import Item, Numbers, Settings
from deepinternal import methods
from deepinternal.config import MethodConfig
from deepinternal.engine.layout import spread
from deepinternal.types import Inputs, Method, input_spec

IMAGES = 64  # images of the comparisons of forms and options
_ROUNDS, _SECONDS = 5, 0.3  # of each item, and of each round
# For the small run: tiny nets and images.
_TINY = {
    "zssr": {"layers": 3, "features": 6, "crop": 24},
    "dip": {"channels": "4", "skip": "2"},
}
_TINY_SIDE = 48


@dataclasses.dataclass
class Timed:
    """A training that is compiled, and the number of steps of an image."""

    full: timing.FullStep
    steps: int
    seconds: float


def _photo(settings: Settings, side: int = 0) -> np.ndarray:
    """Returns the bundled photograph or a part of it (side, side, 3), small in the small run."""
    photo, side = timing.bundled_photo(), _TINY_SIDE if settings.small else side
    return photo[:side, 180 : 180 + side] if side else photo


def _config(name: str, preset: str, settings: Settings, **fields: Any) -> MethodConfig:
    """Returns the config of a method, of tiny nets in the small run."""
    tiny = _TINY.get(name, {}) if settings.small else {}
    return methods.find(name).build(preset, **{**fields, **tiny})


def _trained(method: Method, given: Inputs, settings: Settings, **options: Any) -> Timed:
    """Compiles a training with options of `FullStep`."""
    full = timing.FullStep(method, given, **options)
    full.run()
    return Timed(full, method.stages[0].steps, 0.05 if settings.small else _SECONDS)


def measured(timed: Timed) -> Numbers:
    """Times a training in rounds."""
    full = timed.full
    compiling = full.programs.seconds  # before a longer run needs other programs
    full.lengthen(timed.seconds)
    seconds = timing.spread([full.run() for _ in range(_ROUNDS)])
    return {
        "time per step and image": (1e3 * seconds["median"], "ms"),
        "least": (1e3 * seconds["min"], "ms"),
        "images per hour": (3600 / (seconds["median"] * timed.steps), "1/h"),
        "lanes": (full.programs.lanes, ""),
        "steps per dispatch": (full.programs.steps_per_dispatch, ""),
        "compiling": (compiling, "s"),
        "memory": (full.memory / 1e9, "GB"),
    }


def _method(name: str, preset: str = "", *, example: bool = True, images: int = 1) -> Item:
    """An item: the steps of a method for its example, or for the whole photograph itself.

    Args:
        name: The name of the method.
        preset: The preset.
        example: Whether it is the example.
        images: The number of copies of it that are trained side by side.
    """

    def prepare(settings: Settings) -> Timed:
        config, recipe, photo = (
            _config(name, preset, settings),
            methods.find(name),
            _photo(settings),
        )
        given = timing.sample(recipe, config, photo) if example else recipe.prepare(config, photo)
        method = recipe.method(config, input_spec(given))
        return _trained(method, given, settings, images=images, lanes=(1, images))

    return Item(prepare, measured)


def _fast(
    images: int,
    lanes: int = 0,
    *,
    form: str = "",
    fields: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> Item:
    """An item: the steps of ZSSR's preset `fast`; lanes: images side by side, 0 for the default."""

    def prepare(settings: Settings) -> Timed:
        count = min(images, 2) if settings.small else images
        config = _config("zssr", "fast", settings, **fields)
        given = timing.sample(methods.find("zssr"), config, _photo(settings, 256))
        method = methods.find("zssr").method(config, input_spec(given))
        if form:
            method = batching.method(config, given, form)
        most = {"images_per_device": min(lanes, count), "devices": 1}
        places = spread(count, **most, method=method, inputs=given)
        return _trained(method, given, settings, images=count, lanes=places, **options)

    return Item(prepare, measured)


def _ingan(case: peer_ingan.Case) -> Item:
    """An item: a step of InGAN that makes images of one size."""

    def prepare(settings: Settings) -> timing.MethodStep:
        step = (peers.SMALL["ingan"] if settings.small else case).ours()
        step.run(1)
        return step

    def measure(step: timing.MethodStep) -> Numbers:
        seconds = timing.spread([step.run(4) for _ in range(_ROUNDS)])
        return {
            "time per step": (1e3 * seconds["median"], "ms"),
            "least": (1e3 * seconds["min"], "ms"),
            "compiling": (step.compile_seconds, "s"),
            "memory": (step.memory / 1e9, "GB"),
        }

    return Item(prepare, measure)


_SAME = peers.CASES["ingan"]
_many = functools.partial(_fast, IMAGES, IMAGES)
# Half the steps of `fast`, with four pairs each and twice the learning rates: as good on four images.
_PAIRS = {"patch_batch": 4, "train_steps": 260, "learning_rate": 6e-3, "muon_rate": 0.04}
ITEMS = {
    "rates/1": _fast(1),
    "rates/64": _fast(64),
    "rates/128-lanes": _fast(128, 128),
    "rates/four-pairs": _fast(1, fields=_PAIRS),
    "forms/patches": _many(form="patches"),
    "forms/bfloat16": _many(fields={"precision": "bfloat16"}),
    "methods/dip-512x512": _method("dip", example=False),
    "methods/dip-fast": _method("dip", "fast"),
    "methods/kernelgan": _method("kernelgan"),
    "methods/kernelgan-16": _method("kernelgan", images=16),
    "methods/segmentation": _method("segmentation"),
    "methods/dehazing": _method("dehazing"),
    "options/triton-on": _many(compiler_options="xla_gpu_enable_triton_gemm=true"),
    "ingan/small": _ingan(dataclasses.replace(_SAME, size=(112, 128))),
    "ingan/same": _ingan(_SAME),
    "ingan/large": _ingan(dataclasses.replace(_SAME, size=(480, 576))),
}
