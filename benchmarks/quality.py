"""The quality of the whole pipeline on images with a known ground truth.

    python -m benchmarks.quality --data=DIR --config=configs/zssr.py:fast [--config=...]
                                 [--workdir=DIR] [--json=FILE] [--config.FIELD=VALUE ...]

DIR holds pairs of images: `X_LR.png` with `X_HR.png`, or `X.png` with `X_gt.png`; files without a
counterpart are left out. Every image is processed by the same jobs as in `launch.main`. With --workdir
the results are kept, and the same command continues where it stopped. Y-PSNR and SSIM are those of the
8-bit result on luma, without a border as wide as the scale factor. Seconds count from the first byte
read of an image to its result; images of one shape share their programs, which the first of them
compiles. Exit status: 0 all images are done, 1 some failed.
"""

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import common
from deepinternal.runs import jobs
from deepinternal.runs.inputs import IMAGE_SUFFIXES
from deepinternal.types import InputError

ENDINGS = (("_LR", "_HR"), ("", "_gt"))  # endings of the stems of an input and its ground truth
COLUMNS = {
    "psnr_y": ("Y-PSNR", ".2f"),
    "ssim_y": ("SSIM", ".4f"),
    "baseline_psnr_y": ("bicubic Y-PSNR", ".2f"),
    "baseline_ssim_y": ("bicubic SSIM", ".4f"),
    "steps": ("steps", ".0f"),
    "seconds": ("seconds", ".1f"),
}


def find_pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Finds images and their ground truth: `X_LR.*` with `X_HR.*`, or `X.*` with `X_gt.*`.

    Args:
        folder: The folder; files without a counterpart are ignored.

    Returns:
        (input, ground truth) by X, sorted.

    Raises:
        InputError: The folder does not exist, it has no pair, or two pairs have one name.
    """
    if not folder.is_dir():
        raise InputError(f"--data={folder}: no such folder")
    files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
    by_stem: dict[str, Path] = {}
    for path in files:
        if path.stem in by_stem:
            raise InputError(f"--data: {by_stem[path.stem]} and {path.name}: keep one of the two")
        by_stem[path.stem] = path
    pairs: dict[str, tuple[Path, Path]] = {}
    for low, high in ENDINGS:
        for stem, path in by_stem.items():
            name = stem.removesuffix(low)
            truth = by_stem.get(name + high)
            if not stem.endswith(low) or truth is None:
                continue
            if name in pairs:
                raise InputError(f"--data={folder}: {name} has two pairs; keep one of the two")
            pairs[name] = (path, truth)
    if not pairs:
        raise InputError(
            f"--data={folder}: no pairs of images; name them X_LR.png and X_HR.png, "
            "or X.png and X_gt.png"
        )
    return dict(sorted(pairs.items()))


def link_pairs(pairs: dict[str, tuple[Path, Path]], folder: Path) -> None:
    """Fills `folder` with links to the pairs under the names for jobs, `X.*` and `X_gt.*`."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {}
    for name, (image, truth) in pairs.items():
        wanted[f"{name}{image.suffix}"] = image.resolve()
        wanted[f"{name}_gt{truth.suffix}"] = truth.resolve()
    for old in folder.iterdir():  # links to other data, in a folder that is used again
        old.unlink()
    for name, path in wanted.items():
        try:
            (folder / name).symlink_to(path)
        except OSError:  # a file system without links
            shutil.copyfile(path, folder / name)


def run_config(text: str, fields: Mapping[str, Any], pairs: Path, workdir: Path) -> dict[str, Any]:
    """Runs one config on all pairs.

    Args:
        text: The config, as in `common.load`.
        fields: Fields that override it.
        pairs: The folder that `link_pairs` filled.
        workdir: Folder for results; images that are finished there are not run again.

    Returns:
        The config's text, the images' metrics, the means of the table's columns, the exit status.
    """
    recipe, config, settings = common.load(text, fields, input=str(pairs), ground_truth="")
    status = jobs.run_all(recipe, config, settings, str(workdir))
    summary = json.loads((workdir / "summary.json").read_text(encoding="utf-8"))
    images = summary["images"]
    done = [m for m in images if m["status"] == "done"]
    mean = {}
    for name in COLUMNS:
        values = [m[name] for m in done if m.get(name) is not None]
        if values:
            mean[name] = sum(values) / len(values)
    return {"config": text, "images": images, "mean": mean, "status": status}


def folder_name(text: str, fields: Mapping[str, Any]) -> str:
    """Returns the name of a config's folder: 'zssr-fast', 'zssr-ideal-steps=30'."""
    name, _, presets = text.partition(":")
    parts = [Path(name).stem, *presets.split(","), *(f"{n}={v}" for n, v in fields.items())]
    return re.sub(r"[^\w=.+-]+", "_", "-".join(filter(None, parts)))


def report(result: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """Formats the table of one config."""

    def cells(name, figures):
        columns = COLUMNS.items()
        return [name, *(common.number(figures.get(column), form) for column, (_, form) in columns)]

    rows = [
        cells(m["image"] if m["status"] == "done" else f"{m['image']} ({m['status']})", m)
        for m in result["images"]
    ]
    rows.append(cells("mean", result["mean"]))
    title = " ".join([result["config"], *(f"{n}={v}" for n, v in fields.items())])
    return f"{title}\n\n{common.table(['image', *(h for h, _ in COLUMNS.values())], rows)}\n"


@contextlib.contextmanager
def _folder(workdir: str | None) -> Iterator[Path]:
    """Yields the work folder, a temporary one if none is given."""
    if workdir:
        yield Path(workdir).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="quality-") as folder:
        yield Path(folder)


def measure(
    data: str, configs: Sequence[str], fields: Mapping[str, Any], *, workdir: str | None = None
) -> Iterator[dict[str, Any]]:
    """Runs the configs one after another; see `run_config`.

    Args:
        data: Folder of pairs.
        configs: The configs, each as in `common.load`.
        fields: Fields that override all of them.
        workdir: Gets a folder for each config, and `pairs`; None: a temporary folder.

    Yields:
        The result of each config up to the first one that was interrupted.

    Raises:
        InputError: A config or the data cannot be used; raised before anything is run.
    """
    pairs = find_pairs(Path(data))
    for text in configs:
        common.load(text, fields)
    with _folder(workdir) as root:
        try:
            link_pairs(pairs, root / "pairs")
        except OSError as error:
            raise InputError(f"--workdir={root}: cannot be written: {error.strerror}") from None
        for text in dict.fromkeys(configs):
            folder = root / folder_name(text, fields)
            result = run_config(text, fields, root / "pairs", folder)
            yield result
            if result["status"] > 1:
                return


def _define_flags() -> None:
    flags.DEFINE_string("data", None, "Folder with images and their ground truth.")
    flags.DEFINE_multi_string("config", None, "Config, as in launch.main; may be given repeatedly.")
    flags.DEFINE_string("workdir", None, "Folder for results, to resume from; default: temporary.")
    flags.mark_flags_as_required(["data", "config"])


def main() -> int:
    """Runs the configs, prints the tables, writes the JSON file; returns the exit status.

    The status is that of the jobs: 0 if all images are done, 1 if some failed, 128 + signal after a
    signal.
    """
    args = flags.FLAGS
    facts, results, fields = common.machine(), [], common.given_fields(args.field)
    content = {"machine": facts, "data": args.data, "fields": fields, "configs": results}
    for result in measure(args.data, args.config, fields, workdir=args.workdir):
        if not results:
            print(f"{common.describe(facts)}\n")
        print(report(result, fields), flush=True)
        results.append(result)
        common.write_json(content)
    return max(r["status"] for r in results)


if __name__ == "__main__":
    common.start(main, _define_flags)
