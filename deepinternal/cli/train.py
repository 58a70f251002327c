"""Trains on each input image and writes the results.

    deepinternal train --config=NAME[:PRESET,...] --workdir=DIR [--config.FIELD=VALUE ...]
    deepinternal train --config=FILE.py[:PRESET,...] ...
    deepinternal train --config=my_package.module:RECIPE[:PRESET,...] ...

--show prints the fields and presets (as JSON with --json), and --dry_run what would be done.
Repeating the command resumes it. Several processes, on one or more machines, may share a folder.
Exit status: 0 if all images are done, 1 if some failed, 2 for a bad flag, config or input, 129, 130
or 143 after an interruption, with a checkpoint saved.
"""

from absl import flags

from deepinternal.cli import distributed, dry_run, program, run_flags, show
from deepinternal.engine import layout
from deepinternal.runs import jobs
from deepinternal.runs.settings import split
from deepinternal.types import InputError

_SHOW = flags.DEFINE_bool("show", False, "Print all fields and presets, and exit.")
_JSON = flags.DEFINE_bool("json", False, "With --show: print JSON.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print what would be done, and exit.")
# For --help.
flags.adopt_module_key_flags(run_flags)
flags.adopt_module_key_flags(distributed)


def main() -> int:
    """Trains on all inputs of the config; returns the exit status."""
    recipe, given = run_flags.recipe(), run_flags.CONFIG.value
    if _JSON.value and not _SHOW.value:
        raise InputError("--json: is only valid together with --show")
    if _SHOW.value:
        printed = show.as_json if _JSON.value else show.text
        print(printed(recipe, given.get("presets", ""), given.to_dict()))
        return 0
    config, settings = split(recipe, given)
    if _DRY_RUN.value:
        workdir, overwrite = run_flags.WORKDIR.value, run_flags.OVERWRITE.value
        print(dry_run.text(recipe, config, settings, workdir, overwrite=overwrite))
        return 0
    layout.force_cpu_devices(settings.parallel.devices)
    return jobs.run_all(
        recipe,
        config,
        settings,
        run_flags.WORKDIR.value,
        overwrite=run_flags.OVERWRITE.value,
        process=distributed.start(),
    )


def run_program() -> None:
    """Parses the flags and runs the program."""
    program.run(main, keep_programs=True)
