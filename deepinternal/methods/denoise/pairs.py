"""Denoising by a small net that is trained on pairs of noisy versions of the image itself.

A net that learns to predict one noisy version of an image from another one predicts the clean image,
because the noise of its target cannot be predicted (Noise2Noise). The level of the noise need not be
known. `Config.pairs_kind` says where the pairs come from:

* halves (zero-shot Noise2Noise, section 3): two images of half the size, whose pixels are the means of
  the two diagonals of 2x2 pixels -> `halves`. The loss demands the prediction in both directions, and
  that denoising and halving commute -> `_halves_loss`. The noise of the pixels must be independent.
* banks (Pixel2Pixel): for each pixel, the pixels of a window with the most similar surroundings ->
  `banks.find_bank`. Pairs are drawn from them for each pixel anew -> `banks.drawn`, which also breaks
  up noise that neighbouring pixels share.

Deliberate deviations from the papers: the steps train on random crops instead of the whole image; the
learning rate falls like a cosine; the weights are averaged over the last steps. Surroundings are
compared in a smoothed image, and pixels with few similar ones have smaller banks. A pair consists of
the mean of some pixels of a bank and the mean of all the others; as a target, this mean has the same
gradient on average as one of them, with less noise. The result is the mean over several draws, or over
mirrored images.

References:
    Mansour, Heckel: Zero-Shot Noise2Noise: Efficient Image Denoising without any Data. CVPR 2023.
    Ma, Liu, Li, Xu, Ma: Pixel2Pixel: A Pixelwise Approach for Zero-Shot Single Image Denoising. 2025.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.losses.pixel import l2
from deepinternal.methods import optimizers
from deepinternal.methods.denoise import banks
from deepinternal.methods.denoise.config import Config
from deepinternal.methods.denoise.parts import Parts
from deepinternal.methods.updates import next_stage, updated
from deepinternal.nets.pairs import PairNet
from deepinternal.ops import filters
from deepinternal.ops.metrics import mse_to_psnr
from deepinternal.types import Array, Inputs, Output, Stage, TrainState

_STEPS = {"halves": 6000, "banks": 1000}  # of training
_STRIP = 32  # rows whose banks are searched at once
_AVERAGE = 0.99  # decay of the average of the weights
_NEAR = 2  # radius of the windows over which the spread of the draws is averaged
_LEAST = 12**-0.5 / 255  # least uncertainty, that of rounding to 8 bits
# The standard deviation of the errors over the spread of the draws, or of the mirrored images.
_CALIBRATION = {"halves": 4.8, "banks": 3.7}


def halves(image: Array) -> tuple[Array, Array]:
    """Returns the means of the two diagonals of all blocks of 2x2 pixels.

    Args:
        image: (..., H, W, C); an odd last row or column is not used.

    Returns:
        Two images (..., H // 2, W // 2, C): the means of the upper right and the lower left pixel, and
        of the upper left and the lower right one.
    """
    h, w = (n // 2 * 2 for n in image.shape[-3:-1])
    even, odd = image[..., 0:h:2, :w, :], image[..., 1:h:2, :w, :]
    first = (even[..., 1::2, :] + odd[..., 0::2, :]) / 2
    return first, (even[..., 0::2, :] + odd[..., 1::2, :]) / 2


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The static part of the method for images of a given shape."""

    shape: tuple[int, int, int]
    kind: str
    steps: int
    learning_rate: float
    crop: tuple[int, int]
    batch: int
    reach: int
    count: int
    drawn: int
    net: PairNet

    @property
    def starts(self) -> np.ndarray:
        """The first rows of the strips of the search; the last strip may overlap."""
        rows = min(_STRIP, self.shape[0])
        return np.minimum(np.arange(0, self.shape[0], rows), self.shape[0] - rows)


def _denoised(plan: _Plan, params, images: Array) -> Array:
    return plan.net.apply({"params": params}, images)


def _init(plan: _Plan, key: Array, inputs: Inputs) -> TrainState:
    del inputs
    key_net, key = jax.random.split(key)
    params = plan.net.init(key_net, jnp.zeros((1, 8, 8, plan.shape[-1])))["params"]
    kept = {
        "average": jax.tree.map(jnp.copy, params),
        "sum": jnp.zeros(plan.shape),
        "squares": jnp.zeros(plan.shape),
    }
    if plan.kind == "banks":
        size = (*plan.shape[:2], plan.count)
        kept |= {"bank": jnp.zeros(size, jnp.uint16), "distance": jnp.zeros(size, jnp.float16)}
    state = {"net": optimizers.adam().init(params)}
    return TrainState(jnp.zeros((), jnp.int32), key, {"net": params}, state, kept)


def _search(plan: _Plan, state: TrainState, inputs: Inputs, variant=None):
    """Searches the banks of one strip of rows."""
    del variant
    starts = jnp.asarray(plan.starts)
    top, guide = starts[jnp.minimum(state.step, len(starts) - 1)], banks.smoothed(inputs["image"])
    rows = min(_STRIP, plan.shape[0])
    bank, distance = banks.find_bank(guide, top, rows=rows, reach=plan.reach, count=plan.count)
    found, kept = {"bank": bank, "distance": jnp.minimum(distance, 6e4)}, dict(state.model_state)
    for name, x in found.items():
        kept[name] = lax.dynamic_update_slice(kept[name], x.astype(kept[name].dtype), (top, 0, 0))
    metrics = {"loss": jnp.zeros(())}
    return state.replace(step=state.step + 1, model_state=kept), metrics


def _corner(plan: _Plan, key: Array) -> tuple[Array, Array]:
    spare = jnp.array([n - m + 1 for n, m in zip(plan.shape, plan.crop)])
    corner = jax.random.randint(key, (2,), 0, spare)
    return corner[0], corner[1]


def _known(plan: _Plan, inputs: Inputs, y: Array, x: Array) -> Array:
    """The mask (h, w, 1) of a crop, 1 where its pixels are known and right."""
    if "mask" not in inputs:
        return jnp.ones((*plan.crop, 1))
    return lax.dynamic_slice(inputs["mask"], (y, x, 0), (*plan.crop, 1))


def _l2(made: Array, target: Array, known: Array) -> Array:
    """The mean squared error where the target is known."""
    known = jnp.broadcast_to(known, made.shape).astype(made.dtype)
    return jnp.sum(known * (made - target) ** 2) / jnp.maximum(jnp.sum(known), 1)


def _halves_loss(plan: _Plan, params, key: Array, state: TrainState, inputs: Inputs):
    """Zero-shot Noise2Noise's loss on one crop: the residuals, and the consistency of halving."""
    del state
    y, x = _corner(plan, key)
    crop = lax.dynamic_slice(inputs["image"], (y, x, 0), (*plan.crop, plan.shape[-1]))
    pair, known = jnp.stack(halves(crop)), jnp.stack(halves(_known(plan, inputs, y, x))) == 1
    made = _denoised(plan, params, pair)
    whole = jnp.stack(halves(_denoised(plan, params, crop[None])[0]))
    return _l2(made, pair[::-1], known[::-1]) + l2(made, whole)


def _banks_loss(plan: _Plan, params, key: Array, state: TrainState, inputs: Inputs):
    """The error of the prediction of one part of each pixel's bank from the other, on one crop."""
    key_crop, key_draw = jax.random.split(key)
    y, x = _corner(plan, key_crop)
    bank = lax.dynamic_slice(state.model_state["bank"], (y, x, 0), (*plan.crop, plan.count))
    values = banks.banked(inputs["image"], bank, (y, x), plan.reach)
    noisy, target = banks.drawn(key_draw, values, plan.drawn)
    return _l2(_denoised(plan, params, noisy[None])[0], target, _known(plan, inputs, y, x) == 1)


def _train(plan: _Plan, state: TrainState, inputs: Inputs, variant=None):
    """One update of the weights, on some crops."""
    del variant
    loss_fn = _halves_loss if plan.kind == "halves" else _banks_loss
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), plan.batch)

    def mean_loss(params):
        return sum(loss_fn(plan, params, key, state, inputs) for key in keys) / plan.batch

    loss, grads = jax.value_and_grad(mean_loss)(state.params["net"])
    rate = optimizers.warmup_cosine(
        state.step, plan.steps, peak=plan.learning_rate, warmup=plan.steps // 20
    )
    state = updated(state, grads, rate, decay=_AVERAGE)
    return state, {"loss": loss, "learning_rate": rate}


def _flipped(image: Array, number: Array) -> Array:
    """Mirrors an image (H, W, C) along the axes whose bits are set in a number; its own inverse."""
    for axis in (0, 1):
        image = jnp.where(number // 2**axis % 2 == 1, jnp.flip(image, axis), image)
    return image


def _average(plan: _Plan, state: TrainState, inputs: Inputs, variant=None):
    """Denoises the mirrored image, or one more draw from the banks of all pixels."""
    del variant
    kept, image = state.model_state, inputs["image"]
    noisy = image
    if plan.kind == "banks":
        values = banks.banked(image, kept["bank"], (0, 0), plan.reach)
        noisy, _ = banks.drawn(jax.random.fold_in(state.key, state.step), values, plan.drawn)
    made = _denoised(plan, kept["average"], _flipped(noisy, state.step)[None])[0]
    made = _flipped(made, state.step)
    kept = {**kept, "sum": kept["sum"] + made, "squares": kept["squares"] + made**2}
    return state.replace(step=state.step + 1, model_state=kept), {"loss": l2(made, image)}


def _searched(state: TrainState, inputs: Inputs) -> tuple[TrainState, Inputs]:
    """Begins the training after the search."""
    kept = dict(state.model_state)
    kept["bank"] = banks.trimmed(kept["bank"], kept.pop("distance"))
    return next_stage(state.replace(model_state=kept), inputs)


def _outputs(plan: _Plan, state: TrainState, inputs: Inputs) -> dict[str, Output]:
    del inputs
    kept, count = state.model_state, jnp.maximum(state.step, 1)
    mean = kept["sum"] / count
    spread = jnp.mean(jnp.maximum(kept["squares"] / count - mean**2, 0), axis=-1)
    local = filters.box(spread, min(_NEAR, (min(plan.shape[:2]) - 1) // 2))
    local = jnp.maximum(local, 0)  # below 0 by rounding, beside large values
    std = jnp.maximum(_CALIBRATION[plan.kind] * jnp.sqrt(local), _LEAST)
    return {
        "result": Output(jnp.clip(mean, 0, 1)),
        "uncertainty": Output(std, "map"),
        "expected_psnr": Output(mse_to_psnr(jnp.mean(std**2)), "scalar"),
    }


def parts(config: Config, shape: tuple[int, int, int], kind: str) -> Parts:
    """Returns the parts of the method for a kind of pairs; see `denoise.ALGORITHMS`."""
    reach = min(config.window, min(shape[:2]) - 1)
    count = min(config.candidates, (reach + 1) ** 2)
    plan = _Plan(
        shape=shape,
        kind=kind,
        steps=config.steps or config.train_steps or _STEPS[kind],
        learning_rate=config.learning_rate,
        crop=tuple(min(config.crop, n) for n in shape[:2]),
        batch=config.crops,
        reach=reach,
        count=count,
        drawn=min(config.drawn, count - 1),
        net=PairNet(),
    )
    bind = functools.partial
    stages = (
        Stage("train", plan.steps, bind(_train, plan), advance=next_stage),
        Stage("average", config.draws, bind(_average, plan)),
    )
    if kind == "banks":
        search = Stage("search", len(plan.starts), bind(_search, plan), advance=_searched)
        stages = (search, *stages)
    return Parts(bind(_init, plan), stages, bind(_outputs, plan))
