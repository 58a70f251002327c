"""The device itself: versions, memory, and the peaks of matrix products and of a copy."""

import os
import platform
import shutil
import subprocess
from importlib import metadata

import jax

from benchmarks import common, roofline
from benchmarks.accelerator.items import Item, Numbers, Settings

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch")
_ROUNDS = 5


def device() -> str:
    """Uses the device, and returns its kind."""
    jax.block_until_ready(jax.numpy.zeros(8) + 1)
    return jax.devices()[0].device_kind


def _versions(_) -> Numbers:
    first, stats = jax.devices()[0], jax.devices()[0].memory_stats() or {}
    facts = common.machine()
    numbers: Numbers = {
        "backend": (facts["backend"], ""),
        "device": (facts["device"], ""),
        "devices": (facts["device_count"], ""),
        "compute capability": (getattr(first, "compute_capability", "-"), ""),
        "memory": (stats.get("bytes_limit", 0) / 1e9, "GB"),
        "driver": (_driver(), ""),
        "platform": (first.client.platform_version.replace("\n", ", "), ""),
        "processor": (f"{facts['cores']} x {facts['processor']}", ""),
        "python": (platform.python_version(), ""),
        "compilation cache": (jax.config.jax_compilation_cache_dir or "none", ""),
        "XLA_FLAGS": (os.environ.get("XLA_FLAGS", ""), ""),
        "date": (facts["date"], ""),
    }
    for name in _PACKAGES:
        try:
            numbers[name] = (metadata.version(name), "")
        except metadata.PackageNotFoundError:
            numbers[name] = ("-", "")
    return numbers


def _driver() -> str:
    program = shutil.which("nvidia-smi")
    if not program:
        return "-"
    command = [
        program,
        "--query-gpu=driver_version,memory.total,clocks.max.sm",
        "--format=csv,noheader",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return (done.stdout.strip().splitlines() or ["-"])[0]


def _best(peak) -> float:
    return max(peak.run() for _ in range(_ROUNDS))


def _product(precision: str) -> Item:
    side = lambda settings: 256 if settings.small else 8192
    return Item(
        lambda settings: roofline.MatmulPeak(precision, side(settings)),
        lambda peak: {"rate": (_best(peak) / 1e12, "TFLOP/s")},
    )


def _copy(settings: Settings) -> roofline.CopyPeak:
    return roofline.CopyPeak(2**20 if settings.small else 2**32)


ITEMS = {
    "device/versions": Item(lambda settings: None, _versions),
    "device/product": _product("default"),
    "device/product-highest": _product("highest"),
    "device/product-bfloat16": _product("bfloat16"),
    "device/copy": Item(_copy, lambda peak: {"rate": (_best(peak) / 1e9, "GB/s")}),
}
