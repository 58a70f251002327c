"""Runs every combination of seeds and field values, and compares them in a table.

    python -m launch.sweep --config=configs/NAME.py[:PRESET,...] --workdir=DIR --seeds=0,1,2
        --sweep='FIELD=VALUE|VALUE|...' [--sweep=...] [--config.FIELD=VALUE] [--list]

Values are separated by |, because they may hold commas and semicolons: --sweep='scale=2|1.5;2'.
Each combination is a run in DIR/FIELD=VALUE,.../. The same command again continues with what is not
done. The table that is printed at the end is also in DIR/sweep.json and DIR/sweep.csv. The exit
status is the worst one of all runs.
"""

import sys

from deepinternal.cli import console

if __name__ == "__main__":
    console.main(["sweep", *sys.argv[1:]])
