"""Items that succeed, fail or die at once, without JAX."""

import os
import time

from benchmarks.accelerator.items import Differs, Item

_broken = []


def device() -> str:
    """As in a module of items."""
    if _broken:
        raise RuntimeError("the device is broken")
    return "tiny"


def _fail(_):
    raise RuntimeError("is broken\nas said")


def _break(_):
    _broken.append(True)
    raise RuntimeError("breaks the device")


def _answer(settings):
    return {"answer": (42.0, "s"), "small": (str(settings.small), "")}


def _differ(_):
    raise Differs("differs by 2", {"difference": (2.0, "dB")})


def _die(_):
    print("the last words", flush=True)
    os.abort()


_make = lambda settings: settings
ITEMS = {
    "tiny/good": Item(_make, _answer),
    "tiny/fails": Item(_make, _fail),
    "tiny/fails-early": Item(_fail, _make),
    "tiny/differs": Item(_make, _differ),
    "tiny/dies": Item(_die, _make),
    "tiny/breaks": Item(_make, _break),
    "tiny/sleeps": Item(lambda settings: time.sleep(60), _make),
    "tiny/other": Item(_make, lambda settings: {"answer": (1.0, "")}),
}
