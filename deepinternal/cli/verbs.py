"""One verb per task: a file or a folder in, a file or a folder out.

    deepinternal sr photo.jpg --out=big.png --scale=3
    deepinternal denoise photos/ --out=clean/

A verb runs the jobs of `train` with a method, presets and a work folder that are chosen already, and
copies the answers to `--out`. The work folder lies in the user's cache unless `--workdir` names another
one. The same command again resumes.
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
from deepinternal.files import show_path
from deepinternal.messages import tell
from deepinternal.recipe import Recipe
from deepinternal.runs import jobs
from deepinternal.runs import settings as run_settings
from deepinternal.runs.inputs import jobs_of
from deepinternal.runs.settings import RunConfig
from deepinternal.runs.workdir import CONTINUED, RefusedError
from deepinternal.types import InputError

_KEPT = 30 * 24 * 3600  # seconds for which unused work folders stay in the cache
_SWITCHES = ("overwrite", "help", "show", "json", "dry_run", "frames")
_TEXTS = ("out", "preset", "workdir")


@dataclasses.dataclass(frozen=True)
class Command:
    """What a command line says.

    Attributes:
        inputs: the words that are no options.
        options: the verb's own options by name; switches are True or False.
        fields: all other options, which are fields of the config, as text.
        several: the values of the options that may be given repeatedly, by name.
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
        task: `command -> presets` that go before the preset that the user chooses.
        answers: `command -> outputs` that are written, with what is added to the name of `--out` for
            each.
        kind: what the answer is, see `answers.SUFFIXES`.
        fields: the fields that the help shows.
        preset: the default preset.
        own: options of the verb that may be given repeatedly, with what they say.
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
    """Whether `segment` is to take its input for one video."""
    return command.options["frames"] or any(
        os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES for path in command.inputs
    )


def _has_region(command: Command) -> bool:
    """Whether the region of the watermark is given, so that each image is worked on alone."""
    return bool({"mask", "box"} & set(command.fields))


def _watermark_task(command: Command) -> str:
    """Whether the images are worked on one by one, in a given region, or together."""
    one = len(command.inputs) == 1 and os.path.isfile(command.inputs[0])
    if one and not _has_region(command):
        raise InputError(
            "the watermark of a single image: say where it is by --mask=FILE or --box=y0,x0,y1,x1, or "
            "give several images with the same watermark"
        )
    return "single" if _has_region(command) else "many"


VERBS: Mapping[str, Verb] = {
    "sr": Verb(_always("zssr"), fields=("scale", "output_shape", "kernel", "noise_std")),
    "denoise": Verb(_always("dip"), _always("denoise"), fields=("noise_std",)),
    "inpaint": Verb(_always("dip"), _always("inpaint"), fields=("mask",)),
    "segment": Verb(
        lambda command: "video_segmentation" if _is_video(command) else "segmentation",
        answers=_always({"mask": "", "foreground": "-foreground", "background": "-background"}),
        kind=lambda command: "video" if _is_video(command) else "image",
        fields=("foreground", "background", "hints"),
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
        fields=("mask", "box"),
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
    """Runs a verb and exits with its status, as `train` does.

    Args:
        name: of the verb.
        words: the rest of the command line.
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
    """Reads a command line: `--name=value`, `--name value`, `--switch`, and inputs.

    Args:
        words: the words after the verb.
        own: options that may be given repeatedly.

    Raises:
        InputError: an option without a value, or a switch with a wrong one.
    """
    inputs, fields, rest = [], {}, list(words)
    options: dict[str, Any] = dict.fromkeys(_TEXTS, "") | dict.fromkeys(_SWITCHES, False)
    several: dict[str, list[str]] = {name: [] for name in own}
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
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
    """Does what the command line says; returns the exit status."""
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
    workdir = options["workdir"] or str(_cached(name, recipe, config, settings))
    if options["dry_run"]:
        from deepinternal.cli import dry_run

        print(dry_run.text(recipe, config, settings, workdir))
        return 0
    many = any(map(os.path.isdir, command.inputs)) and not options["frames"]
    asked = answers.plan(
        options["out"], listed, verb.kind(command), verb.answers(command), many=many
    )
    if name == "retarget":
        answers.check_sizes(*own)
    status = _trained(recipe, config, settings, workdir, options)
    if name == "retarget":
        written = answers.retargeted(asked, Path(workdir), *own)
    else:
        written = answers.copy(asked, Path(workdir))
    if settings.progress and written:
        for path in written:
            tell(show_path(path))
        tell(f"report: {show_path(Path(workdir) / 'index.html')}")
    return status


def _trained(
    recipe: Recipe,
    config: MethodConfig,
    settings: RunConfig,
    workdir: str,
    options: Mapping[str, Any],
) -> int:
    """Trains on all inputs; what the cache holds of other bytes is replaced."""
    overwrite = options["overwrite"]
    try:
        return jobs.run_all(recipe, config, settings, workdir, overwrite=overwrite)
    except RefusedError:
        if options["workdir"] or overwrite:
            raise
        return jobs.run_all(recipe, config, settings, workdir, overwrite=True)


def _settings(recipe: Recipe, presets: str, command: Command) -> tuple[MethodConfig, RunConfig]:
    """The configs that a command line stands for."""
    if not command.inputs:
        raise InputError("no input: give an image, a folder or several images")
    if len(command.inputs) > 1 and (odd := [p for p in command.inputs if "," in p]):
        raise InputError(f"{odd[0]}: has a comma in its name; rename it, or give it alone")
    given = run_settings.to_config_dict(recipe, presets)
    known = [*given.keys(), *_TEXTS, *_SWITCHES]
    for field in command.fields:
        if field.partition(".")[0] not in given or field in (*run_settings.NAMED, "input"):
            hint = did_you_mean(field, known) or f"; see deepinternal show {recipe.name}"
            raise InputError(f"--{field}: there is no such option or field{hint}")
    fields = {**command.fields, "input": ",".join(command.inputs)}
    merged = merge({}, "", given.to_dict(), fields)
    return run_settings.split(recipe, ml_collections.ConfigDict(merged))


def _cached(name: str, recipe: Recipe, config: MethodConfig, settings: RunConfig) -> Path:
    """The work folder of a command in the user's cache; older ones are removed.

    It does not depend on the number of steps, so that more steps continue a finished run.
    """
    fields = {n: value for n, value in config.plain().items() if n not in CONTINUED}
    said = json.dumps([recipe.name, fields, settings.input, os.getcwd()], sort_keys=True)
    stem = re.sub(r"[^\w.-]", "_", os.path.basename(settings.input.rstrip("/")))[:40]
    digest = hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:12]
    root = program_cache.user_cache() / "runs"
    _remove_old(root)
    return root / f"{name}-{stem}-{digest}"


def _remove_old(root: Path) -> None:
    """Removes the work folders that nothing was written to for a month."""
    for folder in root.glob("*/") if root.is_dir() else ():
        try:
            newest = max(p.stat().st_mtime for p in (folder, *folder.iterdir()))
        except OSError:
            continue
        if time.time() - newest > _KEPT:
            shutil.rmtree(folder, ignore_errors=True)


def _help(name: str, verb: Verb, recipe: Recipe) -> str:
    """The help of a verb, within a screen."""
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
        ("--overwrite", "start anew"),
        ("--show, --dry_run", "print all fields; say what would be done"),
    ]
    lines = [f"deepinternal {name} INPUT --out=OUT [--preset=NAME] [--FIELD=VALUE ...]", ""]
    lines += [f"{console.VERBS[name].capitalize()}.", "", f"The method is {recipe.name}.", ""]
    for option, text in rows:
        lines += textwrap.wrap(f"{option:20} {text}", 96, subsequent_indent=" " * 21)
    lines += ["", f"All fields and presets: deepinternal show {recipe.name}"]
    if name == "retarget":
        lines.append(
            "With a net that is trained already: deepinternal retarget --workdir=DIR --helpfull"
        )
    return "\n".join(lines)
