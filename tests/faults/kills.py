"""Kills runs of every method again and again, and compares what they end with.

    python -m tests.faults.kills --out=DIR [--runs="NAME ..."] [--kills=8] [--writes=80]

Two kinds. Real ones: a run of each method is killed with SIGKILL after random times, --kills times, and
then runs to its end. Simulated ones: a run of two images and one of several stages are killed at each
of their writes (at --writes of them, evenly spread), and then run to their end. After either, all
images must be done with exit status 0 and the pixels of an undisturbed run, with no traceback and no
temporary file left. Prints a table; the exit status is 1 if anything differs. Takes about 40 minutes
on two cores.
"""

import shutil
import sys
import time
from pathlib import Path

import numpy as np
from absl import app
from absl import flags as absl_flags

from tests.faults import commands

_OUT = absl_flags.DEFINE_string("out", None, "Folder for runs.", required=True)
_RUNS = absl_flags.DEFINE_spaceseplist("runs", list(commands.RUNS), "Runs to kill.")
_KILLS = absl_flags.DEFINE_integer("kills", 8, "Real kills of each run.")
_WRITES = absl_flags.DEFINE_integer("writes", 80, "Writes of each run to be killed at.")
_AT_WRITES = ("zssr:fast", "zssr:blind,smoke")


class Campaign:
    """Runs commands and collects what is wrong."""

    def __init__(self, out: Path):
        self.out, self.launched = out, commands.launcher(out)
        self.inputs = commands.make_inputs(out / "inputs")
        self.wrong: list[str] = []

    def run(self, flags, **how) -> tuple[int, str]:
        """Runs a command to its end; returns its exit status and what it printed."""
        process, printed = self.launched.start(*flags, **how)
        status = self.launched.wait(process, 600)
        return status, printed.read_text(encoding="utf-8", errors="replace")

    def check(self, what: str, flags, workdir: Path, reference: Path) -> None:
        """Runs a command to its end, and compares the results with those of a reference."""
        status, printed = self.run(flags)
        found = []
        if status or "Traceback" in printed:
            found.append(f"status {status}: {printed[-400:]}")
        elif set(commands.statuses(workdir).values()) != {"done"}:
            found.append(f"statuses {commands.statuses(workdir)}")
        elif commands.results(workdir) != commands.results(reference):
            a, b = commands.results(workdir), commands.results(reference)
            found.append(
                f"differs: {sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))}"
            )
        found += [f"left: {name}" for name in commands.leftovers(workdir)]
        for problem in found:
            print(f"    {what}: {problem}", flush=True)
        self.wrong += [f"{what}: {problem}" for problem in found]

    def real(self, name: str, kills: int, rng: np.random.Generator) -> None:
        """Kills one run at random times."""
        reference, workdir = self.out / f"{name} undisturbed", self.out / f"{name} killed"
        every = {"checkpoint_every": 0}
        for folder in (reference, workdir):
            shutil.rmtree(folder, ignore_errors=True)
        seconds = 0.0
        for _ in range(2):  # the second one finds all programs compiled
            shutil.rmtree(reference, ignore_errors=True)
            began = time.monotonic()
            flags = commands.flags(name, self.inputs, reference, **every)
            self.check(name, flags, reference, reference)
            seconds = time.monotonic() - began
        flags, hit = commands.flags(name, self.inputs, workdir, **every), 0
        for _ in range(3 * kills):
            process, _ = self.launched.start(*flags)
            status = commands.kill(self.launched, process, rng.uniform(0.3, 1.0) * seconds)
            hit += status == 137
            if hit == kills:
                break
            if status == 0:  # it ended before: check it, and start again
                self.check(name, flags, workdir, reference)
                shutil.rmtree(workdir)
            elif status != 137:
                self.wrong.append(f"{name}: status {status} instead of being killed")
        self.check(name, flags, workdir, reference)
        print(f"{name:26} {hit:3} kills, of a run of {seconds:.1f} s", flush=True)

    def at_writes(self, name: str, most: int) -> None:
        """Kills one run at each of its writes."""
        reference, workdir = self.out / f"{name} whole", self.out / f"{name} at writes"
        shutil.rmtree(reference, ignore_errors=True)
        every, counted = {"checkpoint_every": 0, "log_every": 10}, self.out / "count"
        dying = {"module": "tests.faults.dying"}
        where = {"DIE_IN": str(reference), "DIE_AT": "-1", "DIE_TO": str(counted)}
        self.run(commands.flags(name, self.inputs, reference, **every), **dying, **where)
        count = int(counted.read_text())
        points = sorted({int(i) for i in np.linspace(1, count, min(most, count))})
        flags = commands.flags(name, self.inputs, workdir, **every)
        for point in points:
            shutil.rmtree(workdir, ignore_errors=True)
            where = {"DIE_IN": str(workdir), "DIE_AT": str(point)}
            status, printed = self.run(flags, **dying, **where)
            if status not in (0, 137):
                self.wrong.append(f"{name}: status {status} at write {point}: {printed[-300:]}")
            self.check(f"{name} at write {point}", flags, workdir, reference)
        print(f"{name:26} {len(points):3} kills at writes, of {count}", flush=True)


def main(argv) -> None:
    """Runs both campaigns."""
    del argv
    campaign, rng = Campaign(Path(_OUT.value).absolute()), np.random.default_rng(0)
    for name in _RUNS.value:
        campaign.real(name, _KILLS.value, rng)
    for name in _AT_WRITES:
        if name in _RUNS.value:
            campaign.at_writes(name, _WRITES.value)
    print("\n".join(campaign.wrong) or "nothing differs")
    campaign.launched.close()
    sys.exit(bool(campaign.wrong))


if __name__ == "__main__":
    app.run(main)
