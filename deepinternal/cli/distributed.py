"""Which of several processes this one is: the flag `--distributed` and its companions.

The processes of a job meet once, by `jax.distributed.initialize`, to agree on who is who. What meets is
a child of each process, which prints its index and ends; the process itself never joins. It works alone
on its own devices (`jax.process_count()` is 1), and no other's end or death concerns it. What the
processes share from then on is the work folder.

Processes that stay connected would wait for all others when they exit and when a checkpoint is opened,
and would be aborted where one of them is killed.
"""

import contextlib
import re
import socket
import subprocess
import sys

from absl import flags

from deepinternal.types import InputError

_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "One of several processes that share --workdir; see launch/README.md."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0; without it the cluster is asked."
)
_COUNT = flags.DEFINE_integer("num_processes", None, "With --coordinator: how many there are.")
_INDEX = flags.DEFINE_integer("process_id", None, "With --coordinator: which one this is, from 0.")
# The child's program. It takes no accelerator, for its parent is about to.
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
    """Meets the other processes of the job as the flags say.

    Args:
        timeout: seconds to wait for the others.

    Returns:
        Index of this process, and their number; (0, 1) without `--distributed`.

    Raises:
        InputError: flags that do not fit together, no cluster found, or not all processes came.
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
            raise InputError(f"{present}: only together with --distributed; add it")
        return 0, 1
    if len(missing) in (1, 2):
        raise InputError(
            f"--distributed: {' and '.join(missing)} must be given, too, "
            "or none of --coordinator, --num_processes, --process_id where a cluster knows them"
        )
    if not missing:
        _check(*given.values())
    return _meet(*given.values(), timeout)


def _check(coordinator: str, count: int, index: int) -> None:
    """Refuses flags out of range, and a coordinator that is no address."""
    address = re.fullmatch(r"(\[[^\]\s]+\]|[^\[\]:\s]+):(\d{1,5})", coordinator)
    if not address or not 0 < int(address[2]) < 65536:
        raise InputError(f"--coordinator={coordinator}: must be HOST:PORT, such as node1:1234")
    if count < 1:
        raise InputError(f"--num_processes={count}: must be at least 1")
    if not 0 <= index < count:
        raise InputError(
            f"--process_id={index}: must be from 0 to {count - 1}, one for each process"
        )
    if index == 0:  # else a library prints lines of its own
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
    """Lets a child join the job, learn who it is, and leave again."""
    told = ["" if value is None else str(value) for value in (coordinator, count, index)]
    # When jax's own time is up it aborts the child with lines of its own.
    command = [sys.executable, "-c", _MEET, *told, str(int(timeout) + 3600)]
    try:
        child = subprocess.run(
            command, capture_output=True, check=False, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        known = f" of {count}" if count else ""
        raise InputError(
            f"--distributed: not all processes{known} met at "
            f"{coordinator or 'the first host of the cluster'} within {timeout:.0f} s; start all of "
            "them, each able to reach that address"
        ) from None
    if met := re.search(r"^met (\d+) (\d+)$", child.stdout, re.MULTILINE):
        return int(met[1]), int(met[2])
    said = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
    if coordinator is None and said.startswith("ValueError"):
        raise InputError(
            "--distributed: no cluster found here (Slurm, Open MPI, Cloud TPU, or Kubernetes with "
            "the package kubernetes); give --coordinator, --num_processes and --process_id"
        )
    raise InputError(f"--distributed: {said}")
