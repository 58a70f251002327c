"""What is measured, in which order, and for how long at most; needs only the standard library."""

import dataclasses

QUICK = (
    *("zssr", "denoise", "patches", "kernelgan", "dip"),
    *("transparency", "watermark", "dehazing", "ingan"),
)
SLOW = ("segmentation", "video_segmentation")  # which compile for more than two minutes
SMOKE = (*QUICK, *SLOW)
PEERS = ("zssr", "denoising", "kernelgan", "ingan")


@dataclasses.dataclass(frozen=True)
class Group:
    """Items that one process measures.

    Attributes:
        name: The name; the items of the group are named 'group/item'.
        items: Names of the items, in the order in which they are measured.
        limit: Seconds after which the process is ended.
        expected: Seconds that the group should take; it is not begun with less than half of them left.
        module: The module that holds the items by full name in its dict `ITEMS`, and a function
            `device` that uses the device and returns its kind.
        small: Names of those that are also part of the small run.
        threads: Number of items that are prepared, which is mostly compiled, at once.
        quiet: Whether nothing is measured before all items of the group are prepared, or half of the
            time is up.
        needs: A package without which the group is skipped; '' for none.
        env: Environment variables of the process.
    """

    name: str
    items: tuple[str, ...]
    limit: int
    expected: int
    module: str
    small: tuple[str, ...] = ()
    threads: int = 8
    quiet: bool = True
    needs: str = ""
    env: tuple[tuple[str, str], ...] = ()

    def names(self, small: bool) -> list[str]:
        """Returns the full names of the items, 'group/item'."""
        return [f"{self.name}/{item}" for item in (self.small if small else self.items)]


_HERE = "benchmarks.accelerator"
_DEVICE = ("versions", "product", "product-highest", "product-bfloat16", "copy")
_METHODS = ("dip-512x512", "dip-fast", "kernelgan", "kernelgan-16", "segmentation", "dehazing")
_CALLS = ("search", "search-approximate", "super-resolve", "retarget", "denoise")
_WITHOUT_JAX = (("JAX_PLATFORMS", "cpu"),)  # which leaves the device to PyTorch


def _twice(names: tuple[str, ...]) -> tuple[str, ...]:
    return (*names, *(f"{name}-whole" for name in names))


# The expected times are those of an H200 with 16 cores. A call of 8.5 minutes ends after `files` or
# `ingan`, and another one measures the rest. The limits add up to more than the time of a call, since
# a group that ends early leaves its time to those after it.
#
#     name, items, limit, expected, module, items of the small run
GROUPS = (
    Group("device", _DEVICE, 60, 25, f"{_HERE}.device", _DEVICE, threads=1),
    Group("rates", ("1", "64", "128-lanes", "four-pairs"), 100, 50, f"{_HERE}.steps", ("1",)),
    Group("quality", ("one-lane", "default-lanes"), 90, 30, f"{_HERE}.runs", ("default-lanes",), 1),
    Group("smoke", _twice(QUICK), 160, 130, f"{_HERE}.smoke", ("zssr",), quiet=False),
    Group("calls", _CALLS, 120, 50, f"{_HERE}.calls", ("search",), 1),
    Group("forms", ("patches", "bfloat16"), 60, 30, f"{_HERE}.steps", ("bfloat16",)),
    Group("methods", _METHODS, 150, 100, f"{_HERE}.steps", ("dip-512x512",)),
    Group("files", ("1", "64"), 90, 40, f"{_HERE}.runs", ("64",), 1),
    Group(
        *("ingan", ("small", "same", "large"), 150, 60, f"{_HERE}.steps", ("small",), 3),
        quiet=False,
    ),
    Group("peers", PEERS[:3], 90, 40, f"{_HERE}.peers", ("zssr",)),
    Group(
        *("torch", PEERS, 90, 55, f"{_HERE}.torch_peers", ("zssr",), 1),
        needs="torch",
        env=_WITHOUT_JAX,
    ),
    Group("options", ("triton-on",), 60, 25, f"{_HERE}.steps", ("triton-on",)),
    Group("smoke", _twice(SLOW), 300, 180, f"{_HERE}.smoke", quiet=False),
)
# The one process of the small run, besides that of PyTorch.
SMALL = Group("small", (), 300, 0, f"{_HERE}.small", threads=1)

# Items of one step in this library and in PyTorch, whose ratio is printed.
RATIOS = {("ingan/same" if name == "ingan" else f"peers/{name}"): f"torch/{name}" for name in PEERS}
