"""Figures of a run on an image: of its result against the ground truth, and numbers it gives itself."""

import jax
import ml_collections
import numpy as np

from benchmarks import curve
from deepinternal.codecs import image_io
from deepinternal.engine.parallel import over_replicas
from deepinternal.methods import registry
from deepinternal.runs import results
from deepinternal.runs.cases import Case
from deepinternal.runs.plan import shapes_at_end
from deepinternal.types import InputError

SCORES = ("psnr_y", "ssim_y", "psnr_rgb")  # of the result against the ground truth
GREATER = (*SCORES, "kernel_correlation", "kernel_psnr", "kernel_agreement")  # is better


def find(metric: str, config: ml_collections.ConfigDict, case: Case) -> curve.Measure:
    """How a figure of the run on an image is had.

    Args:
        metric: one of `SCORES`, or a number that the method's steps or outputs give.
        config: the run's.
        case: the image.

    Raises:
        InputError: there is no ground truth, or no such number.
    """
    if metric in SCORES:
        if case.truth is None:
            raise InputError(
                f"--metric={metric}: {case.job.stem} has no ground truth; give pairs in --data, or "
                "another metric, such as loss"
            )
        return curve.Measure(_result, lambda made: score(made, case)[metric])
    method = over_replicas(registry.get(config.method).make(config, case.inputs))
    state, inputs = shapes_at_end(method, case.inputs)
    stage = method.stages[-1]
    variant = stage.variant(config.seed, 0)
    _, numbers = jax.eval_shape(lambda s, i: stage.step(s, i, variant), state, inputs)
    outputs = jax.eval_shape(method.outputs, state, inputs)
    scalars = [n for n, o in outputs.items() if o.kind == "scalar" and o.value.shape == ()]
    if metric in numbers:
        make = lambda programs, *_: jax.device_get(programs.numbers[metric])[-1]
    elif metric in scalars:
        make = lambda programs, *at: np.asarray(programs.outputs(*at)[metric].value)
    else:
        known = ", ".join(dict.fromkeys((*SCORES, *sorted(numbers), *scalars)))
        raise InputError(
            f"--metric={metric}: {config.method} has no such number; there are: {known}"
        )
    return curve.Measure(make, float, metric in GREATER)


def _result(programs: curve.Watched, state, inputs) -> np.ndarray:
    return results.cut(programs.outputs(state, inputs)["result"]).value


def score(result: np.ndarray, case: Case) -> dict[str, float]:
    """Figures of a result (H, W[, C]) in [0, 1], rounded to 8 bits, as the library scores files."""
    rounded = image_io.from_float(result, np.zeros(result.shape, np.uint8))
    pixels = image_io.to_array(rounded).pixels
    border = results.border_of(case.source.size, pixels.shape[:2])
    return results.score(pixels, case.truth.pixels, border)
