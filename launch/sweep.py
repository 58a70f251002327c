"""Runs every combination of seeds and field values, and compares the runs in a table.

    python -m launch.sweep --config=configs/NAME.py[:PRESET,...] --workdir=DIR --seeds=0,1,2
        --sweep='FIELD=VALUE|VALUE|...' [--sweep=...] [--config.FIELD=VALUE] [--list]

Values are separated by |, because they may contain commas and semicolons: --sweep='scale=2|1.5;2'.
Each combination runs in DIR/FIELD=VALUE,.../. Give the same command again to continue with the runs
that are not done. The table that is printed at the end is also written to DIR/sweep.json and
DIR/sweep.csv. The exit status is the worst of all runs.
"""

import sys

from deepinternal.cli import console

if __name__ == "__main__":
    console.main(["sweep", *sys.argv[1:]])
