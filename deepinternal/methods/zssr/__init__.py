"""ZSSR: zero-shot super-resolution (Shocher, Cohen, Irani, CVPR 2018).

A small net learns from a single image to undo a downscaling. At each step a random augmented crop of
the image (the high-resolution *father* of the paper) is downscaled (to its low-resolution *son*), and
the net learns to map the son to the father. The trained net is then applied to the image itself.

Where the paper is in the code: section 3.1 (fathers, sons) -> `task.draw_pair`; section 3.2 (net,
L1, Adam) -> `nets.zssr`, `training.step`; its learning-rate policy and stopping -> `training._policy`;
gradual increase of the factor -> `jumps`, `training.advance`; test-time ensemble (median of 8) and
back-projection -> `enlarge`; section 3.3 (known kernel, noise) -> the input `kernel` and the fields
`noise_std`, `flips`, `back_projection`.

Deliberate deviations from the authors' code: hidden layers start with 20 times the variance, which
saves about 200 idle steps (field `init_variance`); beyond the image's borders fathers are mirrored, not
black; all resizing mirrors in the same way on all four sides; rotations and mirrorings are exact
(theirs are one pixel off); the centring of even-sized kernels is exact; images smaller than the crop
get smaller crops; the self-test uses at most the central 512x512 pixels. The ensemble applies the 8
transformed *weights* to the unchanged image, which is equivalent and has one static shape.

Beyond the paper, by fields: `net=subpixel` works at the low resolution, `optimizer=muon`
orthogonalises the updates of hidden layers, `schedule=cosine` takes a fixed number of steps,
`average` averages the weights, `ensemble_reduce=mean` averages the ensemble, and `path=steps`
reaches large factors by steps. The presets `fast` and `best` combine them. `blind` estimates what
is unknown of a photograph; `mode=deblur` removes a known blur at a factor of 1 (module `deblur`),
and `mode=video` enlarges a clip with one net (module `video`).

A linen module of the user's own can replace the net, and a function can replace the degradation: see
`make`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from deepinternal.methods.zssr import blind, canvas, deblur, enlarge, task, training, video
from deepinternal.methods.zssr.config import PRESETS, Config
from deepinternal.methods.zssr.inputs import example, prepare
from deepinternal.methods.zssr.jumps import POOLED, plan, target_size
from deepinternal.ops.resizing import resize
from deepinternal.recipe import Canvas, Figures, Grouping, Recipe
from deepinternal.types import Array, InputError, Inputs, Method

__all__ = ["PRESETS", "RECIPE", "Config", "example", "make", "prepare", "remarks", "target_size"]


def make(
    config: Config,
    spec: Inputs,
    *,
    down: Callable[[Array], Array] | None = None,
    net: Any = None,
) -> Method:
    """Makes ZSSR for images of one shape.

    Args:
        config: The settings.
        spec: The shapes of the inputs: `image` (H, W, C), and `kernel` (K, K) if the blur kernel is
            known (centred, as `prepare` returns it); or, without `down` and `net`, those of the inputs
            that `pad` returns for an image on a canvas.
        down: A degradation to undo instead of cubic downscaling or a kernel: any differentiable
            function (h, w, C) -> (ceil(h / scale), ceil(w / scale), C) of images in [0, 1].
        net: A linen module to train instead of the built-in net: (N, h, w, C) -> (N, v h, u w, C),
            where its attribute `factor` is (v, u), two whole numbers. If that is (1, 1), or without
            this attribute, the module gets images that have been enlarged by cubic interpolation. In
            the ensemble it gets flipped images, and it gets large images at once, not in tiles. The
            field `precision` does not change it.

    Returns:
        The method. Its outputs are `result` (H', W', C) and, with the ensemble, `uncertainty` (H', W'),
        the standard deviation over the flips.

    Raises:
        InputError: The fields do not suit the image, an input is missing, `down` or `net` returns
            images of another size, or `net` is not a linen module.
    """
    if config.mode != "image":
        if not (down is None and net is None):
            raise InputError(f"down, net: cannot be given with mode={config.mode}")
        return {"deblur": deblur, "video": video}[config.mode].make(config, spec)
    tasks = _checked(config, spec, down, net)
    init, stages = training.stages(tasks)

    def baseline(inputs: Inputs) -> Array:
        image = inputs.get("observed", inputs["image"])
        scale, shape = target_size(config, image.shape[:2])
        size, _ = tasks[0].sizes(inputs)
        large = resize(image, scale=scale, output_shape=shape, size=size)
        return jnp.clip(large, 0, 1)

    outputs = functools.partial(training.outputs, tasks[-1])

    def apply(state, inputs):
        for stage in stages[:-1]:  # intermediate results with the final weights
            _, inputs = stage.advance(state, inputs)
        return outputs(state, inputs)

    return Method(
        "zssr",
        init,
        stages,
        outputs,
        baseline=baseline,
        progress="test_psnr",
        final_params=lambda state: {"net": training.weights(state)},
        apply=None if config.blind else apply,
    )


def _checked(
    config: Config, spec: Inputs, down: Callable[[Array], Array] | None, net: Any
) -> list[task.Task]:
    """Returns the jumps. Arguments and errors are those of `make`."""
    if config.blind and "decisions" not in spec:
        raise InputError("config.blind: the inputs lack `decisions`; take them from `zssr.prepare`")
    if "sizes" in spec and not (down is None and net is None):
        raise InputError("down, net: cannot be given for an image on a canvas")
    tasks, channels = task.build(config, spec, down, net), spec["image"].shape[-1]
    for jump in tasks:
        enlarge.tile_of(jump)
        if down is not None:
            task.check_degradation(jump, channels)
        if jump.own_net:
            task.check_net(jump, channels)
    return tasks


def remarks(config: Config, inputs: Inputs, figures: Figures) -> Sequence[str]:
    """Sentences about a large image, and about the decisions with `blind`; see `recipe.Recipe`."""
    if config.mode == "deblur":
        return deblur.remarks(config, inputs)
    said = [*blind.remarks(config, inputs, figures)] if config.blind else []
    picture = inputs["frames"][0] if config.mode == "video" else inputs["image"]
    size, config = picture.shape[:2], config.resolved()
    if (
        len(plan(config, size, back_projection=0, alone="kernel" in inputs)) > 1
        and max(size) > POOLED
    ):
        h, w = (min(n, POOLED) for n in size)
        said.append(
            f"after the first factor, the net learns from the middle {h}x{w} pixels of the image, and "
            "from results for them"
        )
    return said


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
    grouping=lambda config: Grouping("video", least=2) if config.mode == "video" else Grouping(),
    smaller="a smaller config.scale (tiles need a fraction of small numbers, such as 2 or 1.25)",
)
