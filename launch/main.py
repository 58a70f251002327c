"""Trains on each input image and writes the results.

    python -m launch.main --config=configs/NAME.py[:PRESET,...] --workdir=DIR [--config.FIELD=VALUE ...]
    python -m launch.main --config=NAME[:PRESET,...] ...
    python -m launch.main --config=my_package.module:RECIPE[:PRESET,...] ...

Give the same command again to resume. Several processes, on one or more machines, may share a work
folder: see launch/README.md. Exit status: 0 all images are done, 1 some failed, 2 a bad flag, config
or input, 129, 130 or 143 interrupted after a checkpoint.
"""

import sys

from deepinternal.cli import console

if __name__ == "__main__":
    console.main(["train", *sys.argv[1:]])
