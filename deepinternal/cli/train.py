"""Trains on each input image and writes the results.

    deepinternal train --config=NAME[:PRESET,...] --workdir=DIR [--config.FIELD=VALUE ...]
    deepinternal train --config=FILE.py[:PRESET,...] ...
    deepinternal train --config=my_package.module:RECIPE[:PRESET,...] ...

The same command again resumes. Several processes, on one or more machines, may work in one folder.
Exit status: 0 all images done, 1 some failed, 2 bad flag, config or input, 130 or 143 interrupted
after a checkpoint.
"""

from absl import flags

from deepinternal.cli import distributed, program, run_flags
from deepinternal.engine import parallel
from deepinternal.runs import jobs
from deepinternal.runs.settings import split

# For --help.
flags.adopt_module_key_flags(run_flags)
flags.adopt_module_key_flags(distributed)


def main() -> int:
    """Works through the input list of the config; returns the exit status."""
    recipe = run_flags.recipe()
    config, settings = split(recipe, run_flags.CONFIG.value)
    parallel.force_cpu_devices(settings.parallel.devices)
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
