"""The commands that the documents show, read and checked by the code that runs them; none is run."""

import functools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import ml_collections

from benchmarks import common
from deepinternal import by_name, methods
from deepinternal.cli import answers, console, degradation, scribble, verb_table, verbs
from deepinternal.cli.sweep_fields import combinations
from deepinternal.cli.words import parse
from deepinternal.config import build, merge
from deepinternal.field_info import describe
from deepinternal.recipe import Recipe
from deepinternal.runs.settings import to_config_dict
from deepinternal.types import InputError
from deepinternal.video_paths import NAMES as PATHS

ROOT = Path(__file__).parent.parent
MODULES = {"main": "train"}  # of launch/, where the program has another name
_START = re.compile(
    r"(?:^|[\s'(])(?:(?:\S*/)?python3? -m (launch|benchmarks)\.(\w+)|(?:\S*/)?deepinternal (?=\w))"
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```|^((?: {4}.*\n)+)", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def without_code(text: str) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[str]:
    """The commands of a document: lines of its blocks and inline code, each from the program's name on.

    Left out are the names of programs alone, summaries of flags, which contain brackets, and commands
    with '...'.
    """
    blocks = [code or indented for kind, code, indented in _BLOCK.findall(text) if kind != "python"]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines += _SPAN.findall(without_code(text))
    for line in lines:
        line = re.sub(
            r"command: \[(.*)\]", lambda m: m[1].replace(",", "").replace("- m", "-m"), line
        )
        found = _START.search(line)
        if not found or re.search(r"\[-|\.\.\.|VERB|PROGRAM|\bNAME\b", line):
            continue
        room, program = found[1] or "cli", found[2] or ""
        rest = line[found.end() :]
        rest = re.split(r" [&>]", rest.rstrip("'") if rest.count("'") % 2 else rest)[0]
        words = [*program.split(), *shlex.split(rest, comments=True)]
        if len(words) > 1:
            yield shlex.join([room, *words])


def check(command: str) -> None:
    """Raises InputError where a command of `commands` names what there is not."""
    room, program, *words = shlex.split(command)
    if room == "benchmarks":
        return _check_benchmark(program, words)
    program = MODULES.get(program, program) if room == "launch" else program
    is_verb = room == "cli" and program in console.VERBS
    if is_verb and not (program == "retarget" and console._is_program(words)):
        return _check_verb(program, words)
    if program == "show":
        for name, presets in map(by_name.parts, (w for w in words if not w.startswith("--"))):
            methods.find(name).build(presets)
        return None
    if program not in (*console.PROGRAMS, "retarget"):
        raise InputError(f"{command}: there is no such program")
    return _PROGRAMS[program](words)


def _check_verb(name: str, words: Sequence[str]) -> None:
    verb, command = verb_table.read(name, words)
    if command.options["help"]:
        return
    recipe = methods.find(verb.method(command))
    for part in verb_table.parts(verb, command):
        verbs.settings_of(recipe, verb_table.presets_of(verb, command), part)
    suffix = Path(command.options["out"]).suffix
    if suffix and suffix not in answers.SUFFIXES[verb.kind(command)]:
        raise InputError(f"--out={command.options['out']}: cannot be written")
    if verb.own and not verb.each:
        answers.check_sizes(*command.several.values())


def _check_train(words: Sequence[str]) -> None:
    flags, fields = _sorted(words, "train", "run_flags", "distributed")
    _load(flags["config"], fields)


def _check_sweep(words: Sequence[str]) -> None:
    flags, fields = _sorted(words, "sweep", "run_flags", "distributed")
    if recipe := _load(flags["config"], fields):
        config = to_config_dict(recipe, flags["config"].partition(":")[2])
        config = ml_collections.ConfigDict(merge({}, "", config.to_dict(), fields))
        combinations(recipe, config, flags.get("seeds", ""), [flags["sweep"]])


def _check_degrade(words: Sequence[str]) -> None:
    fields = describe(degradation.Degradation())
    flags, _ = _sorted(words, "degrade", also=tuple(fields))
    build(degradation.Degradation, {}, **{n: v for n, v in flags.items() if n in fields})


def _check_retarget(words: Sequence[str]) -> None:
    flags, _ = _sorted(words, "retarget")
    answers.check_sizes([flags["size"]] if "size" in flags else [], [flags.get("scale", "1")])
    if flags.get("video", PATHS[0]) not in PATHS:
        raise InputError(f"--video={flags['video']}: there is no such path")


def _check_benchmark(program: str, words: Sequence[str]) -> None:
    flags, fields = _sorted(words, program, "common", folder="benchmarks")
    configs = [word.partition("=")[2] for word in words if word.startswith("--config=")]
    if (name := flags.get("method", "all")) != "all" and name.partition(".")[0] != "my_package":
        methods.find(name)
    for config in configs:
        _load(config, fields)


def _check_scribble(words: Sequence[str]) -> None:
    scribble._checked(parse(words))


_PROGRAMS = {
    "train": _check_train,
    "sweep": _check_sweep,
    "degrade": _check_degrade,
    "scribble": _check_scribble,
    "retarget": _check_retarget,
}


def _sorted(
    words: Sequence[str], *modules: str, folder: str = "deepinternal/cli", also: Sequence[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """The flags of a command line that modules define, and the fields of its config."""
    flags, fields = {}, {}
    known = {*also, "config"}.union(*(_defined(folder, module) for module in modules))
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or (name not in known and not name.startswith("config.")):
            raise InputError(f"{word}: there is no such flag of {modules[0]}")
        if name.startswith("config."):
            fields[name.removeprefix("config.")] = value
        else:
            flags[name] = value
    return flags, fields


@functools.cache
def _defined(folder: str, module: str) -> set[str]:
    """The flags that a module defines.

    Read from its text, because two programs with a flag of one name cannot be in one process.
    """
    paths = [ROOT / folder / f"{module}.py", ROOT / folder / module / "__main__.py"]
    found = [path.read_text(encoding="utf-8") for path in paths if path.exists()]
    if not found:
        raise InputError(f"{folder}/{module}.py: there is no such module")
    return set(re.findall(r"(?:DEFINE_\w+|add_argument)\(\s*\"(?:--)?(\w+)\"", found[0]))


def _load(text: str, fields: Mapping[str, str]) -> Recipe | None:
    """The recipe of what `--config` names, with fields that it takes; None for a made-up package."""
    if text.startswith("my_package."):
        return None
    path = str(ROOT / text) if text.partition(":")[0].endswith(".py") else text
    return common.load(path, fields)[0]
