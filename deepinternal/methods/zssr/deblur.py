"""Deblurring with a known kernel: ZSSR at a factor of 1.

The smaller an image, the sharper it is. Fathers are smaller versions of the image after deconvolution,
because those of the blurred image itself teach the net to blur. A father is blurred with the kernel and
gets the noise of the image, which makes its son. The son is deconvolved in the same way as the image.
The net learns to map the deconvolved son to the father, so that it removes what deconvolution leaves:
noise, ringing and blur.

First, a stage makes the pairs, because deconvolution takes longer than a step of training. Then the net
learns from crops of them.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from deepinternal.losses.pixel import l1
from deepinternal.methods import optimizers
from deepinternal.methods.updates import next_stage, updated
from deepinternal.nets.deblur import DeblurNet
from deepinternal.ops import deconvolution, kernels
from deepinternal.ops.resizing import cubic
from deepinternal.types import Array, Example, InputError, Inputs, Method, Output, Stage, TrainState

LEAST = 48  # least side of an image
_ROUNDING = 12**-0.5 / 255  # least standard deviation of the noise, that of rounding to 8 bits
_WEIGHT = 0.6  # weight of the gradients' lengths, times their mean
_MARGIN = 16  # number of pixels by which the sides of fathers exceed those of the crops
_SCALES = (0.5, 0.95)  # scales of fathers relative to the image
_MIRRORED = 1.9  # greatest side of the mirrored image that a father shows, relative to the image's
_STRETCH = 0.15  # greatest logarithm of the ratio of the two axes' scales
_FAINT = (
    0.02  # fraction of frequencies, those that the kernel passes least, for measuring the noise
)
_PASSED = 0.3  # amplitude that the kernel passes there, above which the noise is not measured


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The static part for images of one shape."""

    config: Any
    shape: tuple[int, int, int]
    side: int
    crop: int
    net: DeblurNet

    @property
    def steps(self) -> int:
        return self.config.steps or self.config.train_steps


def prepare(config: Any, image: np.ndarray, kernel: np.ndarray | None) -> Inputs:
    """Makes the method's inputs from the user's arrays, on the host.

    Args:
        config: The settings.
        image: (H, W, C) in [0, 1].
        kernel: (K, K) blur kernel.

    Returns:
        `image`, `kernel`, centred, and `noise_std`, given or measured.

    Raises:
        InputError: There is no kernel.
    """
    if kernel is None:
        raise InputError("config.kernel: give the blur kernel of the image, a file or a folder")
    kernel = np.asarray(kernels.centre_kernel(np.asarray(kernel, np.float32), 1))
    std = config.noise_std
    if std == "auto":
        std = noise_std(image, kernel)
    std = np.float32(max(std, _ROUNDING))
    return {"image": np.asarray(image, np.float32), "kernel": kernel, "noise_std": std}


def noise_std(image: np.ndarray, kernel: np.ndarray) -> float:
    """Measures the noise of a blurred image where its kernel passes least, on the host.

    At the frequencies that the kernel suppresses most, the image consists of noise.

    Args:
        image: (H, W, C) in [0, 1].
        kernel: (K, K).

    Returns:
        The standard deviation of white noise; 0 if the kernel suppresses nothing, because then the
        noise cannot be distinguished from the image.
    """
    size = image.shape[:2]
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in size))[..., None]
    window /= np.sqrt(np.mean(window**2))
    pixels = image - image.mean((0, 1))
    power = np.abs(np.fft.fft2(pixels * window, axes=(0, 1))) ** 2 / np.prod(size)
    passed = np.abs(np.fft.fft2(kernel, s=size))
    limit = np.quantile(passed, _FAINT)
    if limit > _PASSED:
        return 0.0
    faint = passed <= limit
    return float(np.sqrt(np.median(power[faint]) / np.log(2)))


def example(photo: np.ndarray, kernel: np.ndarray | None) -> Example:
    """Returns a blurred part of a photograph with a little noise, rounded to 8 bits, and the kernel."""
    name = "the user's kernel"
    if kernel is None:
        name = "a slanted Gaussian kernel"
        kernel = np.asarray(kernels.gaussian_kernel(15, (2.4, 1.2), theta=np.pi / 6))
    centred = jnp.asarray(kernels.centre_kernel(np.asarray(kernel, np.float32), 1))
    blurred = np.asarray(kernels.downscale(jnp.asarray(photo), centred, 1))
    blurred = blurred + np.random.default_rng(0).normal(0, 1 / 255, blurred.shape)
    image = (np.round(np.clip(blurred, 0, 1) * 255) / 255).astype(np.float32)
    name = f"skimage.data.astronaut, blurred with {name}"
    return Example(name, image, photo, {"kernel": kernel})


def _weights(scale: Array, offset: Array, outputs: int, inputs: int) -> Array:
    """The matrix (outputs, inputs) of an antialiased cubic resizing, whose arguments may be traced.

    The first output pixel begins at `offset` in the input, which is mirrored beyond its ends.
    """
    at = (jnp.arange(outputs)[:, None] + 0.5) / scale + offset - 0.5
    index = jnp.arange(inputs)
    images = (index, -1 - index, 2 * inputs - 1 - index)
    taps = sum(cubic(scale * (at - i)) for i in images)
    return taps / taps.sum(1, keepdims=True)


def _father(plan: _Plan, key: Array, image: Array, side: int) -> Array:
    """Draws a father (side, side, C): a smaller version of the image, cut, rotated and mirrored."""
    drawn = jax.random.uniform(key, (7,), jnp.float32)
    least = max(_SCALES[0], side / (_MIRRORED * min(plan.shape[:2])))
    scale = least + (max(_SCALES[1], least) - least) * drawn[0]
    stretch = jnp.exp(_STRETCH * (drawn[1] - 0.5))
    lines = []
    for factor, place, size in zip((stretch, 1 / stretch), drawn[2:4], plan.shape):
        room = size - side / (scale * factor)
        lines.append(_weights(scale * factor, room * place, side, size))
    father = jnp.einsum("yh,hwc,xw->yxc", lines[0], image, lines[1], precision="highest")
    for turn, turned in zip(drawn[4:], (lambda x: x.swapaxes(0, 1), jnp.flipud, jnp.fliplr)):
        father = jnp.where(turn < 0.5, turned(father), father)
    return jnp.clip(father, 0, 1)


def _deconvolved(image: Array, inputs: Inputs, weight: Array) -> tuple[Array, Array]:
    """Deconvolves an image twice: with sparse gradients, and by Wiener's filter."""
    kernel, std = inputs["kernel"], inputs["noise_std"]
    sharp = deconvolution.total_variation(image, kernel, std, weight)
    ratio = 0.5 * (std * weight / _WEIGHT) ** 2
    return sharp, deconvolution.wiener(image, kernel, ratio)


def _init(plan: _Plan, optimizer: optax.GradientTransformation, key: Array, inputs: Inputs):
    """The state before the first pair, with the deconvolved image."""

    def estimate(weight: Array, _) -> tuple[Array, None]:
        """The weight that suits the gradients of an image deconvolved with another weight."""
        image, kernel, std = (inputs[name] for name in ("image", "kernel", "noise_std"))
        sharp = deconvolution.total_variation(image, kernel, std, weight)
        return _WEIGHT / jnp.maximum(deconvolution.mean_gradient(sharp), 1e-3), None

    weight, _ = jax.lax.scan(estimate, jnp.asarray(8.0), length=2)
    sharp, other = _deconvolved(inputs["image"], inputs, weight)
    key_net, key = jax.random.split(key)
    params = plan.net.init(key_net, *(jnp.zeros((8, 8, plan.shape[-1])),) * 3)["params"]
    pairs = jnp.zeros((plan.config.pairs, 4, plan.side, plan.side, plan.shape[-1]))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        params={"net": params},
        opt_state={"net": optimizer.init(params)},
        model_state={
            "average": jax.tree.map(jnp.copy, params),
            "weight": weight,
            "image": jnp.stack([sharp, other, inputs["image"]]),
            "pairs": pairs,
        },
    )


def _pair(plan: _Plan, state: TrainState, inputs: Inputs, variant=None):
    """Makes a father and its son, deconvolved in both ways and blurred."""
    del variant
    kernel, kept = inputs["kernel"], dict(state.model_state)
    key, key_noise = jax.random.split(jax.random.fold_in(state.key, state.step))
    father = _father(plan, key, kept["image"][0], plan.side + kernel.shape[0] - 1)
    son = deconvolution.blur(father, kernel)
    noise = jax.random.normal(key_noise, (son.size,), jnp.float32).reshape(son.shape)
    son = jnp.clip(son + inputs["noise_std"] * noise, 0, 1)
    first = kernel.shape[0] // 2
    father = father[first : first + plan.side, first : first + plan.side]
    sharp, other = _deconvolved(son, inputs, kept["weight"])
    pair = jnp.stack([sharp, other, son, father])
    at = jnp.minimum(state.step, len(kept["pairs"]) - 1)
    kept["pairs"] = jax.lax.dynamic_update_index_in_dim(kept["pairs"], pair, at, 0)
    return state.replace(step=state.step + 1, model_state=kept), {"loss": l1(sharp, father)}


def _train(plan: _Plan, optimizer, state: TrainState, inputs: Inputs, variant=None):
    """Takes one step on a crop of a pair."""
    del inputs, variant
    config, kept = plan.config, state.model_state
    drawn = jax.random.uniform(jax.random.fold_in(state.key, state.step), (3,), jnp.float32)
    room = jnp.asarray([len(kept["pairs"]), *(plan.side - plan.crop + 1,) * 2])
    at, y, x = jnp.minimum(jnp.floor(drawn * room).astype(jnp.int32), room - 1)
    size = (4, plan.crop, plan.crop, plan.shape[-1])
    *seen, father = jax.lax.dynamic_slice(kept["pairs"][at], (0, y, x, 0), size)

    def loss_fn(params):
        return l1(plan.net.apply({"params": params}, *seen), father)

    loss, grads = jax.value_and_grad(loss_fn)(state.params["net"])
    rate = optimizers.warmup_cosine(
        state.step, plan.steps, peak=config.learning_rate, warmup=config.warmup
    )
    new = updated(state, grads, rate, decay=config.average, optimizer=optimizer)
    return new, {"loss": loss, "learning_rate": rate}


def _outputs(plan: _Plan, state: TrainState, inputs: Inputs) -> dict[str, Output]:
    del inputs
    seen = state.model_state["image"]
    result = plan.net.apply({"params": state.model_state["average"]}, *seen)
    return {"result": Output(jnp.clip(result, 0, 1))}


def make(config: Any, spec: Inputs) -> Method:
    """Makes deblurring for images of one shape.

    Args:
        config: The settings.
        spec: The shapes of the inputs that `prepare` returns.

    Returns:
        The method. Its output is `result` (H, W, C).

    Raises:
        InputError: The image is too small for the kernel.
    """
    shape, kernel = spec["image"].shape, spec["kernel"].shape[0]
    # Fathers of the least scale must fit into an image that is mirrored once.
    side = min(config.crop + _MARGIN, int(0.6 * _MIRRORED * min(shape[:2])) - kernel + 1)
    if min(shape[:2]) < LEAST or side < 16:
        least = max(LEAST, -(-(kernel + 15) * 10 // 11))
        raise InputError(
            f"the image is {shape[0]}x{shape[1]}: with a kernel of {kernel}x{kernel} pixels its sides "
            f"must be at least {least} pixels"
        )
    net = DeblurNet(
        layers=config.layers,
        features=config.features,
        init_variance=config.init_variance,
        precision=config.precision,
    )
    plan = _Plan(config, tuple(shape), side, min(config.crop, side), net)
    optimizer = optimizers.adam()
    if config.optimizer == "muon":
        optimizer = optimizers.muon_and_adam(config.muon_rate / config.learning_rate)
    bind = functools.partial
    stages = (
        Stage("pairs", config.pairs, bind(_pair, plan), advance=next_stage),
        Stage("train", plan.steps, bind(_train, plan, optimizer)),
    )
    return Method(
        "zssr",
        bind(_init, plan, optimizer),
        stages,
        bind(_outputs, plan),
        baseline=lambda inputs: jnp.clip(inputs["image"], 0, 1),
        final_params=lambda state: {"net": state.model_state["average"]},
    )


def remarks(config: Any, inputs: Inputs) -> Sequence[str]:
    """Sentences about the assumed noise and kernel."""
    std = 255 * float(inputs["noise_std"])
    how = "set by config.noise_std" if config.noise_std != "auto" else "measured with the kernel"
    return [
        f"noise with a standard deviation of {std:.2f} of 255 is assumed: {how}",
        "the kernel is assumed to be exact: stripes or bright edges in the result mean that it is "
        "wider than the blur of the image",
    ]
