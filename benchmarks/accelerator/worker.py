"""The process that measures the items of one group; `benchmarks.accelerator.parent` starts it.

    python -m benchmarks.accelerator.worker

The first line of the standard input is a JSON object with the arguments of `work`. The process ends
when its standard input is closed, thus also when the parent is killed. Each line of the standard
output is a JSON object: {"device": ...} once, {"begin": NAME}, then {"name": NAME, "status": "ok" or
"failed", "seconds": ..., "numbers": {...} or "error": ...}.
"""

import concurrent.futures
import importlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accelerator.items import Differs, Numbers, Settings

BROKEN = 3

Tell = Callable[[dict[str, Any]], None]


def work(
    tell: Tell,
    *,
    module: str,
    items: Sequence[str],
    threads: int,
    wait: float,
    small: bool,
    data: str,
    scratch: str,
) -> int:
    """Measures items.

    Args:
        tell: Takes the messages.
        module: The module that holds the items in its dict `ITEMS`, and the function `device`.
        items: Their full names.
        threads: Number of items that are prepared at once.
        wait: Seconds during which nothing is measured before all items are prepared.
        small: As in `Settings`.
        data: As in `Settings`.
        scratch: A folder for files; each item gets a folder in it.

    Returns:
        The exit status: 0, or `BROKEN` if the device cannot be used any more after an item failed.
    """
    found = importlib.import_module(module)
    tell({"device": found.device()})

    def prepared(name: str) -> tuple[Any, Exception | None, float]:
        tell({"begin": name})
        began, made, failure = time.perf_counter(), None, None
        try:
            folder = Path(scratch, name)
            folder.mkdir(parents=True, exist_ok=True)
            made = found.ITEMS[name].prepare(Settings(small, data, folder))
        except Exception as error:
            traceback.print_exc()
            failure = error
        return made, failure, time.perf_counter() - began

    for name, (made, failure, seconds) in _ready(items, prepared, threads, wait):
        began = time.perf_counter()
        result: dict[str, Any] = {"status": "ok"}
        try:
            if failure is not None:
                raise failure
            result["numbers"] = _units(found.ITEMS[name].measure(made))
        except Differs as error:
            result = {"status": "failed", "error": str(error), "numbers": _units(error.numbers)}
        except Exception as error:
            if failure is None:
                traceback.print_exc()
            result = {"status": "failed", "error": _line(error)}
        seconds = round(seconds + time.perf_counter() - began, 2)
        tell({"name": name, "seconds": seconds, **result})
        if result["status"] == "failed" and not _works(found):
            return BROKEN
    return 0


def _ready(
    items: Sequence[str], prepared: Callable[[str], Any], threads: int, wait: float
) -> Iterator[tuple[str, Any]]:
    """Prepares items; yields each with what `prepared` returned.

    The order is that of the items, or if some take longer than `wait` seconds, the first ones first.
    """
    if threads == 1:  # in the main thread, each right before it is measured
        yield from ((name, prepared(name)) for name in items)
        return
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    names = {pool.submit(prepared, name): name for name in items}
    waiting = concurrent.futures.wait(names, timeout=wait).not_done
    for future in concurrent.futures.as_completed([*names]) if waiting else [*names]:
        name = names.pop(future)
        yield name, future.result()
        del future  # with what was prepared, which may fill the device


def _units(numbers: Numbers) -> dict[str, dict[str, Any]]:
    return {name: {"value": value, "unit": unit} for name, (value, unit) in numbers.items()}


def _line(error: Exception) -> str:
    text = str(error).strip() or "no message"
    return f"{type(error).__name__}: {text.splitlines()[0]}"[:300]


def _works(module: Any) -> bool:
    """Whether the device can still be used; some errors leave it in a state in which it cannot."""
    try:
        module.device()
    except Exception:
        traceback.print_exc()
        return False
    return True


def main() -> int:
    """Reads the order, measures, and tells the results; returns the exit status."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log
    order = json.loads(sys.stdin.readline())
    lock = threading.Lock()

    def end_with_parent() -> None:
        while sys.stdin.readline():
            pass
        os._exit(4)

    def tell(message: dict[str, Any]) -> None:
        with lock:
            out.write(json.dumps(message) + "\n")
            out.flush()

    threading.Thread(target=end_with_parent, daemon=True).start()
    return work(tell, **order)


if __name__ == "__main__":
    try:
        STATUS = main()
    except BaseException:
        traceback.print_exc()
        STATUS = 1
    sys.stderr.flush()
    os._exit(STATUS)  # at once, without waiting for threads of libraries
