"""Runs a program so that a user's mistake gives one line on stderr and exit status 2."""

import itertools
import logging
import re
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path

import ml_collections
from absl import app, flags

from deepinternal import by_name, methods, numerics
from deepinternal.cli import program_cache
from deepinternal.config import merge
from deepinternal.engine import ahead
from deepinternal.field_forms import did_you_mean
from deepinternal.files import reason
from deepinternal.messages import tell
from deepinternal.runs import settings
from deepinternal.runs.settings import NAMED
from deepinternal.types import InputError
from deepinternal.writers import flat

FAILED_STATUS = 1
USAGE_STATUS = 2
INTERRUPTED_STATUS = 130


def run(main: Callable[[], int], *, keep_programs: bool = False) -> None:
    """Parses the flags, runs `main` and exits with the status it returns.

    Args:
        main: Returns the exit status; an `InputError` from it becomes one line and status 2.
        keep_programs: Whether compiled programs are kept for later processes.
    """

    def checked(argv: list[str]) -> None:
        if len(argv) > 1:
            _refuse(f"unexpected argument {argv[1]!r}; flags have the form --name=value")
        run_without_flags(main, keep_programs=keep_programs)

    if {"--help", "-help", "-h", "--helpshort", "-helpshort"} & set(sys.argv[1:]):
        run_without_flags(lambda: print(_help(main.__module__)) or 0)
    if {"--helpfull", "-helpfull"} & set(sys.argv[1:]):
        run_without_flags(lambda: print(flags.FLAGS.get_help()) or 0)
    app.run(checked, flags_parser=_parse)


def _help(module: str) -> str:
    """Returns the docstring of a program, with its flags.

    Args:
        module: The module of the program. If a launcher such as `launch.main` was started, the
            docstring is that of the launcher.
    """
    started = sys.modules["__main__"]
    spec = getattr(started, "__spec__", None)
    is_launcher = spec is not None and spec.parent != __package__.partition(".")[0]
    doc = (started.__doc__ if is_launcher else None) or sys.modules[module].__doc__
    lines = [(doc or "").strip(), ""]  # python -OO drops it
    for flag in flags.FLAGS.get_key_flags_for_module(module):
        value = "" if flag.default in (None, "", [], False) else f" (default {flag.default})"
        form = "" if flag.boolean else "=..."
        about = f"{f'--{flag.name}{form}':24} {' '.join(flag.help.split())}{value}"
        about = about.removesuffix("; repeat this option to specify a list of values")
        lines += textwrap.wrap(about, 100, subsequent_indent=" " * 25)
    return "\n".join([*lines, "--helpfull               All flags, including those of libraries."])


def run_without_flags(main: Callable[[], int], *, keep_programs: bool = False) -> None:
    """Runs a `main` that parses the command line itself; otherwise like `run`."""
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # errors are told in our own line
    numerics.fix_process()
    if keep_programs:
        program_cache.use()
    try:
        status = main()
        sys.stdout.flush()
        ahead.exit_now(status)
        sys.exit(status)
    except InputError as error:
        _refuse(str(error))
    except OSError as error:  # such as a full disk
        tell(f"error: {'' if error.filename else 'writing: '}{reason(error)}")
        sys.exit(FAILED_STATUS)
    except KeyboardInterrupt:  # before or after training, which handles the signal itself
        ahead.exit_now(INTERRUPTED_STATUS)
        sys.exit(INTERRUPTED_STATUS)


def _parse(argv: list[str]) -> list[str]:
    for name in NAMED:
        if any(arg.lstrip("-").split("=")[0] == f"config.{name}" for arg in argv):
            _refuse(f"--config.{name}: give it with --config=NAME:PRESET,...")
    try:
        _check_values(argv)
        sys.argv = _ordered(argv)  # which ml_collections reads, too
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # how ml_collections loads a file
            rest = flags.FLAGS(sys.argv)
            for name in flags.FLAGS:  # if the config file failed to load, access raises the error
                getattr(flags.FLAGS[name].value, "lock", None)
        return rest
    except Exception as error:  # absl and ml_collections raise a dozen kinds
        _refuse(_explain(error, argv))


def _check_values(argv: list[str]) -> None:
    """Raises InputError if a flag has no value of its own, or does not have the form of a field."""
    for word, following in itertools.pairwise([*argv[1:], ""]):
        name = word.lstrip("-")
        if word == "--":
            return
        flag = word.partition("=")[0]
        if re.match(r"--?config\.", word) and not re.fullmatch(r"--?config(\.\w+)+", flag):
            hint = ", did you mean --" + name.partition("=")[0].replace("-", "_") + "?"
            raise InputError(f"{flag}: there is no such field{hint if '-' in name else ''}")
        known = word.startswith("-") and name in flags.FLAGS
        if known and not flags.FLAGS[name].boolean and following.startswith("--"):
            raise InputError(f"--{name}: needs a value: --{name}=VALUE")


def _ordered(argv: list[str]) -> list[str]:
    """Returns the arguments with the last `--config` first, and a config file if it is a name.

    `ml_collections` needs this flag before those of its fields.
    """
    if "config" not in flags.FLAGS or flags.FLAGS["config"].flag_type() != "config object":
        return argv
    program, *left = argv
    configs, rest = [], []
    while left and left[0] != "--":
        arg = left.pop(0)
        flag, equals, value = arg.partition("=")
        if flag not in ("-config", "--config"):
            rest.append(arg)
            continue
        if not equals and left:
            value = left.pop(0)
        configs.append(f"--config={by_name.as_file(value)}")
    return [program, *configs[-1:], *rest, *left]


def _refuse(message: str) -> None:
    tell(f"error: {' '.join(message.split())}")
    sys.exit(USAGE_STATUS)


def _explain(error: Exception, argv: list[str]) -> str:
    """Explains an error of flag parsing in one line, without the terms of the libraries."""
    text = " ".join(str(error).split())
    if text[:1] in "\"'" and text[-1:] == text[:1]:
        text = text[1:-1]
    if missing := re.findall(r"Flag (--\w+) must have a value other than None", text):
        return f"{' and '.join(missing)} must be given"
    if unknown := re.match(r"Unknown command line flag '(.*?)'", text):
        return _unknown(unknown[1])
    if value := re.match(r"flag --config\.([\w.]+)=(.*?): ", text):
        return _refusal(value[1], value[2]) or text
    below = [a for a in argv if a.startswith("--config.") and a.split("=")[0].count(".") > 1]
    if isinstance(error, TypeError) and below:  # a nested field below one that has none
        return f"{below[0]}: the config has no such field"
    if path := re.search(r"Failed loading config file.*?path\]: (\S+)", text):
        name = Path(path[1]).stem
        hint = f"; for the method give --config={name}" if name in methods.names() else ""
        return f"--config: cannot load {path[1]}: no such file{hint}"
    if wrapped := re.search(r"Error whilst parsing config file.*InputError: (.*)", text):
        return f"--config: {wrapped[1]}"
    if "Non-boolean argument" in text:
        return f"{text.split(': ')[0]}: give true or false"
    text = re.sub("^Configuration is not available because of .*? to load: ", "", text)
    # Any error that is not from absl or this package was raised while the config file ran.
    ours = isinstance(error, flags.Error | InputError)
    return text if text and ours else f"--config: {text or type(error).__name__}"


def _unknown(name: str) -> str:
    """Returns what is wrong with a flag that does not exist."""
    if name.startswith("config.") and "config" in flags.FLAGS:
        return f"--{name}: --config=NAME[:PRESET,...] must also be given"
    known = [flag for module in flags.FLAGS.key_flags_by_module_dict().values() for flag in module]
    known = dict.fromkeys(f"--{flag.name}" for flag in known)
    given = flags.FLAGS["config"].value if "config" in flags.FLAGS else None
    fields = list(flat(given.to_dict())) if isinstance(given, ml_collections.ConfigDict) else []
    if name in fields:
        return f"--{name}: there is no such flag, did you mean --config.{name}?"
    return f"--{name}: there is no such flag{did_you_mean(f'--{name}', known)}"


def _refusal(field: str, value: str) -> str:
    """Returns the config's message about a value that the flag refused; '' if it accepts it."""
    given = flags.FLAGS["config"].value
    try:
        fields = merge({}, "", given.to_dict(), {field: value})
        settings.split(methods.find(given.method), ml_collections.ConfigDict(fields))
    except InputError as error:
        return str(error)
    return ""
