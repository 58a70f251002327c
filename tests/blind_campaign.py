"""Measures ZSSR's preset `blind` on images blurred by random kernels; run by hand, for an hour.

    python -m tests.blind_campaign --data=DIR/*_HR.png,DIR/*.png --out=FILE [--kernels=gaussian]
        [--scale=2] [--side=256] [--steps=0] [--runs=cubic,true,best,blind] [--half=report]

The middle of each photograph is downscaled with a different kernel and rounded to 8 bits. Settings are
chosen on photographs with even numbers and reported on the others. Each run of ZSSR is appended to FILE
as a line of JSON; runs that FILE holds are not repeated. The kernels of the runs are `cubic`, `true`,
`best` (the Gaussian that is most like the true kernel) and `blind`; the last two train for as few steps
as `blind` does. With an empty --runs only kernels are estimated.
"""

import functools
import glob
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from scipy.optimize import minimize

from deepinternal.codecs.image_io import read_image
from deepinternal.engine.compiling import compiler_options
from deepinternal.methods import find
from deepinternal.methods.kernelgan.estimate import kernel_size
from deepinternal.ops import degradation, kernels, metrics
from deepinternal.ops.kernel_scores import correlation
from deepinternal.ops.resizing import resize

_DATA = flags.DEFINE_list("data", None, "Photographs, as patterns.", required=True)
_OUT = flags.DEFINE_string("out", None, "File of results, one JSON object a line.", required=True)
_KERNELS = flags.DEFINE_enum("kernels", "gaussian", ["gaussian", "motion", "cubic"], "Kernels.")
_SCALE = flags.DEFINE_integer("scale", 2, "Factor, 2 or 4.")
_SIDE = flags.DEFINE_integer("side", 256, "Side of the middle of each photograph.")
_SEED = flags.DEFINE_integer("seed", 1000, "Seed of the first kernel.")
_NOISE = flags.DEFINE_float("noise_std", 0.0, "Noise in [0, 1], only without runs.")
_STEPS = flags.DEFINE_integer("steps", 0, "Steps of each run; 0: those of the preset.")
_RUNS = flags.DEFINE_list("runs", ["cubic", "true", "blind", "best"], "Runs of each photograph.")
_HALF = flags.DEFINE_enum("half", "both", ["both", "choose", "report"], "Photographs.")
_LENGTH = 4.0  # pixels of a motion, for a factor of 2


def degraded(number: int, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the small image of a photograph (H, W, C), and its kernel."""
    key, scale = jax.random.key(_SEED.value + number), _SCALE.value
    if _KERNELS.value == "cubic":
        true, small = kernels.cubic_kernel(scale, 5 * scale + 1), resize(photo, scale=1 / scale)
    else:
        true = degradation.div2krk_kernel(key, scale=scale)
        if _KERNELS.value == "motion":
            length = _LENGTH * scale / 2
            size = degradation.motion_size(length, scale=scale)
            true = degradation.motion_kernel(key, size, length, scale=scale)
        true = np.asarray(kernels.centre_kernel(np.asarray(true), scale, pad=scale))
        small = kernels.downscale(jnp.asarray(photo), jnp.asarray(true), scale)
    noise = np.random.default_rng(number).normal(0, 1, small.shape) * _NOISE.value
    small = np.round(np.clip(np.asarray(small) + noise, 0, 1) * 255) / 255
    return np.float32(small), true


def best_gaussian(true: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the Gaussian kernel with the least squared error, and its covariance (2, 2)."""
    size = kernel_size(scale)
    room = (size - len(true)) // 2
    placed = np.pad(true, max(room, 0))[max(-room, 0) :, max(-room, 0) :][:size, :size]

    def covariance(x):
        factor = np.array([[np.exp(x[0]), 0], [x[1], np.exp(x[2])]])
        return factor @ factor.T

    offsets = np.arange(size) - size // 2 - (scale - 1) / 2
    y, x = offsets[:, None], offsets

    def gaussian(packed):
        (yy, yx), (_, xx) = np.linalg.inv(covariance(packed))
        made = np.exp(-0.5 * (yy * y * y + 2 * yx * y * x + xx * x * x))
        return made / made.sum()

    start = [np.log(0.7 * scale), 0, np.log(0.7 * scale)]
    error = lambda packed: 1e3 * np.sum((gaussian(packed) - placed) ** 2)
    found = minimize(error, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-7})
    return np.float32(gaussian(found.x)), covariance(found.x)


@functools.lru_cache
def _programs(presets: str, shape: tuple[int, ...], steps: int):
    """The method, and its compiled functions, for images of one shape."""
    recipe = find("zssr")
    given = {"kernel": "a.mat"} if "kernel" in presets else {}
    config = recipe.build(presets, path="direct", scale=str(_SCALE.value), steps=steps, **given)
    spec = {"image": jax.ShapeDtypeStruct(shape, jnp.float32)}
    if given:
        spec["kernel"] = jax.ShapeDtypeStruct((kernel_size(_SCALE.value),) * 2, jnp.float32)
    method = recipe.method(config, spec)
    (stage,) = method.stages
    step = jax.jit(lambda state, inputs: stage.step(state, inputs, None)[0], donate_argnums=0)
    key = jax.random.key(config.seed)
    step = step.lower(jax.eval_shape(method.init, key, spec), spec)
    return (
        jax.jit(method.init),
        step.compile(compiler_options("steps")),
        jax.jit(method.outputs),
        stage.steps,
    )


def enlarged(image: np.ndarray, blur: np.ndarray | None, steps: int) -> np.ndarray:
    """Returns the image enlarged by the preset `fast` for the given or for the cubic kernel."""
    presets = "fast" if blur is None else "fast,kernel"
    init, step, outputs, steps = _programs(presets, image.shape, steps)
    inputs = {"image": jnp.asarray(image)} | ({} if blur is None else {"kernel": jnp.asarray(blur)})
    state = init(jax.random.key(0), inputs)
    for _ in range(steps):
        state = step(state, inputs)
    return np.asarray(outputs(state, inputs)["result"].value)


def measured(number: int, path: str, known: set, write) -> None:
    """Runs and writes everything that FILE lacks of one photograph."""
    scale = _SCALE.value
    photo = np.float32(read_image(path).pixels)
    photo = photo / 255 if photo.max() > 1 else photo
    photo = photo.reshape(*photo.shape[:2], -1)
    y, x = (max(n - _SIDE.value, 0) // 2 for n in photo.shape[:2])
    photo = photo[y:, x:][: _SIDE.value, : _SIDE.value]
    image, true = degraded(number, photo)
    recipe = find("zssr")
    config = recipe.build("blind", scale=str(scale))
    inputs = recipe.prepare(config, image)
    made = inputs["estimate"]
    best, covariance = best_gaussian(true, scale)
    figures = {name: float(value) for name, value in made.items() if name != "kernel"}
    figures["correlation"] = float(correlation(jnp.asarray(made["kernel"]), jnp.asarray(true)))
    figures["best_correlation"] = float(correlation(jnp.asarray(best), jnp.asarray(true)))
    axes = np.linalg.eigh(covariance)[1]
    offsets = np.arange(len(made["kernel"])) - len(made["kernel"]) // 2 - (scale - 1) / 2
    for axis, name in zip(axes.T, ("least", "greatest")):
        along = axis[0] * offsets[:, None] + axis[1] * offsets
        found = np.sum(made["kernel"] * along**2)
        figures[f"log_ratio_{name}"] = float(np.log(found / (axis @ covariance @ axis)) / 2)
    figures["estimated"] = bool(inputs["decisions"]["estimated"])
    # `blind` trains with the kernel it was given, or with the cubic one and flips, which is `cubic`.
    choice = {"cubic": None, "best": best, "true": _placed(true, scale)}
    choice["blind"] = made["kernel"] if figures["estimated"] else None
    for run in _RUNS.value or ["kernel"]:
        record = {"photo": Path(path).stem, "number": number, "run": run, "scale": scale}
        record |= {"kernels": _KERNELS.value, "steps": _STEPS.value, "noise": _NOISE.value}
        record |= {"seed": _SEED.value, "side": _SIDE.value}
        if json.dumps(record) in known:
            continue
        if run != "kernel":
            steps = _STEPS.value
            if run in ("best", "blind") and choice[run] is not None:
                steps = steps or config.blind_steps
            result = np.round(enlarged(image, choice[run], steps) * 255) / 255
            scores = metrics.quality(result, jnp.asarray(photo), border=(scale, scale))
            record |= {name: float(value) for name, value in scores.items()}
        write(record | {"half": ("choose", "report")[number % 2]} | figures)


def _placed(true: np.ndarray, scale: int) -> np.ndarray:
    """The kernel in an array of the size of the estimates."""
    room = (kernel_size(scale) - len(true)) // 2
    placed = np.pad(true, room) if room >= 0 else true[-room:room, -room:room]
    return np.float32(placed / placed.sum())


def main(_) -> None:
    """Runs all cases, and prints each."""
    file, named = Path(_OUT.value), ["photo", "number", "run", "scale", "kernels"]
    named += ["steps", "noise", "seed", "side"]
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    known = {json.dumps({name: json.loads(line)[name] for name in named}) for line in lines}

    def write(record):
        print(record, flush=True)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(record) + "\n")

    paths = [path for pattern in _DATA.value for path in sorted(glob.glob(pattern))]
    for number, path in enumerate(paths):
        if _HALF.value in ("both", ("choose", "report")[number % 2]):
            measured(number, path, known, write)


if __name__ == "__main__":
    app.run(main)
