"""A step of the nets in this library; `torch_peers` takes the same step in PyTorch."""

from collections.abc import Callable
from typing import Any

from benchmarks import peer_ingan, peer_kernelgan, peer_nets, peer_torch, timing
from benchmarks.accelerator.device import device as device
from benchmarks.accelerator.items import Item, Numbers, Settings
from deepinternal.nets.skip import SkipNet
from deepinternal.nets.zssr import ZSSRNet

CASES = {
    "zssr": peer_torch.CASES["zssr"]["zssr"],
    "denoising": peer_torch.CASES["dip"]["denoising"],
    "kernelgan": peer_kernelgan.CASES["published"],
    "ingan": peer_ingan.CASES["default same"],
}
SMALL = {
    "zssr": peer_nets.Case((ZSSRNet(3, 6),), 3, (24, 32)),
    "denoising": peer_nets.Case((SkipNet(3, (4, 8), skip=2),), 4, (24, 32)),
    "kernelgan": peer_kernelgan.Case("smoke"),
    "ingan": peer_ingan.Case("smoke", (48, 56), (40, 48)),
}
_ROUNDS, _SECONDS = 5, 0.3


def case(name: str, settings: Settings) -> Any:
    """Returns a case of `benchmarks.peer_torch`, a tiny one in the small run."""
    return SMALL[name] if settings.small else CASES[name]


def timed(run: Callable[[int], float], settings: Settings) -> Numbers:
    """Times a step in rounds.

    Args:
        run: Takes a number of steps and returns the seconds per step.
        settings: The settings.
    """
    run(2)
    steps = max(1, round((0.02 if settings.small else _SECONDS) / run(2)))
    seconds = timing.spread([run(steps) for _ in range(_ROUNDS)])
    return {
        "time per step": (1e3 * seconds["median"], "ms"),
        "least": (1e3 * seconds["min"], "ms"),
    }


def _ours(name: str) -> Item:
    def prepare(settings: Settings) -> tuple[Any, Settings]:
        return case(name, settings).ours(), settings

    def measure(prepared: tuple[Any, Settings]) -> Numbers:
        ours, settings = prepared
        numbers = timed(ours.run, settings)
        return numbers | {"compiling": (ours.compile_seconds, "s")}

    return Item(prepare, measure)


ITEMS = {f"peers/{name}": _ours(name) for name in CASES}
