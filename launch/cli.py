"""Runs a program so that a user's mistake is one line on stderr and exit status 2."""

import logging
import re
import sys
from collections.abc import Callable

from absl import app, flags

from deepinternal.types import InputError

USAGE_STATUS = 2


def run(main: Callable[[], int]) -> None:
    """Parses the flags, runs `main` and exits with the status it returns.

    Args:
        main: returns the exit status; an `InputError` it raises becomes one line and status 2.
    """

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            _refuse(f"unexpected argument {argv[1]!r}; flags have the form --name=value")
        logging.getLogger("absl").setLevel(logging.ERROR)
        logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
        try:
            sys.exit(main())
        except InputError as error:
            _refuse(str(error))

    app.run(guarded, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
        for name in flags.FLAGS:  # a config file that could not be loaded says so when it is used
            getattr(flags.FLAGS[name].value, "lock", None)
        return rest
    except Exception as error:  # absl and ml_collections raise a dozen kinds
        _refuse(_explain(error, argv))


def _refuse(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(USAGE_STATUS)


def _explain(error: Exception, argv: list[str]) -> str:
    """One line for what flag parsing raised, without library words."""
    text = " ".join(str(error).split()).strip("\"'")
    field = re.match(r"\W*(\w+)\W*(?:n?Did you mean \W?(\w+))?", text)
    if isinstance(error, AttributeError | KeyError) and field:
        given = [a for a in argv if a.startswith("--") and f".{field[1]}" in a.split("=")[0]]
        hint = f"; did you mean {field[2]}?" if field[2] else ""
        return f"{given[0] if given else field[1]}: the config has no such field{hint}"
    missing = re.search(r"Failed loading config file.*?path\]: (\S+)", text)
    if missing:
        return f"--config: cannot load {missing[1]}: no such file"
    wrapped = re.search(r"Error whilst parsing config file.*InputError: (.*)", text)
    return wrapped[1] if wrapped else text or type(error).__name__
