"""Finds the index of this process among several: the flag `--distributed` and related flags.

The processes of a job meet once, through `jax.distributed.initialize`, to agree on their indices. A
child of each process joins the meeting, prints its index and exits; the process itself never joins.
It works alone on its own devices (`jax.process_count()` is 1), and the exit or death of another
process does not affect it. From then on the processes share only the work folder.

Connected processes would wait for all others when they exit and when a checkpoint is opened, and
would be aborted if one of them is killed.
"""

import contextlib
import re
import socket
import subprocess
import sys

from absl import flags

from deepinternal.types import InputError

_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "Run as one of several processes sharing --workdir; see launch/scaling.md.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0; by default, the cluster provides it."
)
_COUNT = flags.DEFINE_integer("num_processes", None, "With --coordinator: number of processes.")
_INDEX = flags.DEFINE_integer("process_id", None, "With --coordinator: index of this process.")
# The child's program. It uses no accelerator, because its parent will.
_MEET = """
import sys, jax
address, count, index = (arg or None for arg in sys.argv[1:4])
count, index = count and int(count), index and int(index)
jax.config.update("jax_platforms", "cpu")
jax.distributed.initialize(address, count, index, initialization_timeout=int(sys.argv[4]))
print("met", jax.process_index(), jax.process_count(), flush=True)
jax.distributed.shutdown()
"""


def start(timeout: float = 300.0) -> tuple[int, int]:
    """Meets the other processes of the job as given by the flags.

    Args:
        timeout: Seconds to wait for the other processes.

    Returns:
        The index of this process and the number of processes; (0, 1) without `--distributed`.

    Raises:
        InputError: The flags contradict each other, no cluster is found, or processes are missing.
    """
    given = {
        "--coordinator": _COORDINATOR.value,
        "--num_processes": _COUNT.value,
        "--process_id": _INDEX.value,
    }
    missing = [name for name, value in given.items() if value is None]
    if not _DISTRIBUTED.value:
        if len(missing) < 3:
            present = " and ".join(name for name in given if name not in missing)
            raise InputError(f"{present}: is only valid together with --distributed; add it")
        return 0, 1
    if len(missing) in (1, 2):
        raise InputError(
            f"--distributed: {' and '.join(missing)} must also be given; on a cluster, give "
            "none of --coordinator, --num_processes, --process_id"
        )
    if not missing:
        _check(*given.values())
    return _meet(*given.values(), timeout)


def _check(coordinator: str, count: int, index: int) -> None:
    """Refuses flags that are out of range, and a coordinator that is not an address."""
    address = re.fullmatch(r"(\[[^\]\s]+\]|[^\[\]:\s]+):(\d{1,5})", coordinator)
    if not address or not 0 < int(address[2]) < 65536:
        raise InputError(f"--coordinator={coordinator}: must be HOST:PORT, such as node1:1234")
    if count < 1:
        raise InputError(f"--num_processes={count}: must be at least 1")
    if not 0 <= index < count:
        raise InputError(
            f"--process_id={index}: must be from 0 to {count - 1}, different for each process"
        )
    if index == 0:  # otherwise a library prints lines of its own
        with socket.socket() as probe, _one_line(f"--coordinator={coordinator}: port {address[2]}"):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", int(address[2])))


@contextlib.contextmanager
def _one_line(what: str):
    try:
        yield
    except OSError as error:
        raise InputError(f"{what}: {error.strerror}; give another") from None


def _meet(
    coordinator: str | None, count: int | None, index: int | None, timeout: float
) -> tuple[int, int]:
    """Lets a child process join the job, find its index, and leave again."""
    told = ["" if value is None else str(value) for value in (coordinator, count, index)]
    # After its own timeout, JAX aborts the child and prints lines of its own.
    command = [sys.executable, "-c", _MEET, *told, str(int(timeout) + 3600)]
    try:
        child = subprocess.run(
            command, capture_output=True, check=False, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        known = f" of {count}" if count else ""
        raise InputError(
            f"--distributed: not all processes{known} met at "
            f"{coordinator or 'the first host of the cluster'} within {timeout:.0f} s; start all "
            "of them on hosts that can reach that address"
        ) from None
    if met := re.search(r"^met (\d+) (\d+)$", child.stdout, re.MULTILINE):
        return int(met[1]), int(met[2])
    said = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
    if coordinator is None and said.startswith("ValueError"):
        raise InputError(
            "--distributed: no cluster found (Slurm, Open MPI, Cloud TPU, or Kubernetes with "
            "the package kubernetes); give --coordinator, --num_processes and --process_id"
        )
    raise InputError(f"--distributed: {said}")
