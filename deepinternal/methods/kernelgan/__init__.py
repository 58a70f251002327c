"""KernelGAN: estimates the blur kernel of an image (Bell-Kligler, Shocher, Irani, NeurIPS 2019).

A linear generator downscales crops of the image, so that a discriminator cannot tell the patches of the
result from those of the image. The kernel is the convolution of all the generator's layers.

Where the paper is in the code: nets (sections 4.1, 4.2) -> `nets.kernelgan`; L1 GAN (eq. 2) ->
`losses.adversarial.absolute`; explicit kernel and its regularisation (section 4.3) -> `losses.kernel`;
their weights over time (public code) -> `training.weights`; crops with texture (supplement) ->
`estimators.recurrence`; x4 (section 4.4) -> `ops.kernels.doubled_kernel`.

Deliberate deviations from the authors' code: the generator is applied as a single kernel, which is the
same up to rounding; the cubic term compares each colour with itself, and its threshold is chosen for
that; the noise that keeps the discriminator from comparing rounding errors is the same for real and
generated patches, and the image's own noise that the kernel removes is added again. Beyond the paper:
a term measures, over the whole image, how much the patches of the image and of its downscaled version
differ in their covariances (field `covariance`), which gives less round kernels in fewer steps. The
same measure selects the best of several `replicas`. Negative values of a kernel are penalised. Training
ends when the kernel has settled. The preset `gaussian` estimates a Gaussian instead, without a GAN.
"""

import functools

import jax
import jax.numpy as jnp

from deepinternal.estimators.kernel_statistics import MIDDLE
from deepinternal.methods.kernelgan import estimate, gaussian, training
from deepinternal.methods.kernelgan.config import PRESETS, Config
from deepinternal.methods.kernelgan.inputs import complete, example, group, pad, prepare, sides
from deepinternal.recipe import Canvas, Figures, Recipe, for_spec
from deepinternal.types import Inputs, Method, Output, Stage, TrainState

__all__ = ["PRESETS", "RECIPE", "Config", "example", "make", "prepare", "remarks"]


def make(config: Config, spec: Inputs) -> Method:
    """Makes KernelGAN for images of given shapes.

    Args:
        config: The settings.
        spec: The shapes of the inputs that `prepare` or `pad` returns, or of `image` (H, W, C) alone.

    Returns:
        The method. Its outputs are `kernel` (K, K); `result`, the image downscaled by it; and scalars.

    Raises:
        InputError: The statistics are missing although there are other inputs than the image.
    """
    if config.family == "gaussian":
        return gaussian.make(config, spec)
    spec = complete(spec)
    task, bind = training.Task(config, *sides(config, spec["image"].shape[:2])), functools.partial
    stage = Stage(
        "kernel",
        config.steps or config.train_steps,
        bind(training.step, task),
        evaluate=bind(training.evaluate, task),
        evaluate_every=config.evaluate_every,
        done=training.done,
    )

    def alone(state: TrainState, inputs: Inputs) -> dict[str, Output]:
        made = training.outputs(task, state, inputs)
        return training.best(jax.tree.map(lambda x: jnp.asarray(x)[None], made))

    many = config.replicas > 1
    method = Method(
        "kernelgan",
        bind(training.init, task),
        (stage,),
        bind(training.outputs, task) if many else alone,
        progress="divergence",
        replicas=config.replicas,
        reduce=training.best if many else None,
        final_params=lambda state: {"kernel": state.model_state["average"]},
    )
    return for_spec(method, spec)


def remarks(config: Config, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
    """Sentences about a large image and doubts in the estimate; see `recipe.Recipe`."""
    sides = [n - 2 * config.border for n in inputs["image"].shape[:2]]
    said = ()
    if max(sides) > MIDDLE:
        h, w = (min(n, MIDDLE) for n in sides)
        said = (f"the kernel is estimated from the middle {h}x{w} pixels of the image",)
    if config.family == "gaussian":
        return said + gaussian.remarks(inputs)
    return said + estimate.remarks(inputs["statistics"], figures)


RECIPE = Recipe(
    name="kernelgan",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    side_inputs={"reference_kernel": "kernel"},
    canvas=Canvas(group, pad),
    scored=False,
    remarks=remarks,
)
