"""A step of the nets in plain PyTorch, on its device; `peers` takes the same step in this library.

On a GPU, JAX is confined to the CPU in this process, so that it leaves the memory to PyTorch.
"""

import time
from typing import Any

import torch

from benchmarks.accelerator import peers
from benchmarks.accelerator.items import Item, Numbers, Settings


def _name() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def device() -> str:
    """Uses the device, and returns its kind."""
    float(torch.zeros(8, device=_name()).sum())
    return torch.cuda.get_device_name() if _name() == "cuda" else "cpu"


def _theirs(name: str) -> Item:
    def prepare(settings: Settings) -> tuple[Any, Settings, float]:
        theirs = peers.case(name, settings).theirs(compiled=False, device=_name())
        began = time.perf_counter()
        theirs.run(1)
        return theirs, settings, time.perf_counter() - began

    def measure(prepared: tuple[Any, Settings, float]) -> Numbers:
        theirs, settings, first = prepared
        return peers.timed(theirs.run, settings) | {"first step": (first, "s")}

    return Item(prepare, measure)


ITEMS = {f"torch/{name}": _theirs(name) for name in peers.CASES}
