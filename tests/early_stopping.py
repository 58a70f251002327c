"""Measures how well DIP's early stopping hits the best moment of its fits; run by hand, for hours.

    python -m tests.early_stopping --data=DIR [--sigma=15,25,50] [--side=256] [--limit=4] [--out=FILE]

To the middle of each photograph in DIR, noise is added and rounded to 8 bits. The fit of
`dip.py:denoise,fast` is continued to three times the step at which it ends, and its result is compared
with the best of all moments, which only the photograph can tell. Each case is printed, and appended to
FILE as a line of JSON; cases that FILE holds are not run again.
"""

import json
import statistics
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

from deepinternal.codecs.image_io import read_image
from deepinternal.engine.compiling import compiler_options
from deepinternal.methods import find
from deepinternal.types import input_spec

_DATA = flags.DEFINE_string("data", None, "Folder with photographs.", required=True)
_SIGMA = flags.DEFINE_list("sigma", ["15", "25", "50"], "Standard deviations of the noise, of 255.")
_SIDE = flags.DEFINE_integer("side", 256, "Side of the part in the middle.", lower_bound=32)
_LIMIT = flags.DEFINE_integer("limit", 4, "Greatest number of photographs; the last ones are used.")
_OUT = flags.DEFINE_string("out", None, "File where the figures of the cases are kept.")
_LONGER = 3  # how many times as long as to its end a fit is watched


def watched(clean: np.ndarray, sigma: float) -> dict[str, float]:
    """Returns the PSNR of a fit's result and of its best moment, and the steps of both."""
    noise = np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
    noisy = np.clip(np.round(255 * (clean + noise)), 0, 255) / 255
    recipe = find("dip")
    config = recipe.build("denoise,fast")
    patience, config = config.patience, config.model_copy(update={"patience": 10**9})
    inputs = recipe.prepare(config, np.float32(noisy))
    method = recipe.method(config, input_spec(inputs))
    (stage,) = method.stages
    state = jax.jit(method.init)(jax.random.key(config.seed), inputs)

    @jax.jit
    def seen(state):
        psnr = lambda image: (
            -10 * jax.numpy.log10(jax.numpy.mean((jax.numpy.clip(image, 0, 1) - clean) ** 2))
        )
        tracked = state.model_state
        over = state.step - 1 - tracked["least_at"] >= patience  # where the fit would have ended
        return psnr(tracked["kept"]["image"]), psnr(tracked["at_least"]["image"]), over

    step = jax.jit(lambda state: stage.step(state, inputs, None), donate_argnums=0)
    step = step.lower(state).compile(compiler_options("steps"))
    found, end, moments = {}, stage.steps, []
    while len(moments) < _LONGER * end:
        state, _ = step(state)
        now, result, over = seen(state)
        moments.append(float(now))
        if not found and (over or len(moments) == stage.steps):
            end = len(moments)
            found = {"end": end, "psnr": float(result), "ended early": bool(over)}
    best = int(np.argmax(moments))
    return found | {"best": moments[best], "best at": best + 1, "last": moments[-1]}


def main(_) -> None:
    """Runs the cases that are not known, and prints how much the results miss."""
    records, file = [], _OUT.value and Path(_OUT.value)
    if file and file.exists():
        records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    known = {(r["image"], r["sigma"], r["side"]) for r in records}
    for path in sorted(Path(_DATA.value).glob("*.png"))[-_LIMIT.value :]:
        image = read_image(path).pixels
        top, left = ((n - _SIDE.value) // 2 for n in image.shape[:2])
        clean = image[max(top, 0) :, max(left, 0) :][: _SIDE.value, : _SIDE.value]
        for sigma in map(float, _SIGMA.value):
            if (path.stem, sigma, _SIDE.value) in known:
                continue
            record = {"image": path.stem, "sigma": sigma, "side": _SIDE.value}
            record |= watched(clean, sigma)
            print(record, flush=True)
            records.append(record)
            if file:
                with file.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(record) + "\n")
    missed = [r["best"] - r["psnr"] for r in records]
    print(
        f"below the best moment: median {statistics.median(missed):.2f}, most {max(missed):.2f} dB"
    )


if __name__ == "__main__":
    app.run(main)
