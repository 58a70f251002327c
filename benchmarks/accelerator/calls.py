"""Calls of the library as users make them, on arrays: the first one, which compiles, and later ones."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import deepinternal as di
from benchmarks import patch_search, timing
from benchmarks.accelerator.device import device as device
from benchmarks.accelerator.items import Item, Numbers, Settings

_LATER = 3  # later calls that are timed
_NOISE = 25 / 255

Call = Callable[[], Any]


def _part(settings: Settings, height: int, width: int) -> np.ndarray:
    """Returns a part of the bundled photograph; 48x40 pixels in the small run."""
    height, width = (48, 40) if settings.small else (height, width)
    return timing.bundled_photo()[:height, -width:]


def _timed(prepare: Callable[[Settings], Call]) -> Item:
    def measure(call: Call) -> Numbers:
        seconds = []
        for _ in range(1 + _LATER):
            began = time.perf_counter()
            jax.block_until_ready(call())
            seconds.append(time.perf_counter() - began)
        return {
            "first call": (seconds[0], "s"),
            "later calls": (1e3 * float(np.median(seconds[1:])), "ms"),
            "least": (1e3 * min(seconds[1:]), "ms"),
        }

    return Item(prepare, measure)


def _search(name: str) -> Item:
    def prepare(settings: Settings) -> Call:
        left, right = map(
            jax.device_put, next(patch_search.pairs(48 if settings.small else 256, ""))
        )
        search = jax.jit(patch_search.searches(7)[name])
        return lambda: search(left, right)

    return _timed(prepare)


def _retarget(settings: Settings) -> Call:
    photo = _part(settings, 224, 272)
    return lambda: di.retarget(photo, scale=(1.0, 2.0))


def _denoise(settings: Settings) -> Call:
    photo = _part(settings, 320, 480)
    noise = np.random.default_rng(0).normal(0, _NOISE, photo.shape)
    noisy = np.clip(photo + noise, 0, 1).astype(np.float32)
    return lambda: di.denoise(noisy)


def _super_resolve(settings: Settings) -> Call:
    photo, fields = _part(settings, 128, 128), {"steps": 2} if settings.small else {}
    return lambda: di.super_resolve(photo, 2, **fields)


ITEMS = {
    "calls/search": _search("exact"),
    "calls/search-approximate": _search("approximate, 2 orders"),
    "calls/super-resolve": _timed(_super_resolve),
    "calls/retarget": _timed(_retarget),
    "calls/denoise": _timed(_denoise),
}
