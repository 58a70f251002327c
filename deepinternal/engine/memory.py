"""How much memory is free: of a device, or of this process on a machine shared with others."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import jax

# Limits of a process, and the entries of its status that count towards them.
_LIMITS = {"Max address space": "VmSize", "Max data size": "VmData"}


def free(device: jax.Device) -> float:
    """Returns the bytes that are free on a device, on CPU those of the host; inf if unknown."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return free_on_host()


def free_on_host(root: Path = Path("/")) -> float:
    """Returns the bytes that this process can still allocate without being killed; inf if unknown.

    This is the least of the memory that Linux can give without swapping, of what the control groups
    of the process (versions 1 and 2, as containers and batch systems set them) leave, and of what
    its own limits leave (`ulimit -v`, `ulimit -d`).

    Args:
        root: The folder with `proc` and `sys`.
    """
    return max(min([math.inf, *_of_machine(root), *_of_groups(root), *_of_process(root)]), 0.0)


def _of_machine(root: Path) -> Iterator[float]:
    with contextlib.suppress(OSError, KeyError, ValueError):
        yield 1024.0 * int(_table(root / "proc/meminfo")["MemAvailable"].split()[0])


def _of_process(root: Path) -> Iterator[float]:
    """Yields what the limits of the process leave."""
    with contextlib.suppress(OSError, KeyError, ValueError):
        used = _table(root / "proc/self/status")
        for line in (root / "proc/self/limits").read_text().splitlines():
            for name, counted in _LIMITS.items():
                if line.startswith(name) and (limit := line[len(name) :].split()[0]) != "unlimited":
                    yield int(limit) - 1024.0 * int(used[counted].split()[0])


def _of_groups(root: Path) -> Iterator[float]:
    """Yields what each control group leaves, from that of the process up to the root."""
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current")
            elif "memory" in controllers.split(","):
                mount = root / "sys/fs/cgroup/memory"
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            else:
                continue
            # In a container, the path may be the one outside of it; then only the root exists.
            group = Path(path.strip("/"))
            for folder in (mount / group, *(mount / parent for parent in group.parents)):
                with contextlib.suppress(OSError, ValueError):
                    limit, used = ((folder / name).read_text().strip() for name in names)
                    if limit != "max":
                        yield int(limit) - int(used) + _reclaimable(folder)


def _reclaimable(group: Path) -> int:
    """Returns the bytes of cached files that a control group gives up when it needs memory."""
    with contextlib.suppress(OSError, ValueError):
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
    return 0


def _table(path: Path) -> dict[str, str]:
    """Returns the entries of a file with lines 'name: value'."""
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return {name: value.strip() for name, _, value in lines}
