"""Every method's results on a device, compared with those of a CPU.

    JAX_PLATFORMS=cpu python -m benchmarks.accelerator.smoke [METHOD ...]

makes the files in `benchmarks/references/` anew; do so after a change that changes results.

Random draws are the same on all devices, so a few steps in float32 ("few": three steps of each stage
at the highest precision of products) must agree up to rounding: more than `FEW` of an output's
greatest value is a mistake in a program. Single values of some methods differ by more, see `BY_MEAN`;
of these, the mean difference must not be more than `FEW`. A whole run of the preset `smoke` ("whole")
at the default precision differs more: products have 10 bits of mantissa on a GPU and 7 on a TPU, and
training amplifies that.
On CPU, runs with bfloat16 arithmetic (7 bits) agree with float32 to 25.5 dB for `dip` and 89 dB for
`kernelgan`, and those of two versions of XLA to 40 and 100 dB. The bound for all methods is `WHOLE`.
"""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import timing
from benchmarks.accelerator.device import device as device
from benchmarks.accelerator.items import Differs, Item, Numbers
from benchmarks.accelerator.plan import SMOKE
from deepinternal import in_memory, methods
from deepinternal.types import input_spec

FOLDER = Path(__file__).parent.parent / "references"
KINDS: Mapping[str, dict[str, Any]] = {"few": {"steps": 3, "precision": "highest"}, "whole": {}}
FEW = 1e-2  # greatest difference as in `compared`; of methods in `BY_MEAN` the mean difference
# Methods of which single values differ by more, and why.
BY_MEAN = {
    "dip": "Adam's first steps have the size of the learning rate whatever the gradient is, and the "
    "signs of gradients near zero are those of rounding",
    "patches": "accelerators compare a patch with all eight neighbours' matches at once, CPUs with one "
    "after the other, so that a few patches get other matches",
}
WHOLE = 25.0  # dB
_SAMPLES = 12  # along each axis of an output

Samples = dict[str, np.ndarray]


def run(name: str, kind: str, **fields: Any) -> Samples:
    """Trains a method's preset `smoke` on its example; returns samples of the outputs, and the loss.

    Args:
        name: The name of the method.
        kind: One of `KINDS`.
        **fields: Further fields of the config.
    """
    recipe = methods.find(name)
    kinds = {n: value for n, value in KINDS[kind].items() if n in recipe.config.model_fields}
    config = recipe.build("smoke", **{**kinds, **fields})
    inputs = timing.sample(recipe, config)
    method = recipe.method(config, input_spec(inputs))
    precision = "highest" if kind == "few" else None
    with jax.default_matmul_precision(precision):
        result = in_memory.fit(method, inputs, full=True)
    found = {"loss": result.history["loss"][-1]}
    for output, value in result.outputs.items():
        parts = value if isinstance(value, dict) else {"": value}
        found |= {f"{output} {part}".strip(): x for part, x in parts.items()}
    return {name: sampled(x) for name, x in found.items()}


def sampled(values: Any) -> np.ndarray:
    """Returns evenly spaced samples of an array, at most `_SAMPLES` along each axis."""
    values = np.asarray(values, np.float32)
    for axis, size in enumerate(values.shape):
        places = np.unique(np.linspace(0, size - 1, _SAMPLES).round().astype(int))
        values = np.take(values, places, axis)
    return values


def compared(found: Samples, expected: Samples) -> tuple[float, float, float]:
    """Compares results with a reference.

    Args:
        found: The results.
        expected: The reference.

    Returns:
        The greatest difference, relative to the greatest absolute value of the output in the reference
        or to 0.1 if that is greater; and in the same measure, the greatest mean absolute difference of
        an output, and the least PSNR in dB of the outputs with two or more axes, at most 100.

    Raises:
        Differs: Names or shapes differ, or a result is not finite.
    """
    shapes = [{name: x.shape for name, x in samples.items()} for samples in (found, expected)]
    if shapes[0] != shapes[1]:
        raise Differs(f"the outputs are {shapes[0]}, not {shapes[1]}")
    most, mean, psnr = 0.0, 0.0, 100.0
    for name, x in found.items():
        if not np.isfinite(x).all():
            raise Differs(f"{name} is not finite")
        errors = (x - expected[name]) / max(0.1, np.abs(expected[name]).max())
        most = max(most, float(np.abs(errors).max()))
        mean = max(mean, float(np.abs(errors).mean()))
        if x.ndim > 1:
            psnr = min(psnr, -10 * math.log10(max(float((errors**2).mean()), 1e-10)))
    return most, mean, psnr


def reference(name: str, kind: str) -> Samples:
    """Returns the reference of a method."""
    with np.load(FOLDER / f"{name}.npz") as file:
        begin = f"{kind}/"
        return {key.removeprefix(begin): file[key] for key in file if key.startswith(begin)}


def few(name: str, found: Samples, expected: Samples) -> Numbers:
    """Compares results of a method after a few steps. Raises Differs if they are not those expected."""
    most, mean, _ = compared(found, expected)
    numbers: Numbers = {"difference": (most, ""), "mean difference": (mean, "")}
    kind, value = ("in the mean ", mean) if name in BY_MEAN else ("", most)
    if value > FEW:
        raise Differs(f"differs {kind}by {value:.2g}, more than {FEW:g}", numbers)
    return numbers


def _whole(found: Samples, expected: Samples) -> Numbers:
    *_, psnr = compared(found, expected)
    numbers: Numbers = {"agreement": (psnr, "dB")}
    if psnr < WHOLE:
        raise Differs(f"agrees to {psnr:.1f} dB, not {WHOLE:g}", numbers)
    return numbers


def _items(name: str) -> dict[str, Item]:
    prepare = lambda kind: lambda settings: (run(name, kind), reference(name, kind))
    return {
        f"smoke/{name}": Item(prepare("few"), lambda pair: few(name, *pair)),
        f"smoke/{name}-whole": Item(prepare("whole"), lambda pair: _whole(*pair)),
    }


ITEMS = {name: item for method in SMOKE for name, item in _items(method).items()}


def main(names: list[str]) -> None:
    """Makes the references of methods, by default of all."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or SMOKE:
        found = {f"{kind}/{key}": x for kind in KINDS for key, x in run(name, kind).items()}
        np.savez_compressed(FOLDER / f"{name}.npz", **found)
        print(name, {key: x.shape for key, x in found.items()}, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
