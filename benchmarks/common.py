"""What the benchmarks share: the machine's description, configs, overrides, tables, JSON."""

import datetime
import importlib.util
import os
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections

from deepinternal.files import atomic_write_text
from deepinternal.types import InputError
from deepinternal.writers import to_json

_BOOLS = {"true": True, "1": True, "false": False, "0": False}


def machine() -> dict[str, Any]:
    """What the numbers were measured on, and when."""
    device = jax.local_devices()[0]
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "backend": jax.default_backend(),
        "device": device.device_kind,
        "device_count": jax.local_device_count(),
        "processor": _processor(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "date": datetime.date.today().isoformat(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe(facts: Mapping[str, Any]) -> str:
    """`machine()` as one line."""
    device = "" if facts["backend"] == "cpu" else f"{facts['device_count']} x {facts['device']}, "
    return (
        f"{device}{facts['cores']} cores of {facts['processor']}, {facts['system']}, "
        f"Python {facts['python']}, jax {facts['jax']}, {facts['date']}"
    )


def peak_memory() -> dict[str, float]:
    """Peak memory of this process so far, in MB (1e6 bytes): of the host, and of the device."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {"host": peak * (1 if sys.platform == "darwin" else 1024) / 1e6}
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        figures["device"] = stats["peak_bytes_in_use"] / 1e6
    return figures


def load_config(text: str) -> ml_collections.ConfigDict:
    """The config that `FILE.py[:PRESET,...]` stands for.

    Raises:
        InputError: no such file, no config in it, or an unknown preset.
    """
    name, _, presets = text.partition(":")
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"--config: cannot load {name}: no such Python file")
    spec = importlib.util.spec_from_file_location(f"_config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise InputError(f"--config: {name} has no function get_config; give one of configs/")
    return module.get_config(presets or None)


def as_overrides(argv: Sequence[str]) -> list[str]:
    """Rewrites `--config.FIELD=VALUE`, as the launcher spells it, to `--set=FIELD=VALUE`."""
    prefix = "--config."
    return [f"--set={a[len(prefix) :]}" if a.startswith(prefix) else a for a in argv]


def override(config: ml_collections.ConfigDict, settings: Sequence[str]) -> None:
    """Sets fields of a config in place.

    Args:
        config: fields keep their types.
        settings: 'field=value', dots for fields of fields.

    Raises:
        InputError: an unknown field, or a value of another type.
    """
    for setting in settings:
        name, equals, text = setting.partition("=")
        *parents, last = name.split(".")
        node: Any = config
        for parent in parents:
            node = node.get(parent) if isinstance(node, ml_collections.ConfigDict) else None
        if not equals or not isinstance(node, ml_collections.ConfigDict) or last not in node:
            raise InputError(f"--config.{setting}: the config has no such field; give FIELD=VALUE")
        kind = type(node[last])
        try:
            node[last] = _BOOLS[text.lower()] if kind is bool else kind(text)
        except (ValueError, KeyError, TypeError):
            raise InputError(f"--config.{setting}: {text!r} is no {kind.__name__}") from None


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table: first column to the left, the others to the right, all padded."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells):
        padded = [c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (w - 1) + ":" if i else "-" * w for i, w in enumerate(widths)]
    return "\n".join(map(line, [head, rule, *rows]))


def check_writable(path: str | None) -> None:
    """Refuses a `--json` that could not be written, before anything is measured.

    Raises:
        InputError: the folder does not exist or cannot be written.
    """
    if path and (Path(path).is_dir() or not os.access(Path(path).absolute().parent, os.W_OK)):
        raise InputError(f"--json={path}: cannot be written; give a file in an existing folder")


def write_json(path: str | None, value: Mapping[str, Any]) -> None:
    """Writes `value` to `path`; nothing where that is empty."""
    if path:
        atomic_write_text(Path(path), to_json(value, indent=2) + "\n")
