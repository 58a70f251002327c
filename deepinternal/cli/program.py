"""Runs a program so that a user's mistake is one line on stderr and exit status 2."""

import logging
import re
import sys
from collections.abc import Callable

import ml_collections
from absl import app, flags

from deepinternal import by_name, methods
from deepinternal.cli import program_cache
from deepinternal.config import merge
from deepinternal.runs import settings
from deepinternal.types import InputError

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
        rest = flags.FLAGS(_with_files(argv))
        for name in flags.FLAGS:  # a config file that could not be loaded says so when it is used
            getattr(flags.FLAGS[name].value, "lock", None)
        return rest
    except Exception as error:  # absl and ml_collections raise a dozen kinds
        _refuse(_explain(error, argv))


def _with_files(argv: list[str]) -> list[str]:
    """The arguments with a config file for each method that `--config` names."""
    if "config" not in flags.FLAGS or flags.FLAGS["config"].flag_type() != "config object":
        return argv
    read, named = [], False
    for arg in argv:
        flag, equals, value = arg.partition("=")
        named_here = flag in ("-config", "--config")
        if named:
            arg = by_name.as_file(arg)
        elif named_here and equals:
            arg = f"{flag}={by_name.as_file(value)}"
        named = named_here and not equals
        read.append(arg)
    return read


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
    if value := re.match(r"flag --config\.([\w.]+)=(.*?): ", text):
        return _refusal(value[1], value[2]) or text
    below = [a for a in argv if a.startswith("--config.") and a.split("=")[0].count(".") > 1]
    if isinstance(error, TypeError) and below:  # below a field that has none
        return f"{below[0]}: the config has no such field"
    if path := re.search(r"Failed loading config file.*?path\]: (\S+)", text):
        return f"--config: cannot load {path[1]}: no such file"
    if wrapped := re.search(r"Error whilst parsing config file.*InputError: (.*)", text):
        return f"--config: {wrapped[1]}"
    if "Non-boolean argument" in text:
        return f"{text.split(': ')[0]}: give true or false"
    text = re.sub("^Configuration is not available because of .*? to load: ", "", text)
    # What is neither absl's complaint nor ours was raised while the config file ran.
    ours = isinstance(error, flags.Error | InputError)
    return text if text and ours else f"--config: {text or type(error).__name__}"


def _refusal(field: str, value: str) -> str:
    """What the config says of a value that the flag's parser refuses; '' where it takes it."""
    given = flags.FLAGS["config"].value
    try:
        fields = merge({}, "", given.to_dict(), {field: value})
        settings.split(methods.find(given.method), ml_collections.ConfigDict(fields))
    except InputError as error:
        return str(error)
    return ""
