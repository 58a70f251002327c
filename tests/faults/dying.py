"""`launch.main`, which dies at one of its writes: python -m tests.faults.dying [FLAGS].

DIE_IN names the folder whose writes count, DIE_AT the number of the write at which the process is
killed as by kill -9, before it happens; DIE_TO names a file that gets the number of writes at the end.
"""

import atexit
import os
import runpy
import signal
import sys
import threading

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGING = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")


def watch(folder: str, last: int, counted: str) -> None:
    """Kills this process at its `last`-th write in a folder."""
    count, lock, here = 0, threading.Lock(), os.path.realpath(folder)

    def hook(event, args):
        nonlocal count
        if event != "open" and event not in _CHANGING:
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & _WRITING):
            return
        if not isinstance(args[0], str | bytes | os.PathLike):
            return
        path = os.path.abspath(os.fsdecode(args[0]))
        if path != here and not path.startswith(f"{here}/"):
            return
        with lock:
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    def tell():
        with open(counted, "w", encoding="utf-8") as file:
            file.write(str(count))

    sys.addaudithook(hook)
    if counted:
        atexit.register(tell)


if __name__ == "__main__":
    watch(os.environ["DIE_IN"], int(os.environ["DIE_AT"]), os.environ.get("DIE_TO", ""))
    try:
        runpy.run_module("launch.main", run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # the server that forks programs ends them without it
