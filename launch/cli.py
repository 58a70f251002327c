"""Runs a program so that a user's mistake is one line on stderr and exit status 2."""

import logging
import re
import sys
from collections.abc import Callable

from absl import app, flags

from deepinternal.types import InputError
from launch import program_cache

USAGE_STATUS = 2
INTERRUPTED_STATUS = 130


def run(main: Callable[[], int], *, keep_programs: bool = False) -> None:
    """Parses the flags, runs `main` and exits with the status it returns.

    Args:
        main: returns the exit status; an `InputError` it raises becomes one line and status 2.
        keep_programs: whether compiled programs are kept for later processes.
    """

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            _refuse(f"unexpected argument {argv[1]!r}; flags have the form --name=value")
        logging.getLogger("absl").setLevel(logging.ERROR)
        logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
        if keep_programs:
            program_cache.use()
        try:
            sys.exit(main())
        except InputError as error:
            _refuse(str(error))
        except OSError as error:  # such as a full disk
            _refuse(f"{error.filename or 'writing'}: {error.strerror or error}")
        except KeyboardInterrupt:  # before or after training, which handles it itself
            sys.exit(INTERRUPTED_STATUS)

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
    text = " ".join(str(error).split())
    if text[:1] in "\"'" and text[-1:] == text[:1]:
        text = text[1:-1]
    if missing := re.findall(r"Flag (--\w+) must have a value other than None", text):
        return f"{' and '.join(missing)} must be given"
    if field := _unknown_field(error, text, argv):
        return field
    if path := re.search(r"Failed loading config file.*?path\]: (\S+)", text):
        return f"--config: cannot load {path[1]}: no such file"
    if wrapped := re.search(r"Error whilst parsing config file.*InputError: (.*)", text):
        return wrapped[1]
    if "Non-boolean argument" in text:
        return f"{text.split(': ')[0]}: give true or false"
    text = re.sub("^Configuration is not available because of .*? to load: ", "", text)
    # What is neither absl's complaint nor ours was raised while the config file ran.
    ours = isinstance(error, flags.Error | InputError)
    return text if text and ours else f"--config: {text or type(error).__name__}"


def _unknown_field(error: Exception, text: str, argv: list[str]) -> str:
    """The line for a field that the config has not; '' where the error is another."""
    given = [a for a in argv if a.startswith("--config.")]
    if isinstance(error, TypeError):  # below a field that has none
        deep = [a for a in given if a.split("=")[0].count(".") > 1]
        return f"{deep[0]}: the config has no such field" if deep else ""
    field = re.match(r"\W*(\w+)\W*(?:n?Did you mean \W?(\w+))?", text)
    if not isinstance(error, AttributeError | KeyError) or not field:
        return ""
    given = [a for a in given if f".{field[1]}" in a.split("=")[0]]
    hint = f"; did you mean {field[2]}?" if field[2] else ""
    return f"{given[0] if given else field[1]}: the config has no such field{hint}"
