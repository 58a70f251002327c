"""Measures an accelerator: all tables in one call, which can be ended and continued at any moment.

    python -m benchmarks.accelerator --minutes=8.5 --out=DIR [--groups=NAME,...] [--items=PATTERN,...]
                                     [--data=DIR] [--wheels=DIR] [--small|--no-small] [--limit=SECONDS]

Each group of items is measured by a process of its own within a time limit, so that a crash or a
compilation without end costs only that group. After every item, DIR/results.json is written; the same
command goes on with the items that have no result. It prints one table, which is also in DIR/table.md.
Exit status: 0 all items have a result, apart from those of packages that are not installed; 1 some have
none; 2 a wrong flag. benchmarks/accelerators.md explains the items.
"""

import argparse
import fnmatch
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.accelerator import parent, wheels
from benchmarks.accelerator.plan import GROUPS, SMALL, Group
from benchmarks.accelerator.report import report

VERSIONS = "device/versions"  # of which all else depends: tiny sizes on CPU


def _flags(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.accelerator", description=__doc__.split("\n")[0]
    )
    known = ", ".join(dict.fromkeys(group.name for group in GROUPS))
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--minutes", type=float, default=8.5, help="time for all groups together")
    parser.add_argument("--groups", default="", help=f"some of {known}; default: all")
    parser.add_argument("--items", default="", help="patterns of names, such as 'smoke/*'")
    parser.add_argument("--data", default="", help="folder of pairs X_LR.png and X_HR.png")
    parser.add_argument("--wheels", type=Path, help="folder of wheels of packages that are missing")
    parser.add_argument(
        "--small", action=argparse.BooleanOptionalAction, help="tiny sizes; default: on CPU"
    )
    parser.add_argument("--limit", type=float, default=0, help="seconds for each group; 0: its own")
    return parser.parse_args(argv)


def _chosen(args: argparse.Namespace, groups: Sequence[Group]) -> list[Group]:
    """Returns the groups that flags choose. Raises ValueError for a name that does not exist."""
    wanted = [name for name in args.groups.split(",") if name]
    known = [*dict.fromkeys(group.name for group in groups)]
    for name in wanted:
        if name not in known:
            raise ValueError(f"--groups={name}: choose from {', '.join(known)}")
    patterns = [pattern for pattern in args.items.split(",") if pattern]
    for pattern in patterns:
        if not any(fnmatch.filter(group.names(small=False), pattern) for group in groups):
            raise ValueError(f"--items={pattern}: no item has such a name")
    return [group for group in groups if not wanted or group.name in wanted]


def _matching(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    patterns = [pattern for pattern in args.items.split(",") if pattern] or ["*"]
    return [name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns)]


def _joined(wanted: Mapping[Group, list[str]]) -> dict[Group, list[str]]:
    """Joins the items of all groups that one process can measure."""
    together = [name for group, names in wanted.items() if not group.needs for name in names]
    return {SMALL: together, **{group: names for group, names in wanted.items() if group.needs}}


def main(argv: Sequence[str], groups: Sequence[Group] = GROUPS) -> int:
    """Measures and prints the table; returns the exit status."""
    began, args = time.monotonic(), _flags(argv)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        chosen = _chosen(args, groups)
        if args.data and not Path(args.data).is_dir():
            raise ValueError(f"--data={args.data}: no such folder")
        args.out.mkdir(parents=True, exist_ok=True)
        path = wheels.unpacked(args.wheels, args.out / "packages") if args.wheels else ()
        results = parent.Results(args.out)
    except OSError as error:
        print(f"error: --out={args.out}: {error.strerror}; give another folder", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    data = str(Path(args.data).resolve()) if args.data else ""
    folder, until = args.out.resolve(), began + 60 * args.minutes
    runner = parent.Runner(folder, results, until, data, [*map(_absolute, path)], args.limit)
    for group in groups:
        if VERSIONS in group.names(small=False):
            runner.run(group, [VERSIONS], small=bool(args.small))
    small = args.small
    if small is None:
        small = results.number(VERSIONS, "backend") == "cpu"
    wanted = {group: _matching(args, group.names(small)) for group in chosen}
    for group, names in (_joined(wanted) if small and groups is GROUPS else wanted).items():
        runner.run(group, names, small=small)
    wanted = [name for names in wanted.values() for name in names]
    text = report(results.items, wanted)
    parent.write(args.out / "table.md", text)
    print(f"\n{text}", end="")
    return int(any(not _settled(results.items[name]) for name in wanted))


def _absolute(path: str) -> str:
    return str(Path(path).resolve())


def _settled(record: parent.Record) -> bool:
    """Whether another call would not give more."""
    return record["status"] == "ok" or record["error"].endswith("is not installed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
