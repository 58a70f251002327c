"""ZSSR: zero-shot super-resolution (Shocher, Cohen, Irani, CVPR 2018).

A small net learns, from one image alone, to undo a downscaling: at each step a random augmented crop
of the image (the high-resolution *father*, as the paper calls it) is downscaled (its low-resolution
*son*), and the net learns son -> father. Then it is applied to the image itself.

Where the paper is in the code: section 3.1 (fathers, sons) -> `task.draw_pair`; section 3.2 (net,
L1, Adam) -> `nets.zssr`, `training.step`; its learning-rate policy and stopping -> `training._policy`;
gradual increase of the factor -> `jumps`, `training.advance`; test-time ensemble (median of 8) and
back-projection -> `enlarge`; section 3.3 (known kernel, noise) -> the input `kernel` and the fields
`noise_std`, `flips`, `back_projection`.

Deliberate deviations from the authors' code: hidden layers start with 20 times the variance, which
saves about 200 idle steps (field `init_variance`); outside of the image fathers are mirrored, not
black; all resizing mirrors alike on all four sides; rotations and mirrorings are exact (theirs are
one pixel off); the centring of even-sized kernels is exact; images smaller than the crop are
cropped smaller; the self-test looks at no more than the central 512x512 pixels.
The ensemble applies the 8 transformed *weights* to the unchanged image, which is the same thing with
one static shape.

Beyond the paper, by fields: `net=subpixel` works at the low resolution, `optimizer=muon`
orthogonalises the updates of hidden layers, `schedule=cosine` takes a fixed number of steps,
`average` averages the weights, `ensemble_reduce=mean`; presets `fast` and `best` are made of them.

A linen module of the user's own can take the net's place, a function the degradation's: see `make`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from deepinternal.methods.zssr import blind, canvas, enlarge, task, training
from deepinternal.methods.zssr.config import PRESETS, Config
from deepinternal.methods.zssr.inputs import example, prepare
from deepinternal.methods.zssr.jumps import target_size
from deepinternal.ops.resize import resize
from deepinternal.recipe import Canvas, Figures, Recipe
from deepinternal.types import Array, InputError, Inputs, Method

__all__ = ["PRESETS", "RECIPE", "Config", "example", "make", "prepare", "remarks", "target_size"]


def make(
    config: Config,
    spec: Inputs,
    *,
    down: Callable[[Array], Array] | None = None,
    net: Any = None,
) -> Method:
    """ZSSR for images of one shape.

    Args:
        config: the settings.
        spec: shapes of the inputs: `image` (H, W, C), and `kernel` (K, K) where the blur kernel is
            known (centred, as `prepare` returns it); of an image on a canvas what `pad` returns,
            but not with `down` or `net`.
        down: a degradation to undo instead of cubic downscaling or a kernel: any differentiable
            function (h, w, C) -> (ceil(h / scale), ceil(w / scale), C) of images in [0, 1].
        net: a linen module to train instead of the built-in net: (N, h, w, C) -> (N, v h, u w, C),
            where its attribute `factor` is (v, u), two whole numbers. (1, 1), or no such attribute: it
            gets images that have been enlarged by cubic interpolation. It sees flipped images in
            the ensemble, and large images at once, not in tiles.

    Returns:
        The method. Outputs: `result` (H', W', C), and with the ensemble `uncertainty` (H', W'), the
        standard deviation over the flips.

    Raises:
        InputError: fields that the image does not suit, inputs that lack something, a `down` that
            makes other sizes, or a `net` that does, or that is no linen module.
    """
    if config.blind and "decisions" not in spec:
        raise InputError("config.blind: the inputs lack `decisions`; take them from `zssr.prepare`")
    if "sizes" in spec and not (down is None and net is None):
        raise InputError("down, net: cannot be had for an image on a canvas")
    tasks, channels = task.build(config, spec, down, net), spec["image"].shape[-1]
    for jump in tasks:
        enlarge.tile_of(jump)
        if down is not None:
            task.check_degradation(jump, channels)
        if jump.own_net:
            task.check_net(jump, channels)
    init, stages = training.stages(tasks)
    if "statistics" in spec:
        init, estimation = blind.stage(config, spec, init)
        stages = (estimation, *stages)

    def baseline(inputs: Inputs) -> Array:
        scale, shape = target_size(config, inputs["image"].shape[:2])
        size, _ = tasks[0].sizes(inputs)
        large = resize(inputs["image"], scale=scale, output_shape=shape, size=size)
        return jnp.clip(large, 0, 1)

    def outputs(state, inputs):
        return training.outputs(tasks[-1], state, inputs)

    return Method("zssr", init, stages, outputs, baseline=baseline, progress="test_psnr")


def remarks(config: Config, inputs: Inputs, figures: Figures) -> Sequence[str]:
    """What was decided for an image with `blind`; see `recipe.Recipe`."""
    return blind.remarks(config, inputs, figures) if config.blind else ()


RECIPE = Recipe(
    name="zssr",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    side_inputs={"kernel": "kernel", "reference_kernel": "kernel"},
    canvas=Canvas(canvas.group, canvas.pad),
    remarks=remarks,
)
