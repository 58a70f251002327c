"""Prints the fields and presets of a method.

python -m launch.show dip:fast
python -m launch.show zssr --json
"""

import sys

from deepinternal.cli import console

if __name__ == "__main__":
    console.main(["show", *sys.argv[1:]])
