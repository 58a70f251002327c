"""One verb per task: it reads a file or a folder, and writes a file or a folder.

    deepinternal sr photo.jpg --out=big.png --scale=3
    deepinternal denoise photos/ --out=clean/

A verb runs `train` with a chosen method, presets and work folder, and copies the results to
`--out`. The work folder lies in the user's cache unless `--workdir` gives another one. Repeating
the command resumes it.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from deepinternal import methods
from deepinternal.cli import answers, console, program, program_cache
from deepinternal.codecs.video_io import VIDEO_SUFFIXES
from deepinternal.config import MethodConfig, describe, did_you_mean, merge
from deepinternal.files import expanded, sha256_files, show_path
from deepinternal.messages import tell
from deepinternal.recipe import Recipe
from deepinternal.runs import jobs
from deepinternal.runs import settings as run_settings
from deepinternal.runs.inputs import Job, jobs_of
from deepinternal.runs.settings import RunConfig
from deepinternal.runs.workdir import RefusedError, Workdir
from deepinternal.types import InputError

_KEPT = 30 * 24 * 3600  # seconds after which unused work folders are removed from the cache
_SWITCHES = ("overwrite", "help", "show", "json", "dry_run", "frames")
_TEXTS = ("out", "preset", "workdir")


@dataclasses.dataclass(frozen=True)
class Command:
    """A parsed command line.

    Attributes:
        inputs: The words that are not options.
        options: The verb's own options by name; switches are True or False.
        fields: All other options as text, which are fields of the config.
        several: The values of the options that may be given repeatedly, by name.
    """

    inputs: tuple[str, ...]
    options: Mapping[str, Any]
    fields: Mapping[str, str]
    several: Mapping[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Verb:
    """A task.

    Attributes:
        method: `command -> name` of the method.
        task: `command -> presets` that precede the preset chosen by the user.
        answers: `command -> outputs` to write, each with the suffix that it adds to the name of
            `--out`.
        kind: The kind of the results, see `answers.SUFFIXES`.
        fields: The fields that the help shows.
        preset: The default preset.
        own: Options of the verb that may be given repeatedly, with their descriptions.
    """

    method: Callable[[Command], str]
    task: Callable[[Command], str] = lambda command: ""
    answers: Callable[[Command], Mapping[str, str]] = lambda command: {"result": ""}
    kind: Callable[[Command], str] = lambda command: "image"
    fields: tuple[str, ...] = ()
    preset: str = "fast"
    own: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _always(value: Any) -> Callable[[Command], Any]:
    return lambda command: value


def _is_video(command: Command) -> bool:
    """Whether the input of `segment` is one video."""
    return command.options["frames"] or any(
        os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES and not os.path.isdir(expanded(path))
        for path in command.inputs
    )


def _has_region(command: Command) -> bool:
    """Whether the region of the watermark is given, so that each image is processed alone."""
    return bool({"mask", "box"} & set(command.fields))


def _watermark_task(command: Command) -> str:
    """Returns the preset for single images with a given region, or for several images together."""
    one = len(command.inputs) == 1 and os.path.isfile(expanded(command.inputs[0]))
    if one and not _has_region(command):
        raise InputError(
            "a single image needs the region of its watermark: give --mask=FILE or "
            "--box=y0,x0,y1,x1, or give several images with the same watermark"
        )
    return "single" if _has_region(command) else "many"


VERBS: Mapping[str, Verb] = {
    "sr": Verb(_always("zssr"), fields=("scale", "output_shape", "kernel", "noise_std")),
    "denoise": Verb(_always("dip"), _always("denoise"), fields=("noise_std",)),
    "inpaint": Verb(_always("dip"), _always("inpaint"), fields=("mask", "label")),
    "segment": Verb(
        lambda command: "video_segmentation" if _is_video(command) else "segmentation",
        answers=_always({"mask": "", "foreground": "-foreground", "background": "-background"}),
        kind=lambda command: "video" if _is_video(command) else "image",
        fields=("foreground", "background", "label", "background_label", "hints"),
    ),
    "dehaze": Verb(_always("dehazing"), fields=("airlight", "passes")),
    "separate": Verb(
        _always("transparency"),
        lambda command: "pair" if len(command.inputs) == 2 else "single",
        answers=_always({"layer1": "", "layer2": "-layer2"}),
    ),
    "unwatermark": Verb(
        _always("watermark"),
        _watermark_task,
        answers=lambda command: {"result" if _has_region(command) else "clean": ""},
        fields=("mask", "label", "box"),
    ),
    "retarget": Verb(
        _always("ingan"),
        preset="lite",
        own={"size": "height,width in pixels", "scale": "vertical,horizontal factors"},
    ),
    "kernel": Verb(
        _always("kernelgan"),
        answers=_always({"kernel": ""}),
        kind=_always("kernel"),
        fields=("scale",),
    ),
}


def run_program(name: str, words: Sequence[str]) -> None:
    """Runs a verb and exits with a status like that of `train`.

    Args:
        name: The name of the verb.
        words: The rest of the command line.
    """

    def main() -> int:
        try:
            return _run(name, VERBS[name], parse(words, own=tuple(VERBS[name].own)))
        except InputError as error:
            raise InputError(
                str(error).replace("config.input: ", "").replace("config.", "--")
            ) from None

    program.run_without_flags(main, keep_programs=True)


def parse(words: Sequence[str], *, own: Sequence[str] = ()) -> Command:
    """Parses a command line: `--name=value`, `--name value`, `--switch`, and inputs.

    Args:
        words: The words after the verb.
        own: Options that may be given repeatedly.

    Raises:
        InputError: An option has no value, or a switch has a wrong one.
    """
    inputs, fields, rest = [], {}, list(words)
    options: dict[str, Any] = dict.fromkeys(_TEXTS, "") | dict.fromkeys(_SWITCHES, False)
    several: dict[str, list[str]] = {name: [] for name in own}
    while rest:
        word = rest.pop(0)
        if word == "--":  # for names that begin with a dash
            inputs += rest
            break
        if not word.startswith("-") or word == "-" or os.path.isfile(word):
            inputs.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = {"h": "help", "o": "out"}.get(name, name.removeprefix("config.")).replace("-", "_")
        if name in _SWITCHES:
            options[name] = _switch(word, value) if equals else True
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise InputError(f"{word}: needs a value: {word}=VALUE")
            value = rest.pop(0)
        if name in several:
            several[name].append(value)
        else:
            (options if name in _TEXTS else fields)[name] = value
    return Command(tuple(inputs), options, fields, {n: tuple(v) for n, v in several.items()})


def _switch(word: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InputError(f"{word}: give true or false")
    return value.lower() == "true"


def _run(name: str, verb: Verb, command: Command) -> int:
    """Does what the command line asks for; returns the exit status."""
    options, own = command.options, command.several.values()
    recipe = methods.find(verb.method(command))
    presets = ",".join(filter(None, (verb.task(command), options["preset"] or verb.preset)))
    if options["help"]:
        print(_help(name, verb, recipe))
        return 0
    if options["show"]:
        from deepinternal.cli import show

        printed = show.as_json if options["json"] else show.text
        print(printed(recipe, presets, command.fields))
        return 0
    config, settings = _settings(recipe, presets, command)
    listed = jobs_of(recipe, config, settings)
    if name == "retarget":
        answers.check_sizes(*own)
    workdir = expanded(options["workdir"])
    workdir = workdir or str(_cached(name, recipe, config, settings, listed))
    if options["dry_run"]:
        from deepinternal.cli import dry_run

        print(dry_run.text(recipe, config, settings, workdir, overwrite=options["overwrite"]))
        return 0
    out, kind, outputs = expanded(options["out"]), verb.kind(command), verb.answers(command)
    many = any(os.path.isdir(expanded(p)) for p in command.inputs) and not options["frames"]

    def plan(overwrite: bool = False) -> answers.Plan:
        folder = Workdir(workdir, recipe, config, settings, overwrite=overwrite)
        return answers.plan(out, folder.tied(listed), kind, outputs, many=many)

    plan(options["overwrite"])
    if not options["workdir"]:
        _remove_old(Path(workdir).parent)
    status = jobs.run_all(recipe, config, settings, workdir, overwrite=options["overwrite"])
    try:
        asked = plan()  # by now, each image has its stem
    except RefusedError:
        if status < 128:
            raise
        return status  # stopped before results of another config were discarded
    if name == "retarget":
        written = answers.retargeted(asked, Path(workdir), *own)
    else:
        written, failed = answers.copy(asked, Path(workdir))
        if failed:
            more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
            tell(f"error: {failed[0]}{more}; the same command tries again")
            status = status or program.FAILED_STATUS
    if settings.progress and written:
        for path in written:
            tell(show_path(path))
        tell(f"report: {show_path(Path(workdir) / 'index.html')}")
    return status


def _settings(recipe: Recipe, presets: str, command: Command) -> tuple[MethodConfig, RunConfig]:
    """Returns the configs that a command line describes."""
    if "input" in command.fields:
        raise InputError("--input: give the input without a flag, such as photo.jpg")
    if not command.inputs or not all(map(str.strip, command.inputs)):
        raise InputError("no input: give an image, a folder or several images")
    if len(command.inputs) > 1 and (odd := [p for p in command.inputs if "," in p]):
        raise InputError(f"{odd[0]}: has a comma in its name; rename it, or give it alone")
    given = run_settings.to_config_dict(recipe, presets)
    known = [*given.keys(), *_TEXTS, *_SWITCHES]
    for field in command.fields:
        if field.partition(".")[0] not in given or field in run_settings.NAMED:
            hint = did_you_mean(field, known) or f"; see deepinternal show {recipe.name}"
            raise InputError(f"--{field}: there is no such option or field{hint}")
    fields = {**command.fields, "input": ",".join(command.inputs)}
    merged = merge({}, "", given.to_dict(), fields)
    return run_settings.split(recipe, ml_collections.ConfigDict(merged))


def _cached(
    name: str,
    recipe: Recipe,
    config: MethodConfig,
    settings: RunConfig,
    listed: Sequence[Job],
) -> Path:
    """Returns the work folder of a command in the user's cache.

    Each set of field values has its own folder. Files that are named, rather than a folder or glob,
    determine it by their contents, so that a changed photograph gets a new one, and a photograph that
    was moved does not. A folder or glob determines it by its place, so that adding an image keeps the
    results of the others.
    """
    fields = {n: value for n, value in config.plain().items() if n not in recipe.side_inputs}
    sides = {n: expanded(getattr(config, n)) for n in recipe.side_inputs}
    said: list[Any] = [recipe.name, fields]
    if settings.color != "keep":
        said.append(settings.color)
    parts = [settings.input] if os.path.lexists(settings.input) else settings.input.split(",")
    parts = [expanded(part.strip()) for part in parts]
    if len(listed) == 1 and (listed[0].several or all(map(os.path.isfile, parts))):
        said.append(sha256_files(listed[0].files))
        said.append({n: sha256_files([p]) for n, p in sides.items() if os.path.isfile(p)})
    else:
        said += [os.path.abspath(path) for path in parts]
        said.append({n: os.path.abspath(path) for n, path in sides.items() if path})
    stem = re.sub(r"[^\w.-]", "_", os.path.basename(settings.input.rstrip("/")))[:40]
    digest = hashlib.sha256(
        json.dumps(said, sort_keys=True).encode("utf-8", "replace")
    ).hexdigest()[:12]
    return program_cache.user_cache() / "runs" / f"{name}-{stem}-{digest}"


def _remove_old(root: Path) -> None:
    """Removes the work folders that have not been written to for a month."""
    for folder in root.glob("*/") if root.is_dir() else ():
        try:
            newest = max(p.stat().st_mtime for p in (folder, *folder.iterdir()))
        except OSError:
            continue
        if time.time() - newest > _KEPT:
            shutil.rmtree(folder, ignore_errors=True)


def _help(name: str, verb: Verb, recipe: Recipe) -> str:
    """Returns the help of a verb, which fits on a screen."""
    infos, others = describe(recipe.config()), [p for p in recipe.presets if p != verb.preset]
    rows = [
        ("INPUT", "an image, a folder, a glob, or several of these"),
        ("--out=OUT", "the file or the folder to write; several images need a folder"),
        ("--preset=NAME", f"{verb.preset} by default, or {', '.join(others)}"),
        *(
            (f"--{option}=", f"{text}; may be given repeatedly")
            for option, text in verb.own.items()
        ),
        *((f"--{field}={infos[field].default}", infos[field].doc) for field in verb.fields),
        ("--workdir=DIR", "for checkpoints, log and report; by default in the user's cache"),
        ("--overwrite", "start again from the beginning"),
        ("--show, --dry_run", "print all fields; print what would be done"),
    ]
    lines = [f"deepinternal {name} INPUT --out=OUT [--preset=NAME] [--FIELD=VALUE ...]", ""]
    lines += [f"{console.VERBS[name].capitalize()}.", "", f"The method is {recipe.name}.", ""]
    for option, text in rows:
        lines += textwrap.wrap(f"{option:20} {text}", 96, subsequent_indent=" " * 21)
    lines += ["", f"All fields and presets: deepinternal show {recipe.name}"]
    if name == "retarget":
        lines.append("To use a trained net: deepinternal retarget --workdir=DIR --help")
    return "\n".join(lines)
