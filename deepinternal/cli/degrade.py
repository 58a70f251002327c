"""Degrades images with a known blur kernel, noise and compression, to make a benchmark.

    deepinternal degrade --input=photos/ --out=bench --kernel=div2krk
    deepinternal train --config=zssr:fast,kernel --config.input=bench --config.kernel=bench ...

--out is a new folder. For each image it holds the degraded STEM.png (with --jpeg STEM.jpg), the
original STEM_gt.png and the blur kernel STEM_kernel.mat; degradation.json describes the
degradations.
"""

import contextlib
import json
from collections.abc import Iterator

from absl import flags

from deepinternal import files
from deepinternal.cli import degradation, program
from deepinternal.config import build
from deepinternal.field_info import describe
from deepinternal.messages import tell
from deepinternal.runs import stems
from deepinternal.runs.inputs import Job, list_jobs
from deepinternal.types import InputError

INPUT = flags.DEFINE_string(
    "input", "", "Image, folder or glob, or several joined by commas; empty: skimage's astronaut."
)
OUT = flags.DEFINE_string("out", None, "Folder to create.", required=True)
OPTIONS = {
    name: flags.DEFINE_string(name, None, f"{info.doc}{f' [{info.unit}]' if info.unit else ''}.")
    for name, info in describe(degradation.Degradation()).items()
}


def main() -> int:
    """Degrades the images given by the flags; returns the exit status."""
    with _named_as_flags():
        asked = build(degradation.Degradation, {}, **{n: o.value for n, o in OPTIONS.items()})
        jobs = _jobs()
    with files.new_folder(files.expanded(OUT.value)) as folder:
        done = [degradation.write(folder, job, asked) for job in jobs]
        text = json.dumps({"images": done}, indent=2)
        files.atomic_write_text(folder / "degradation.json", text + "\n")
    tell(f"{files.show_path(OUT.value)}: {len(done)} image{'s' * (len(done) > 1)}")
    return 0


@contextlib.contextmanager
def _named_as_flags() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace("config.", "--")) from None


def _jobs() -> list[Job]:
    """Returns the images to degrade."""
    endings = tuple(f"_{tag}" for tag in degradation.TAGS)
    jobs = stems.assign(list_jobs(INPUT.value, tags=degradation.TAGS, quiet=False), {})
    for job in jobs:
        if job.stem.endswith(endings):
            path = files.show_path(job.path)
            raise InputError(f"--input: {path}: is named like an output (_gt, _kernel); rename it")
    return jobs


def run_program() -> None:
    """Parses the flags and runs the program."""
    program.run(main, keep_programs=True)
