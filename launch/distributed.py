"""Which of several processes this one is: the flag `--distributed` and its companions.

The processes of a job meet once, by `jax.distributed.initialize`, to agree on who is who; then each
leaves and works alone, on its own devices. What they share from then on is the work folder. Tried on
CPU with jax 0.10.2, a job of two processes that stay connected instead behaves like this:

* At exit each waits for all others, `shutdown_timeout_seconds` long (300); then all that remain are
  aborted, also those still at work (SIGABRT, status 134). With `jax_enable_recoverability` process 0
  ends without waiting, and its end aborts the others.
* When one is killed, the others are aborted once its heartbeats have been missing for
  `heartbeat_timeout_seconds` (100); when process 0 is killed, at once.
* orbax waits for all processes when a checkpoint folder is opened, and refuses to save arrays that
  belong to one process. jax reads its compilation cache everywhere but writes it in process 0 only.
* `jax.pmap(f, devices=jax.local_devices())`, `jit` on a local device and `shard_map` over a mesh of
  local devices all work; on CPU their first collective prints lines of Gloo's.

Having left before anything is computed, a process sees its own devices only (`jax.devices()` are
`jax.local_devices()`, `jax.process_count()` is 1), and no other's end or death concerns it.
"""

import atexit
import contextlib
import logging
import os
import re
import socket
import sys
import threading
import warnings

import jax
from absl import flags

# Nothing public tells what was detected without making a backend that is bound to the job.
from jax._src.distributed import global_state

from deepinternal.files import reason
from deepinternal.types import InputError

_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "One of several processes that share --workdir; see launch/README.md."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0; without it the cluster is asked."
)
_COUNT = flags.DEFINE_integer("num_processes", None, "With --coordinator: how many there are.")
_INDEX = flags.DEFINE_integer("process_id", None, "With --coordinator: which one this is, from 0.")


def start(timeout: float = 300.0) -> tuple[int, int]:
    """Meets the other processes of the job as the flags say. Call it before any computation.

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
    """Joins the job, learns who this process is, and leaves again."""
    found: list[int] = []
    failed: list[Exception] = []

    def join() -> None:
        try:
            jax.distributed.initialize(
                coordinator,
                count,
                index,
                # Under Slurm jax would take one device of a process's, unless told otherwise.
                local_device_ids=[],
                # When its own time is up, jax aborts the process.
                initialization_timeout=int(timeout) + 3600,
            )
            found.extend((global_state.process_id, global_state.num_processes))
            jax.distributed.shutdown()
        except Exception as error:  # jax, its detectors and the RPC library raise many kinds
            failed.append(error)

    logging.getLogger("jax._src.distributed").setLevel(logging.WARNING)
    # It would swallow SIGTERM for good, also after the job is left.
    jax.config.update("jax_enable_preemption_service", False)
    thread = threading.Thread(target=join, daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of detectors, where a package for a cluster is missing
        thread.start()
        thread.join(timeout)
    if thread.is_alive():
        atexit.register(_leave_at_once)
        known = f" of {count}" if count else ""
        address = global_state.coordinator_address or "the cluster's first host"
        raise InputError(
            f"--distributed: not all processes{known} met at {address} within {timeout:.0f} s; "
            "start all of them, each able to reach that address"
        )
    if failed and isinstance(failed[0], ValueError) and coordinator is None:
        raise InputError(
            "--distributed: no cluster found here (Slurm, Open MPI, Cloud TPU, or Kubernetes with "
            "the package kubernetes); give --coordinator, --num_processes and --process_id"
        )
    if failed:
        raise InputError(f"--distributed: {reason(failed[0])}")
    # What is left of the job would number the devices of a CPU.
    global_state.process_id, global_state.num_processes = 0, 1
    return found[0], found[1]


def _leave_at_once() -> None:
    """Ends a process that is still waiting for others: jax's own way prints and may abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)
