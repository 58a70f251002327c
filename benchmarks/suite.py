"""Every public test set at hand, beside published figures; also for denoising and retargeting.

    python -m benchmarks.suite --data=DIR [--sets=NAME,...] [--factors=2,3,4]
                               [--degradations=cubic,random,unknown] [--presets=fast,...]
                               [--random_presets=fast+kernel,...] [--unknown_presets=blind,...]
                               [--seeds=N] [--limit=N] [--tasks=sr,denoise,retarget] [--method=zssr]
                               [--out=suite] [--json=FILE] [--config.FIELD=VALUE ...]

Every image is processed by the same jobs as in `launch.main`. Results are kept in the folder of
--out, and the same command continues where it stopped.
benchmarks/super_resolution.md explains the layouts of sets and the tables.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import (
    common,
    denoising,
    denoising_cases,
    denoising_tables,
    quality,
    retargeting,
    sets,
    suite_pairs,
    suite_tables,
)
from benchmarks.published import CUBIC, RANDOM, UNKNOWN
from benchmarks.retargeting_rows import Case as RetargetingCase
from benchmarks.sets import Picture
from deepinternal.codecs.image_io import read_image
from deepinternal.files import atomic_write_text
from deepinternal.types import InputError
from deepinternal.writers import to_json

DEGRADATIONS = (CUBIC, RANDOM, UNKNOWN)
# Task -> the public sets that it takes by default.
TASKS = {
    "sr": ("Set5", "Set14", "BSD100", "Urban100", "Manga109", sets.RANDOM),
    "denoise": ("Set12", "CBSD68", "Kodak24", "CSet9"),
    "retarget": ("SIGD16",),
}
_SIGMA = 25.0  # of the noise, in 8-bit levels
_RETARGETED = ("stretched", "bidir", "gpnn")
RESULTS, TABLE = "results.json", "table.md"

Found = Mapping[str, Sequence[Picture]]


def plan(
    found: Found,
    factors: Sequence[int],
    presets: Mapping[str, Sequence[str]],
    seeds: int,
) -> list[dict[str, Any]]:
    """Returns all runs of super-resolution, those of the first seed first.

    Args:
        found: The images by set.
        factors: The factors.
        presets: The presets by degradation, joined by '+' where several are combined.
        seeds: The number of seeds.

    Returns:
        Mappings of set, factor, degradation, preset, seed.
    """
    return [
        {"set": name, "factor": factor, "degradation": how, "preset": preset, "seed": seed}
        for seed in range(seeds)
        for name, pictures in found.items()
        for factor in factors
        for how, chosen in presets.items()
        if suite_pairs.possible(name, pictures, factor, how)
        for preset in chosen
    ]


class Suite:
    """Runs super-resolution in a folder."""

    def __init__(self, folder: Path, method: str, fields: Mapping[str, str]):
        """Loads the method.

        Args:
            folder: Gets made pairs, results and tables.
            method: The method, or a config file.
            fields: Fields that override the presets.

        Raises:
            InputError: There is no such method.
        """
        recipe, _, _ = common.load(method, {})
        self._compares = "reference_kernel" in recipe.config.model_fields
        self._folder, self._method, self._fields = folder, method, fields
        self._pairs: dict[tuple, suite_pairs.Pairs] = {}

    def load(self, asked: Mapping[str, Any]) -> None:
        """Loads the config of a run. Raises InputError if it cannot be used."""
        common.load(self._text(asked), self._all_fields(asked))

    def run(self, asked: Mapping[str, Any], pictures: Sequence[Picture]) -> dict[str, Any]:
        """Runs a preset with a seed on the images of a set that have no result yet.

        Args:
            asked: The run, as in `plan`.
            pictures: The images of the set.

        Returns:
            The run with `images`, the metrics of all of them, `status`, the exit status of the jobs,
            and `published`, the number of small images that are published ones.
        """
        key = tuple(asked[name] for name in suite_tables.CASE)
        name = f"{asked['set']}-x{asked['factor']}-{asked['degradation']}"
        if key not in self._pairs:
            self._pairs[key] = suite_pairs.make(key[0], pictures, *key[1:], self._made(asked))
        pairs, images, status = self._pairs[key], [], 1
        if pairs.files:
            links = self._folder / "inputs" / name
            quality.link_pairs(pairs.files, links)
            label = quality.folder_name(asked["preset"], self._fields)
            workdir = self._folder / "runs" / name / f"{label}-seed{asked['seed']}"
            fields = self._all_fields(asked)
            result = quality.run_config(self._text(asked), fields, links, workdir)
            images = [m for m in result["images"] if m["image"] in pairs.files]
            status = result["status"]
        images += [
            {"image": image, "status": "failed", "error": error}
            for image, error in pairs.failed.items()
        ]
        status = max(status, int(bool(pairs.failed)))
        return {**asked, "images": images, "status": status, "published": pairs.published}

    def _text(self, asked: Mapping[str, Any]) -> str:
        return f"{self._method}:{asked['preset'].replace('+', ',')}"

    def _made(self, asked: Mapping[str, Any]) -> Path:
        """The folder of the pairs that are made, and of their kernels."""
        kind = CUBIC if asked["degradation"] == CUBIC else RANDOM
        return self._folder / "pairs" / f"{asked['set']}-x{asked['factor']}-{kind}"

    def _all_fields(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        fields = {"scale": str(asked["factor"]), "seed": str(asked["seed"])}
        if asked["degradation"] == RANDOM:
            fields["kernel"] = str(self._made(asked))
        if asked["degradation"] == UNKNOWN and self._compares:
            fields["reference_kernel"] = str(self._made(asked))
        return {**fields, **self._fields}


def super_resolve(
    found: Found, asked: Sequence[Mapping[str, Any]], suite: Suite
) -> Iterator[dict[str, Any]]:
    """Yields the results of runs, see `Suite.run`, up to one that is ended by a signal."""
    for one in asked:
        result = suite.run(one, found[one["set"]])
        yield result
        if result["status"] > 128:
            return


def denoise(found: Found, seeds: int, folder: Path) -> str:
    """Denoises sets with gaussian noise of 25 / 255; returns the tables of `benchmarks.denoising`."""
    short = {"Kodak24": "set24"}
    photos = [
        denoising_cases.Photo(short.get(name, name.lower()), picture.name, picture.truth(1))
        for name, pictures in found.items()
        for picture in pictures
    ]
    noisy = denoising_tables.NOISY
    rows = {noisy: denoising.other(noisy), "denoise": denoising.Ours("denoise", {}).run}
    results = denoising.Results(folder)
    for case in denoising_cases.cases(photos, [_SIGMA], noises=["float"], seeds=seeds):
        results.measure(case, rows, ["measured"])
    return denoising_tables.report(results.records)


def retarget(found: Found, folder: Path) -> str:
    """Makes images twice as wide; returns the tables of `benchmarks.retargeting`."""
    cases = [
        RetargetingCase(picture.name, read_image(picture.truth(1)).pixels, [])
        for pictures in found.values()
        for picture in pictures
    ]
    return retargeting.report(retargeting.run(cases, [(1.0, 2.0)], _RETARGETED, folder))


def _define_flags() -> None:
    flags.DEFINE_string("data", None, "Folder with a subfolder for each set, in a public layout.")
    flags.DEFINE_list("sets", [], "Names of sets; default: the public ones of the task.")
    flags.DEFINE_list("factors", ["2"], "Factors of super-resolution.")
    flags.DEFINE_list("degradations", [CUBIC], f"Some of {', '.join(DEGRADATIONS)}.")
    flags.DEFINE_list("presets", ["fast"], "Presets for cubic; A+B combines two.")
    flags.DEFINE_list("random_presets", ["fast+kernel"], "Presets for known random kernels.")
    flags.DEFINE_list("unknown_presets", ["blind"], "Presets for unknown random kernels.")
    flags.DEFINE_integer("seeds", 1, "Number of seeds.", lower_bound=1)
    flags.DEFINE_integer("limit", 0, "Greatest number of images of a set; 0: all.", lower_bound=0)
    flags.DEFINE_list("tasks", ["sr"], f"Some of {', '.join(TASKS)}.")
    flags.DEFINE_string("method", "zssr", "Method or config file of super-resolution.")
    flags.DEFINE_string("out", "suite", "Folder for the results; the same command continues there.")
    flags.mark_flag_as_required("data")


def _folder(text: str) -> Path:
    try:
        Path(text).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out={text}: cannot be written: {error.strerror}") from None
    return Path(text).resolve()


def main() -> int:
    """Runs what is missing, prints and writes the tables; returns the exit status.

    The status is 0 if all images are done, 1 if some failed, 128 + signal after a signal.
    """
    args = flags.FLAGS
    factors = common.whole_numbers("factors", args.factors)
    if not all(2 <= factor <= 8 for factor in factors):
        raise InputError(f"--factors={','.join(args.factors)}: give numbers from 2 to 8")
    how = common.choices("degradations", args.degradations, DEGRADATIONS)
    tasks = common.choices("tasks", args.tasks, [*TASKS])
    everything, fields = sets.find(Path(args.data)), common.given_fields(args.field)
    found = {task: sets.choose(everything, args.sets, TASKS[task]) for task in tasks}
    limited = {
        task: {name: pictures[: args.limit or None] for name, pictures in chosen.items()}
        for task, chosen in found.items()
    }
    of = {CUBIC: args.presets, RANDOM: args.random_presets, UNKNOWN: args.unknown_presets}
    asked = plan(limited.get("sr", {}), factors, {name: of[name] for name in how}, args.seeds)
    if "sr" in tasks and not asked:
        raise InputError(
            f"--degradations={','.join(how)}: there is none for these sets and factors; random "
            "kernels are for x2 and x4"
        )
    folder = _folder(args.out)
    suite = Suite(folder, args.method, fields)
    for one in asked:
        suite.load(one)
    facts, runs, texts = common.machine(), [], {}
    for result in super_resolve(limited.get("sr", {}), asked, suite):
        runs.append(result)
        _write(folder, facts, fields, runs, texts)
        _tell(result)
    status = max((run["status"] for run in runs), default=0)
    if status <= 128:
        for task in tasks:
            if task == "denoise":
                texts[task] = denoise(limited[task], args.seeds, _folder(folder / task))
            elif task == "retarget":
                texts[task] = retarget(limited[task], _folder(folder / task))
    print(f"\n{_write(folder, facts, fields, runs, texts)}", end="")
    return status


def _tell(result: Mapping[str, Any]) -> None:
    [row] = suite_tables.summary([result])
    name = f"{row['set']} x{row['factor']} {row['degradation']} {row['preset']}"
    print(
        f"{name}, seed {result['seed']}: {common.number(row['psnr_y'], '.2f')} dB, {row['images']} "
        f"images done, {row['failed']} failed",
        flush=True,
    )
    for image in result["images"]:
        if image["status"] == "failed":
            print(f"  {image['image']}: {image['error']}", file=sys.stderr)


def _write(
    folder: Path,
    facts: Mapping[str, Any],
    fields: Mapping[str, str],
    runs: Sequence[Mapping[str, Any]],
    texts: Mapping[str, str],
) -> str:
    """Writes results.json, table.md and the file of --json; returns the tables."""
    content = {"machine": facts, "fields": fields, "rows": suite_tables.summary(runs), "runs": runs}
    text = "\n\n".join(filter(None, [suite_tables.report(runs) if runs else "", *texts.values()]))
    text = f"{common.describe(facts)}\n\n{text.rstrip()}\n"
    atomic_write_text(folder / RESULTS, to_json(content, indent=2) + "\n")
    atomic_write_text(folder / TABLE, text)
    common.write_json(content)
    return text


if __name__ == "__main__":
    common.start(main, _define_flags)
