"""Functions that the benchmarks share: command lines, configs, the machine, JSON files."""

import contextlib
import datetime
import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
from absl import flags

from benchmarks.tables import number as number
from benchmarks.tables import span as span
from benchmarks.tables import table as table
from deepinternal import by_name, methods
from deepinternal.cli import huge_pages, program
from deepinternal.config import MethodConfig, merge
from deepinternal.files import atomic_write_text
from deepinternal.recipe import Recipe
from deepinternal.runs import settings
from deepinternal.types import InputError
from deepinternal.writers import to_json


def start(main: Callable[[], int], define: Callable[[], None], *, fields: bool = True) -> None:
    """Runs a program: parses its flags and exits with the status that `main` returns.

    Args:
        main: The program, which reads `flags.FLAGS`.
        define: Defines its flags; `--json` is added.
        fields: Whether it takes `--config.FIELD=VALUE`, which `given_fields` returns.
    """
    huge_pages.restart()
    sys.argv = as_fields(sys.argv) if fields else sys.argv
    define()
    flags.DEFINE_string("json", None, "JSON file for the results.")
    if fields:
        flags.DEFINE_multi_string("field", [], "FIELD=VALUE; the same as --config.FIELD=VALUE.")

    def checked() -> int:
        path = flags.FLAGS.json
        if path and (Path(path).is_dir() or not os.access(Path(path).absolute().parent, os.W_OK)):
            raise InputError(f"--json={path}: cannot be written; give a file in an existing folder")
        return main()

    program.run(checked)


def as_fields(argv: Sequence[str]) -> list[str]:
    """Rewrites `--config.FIELD=VALUE`, the form of the launcher, to `--field=FIELD=VALUE`."""
    prefix = "--config."
    return [f"--field={a[len(prefix) :]}" if a.startswith(prefix) else a for a in argv]


def given_fields(texts: Sequence[str]) -> dict[str, str]:
    """Parses 'FIELD=VALUE' to values by field, as text. Raises InputError if there is no '='."""
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not equals:
            raise InputError(f"--config.{name}: give FIELD=VALUE")
    return {name: value for name, _, value in pairs}


def load(
    text: str, fields: Mapping[str, Any], **more: Any
) -> tuple[Recipe, MethodConfig, settings.RunConfig]:
    """Loads the config that a `--config` flag names.

    Args:
        text: The flag as in `launch.main`, such as 'configs/zssr.py:fast' or 'zssr:fast'.
        fields: Fields that override it; nested ones have names with dots.
        **more: Fields that override all others.

    Raises:
        InputError: The file, the method, a preset or a field does not exist, or a value is impossible.
    """
    path, _, presets = by_name.as_file(text).partition(":")
    config = _module(Path(path)).get_config(presets or None)
    recipe = methods.find(config.method)
    values = merge({}, "", config.to_dict(), fields, more)
    return recipe, *settings.split(recipe, ml_collections.ConfigDict(values))


def _module(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"--config={path}: no such file; give a file or the name of a method")
    spec = importlib.util.spec_from_file_location(f"_config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise InputError(f"--config={path}: has no function get_config; give a file of configs/")
    return module


def whole_numbers(flag: str, texts: Sequence[str]) -> list[int]:
    """Parses a flag that lists positive whole numbers. Raises InputError for other values."""
    found = [int(text) if text.strip().isdecimal() else 0 for text in texts]
    if min(found, default=0) < 1:
        raise InputError(f"--{flag}={','.join(texts)}: give numbers, such as 2,3,4")
    return found


def choices(flag: str, texts: Sequence[str], known: Sequence[str]) -> list[str]:
    """Checks a flag that lists names. Raises InputError for an unknown one."""
    for text in texts:
        if text not in known:
            raise InputError(f"--{flag}={','.join(texts)}: {text!r} is none of {', '.join(known)}")
    return list(texts)


def machine() -> dict[str, Any]:
    """Describes the machine and the time of a measurement."""
    device = jax.local_devices()[0]
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "backend": jax.default_backend(),
        "device": device.device_kind,
        "device_count": jax.local_device_count(),
        "processor": _processor(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "date": datetime.date.today().isoformat(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe(facts: Mapping[str, Any]) -> str:
    """Formats `machine()` as one line."""
    device = "" if facts["backend"] == "cpu" else f"{facts['device_count']} x {facts['device']}, "
    return (
        f"{device}{facts['cores']} cores of {facts['processor']}, {facts['system']}, "
        f"Python {facts['python']}, jax {facts['jax']}, {facts['date']}"
    )


def write_json(content: Mapping[str, Any]) -> None:
    """Writes the results to the file given by `--json`, if any."""
    if path := flags.FLAGS.json:
        atomic_write_text(Path(path), to_json(content, indent=2) + "\n")


@contextlib.contextmanager
def folder(path: str | None) -> Iterator[Path]:
    """Yields a folder of that name, which is made if needed; None: a temporary one."""
    if path:
        Path(path).mkdir(parents=True, exist_ok=True)
        yield Path(path)
    else:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)
