"""KernelGAN: the kernel an image was downscaled with (Bell-Kligler, Shocher, Irani, NeurIPS 2019).

A linear generator downscales crops of the image; a discriminator must not be able to tell the result's
patches from the image's own. What all the generator's layers do together is the kernel.

Where the paper is in the code: nets (sections 4.1, 4.2) -> `nets.kernelgan`; L1 GAN (eq. 2) ->
`losses.adversarial.absolute`; explicit kernel and its regularisation (section 4.3) -> `losses.kernel`;
their weights over time (public code) -> `training.weights`; crops where there is texture (supplement)
-> `estimators.recurrence`; x4 (section 4.4) -> `ops.kernels.doubled_kernel`.

Deliberate deviations from the authors' code: the generator is applied as its one kernel, which is the
same to rounding; the cubic term compares each colour with itself, and its threshold fits that; the
noise by which the discriminator is kept from comparing roundings is the same for real and made patches,
and what the kernel takes away of the image's own noise is put back. Beyond the paper: a term says how
differently patches of the image and of its downscaled version are distributed, by their covariances,
from the whole image at once (field `covariance`, 0 for none): kernels come out less round, and in fewer
steps. By the same measure the best of several `replicas` is chosen. Negative values count against a
kernel. Training ends when the kernel has settled.
"""

import functools

import jax
import jax.numpy as jnp

from deepinternal.methods.kernelgan import estimate, training
from deepinternal.methods.kernelgan.config import PRESETS, Config, Estimation
from deepinternal.methods.kernelgan.inputs import complete, example, group, pad, prepare, sides
from deepinternal.recipe import Canvas, Figures, Recipe
from deepinternal.types import Inputs, Method, Output, Stage, TrainState, for_spec

__all__ = ["PRESETS", "RECIPE", "Config", "Estimation", "example", "make", "prepare", "remarks"]


def make(config: Config, spec: Inputs) -> Method:
    """KernelGAN for images of given shapes.

    Args:
        config: the settings.
        spec: shapes of the inputs that `prepare` or `pad` returned; `image` (H, W, C) alone will do.

    Returns:
        The method. Outputs: `kernel` (K, K); `result`, the image downscaled by it; figures.

    Raises:
        InputError: the statistics are missing beside other inputs.
    """
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
    )
    return for_spec(method, spec)


def remarks(config: Config, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
    """What speaks against the estimate; see `recipe.Recipe`."""
    del config
    return estimate.remarks(inputs["statistics"], figures)


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
