"""Runs all combinations of seeds and field values, and compares them in a table.

    deepinternal sweep --config=NAME[:PRESET,...] --workdir=DIR --seeds=0,1,2
        --sweep='FIELD=VALUE|VALUE|...' [--sweep=...] [--config.FIELD=VALUE] [--list]

Values are separated by |, because they may hold commas and semicolons: --sweep='scale=2|1.5;2'.
Each combination is a run in DIR/FIELD=VALUE,.../. Repeating the command resumes the sweep. The
final table is printed and written to DIR/sweep.json and DIR/sweep.csv. The exit status is the
highest of all runs.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from deepinternal.cli import distributed, program, run_flags, sweep_table
from deepinternal.cli.sweep_fields import Run, combinations
from deepinternal.engine import layout
from deepinternal.engine.signals import StopSignal
from deepinternal.files import atomic_write_text, expanded
from deepinternal.messages import tell
from deepinternal.recipe import Recipe
from deepinternal.runs import jobs
from deepinternal.types import InputError
from deepinternal.writers import read_object, to_json

flags.adopt_module_key_flags(run_flags)
flags.adopt_module_key_flags(distributed)
_SEEDS = flags.DEFINE_string("seeds", "", "Seeds joined by commas, like --sweep='seed=0|1|2'.")
_SWEEP = flags.DEFINE_multi_string(
    "sweep", [], "FIELD=VALUE|VALUE|...; may be given several times."
)
_LIST = flags.DEFINE_bool("list", False, "Print the runs, one per line, and exit.")


def run(
    recipe: Recipe,
    runs: Mapping[str, Run],
    workdir: str,
    *,
    overwrite: bool = False,
    process: tuple[int, int] = (0, 1),
) -> int:
    """Performs all runs and writes the table.

    Args:
        recipe: The recipe of the method.
        runs: The runs by name, as `combinations` returns them.
        workdir: The folder that holds a folder for each run, named after it.
        overwrite: Discard results of another config instead of refusing.
        process: The index of this process and the number of processes, all of which share the runs.

    Returns:
        The highest exit status of all runs; 128 + signal after a signal, which ends the sweep.

    Raises:
        InputError: The first run is refused. The errors of later runs are printed.
    """
    folder, statuses, stopped = Path(workdir), dict[str, int](), False
    with StopSignal() as stop:  # for a signal between two runs
        for wait, name in itertools.product((False, True), runs):  # others may do a part of a run
            if name in statuses or stopped:
                continue
            _, config, settings = runs[name]
            if settings.progress and not wait:
                tell(f"run {list(runs).index(name) + 1} of {len(runs)}: {name}")
            options = {"overwrite": overwrite and not wait, "process": process, "wait": wait}
            try:
                status = jobs.run_all(recipe, config, settings, str(folder / name), **options)
            except InputError as error:
                if name == next(iter(runs)):
                    raise
                tell(f"{name}: {error}")
                status = program.USAGE_STATUS
            if stop.signum:
                status = 128 + stop.signum
            if status is not None:
                statuses[name], stopped = status, status >= 128
    rows = [
        {"run": name, "fields": runs[name].fields, "status": status, **_figures(folder / name)}
        for name, status in sorted(statuses.items(), key=lambda item: list(runs).index(item[0]))
    ]
    atomic_write_text(folder / "sweep.json", to_json(rows, indent=2) + "\n")
    atomic_write_text(folder / "sweep.csv", sweep_table.as_csv(rows))
    print(sweep_table.as_markdown(rows))
    return max(statuses.values())


def _figures(folder: Path) -> dict[str, Any]:
    """Returns the number of images of a run, the number done, and the means of their figures."""
    summary = {"images": [], "mean": {}} | read_object(folder / "summary.json")
    done = sum(image["status"] == "done" for image in summary["images"])
    return {"images": len(summary["images"]), "done": done, "mean": summary["mean"]}


def main() -> int:
    """Performs the runs given by the flags; returns the exit status."""
    recipe = run_flags.recipe()
    runs = combinations(recipe, run_flags.CONFIG.value, _SEEDS.value, _SWEEP.value)
    if _LIST.value:
        print("\n".join(runs))
        return 0
    workdir = expanded(run_flags.WORKDIR.value)
    if not workdir.strip():
        raise InputError("--workdir: is empty; give a folder for the results")
    layout.force_cpu_devices(max(one.settings.parallel.devices for one in runs.values()))
    overwrite = run_flags.OVERWRITE.value
    return run(recipe, runs, workdir, overwrite=overwrite, process=distributed.start())


def run_program() -> None:
    """Parses the flags and runs the program."""
    program.run(main, keep_programs=True)
