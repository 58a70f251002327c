"""Denoising by a net that predicts pixels which it does not see (Self2Self).

At each step, a random part of the known pixels is hidden from the net -> `_hidden`, and the loss is the
squared error of its prediction of those pixels. The noise of a hidden pixel cannot be predicted from
the others, so the net learns the image. Missing pixels are never seen and never predicted in training.
The result is the mean of predictions with different hidden pixels, and their spread gives the
uncertainty.

Deliberate deviations from the paper: the net is that of `dip`, with normalisations instead of dropout,
which learns in hundreds of steps instead of 100 000; it sees the mean of the nearest pixels where a
pixel is hidden, instead of partial convolutions, and corrects these means -> `local_mean`; the learning
rate falls like a cosine; the weights are averaged over the last steps; of large images, the steps
train on random crops.

References:
    Quan, Chen, Pang, Ji: Self2Self With Dropout: Learning Self-Supervised Denoising From Single Image.
    CVPR 2020.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.methods import optimizers
from deepinternal.methods.denoise.config import Config
from deepinternal.methods.denoise.parts import Parts
from deepinternal.methods.updates import next_stage, updated
from deepinternal.nets.skip import SkipNet
from deepinternal.ops import filters
from deepinternal.ops.conv.convolution import conv2d
from deepinternal.ops.metrics import mse_to_psnr
from deepinternal.types import Array, Inputs, Metrics, Output, Stage, TrainState

_STEPS = 600  # of training
_CROP = 256  # greatest side of the crops that the steps train on
_RATE = 0.005  # greatest learning rate
_CHANNELS = (16, 32, 64, 128, 128)  # of the net at each scale; small images use the first scales
_SKIP = 32  # channels of its skip branches
_SIZE = 0.1  # approximate size of the net's corrections at first
_NEAREST, _FARTHER = 1.0, 1e-3  # parameters of the weights of `local_mean`
_AVERAGE = 0.99  # decay of the average of the weights
_NEAR = 2  # radius of the windows over which the spread of the predictions is averaged
_LEAST = 12**-0.5 / 255  # least uncertainty, that of rounding to 8 bits
# The standard deviation of the errors over the spread of the predictions, times the root of the share
# of known pixels.
_CALIBRATION = 1.2


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The static part of the method for images of a given shape."""

    shape: tuple[int, int, int]
    steps: int
    crop: tuple[int, int]
    share: float
    net: SkipNet


def _known(inputs: Inputs) -> Array:
    return inputs["mask"] if "mask" in inputs else jnp.ones_like(inputs["image"][..., :1])


def _centre(inputs: Inputs) -> Array:
    """The mean (C,) of the known pixels, which is subtracted so that the net need not learn it."""
    known = _known(inputs)
    return jnp.sum(known * inputs["image"], axis=(0, 1)) / jnp.maximum(jnp.sum(known), 1)


def _hidden(key: Array, shape: tuple[int, int], share: float) -> Array:
    """Chooses a share of the pixels (H, W, 1) at random: 1 where they are hidden."""
    return jax.random.bernoulli(key, share, (shape[0] * shape[1],)).reshape(*shape, 1) * 1.0


def local_mean(image: Array, known: Array) -> Array:
    """Returns weighted means of the known pixels around each pixel, mostly of the nearest ones.

    Args:
        image: (H, W, C).
        known: (H, W, 1) of zeros and ones.

    Returns:
        (H, W, C), 0 where no pixel is known within a distance of 4 along both axes.
    """
    squares = np.add.outer(np.arange(-4, 5) ** 2, np.arange(-4, 5) ** 2)
    weights = np.exp(-squares / _NEAREST) + _FARTHER * np.exp(-squares / 8)
    weights = jnp.asarray(weights, jnp.float32)[..., None, None]
    planes = jnp.moveaxis(jnp.concatenate([known * image, known], axis=-1), -1, 0)
    sums = jnp.moveaxis(conv2d(planes[..., None], weights, precision="highest")[..., 0], 0, -1)
    return sums[..., :-1] / jnp.maximum(sums[..., -1:], 1e-6)


def predicted(net: SkipNet, params, image: Array, seen: Array) -> Array:
    """Returns the net's prediction (H, W, C) of an image of which it sees some pixels.

    Args:
        net: The net.
        params: Its weights.
        image: (H, W, C), with mean 0.
        seen: (H, W, 1) of zeros and ones; pixels that are 0 here have no effect.
    """
    near = local_mean(image, seen)
    shown = jnp.concatenate([2 * jnp.where(seen > 0, image, near), seen - 0.5], axis=-1)
    return near + _SIZE * net.apply({"params": params}, shown[None])[0]


def prediction_loss(
    net: SkipNet, params, key: Array, image: Array, known: Array, *, share: float
) -> Array:
    """Returns the mean squared error of the predictions of hidden pixels.

    Args:
        net: The net.
        params: Its weights.
        key: Chooses the hidden pixels.
        image: (H, W, C), with mean 0.
        known: (H, W, 1); missing pixels, which are 0 here, have no effect.
        share: Share of the known pixels that are hidden.
    """
    hidden = known * _hidden(key, image.shape[:2], share)
    made = predicted(net, params, image, known - hidden)
    count = jnp.maximum(jnp.sum(hidden), 1) * image.shape[-1]
    return jnp.sum(hidden * (made - known * image) ** 2) / count


def _init(plan: _Plan, key: Array, inputs: Inputs) -> TrainState:
    del inputs
    key_net, key = jax.random.split(key)
    params = plan.net.weights(key_net, plan.shape[-1] + 1)
    zeros = jnp.zeros(plan.shape)
    kept = {"average": jax.tree.map(jnp.copy, params), "sum": zeros, "squares": zeros}
    state = {"net": optimizers.adam().init(params)}
    return TrainState(jnp.zeros((), jnp.int32), key, {"net": params}, state, kept)


def _train(plan: _Plan, state: TrainState, inputs: Inputs, variant=None):
    """One update of the weights, on a crop."""
    del variant
    image, known = inputs["image"] - _centre(inputs), _known(inputs)
    key_crop, key = jax.random.split(jax.random.fold_in(state.key, state.step))
    spare = jnp.array([n - m + 1 for n, m in zip(plan.shape, plan.crop)])
    y, x = jax.random.randint(key_crop, (2,), 0, spare)
    cut = lambda a: lax.dynamic_slice(a, (y, x, 0), (*plan.crop, a.shape[-1]))
    loss_fn = functools.partial(prediction_loss, plan.net, share=plan.share)
    loss, grads = jax.value_and_grad(loss_fn)(state.params["net"], key, cut(image), cut(known))
    rate = optimizers.warmup_cosine(state.step, plan.steps, peak=_RATE, warmup=plan.steps // 20)
    state = updated(state, grads, rate, decay=_AVERAGE)
    return state, {"loss": loss, "learning_rate": rate}


def _predict(
    plan: _Plan, state: TrainState, inputs: Inputs, variant=None
) -> tuple[TrainState, Metrics]:
    """Adds one prediction of the whole image, with other pixels hidden."""
    del variant
    kept, known, centre = state.model_state, _known(inputs), _centre(inputs)
    key = jax.random.fold_in(state.key, state.step)
    seen = known * (1 - _hidden(key, plan.shape[:2], plan.share))
    made = predicted(plan.net, kept["average"], inputs["image"] - centre, seen) + centre
    kept = {**kept, "sum": kept["sum"] + made, "squares": kept["squares"] + made**2}
    loss = jnp.sum(known * (made - inputs["image"]) ** 2) / jnp.maximum(jnp.sum(known), 1)
    return state.replace(step=state.step + 1, model_state=kept), {"loss": loss / plan.shape[-1]}


def _outputs(plan: _Plan, state: TrainState, inputs: Inputs) -> dict[str, Output]:
    kept, count = state.model_state, jnp.maximum(state.step, 1)
    mean = kept["sum"] / count
    exact = (_known(inputs) > 0) & (jnp.max(inputs["noise"]["std"]) == 0)
    spread = jnp.mean(jnp.maximum(kept["squares"] / count - mean**2, 0), axis=-1)
    local = filters.box(spread, min(_NEAR, (min(plan.shape[:2]) - 1) // 2))
    factor = _CALIBRATION * lax.rsqrt(jnp.maximum(jnp.mean(_known(inputs)), 1e-3))
    std = jnp.maximum(factor * jnp.sqrt(jnp.maximum(local, 0)), _LEAST)
    std = jnp.where(exact[..., 0], _LEAST, std)
    return {
        "result": Output(jnp.clip(jnp.where(exact, inputs["image"], mean), 0, 1)),
        "uncertainty": Output(std, "map"),
        "expected_psnr": Output(mse_to_psnr(jnp.mean(std**2)), "scalar"),
    }


def parts(config: Config, shape: tuple[int, int, int], variant: str) -> Parts:
    """Returns the parts of the method; see `denoise.ALGORITHMS`."""
    del variant
    side = min(shape[:2])
    scales = sum(side >= 2 ** (n + 2) for n in range(len(_CHANNELS)))
    plan = _Plan(
        shape=shape,
        steps=config.steps or config.train_steps or _STEPS,
        crop=tuple(min(_CROP, n) for n in shape[:2]),
        share=config.hidden,
        net=SkipNet(
            shape[-1],
            down=_CHANNELS[:scales],
            skip=_SKIP,
            sigmoid=False,
            precision="highest",
        ),
    )
    bind = functools.partial
    stages = (
        Stage("train", plan.steps, bind(_train, plan), advance=next_stage),
        Stage("average", config.masks, bind(_predict, plan)),
    )
    return Parts(bind(_init, plan), stages, bind(_outputs, plan))
