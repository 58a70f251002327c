"""Trains on each input image and writes the results.

    python -m launch.main --config=configs/NAME.py[:PRESET,...] --workdir=DIR [--config.FIELD=VALUE]
    python -m launch.main --config=NAME[:PRESET,...] ...
    python -m launch.main --config=my_package.module:RECIPE[:PRESET,...] ...

The same command again resumes. Several processes, on one or more machines, may work in one folder: see
launch/README.md. Exit status: 0 all images done, 1 some failed, 2 bad flag, config or input, 130 or 143
interrupted after a checkpoint.
"""

if __name__ == "__main__":
    from launch import huge_pages

    huge_pages.restart()

from absl import flags

from deepinternal.engine import parallel
from deepinternal.runs import jobs
from deepinternal.runs.settings import split
from launch import cli, distributed, run_flags

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


if __name__ == "__main__":
    cli.run(main, keep_programs=True)
