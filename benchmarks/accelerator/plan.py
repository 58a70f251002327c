"""What is measured, in which order, and for how long at most; needs only the standard library."""

import dataclasses

SMOKE = (
    *("zssr", "dip", "segmentation", "video_segmentation", "dehazing", "transparency"),
    *("watermark", "ingan", "kernelgan", "patches", "denoise"),
)
PEERS = ("zssr", "denoising", "kernelgan", "ingan")
FORMS = ("patches", "hybrid", "grouped")


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
        quiet: Whether nothing is measured before all items of the group are prepared.
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
_SMOKE = (*SMOKE, *(f"{name}-whole" for name in SMOKE))
_METHODS = ("dip-512x512", "dip-fast", "kernelgan", "segmentation", "dehazing")
_CALLS = ("search", "search-approximate", "super-resolve", "retarget", "denoise")
_OPTIONS = (
    *("defaults", "command-buffers-off", "command-buffers-all"),
    *("triton-on", "scan-10", "scan-50"),
)
_WITHOUT_JAX = (("JAX_PLATFORMS", "cpu"),)  # which leaves the device to PyTorch

# The expected times are estimates for an H100 with 16 cores, none of which was measured. The limits
# add up to more than the time of a call, since a group that ends early leaves its time to those after
# it; the last group compiles for minutes and gets what is left.
#
#     name, items, limit, expected, module, items of the small run
GROUPS = (
    Group("device", _DEVICE, 60, 15, f"{_HERE}.device", _DEVICE, threads=1),
    Group("smoke", _SMOKE, 120, 60, f"{_HERE}.smoke", ("zssr",), quiet=False),
    Group("quality", ("one-lane", "default-lanes"), 90, 45, f"{_HERE}.runs", ("default-lanes",), 1),
    Group("rates", ("1", "16", "64", "64-lanes", "four-pairs"), 60, 35, f"{_HERE}.steps", ("1",)),
    Group("files", ("1", "16", "64"), 90, 50, f"{_HERE}.runs", ("16",), 1),
    Group("calls", _CALLS, 120, 50, f"{_HERE}.calls", ("search",), 1),
    Group("forms", (*FORMS, "bfloat16"), 90, 35, f"{_HERE}.steps", ("bfloat16",)),
    Group("methods", _METHODS, 120, 55, f"{_HERE}.steps", ("dip-512x512",)),
    Group("peers", PEERS[:3], 60, 25, f"{_HERE}.peers", ("zssr",)),
    Group(
        *("torch", (*PEERS, "zssr-compiled"), 90, 45, f"{_HERE}.torch_peers", ("zssr",), 1),
        needs="torch",
        env=_WITHOUT_JAX,
    ),
    Group("options", _OPTIONS, 90, 40, f"{_HERE}.steps", ("scan-10",)),
    Group(
        *("ingan", ("small", "same", "large"), 300, 140, f"{_HERE}.steps", ("small",), 3),
        quiet=False,
    ),
)
# The one process of the small run, besides that of PyTorch.
SMALL = Group("small", (), 300, 0, f"{_HERE}.small", threads=1)

# Items of one step in this library and in PyTorch, whose ratio is printed.
RATIOS = {("ingan/same" if name == "ingan" else f"peers/{name}"): f"torch/{name}" for name in PEERS}
