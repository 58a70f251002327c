"""One verb per task: it reads a file or a folder, and writes a file or a folder.

    deepinternal sr photo.jpg --out=big.png --scale=3
    deepinternal denoise photos/ --out=clean/

A verb runs `train` with a chosen method, presets and work folder, and copies the results to
`--out`. The work folder lies in the user's cache unless `--workdir` gives another one. Repeating
the command resumes it.
"""

import dataclasses
import functools
import os
import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import ml_collections

from deepinternal import methods
from deepinternal.cli import answers, console, program, run_cache
from deepinternal.cli.verb_table import VERBS, Verb, parts, presets_of, read
from deepinternal.cli.words import SWITCHES, TEXTS, Command
from deepinternal.config import MethodConfig, merge
from deepinternal.field_forms import did_you_mean
from deepinternal.field_info import describe
from deepinternal.files import expanded, show_path
from deepinternal.messages import tell
from deepinternal.recipe import Recipe
from deepinternal.runs import jobs
from deepinternal.runs import settings as run_settings
from deepinternal.runs.inputs import Job, jobs_of
from deepinternal.runs.settings import RunConfig
from deepinternal.runs.workdir import RefusedError, Workdir
from deepinternal.types import InputError


def run_program(name: str, words: Sequence[str]) -> None:
    """Runs a verb and exits with a status like that of `train`.

    Args:
        name: The name of the verb.
        words: The rest of the command line.
    """

    def main() -> int:
        try:
            return _run(name, *read(name, words))
        except InputError as error:
            raise InputError(_spelled(name, str(error))) from None

    program.run_without_flags(main, keep_programs=True)


def _spelled(name: str, text: str) -> str:
    """Returns a message in which fields have the names of the options of a verb."""
    text = re.sub(r"(?<![\w./-])config\.(?!json\b)", "--", text.replace("config.input: ", ""))
    for option, field in VERBS[name].each.items():
        text = text.replace(f"--{field}", f"--{option}")
    return text


@dataclasses.dataclass(frozen=True)
class _Run:
    """A run of a method that a command asks for.

    Attributes:
        config: The config of the method.
        settings: How to run.
        listed: The jobs of the input.
        workdir: The work folder.
    """

    config: MethodConfig
    settings: RunConfig
    listed: Sequence[Job]
    workdir: Path


def _run(name: str, verb: Verb, command: Command) -> int:
    """Does what the command line asks for; returns the exit status."""
    options = command.options
    recipe, presets = methods.find(verb.method(command)), presets_of(verb, command)
    if options["help"]:
        print(_help(name, verb, command, recipe))
        return 0
    if options["show"]:
        from deepinternal.cli import show

        printed = show.as_json if options["json"] else show.text
        print(printed(recipe, presets, command.fields))
        return 0
    asked, spelling = parts(verb, command), functools.partial(_spelled, name)
    alone = len(asked) == 1
    runs = [_prepared(name, verb, recipe, presets, part, alone=alone) for part in asked]
    if verb.own and not verb.each:
        answers.check_sizes(*command.several.values())
    if options["dry_run"]:
        from deepinternal.cli import dry_run

        how = {"overwrite": options["overwrite"], "spelling": spelling}
        given = [(recipe, run.config, run.settings, str(run.workdir)) for run in runs]
        print("\n\n".join(dry_run.text(*one, **how) for one in given))
        return 0
    plans = [_plan(verb, command, recipe, run, overwrite=options["overwrite"]) for run in runs]
    del plans  # what they refuse is refused before anything runs
    statuses = []
    for run in runs:
        sized = len(runs) > 1
        statuses.append(_done(verb, command, recipe, run, sized=sized, spelling=spelling))
        if statuses[-1] >= 128:  # stopped by a signal
            break
    return max(statuses)


def _prepared(
    name: str, verb: Verb, recipe: Recipe, presets: str, command: Command, *, alone: bool
) -> _Run:
    """Returns the run of a command; several runs of a command have a folder each."""
    config, settings = settings_of(recipe, presets, command)
    listed = jobs_of(recipe, config, settings)
    given = expanded(command.options["workdir"])
    workdir = Path(given) if given else run_cache.folder(name, recipe, config, settings, listed)
    if given and not alone:
        named = [f"{o}={command.fields[f]}" for o, f in verb.each.items() if f in command.fields]
        workdir /= ",".join(named).replace("/", "_")
    return _Run(config, settings, listed, workdir)


def _plan(
    verb: Verb, command: Command, recipe: Recipe, run: _Run, *, overwrite: bool = False
) -> answers.Plan:
    """Returns where the results of a run are written to."""
    folder = Workdir(str(run.workdir), recipe, run.config, run.settings, overwrite=overwrite)
    many = any(os.path.isdir(expanded(p)) for p in command.inputs) and not command.options["frames"]
    out, outputs = expanded(command.options["out"]), verb.answers(command, run.config)
    return answers.plan(out, folder.tied(run.listed), verb.kind(command), outputs, many=many)


def _done(
    verb: Verb,
    command: Command,
    recipe: Recipe,
    run: _Run,
    *,
    sized: bool,
    spelling: Callable[[str], str],
) -> int:
    """Does a run and writes its results; returns the exit status.

    Args:
        verb: The verb.
        command: The command.
        recipe: The recipe of the method.
        run: The run.
        sized: Whether the names of the results tell their sizes.
        spelling: Rewrites messages, see `jobs.run_all`.
    """
    options, workdir = command.options, run.workdir
    if not options["workdir"]:
        run_cache.remove_old(workdir.parent)
    how = {"overwrite": options["overwrite"], "spelling": spelling}
    status = jobs.run_all(recipe, run.config, run.settings, str(workdir), **how)
    try:
        plan = _plan(verb, command, recipe, run)  # by now, each image has its stem
    except RefusedError:
        if status < 128:
            raise
        return status  # stopped before results of another config were discarded
    plan = dataclasses.replace(plan, sized=sized)
    written, failed = verb.write(plan, workdir, command)
    if failed:
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        tell(f"error: {failed[0]}{more}; the same command tries again")
        status = status or program.FAILED_STATUS
    if run.settings.progress and written:
        for path in written:
            tell(show_path(path))
        tell(f"report: {show_path(workdir / 'index.html')}")
    return status


def settings_of(recipe: Recipe, presets: str, command: Command) -> tuple[MethodConfig, RunConfig]:
    """Returns the configs that a command line describes.

    Args:
        recipe: The recipe of the method.
        presets: Names of presets joined by commas.
        command: The command line.

    Raises:
        InputError: There is no input, or an option or a field does not exist or cannot be used.
    """
    if "input" in command.fields:
        raise InputError("--input: give the input without a flag, such as photo.jpg")
    if not command.inputs or not all(map(str.strip, command.inputs)):
        raise InputError("no input: give an image, a folder or several images")
    if len(command.inputs) > 1 and (odd := [p for p in command.inputs if "," in p]):
        raise InputError(f"{odd[0]}: has a comma in its name; rename it, or give it alone")
    given = run_settings.to_config_dict(recipe, presets)
    known = [*given.keys(), *TEXTS, *SWITCHES]
    for field in command.fields:
        if field.partition(".")[0] not in given or field in run_settings.NAMED:
            hint = did_you_mean(field, known) or f"; see deepinternal show {recipe.name}"
            raise InputError(f"--{field}: there is no such option or field{hint}")
    fields = {**command.fields, "input": ",".join(command.inputs)}
    merged = merge({}, "", given.to_dict(), fields)
    return run_settings.split(recipe, ml_collections.ConfigDict(merged))


def _help(name: str, verb: Verb, command: Command, recipe: Recipe) -> str:
    """Returns the help of a verb, which fits on a screen."""
    infos, task = describe(recipe.config()), recipe.presets.get(verb.task(command))
    tasks = (None, task.fields.get("task") if task else None)
    others = [n for n, p in recipe.presets.items() if p.fields.get("task") in tasks]
    others = [n for n in others if n not in (verb.preset, verb.task(command))]
    base = VERBS[name]
    known = (base.method(command), *base.others)
    rows = [
        ("INPUT", "an image, a folder, a glob, or several of these"),
        ("--out=OUT", "the file or the folder to write; several images need a folder"),
        ("--preset=NAME", f"{verb.preset} by default, or {', '.join(others)}"),
    ]
    if base.others:
        rows.append(("--method=NAME", f"{known[0]} by default, or {', '.join(known[1:])}"))
    rows += [
        *(
            (f"--{option}=", f"{text}; may be given repeatedly")
            for option, text in verb.own.items()
        ),
        *((f"--{field}={infos[field].default}", infos[field].doc) for field in verb.fields),
        ("--workdir=DIR", "for checkpoints, log and report; by default in the user's cache"),
        ("--overwrite", "discard the saved work of all images of this command, and start again"),
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
