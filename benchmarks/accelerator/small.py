"""The items of all groups that use JAX, for one process: starting one takes longer than a tiny item."""

from benchmarks.accelerator import calls, peers, runs, smoke, steps
from benchmarks.accelerator import device as device_items
from benchmarks.accelerator.device import device as device

ITEMS = {
    name: item
    for module in (device_items, smoke, runs, steps, calls, peers)
    for name, item in module.ITEMS.items()
}
