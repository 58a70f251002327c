"""Denoising on photographs with a known truth: our methods, and other packages on the same images.

    python -m benchmarks.denoising --data=DIR [--sigma=15,25,50] [--config=denoise:ridge ...] [--peers]
                                   [--noise=float,8bit] [--kind=gaussian] [--level=given,measured]
                                   [--seeds=3] [--crop=N] [--limit=N] [--out=DIR] [--pictures]
                                   [--json=FILE] [--config.FIELD=VALUE ...]

The figures of each noisy image are kept in DIR/cases.jsonl, and the same command continues where it
stopped. The tables show everything that DIR holds, so rows can be added later. benchmarks/denoising.md
explains the protocol.

PSNR and SSIM are means over the images and seeds. `seeds` is the standard deviation, over the seeds, of
the mean PSNR of all images. `- BM3D`, `least` and `won` are the mean and the least gain over BM3D with
the given level on the same noisy images, and how many of them have one. `level error` is the median
relative error of the measured level. `CPU s` and `s` are medians without compiling.
"""

import re
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from skimage import metrics

from benchmarks import common, denoising_cases, denoising_peers, denoising_tables
from benchmarks.denoising_cases import Case
from benchmarks.kept import Records
from deepinternal.codecs.image_io import write_image
from deepinternal.engine.errors import NonFiniteError
from deepinternal.engine.loop import train
from deepinternal.engine.parallel import Programs
from deepinternal.engine.progress import Progress
from deepinternal.estimators.noise import noise_std
from deepinternal.types import InputError, input_spec

LEVELS = ("given", "measured")
CASES = "cases.jsonl"


class Ours:
    """One of our configs, whose programs are kept for further images of the same shape."""

    def __init__(self, text: str, fields: Mapping[str, Any]):
        """Loads the config.

        Args:
            text: The config, as in `common.load`.
            fields: Fields that override it.

        Raises:
            InputError: The config cannot be used, or has no field for the noise.
        """
        self._text, self._fields = text, dict(fields)
        self._programs: dict[Hashable, Programs] = {}
        recipe, _, _ = common.load(text, fields)
        if "noise_std" not in recipe.config.model_fields:
            raise InputError(
                f"--config={text}: has no field noise_std; give a method that denoises"
            )

    def run(self, noisy: np.ndarray, std: float) -> tuple[np.ndarray, dict[str, Any]]:
        """Removes noise.

        Args:
            noisy: (H, W, C); values may lie outside [0, 1].
            std: The noise's standard deviation; 0: measured.

        Returns:
            The result (H, W, C) in [0, 1], and what is known beside it: `measured`, the noise that the
            result is based on, `new`, whether programs were compiled, `uncertainty` (H, W) and the
            further scalars of the method.
        """
        recipe, config, _ = common.load(self._text, self._fields, noise_std=std)
        inputs = recipe.prepare(config, noisy)
        spec = input_spec(inputs)
        key = ("" if "noise" in inputs else str(config), str(spec))
        new = key not in self._programs
        if new:
            self._programs[key] = Programs(recipe.method(config, spec))
        programs = self._programs[key]
        total = sum(stage.steps for stage in programs.method.stages)
        ended = train(
            programs, inputs, seed=config.seed, progress=Progress("", total, enabled=False)
        )
        outputs = jax.device_get(programs.outputs(ended.state, ended.inputs))
        known = {n: float(o.value) for n, o in outputs.items() if _is_number(o)}
        if "noise" in inputs:
            known["measured"] = float(np.sqrt(np.mean(inputs["noise"]["std"] ** 2)))
        if "uncertainty" in outputs:
            known["uncertainty"] = outputs["uncertainty"].value
        return np.asarray(outputs["result"].value), known | {"new": new}


def _is_number(output: Any) -> bool:
    return output.kind == "scalar" and np.size(output.value) == 1


def other(name: str) -> Callable[[np.ndarray, float], tuple[np.ndarray, dict[str, Any]]]:
    """Returns a function like `Ours.run` for another package, or for the noisy image itself."""

    def run(noisy: np.ndarray, std: float) -> tuple[np.ndarray, dict[str, Any]]:
        if name == denoising_tables.NOISY:
            return noisy, {}
        std = std or float(noise_std(np.clip(noisy, 0, 1)))
        return denoising_peers.denoise(name, noisy, std), {"measured": std}

    return run


def score(result: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Compares a result, rounded to 8 bits as it is written, with the truth.

    Args:
        result: (H, W, C), clipped to [0, 1] before.
        truth: (H, W, C) in [0, 1].

    Returns:
        `psnr` over all channels in dB, and the mean `ssim` of the channels (gaussian window of 1.5
        pixels).
    """
    written = np.round(255 * np.clip(np.float64(result), 0, 1)) / 255
    truth = np.float64(truth)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    error = max(np.mean((written - truth) ** 2), 1e-10)
    similar = metrics.structural_similarity(
        written, truth, data_range=1, channel_axis=-1, **options
    )
    return {"psnr": float(-10 * np.log10(error)), "ssim": float(similar)}


def calibration(uncertainty: np.ndarray, result: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Returns the shares of errors within one and two standard deviations (H, W) of the result."""
    error = np.abs(np.float64(result) - truth)
    spread = np.reshape(uncertainty, (*error.shape[:2], 1))
    return {
        "within_1": float(np.mean(error <= spread)),
        "within_2": float(np.mean(error <= 2 * spread)),
    }


class Results:
    """The figures of cases in a folder, and their pictures if wanted."""

    def __init__(self, folder: Path, *, pictures: bool = False):
        """Reads what the folder holds; a last line that was cut off is ignored."""
        self._kept = Records(folder / CASES, denoising_tables.KEY)
        self._pictures = folder if pictures else None

    @property
    def records(self) -> list[dict[str, Any]]:
        """All figures, one mapping for each case, row and level."""
        return self._kept.all

    def measure(self, case: Case, rows: Mapping[str, Any], levels: Sequence[str]) -> None:
        """Measures the rows of a case that are not known.

        Args:
            case: The noisy image.
            rows: Functions like `Ours.run` by name.
            levels: Which level the methods get: 'given', the true one; 'measured', none. With real
                noise, both.
        """
        levels = LEVELS if case.kind == "real" else levels
        wanted = [
            {**case.facts(), "row": row, "level": level}
            for row in rows
            for level in (["given"] if row == denoising_tables.NOISY else levels)
        ]
        wanted = [facts for facts in wanted if facts not in self._kept]
        if not wanted:
            return
        truth, noisy = case.images()
        true_std = case.sigma / 255
        if case.kind in ("real", "impulses"):
            true_std = float(np.sqrt(np.mean((noisy - truth) ** 2)))
        for facts in wanted:
            std = true_std if facts["level"] == "given" else 0.0
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                result, known = rows[facts["row"]](noisy, std)
            except NonFiniteError as error:  # is tried again the next time
                print(f"{' '.join(map(str, self._kept.key(facts)))}: failed: {error}", flush=True)
                continue
            facts |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            facts |= {"size": list(truth.shape), "true": true_std} | score(result, truth)
            if "uncertainty" in known:
                facts |= calibration(known.pop("uncertainty"), result, truth)
            self._add(facts | known)
            self._draw(facts, result)

    def _add(self, record: dict[str, Any]) -> None:
        self._kept.add(record)
        shown = " ".join(str(value) for value in self._kept.key(record))
        print(f"{shown}: {record['psnr']:.2f} dB, {record['cpu']:.1f} CPU s", flush=True)

    def _draw(self, facts: Mapping[str, Any], result: np.ndarray) -> None:
        if self._pictures and not facts["seed"]:
            parts = [str(facts[n]) for n in ("image", "kind", "noise", "sigma", "row", "level")]
            name = re.sub(r"[^\w=.-]+", "_", "-".join(parts))
            path = self._pictures / facts["set"] / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, np.float32(np.clip(result, 0, 1)))


def numbers(flag: str, texts: Sequence[str]) -> list[float]:
    """Parses a flag that lists positive numbers. Raises InputError for other values."""
    try:
        found = [float(text) for text in texts]
    except ValueError:
        found = []
    if not found or not all(0 < value <= 255 for value in found):
        raise InputError(
            f"--{flag}={','.join(texts)}: give numbers from 0 to 255, such as 15,25,50"
        )
    return found


def _define_flags() -> None:
    flags.DEFINE_string("data", None, "Folder with photographs, or with a subfolder for each set.")
    flags.DEFINE_list("sigma", ["15", "25", "50"], "Standard deviations of the noise, of 255.")
    flags.DEFINE_multi_string("config", [], "Config, as in launch.main; may be given repeatedly.")
    flags.DEFINE_bool("peers", False, "Whether to run other packages.")
    flags.DEFINE_list("noise", ["float"], "float: not clipped; 8bit: as in a file of 8 bits.")
    flags.DEFINE_enum("kind", "gaussian", [*denoising_cases.KINDS], "The kind of the noise.")
    flags.DEFINE_list("level", ["given"], "Whether the level of the noise is given or measured.")
    flags.DEFINE_integer("seeds", 1, "Number of draws of the noise.", lower_bound=1)
    flags.DEFINE_integer("crop", 0, "Side of the part in the upper left; 0: all.", lower_bound=0)
    flags.DEFINE_integer("limit", 0, "Greatest number of images of a set; 0: all.", lower_bound=0)
    flags.DEFINE_string("out", None, "Folder for the figures; the same command continues there.")
    flags.DEFINE_bool(
        "pictures", False, "Whether to keep the results of the first draw as pictures."
    )
    flags.mark_flag_as_required("data")


def main() -> int:
    """Measures what is missing, and prints the tables."""
    args = flags.FLAGS
    sigmas = numbers("sigma", args.sigma)
    noises = common.choices("noise", args.noise, denoising_cases.NOISES)
    levels = common.choices("level", args.level, LEVELS)
    photos = denoising_cases.find_photos(Path(args.data), limit=args.limit)
    fields = common.given_fields(args.field)
    rows: dict[str, Any] = {denoising_tables.NOISY: other(denoising_tables.NOISY)}
    rows |= {text: Ours(text, fields).run for text in args.config}
    if args.peers:
        denoising_peers.check()
        rows |= {name: other(name) for name in denoising_peers.PEERS}
    options = {"noises": noises, "kind": args.kind, "seeds": args.seeds, "crop": args.crop}
    with common.folder(args.out) as folder:
        results = Results(folder, pictures=args.pictures and bool(args.out))
        for case in denoising_cases.cases(photos, sigmas, **options):
            results.measure(case, rows, levels)
    facts = common.machine()
    print(f"\n{common.describe(facts)}\n\n{denoising_tables.report(results.records)}")
    common.write_json({"machine": facts, "cases": results.records})
    return 0


if __name__ == "__main__":
    common.start(main, _define_flags)
