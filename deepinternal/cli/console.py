"""The console command `deepinternal`: runs the program or the verb that its first word names."""

import importlib
import itertools
import sys
from collections.abc import Sequence

import deepinternal
from deepinternal import messages
from deepinternal.cli import huge_pages

# Each verb performs one task on the user's images, with settings that are already chosen.
VERBS = {
    "sr": "enlarge images",
    "denoise": "remove noise",
    "inpaint": "fill in missing pixels; the mask is white where the image is known",
    "segment": "separate the foreground and background of an image or a video",
    "dehaze": "remove haze",
    "separate": "separate two transparent layers, or weaken a reflection: --preset=reflection",
    "unwatermark": "remove a watermark in a given region, or one that several images share",
    "retarget": "change the size of images, repeating objects instead of stretching them",
    "generate": "make random images that consist of the patches of an image",
    "kernel": "estimate the blur kernel of images",
}
PROGRAMS = {
    "train": "run any method with all of its fields: --config=zssr:fast --workdir=DIR",
    "show": "print the fields and presets of a method: show dip:fast",
    "sweep": "run all combinations of field values and compare them",
    "degrade": "make benchmark images with a known blur kernel and noise",
    "scribble": "write pages to paint hints, masks and boxes on: scribble photo.jpg --out=DIR",
}
_HELP = """deepinternal VERB INPUT --out=OUT [--preset=NAME] [--FIELD=VALUE ...]
deepinternal PROGRAM [--FLAG=VALUE ...]

Verbs; INPUT and OUT are a file or a folder:
{verbs}

Programs:
{programs}

deepinternal VERB --help and deepinternal PROGRAM --help describe one of them.
deepinternal --version prints the version."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a program and exits with its status.

    Only an entry point may call this: on Linux, the process restarts itself once.

    Args:
        argv: The name of a verb or program and its arguments; None: those of the command line.
    """
    huge_pages.restart()
    messages.guard_streams()
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("--help", "-h", "help"):
        _print(_HELP.format(verbs=_listed(VERBS), programs=_listed(PROGRAMS)))
    elif name == "--version":
        _print(f"deepinternal {deepinternal.__version__}")
    elif name in VERBS and not (name == "retarget" and _is_program(rest)):
        from deepinternal.cli import verbs

        verbs.run_program(name, rest)
    elif name in PROGRAMS or name == "retarget":
        sys.argv = [f"deepinternal {name}", *rest]
        try:
            module = importlib.import_module(f"deepinternal.cli.{name}")
        except Exception as error:
            if not any("flagfile" in word for word in rest):
                raise
            messages.tell(f"error: --flagfile: {error}")  # which absl reads at once
            sys.exit(2)
        module.run_program()
    else:
        from deepinternal.field_forms import did_you_mean

        hint = did_you_mean(name, [*VERBS, *PROGRAMS]) or "; see deepinternal --help"
        messages.tell(f"error: there is no verb or program {name!r}{hint}")
        sys.exit(2)


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        messages.tell(f"error: writing: {error.strerror}")
        sys.exit(1)


def _is_program(words: Sequence[str]) -> bool:
    """Whether `retarget` is the program, which takes its input or a trained net by flags."""
    pairs = itertools.pairwise(["--", *words])
    is_input = [not w.startswith("-") and ("=" in p or not p.startswith("-")) for p, w in pairs]
    starts = words and not words[0].startswith("-")
    flags = ("--workdir", "--input")
    return not starts and not any(is_input) and any(w.startswith(flags) for w in words)


def _listed(names: dict[str, str]) -> str:
    return "\n".join(f"  {name:12} {text}" for name, text in names.items())
