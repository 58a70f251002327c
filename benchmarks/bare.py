"""The nets of the methods alone: what a training step cannot do without.

A full step is compared with the least one: forward and backward pass and Adam on a fixed batch. The
same net written with `lax.conv_general_dilated` says what the faster convolutions are worth.
"""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Sequence
from unittest import mock

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jax import lax

from deepinternal.engine.compiling import compiler_options
from deepinternal.losses.pixel import l1
from deepinternal.methods.zssr import target_size
from deepinternal.nets import zssr as zssr_net
from deepinternal.nets.zssr import ZSSRNet
from deepinternal.ops.resize import output_size
from deepinternal.types import Array, Inputs, PyTree


@dataclasses.dataclass(frozen=True)
class Conv:
    """A stride-1 'SAME' convolution as a step sees it.

    Attributes:
        pixels: N x H x W of its output.
        kernel: (kh, kw, C_in, C_out).
        input_gradient: whether the gradient with respect to its input is needed.
    """

    pixels: int
    kernel: tuple[int, int, int, int]
    input_gradient: bool = True


@dataclasses.dataclass(frozen=True)
class BareNet:
    """A net on a fixed batch.

    Attributes:
        params: its parameters.
        shape: (N, H, W, C) of the batch.
        apply: `(params, batch) -> result`, as the method applies it.
        plain: the same function with `lax.conv_general_dilated`.
        convs: its convolutions.
    """

    params: PyTree
    shape: tuple[int, int, int, int]
    apply: Callable[[PyTree, Array], Array]
    plain: Callable[[PyTree, Array], Array]
    convs: tuple[Conv, ...]


def zssr(config: ml_collections.ConfigDict, inputs: Inputs) -> BareNet:
    """The net of ZSSR on the pairs of one step."""
    h, w, channels = inputs["image"].shape
    father = (min(config.crop, h), min(config.crop, w))
    size, factor = father, (1, 1)
    if config.net == "subpixel":
        scale = target_size(config, (h, w))[0]
        factor = tuple(math.ceil(s) for s in scale)
        size = output_size(father, tuple(1 / s for s in scale))
    precision = None if config.precision == "default" else config.precision
    fields = {"layers": config.layers, "features": config.features, "factor": factor}
    net = ZSSRNet(**fields, precision=precision)
    # Random on the host, for a program that draws them would take seconds to compile.
    rng = np.random.default_rng(0)
    drawn = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 8, channels)))["params"]
    params = jax.tree.map(lambda p: 0.05 * rng.standard_normal(p.shape, np.float32), drawn)
    widths = [channels, *[config.features] * (config.layers - 1), channels * math.prod(factor)]
    pixels = config.patch_batch * math.prod(size)
    sides = enumerate(itertools.pairwise(widths))

    def apply(params: PyTree, x: Array) -> Array:
        return net.apply({"params": params}, x)

    def plain(params: PyTree, x: Array) -> Array:
        with mock.patch.object(zssr_net, "conv2d", _plain_conv2d):
            return net.apply({"params": params}, x)

    return BareNet(
        params=params,
        shape=(config.patch_batch, *size, channels),
        apply=apply,
        plain=plain,
        convs=tuple(Conv(pixels, (3, 3, *side), input_gradient=i > 0) for i, side in sides),
    )


def _plain_conv2d(x: Array, w: Array, *, precision: lax.PrecisionLike = None) -> Array:
    dims = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=dims, precision=precision
    )


NETS: dict[str, Callable[[ml_collections.ConfigDict, Inputs], BareNet]] = {"zssr": zssr}


def training_flops(convs: Sequence[Conv]) -> int:
    """Floating-point operations of one step's convolutions, counted from the layers.

    Forward pass, gradient of the kernel and gradient of the input are equally many: two (a
    multiplication and an addition) per pixel, tap, input and output channel, zeros of the padding
    included, whatever the algorithm that computes them.
    """
    total = 0
    for conv in convs:
        kh, kw, c_in, c_out = conv.kernel
        total += 2 * conv.pixels * kh * kw * c_in * c_out * (3 if conv.input_gradient else 2)
    return total


class BareTrainer:
    """Forward, backward and Adam on a fixed batch, compiled; keeps its state between calls."""

    def __init__(self, net: BareNet, apply: Callable, *, chunk: int, learning_rate: float = 1e-4):
        """Args: net; apply: `net.apply` or `net.plain`; chunk: steps in one dispatch."""
        rng = np.random.default_rng(1)
        answer = jax.eval_shape(apply, net.params, jax.ShapeDtypeStruct(net.shape, jnp.float32))
        shapes = (net.shape, answer.shape)
        self._batch = tuple(jnp.asarray(rng.random(shape, np.float32)) for shape in shapes)
        adam = optax.scale_by_adam()
        # Copies, for the programs give their buffers back.
        params = jax.tree.map(jnp.array, net.params)
        self._state = (params, adam.init(params))

        def loss_fn(params, x, target):
            return l1(apply(params, x), target)

        def one(state, batch):
            params, opt_state = state
            loss, grads = jax.value_and_grad(loss_fn)(params, *batch)
            updates, opt_state = adam.update(grads, opt_state)
            updates = jax.tree.map(lambda u: -learning_rate * u, updates)
            return (optax.apply_updates(params, updates), opt_state), loss

        def many(state, batch):
            if chunk == 1:
                return one(state, batch)
            return lax.scan(lambda s, _: one(s, batch), state, length=chunk)

        self._chunk = chunk
        lowered = jax.jit(many, donate_argnums=0).lower(self._state, self._batch)
        self._program = lowered.compile(compiler_options("steps"))

    def run(self, steps: int) -> float:
        """Takes `steps` steps (a multiple of the chunk), waits, and returns the last loss."""
        for _ in range(steps // self._chunk):
            self._state, loss = self._program(self._state, self._batch)
        jax.block_until_ready(self._state)
        return float(jnp.ravel(loss)[-1])

    def seconds_per_step(self, steps: int) -> float:
        """Times `run(steps)`."""
        start = time.perf_counter()
        self.run(steps)
        return (time.perf_counter() - start) / steps
