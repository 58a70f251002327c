"""The verbs: which method does each task, with which presets, and what is written.

To add a verb, add an entry to `VERBS` and its purpose to `console.VERBS`.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepinternal import methods
from deepinternal.cli.answers import NO_SIZE, Plan, copy, retargeted
from deepinternal.cli.words import Command, parse
from deepinternal.codecs.video_io import VIDEO_SUFFIXES
from deepinternal.files import expanded
from deepinternal.types import InputError
from deepinternal.writers import read_object


@dataclasses.dataclass(frozen=True)
class Verb:
    """A task, done by a method.

    Attributes:
        method: `command -> name` of the method.
        task: `command -> presets` that precede the preset chosen by the user.
        answers: `(command, config) -> outputs` to write, each with the suffix that it adds to the
            name of `--out`.
        kind: The kind of the results, see `answers.SUFFIXES`.
        fields: The fields that the help shows.
        preset: The default preset.
        own: Options of the verb that may be given repeatedly, with their descriptions.
        each: The fields that some of these options set; each of their values takes a run.
        write: `(plan, workdir, command) -> (written paths, errors)`.
        others: The same task done by other methods, by the name that `--method` takes.
    """

    method: Callable[[Command], str]
    task: Callable[[Command], str] = lambda command: ""
    answers: Callable[[Command, Any], Mapping[str, str]] = lambda command, config: {"result": ""}
    kind: Callable[[Command], str] = lambda command: "image"
    fields: tuple[str, ...] = ()
    preset: str = "fast"
    own: Mapping[str, str] = dataclasses.field(default_factory=dict)
    each: Mapping[str, str] = dataclasses.field(default_factory=dict)
    write: Callable[[Plan, Path, Command], tuple[list[Path], list[str]]] = (
        lambda plan, workdir, command: copy(plan, workdir)
    )
    others: Mapping[str, "Verb"] = dataclasses.field(default_factory=dict)


def _always(value: Any) -> Callable[..., Any]:
    return lambda *given: value


def _is_video(command: Command) -> bool:
    """Whether the input of `segment` is one video."""
    return command.options["frames"] or any(
        os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES and not os.path.isdir(expanded(path))
        for path in command.inputs
    )


def _segmented(command: Command, config: Any) -> Mapping[str, str]:
    """Returns the outputs of `segment`: the mask, of an image its soft form, and the layers."""
    soft = {} if _is_video(command) else {"alpha": "-alpha"}
    layers = {"foreground": "-foreground", "background": "-background"} if config.layers else {}
    return {"mask": "", **soft, **layers}


def _watermark_task(command: Command) -> str:
    """Returns the preset for images that are processed alone, or for several images together.

    A single file, or images with a given region, are processed alone.
    """
    one = len(command.inputs) == 1 and os.path.isfile(expanded(command.inputs[0]))
    return "single" if one or {"mask", "box"} & set(command.fields) else "many"


def _samples(command: Command, config: Any) -> Mapping[str, str]:
    """Returns the outputs of `generate`: one image, or several that are numbered."""
    if config.samples == 1:
        return {"result": ""}
    return {f"samples/{n}": f"-{n}" for n in range(1, config.samples + 1)}


_SIZES = {"size": "height,width in pixels", "scale": "vertical,horizontal factors"}
VERBS: Mapping[str, Verb] = {
    "sr": Verb(
        _always("zssr"),
        kind=lambda command: "video" if "video" in command.presets else "image",
        fields=("scale", "output_shape", "kernel", "noise_std"),
    ),
    "denoise": Verb(
        _always("denoise"),
        fields=("noise_std", "strength", "mask"),
        others={"dip": Verb(_always("dip"), _always("denoise"), fields=("noise_std",))},
    ),
    "inpaint": Verb(
        _always("dip"),
        _always("inpaint"),
        fields=("mask", "label"),
        others={"patches": Verb(_always("patches"), _always("inpaint"), fields=("mask", "label"))},
    ),
    "segment": Verb(
        lambda command: "video_segmentation" if _is_video(command) else "segmentation",
        answers=_segmented,
        kind=lambda command: "video" if _is_video(command) else "image",
        fields=("foreground", "background", "label", "background_label", "hints"),
    ),
    "dehaze": Verb(_always("dehazing"), fields=("airlight", "passes")),
    "separate": Verb(
        _always("transparency"),
        lambda command: "pair" if len(command.inputs) == 2 else "single",
        answers=_always({"layer1": "", "layer2": "-layer2"}),
        fields=("strength",),
    ),
    "unwatermark": Verb(
        _always("watermark"),
        _watermark_task,
        answers=lambda command, config: {"result" if config.task == "single" else "clean": ""},
        fields=("mask", "label", "box"),
    ),
    "retarget": Verb(
        _always("patches"),
        _always("retarget"),
        own=_SIZES,
        each={"size": "result_size", "scale": "result_scale"},
        others={
            "ingan": Verb(
                _always("ingan"),
                preset="lite",
                own=_SIZES,
                write=lambda plan, workdir, command: retargeted(
                    plan, workdir, *command.several.values()
                ),
            )
        },
    ),
    "generate": Verb(
        _always("patches"),
        _always("generate"),
        answers=_samples,
        fields=("samples", "result_scale", "result_size"),
    ),
    "kernel": Verb(
        _always("kernelgan"),
        answers=_always({"kernel": ""}),
        kind=_always("kernel"),
        fields=("scale",),
    ),
}


def read(name: str, words: Sequence[str]) -> tuple[Verb, Command]:
    """Parses the rest of a command line; returns the verb with the method that it asks for.

    `--method` names the method. Otherwise, it follows from a preset that only another method has,
    or from a work folder with results of another method.

    Args:
        name: The name of the verb.
        words: The words after it.

    Raises:
        InputError: An option has no value, or the verb has no such method.
    """
    verb = VERBS[name]
    command = parse(words, own=tuple(verb.own))
    own, asked = verb.method(command), command.options["method"]
    if asked not in ("", own, *verb.others):
        raise InputError(f"--method={asked}: {name} takes {' or '.join((own, *verb.others))}")
    if not asked and verb.others:
        asked = _method_of(expanded(command.options["workdir"])) or _method_with(command, verb)
    return verb.others.get(asked, verb), command


def _method_of(workdir: str) -> str:
    """Returns the method that made the results in a work folder; '' if there are none."""
    saved = read_object(Path(workdir) / "config.json").get("config") if workdir else None
    return str(saved.get("method", "")) if isinstance(saved, dict) else ""


def _method_with(command: Command, verb: Verb) -> str:
    """Returns the method that has a preset which the verb's own method has not; '' if none has."""
    lacks = lambda method: {*command.presets} - {*methods.find(method).presets}
    if not command.presets or not (unknown := lacks(verb.method(command))):
        return ""
    return next((other for other in verb.others if unknown - lacks(other)), "")


def presets_of(verb: Verb, command: Command) -> str:
    """Returns the presets of a command: those of the task, and those that the user chose."""
    chosen = command.options["preset"] or verb.preset
    return ",".join(filter(None, (verb.task(command), chosen)))


def parts(verb: Verb, command: Command) -> Sequence[Command]:
    """Returns a command for each run that a command takes, which has one value of `Verb.each`.

    Raises:
        InputError: None of the values is given.
    """
    if not verb.each:
        return [command]
    values = [(verb.each[o], value) for o in verb.each for value in command.several[o]]
    if not values and not {*verb.each.values()} & {*command.fields}:
        raise InputError(NO_SIZE)
    return [
        dataclasses.replace(command, fields={**command.fields, field: value})
        for field, value in values
    ] or [command]
