"""KernelGAN's training: a step, the evaluation of the kernel, and the outputs."""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.estimators.kernel_statistics import FLOOR
from deepinternal.losses import kernel as priors
from deepinternal.losses.adversarial import absolute
from deepinternal.losses.compose import weighted_sum
from deepinternal.methods import gan
from deepinternal.methods.kernelgan import estimate
from deepinternal.methods.kernelgan.config import Config
from deepinternal.methods.optimizers import moving_average
from deepinternal.nets.kernelgan import KERNEL_SIZE, STRIDE, Discriminator, LinearGenerator
from deepinternal.ops import kernels, resizing, spectral
from deepinternal.ops.correlating import correlate
from deepinternal.types import Array, Inputs, Metrics, Output, PyTree, TrainState

_STILL = 3  # number of successive evaluations without a change that end the training


@dataclasses.dataclass(frozen=True)
class Task:
    """The static part: the config, and the sides of the crops before and after downscaling."""

    config: Config
    crop: int
    small: int

    @property
    def generator(self) -> LinearGenerator:
        """The net whose layers together are the kernel."""
        return LinearGenerator(self.config.features)

    @property
    def discriminator(self) -> Discriminator:
        """The net that judges patches."""
        return Discriminator(self.config.features, precision=self.config.precision)

    def kernel(self, params: PyTree) -> Array:
        """The generator's kernel, (13, 13)."""
        return self.generator.apply({"params": params}, method="kernel")


def init(task: Task, key: Array, inputs: Inputs) -> TrainState:
    """The state before the first step."""
    patch = jnp.zeros((8, 8, inputs["image"].shape[-1]))
    shapes = (
        jax.eval_shape(lambda k: task.generator.init(k, method="kernel")["params"], key),
        jax.eval_shape(lambda k: task.discriminator.init(k, patch)["params"], key),
    )
    key_nets, key_vectors, key = jax.random.split(key, 3)
    generator, discriminator = _drawn(key_nets, *shapes)
    nets = {
        "generator": gan.new_net(generator),
        "discriminator": gan.new_net(discriminator, spectral.vectors(key_vectors, discriminator)),
    }
    # Each is an array of its own, since a step may donate the state's memory.
    return gan.new_state(
        key,
        nets,
        near=jnp.zeros(
            (), jnp.int32
        ),  # successive steps in which the kernel was near the cubic one
        since=jnp.zeros((), jnp.int32),  # steps since the weight of the cubic term began to fall
        average=jnp.zeros((KERNEL_SIZE, KERNEL_SIZE)),
        before=jnp.zeros((KERNEL_SIZE, KERNEL_SIZE)),
        still=jnp.zeros((), jnp.int32),
    )


def _drawn(key: Array, *shapes: PyTree) -> list[PyTree]:
    """Draws the weights of both nets at once, which compiles four times as fast as their `init`.

    Args:
        key: The key of the draw.
        *shapes: The shapes of the nets' weights, from `jax.eval_shape`.

    Returns:
        Weights of these shapes, with the distributions of the nets' own `init`.
    """
    leaves = jax.tree.leaves(shapes)
    ends = np.cumsum([math.prod(x.shape) if len(x.shape) == 4 else 0 for x in leaves])
    parts = iter(jnp.split(jax.random.normal(key, (ends[-1],)), ends[:-1]))

    def one(path, x):
        part = next(parts)
        if len(x.shape) == 4:
            fans = math.prod(x.shape[:2]) * (x.shape[2] + x.shape[3]) / 2
            return 0.1 / math.sqrt(fans) * part.reshape(x.shape)
        return jnp.full(x.shape, 1.0 if path[-1].key == "scale" else 0.0)

    return [*jax.tree_util.tree_map_with_path(one, shapes)]


def weights(config: Config, since: Array) -> dict[str, Array]:
    """Weights of the generator's terms `since` steps after the kernel came near the cubic one."""
    falls = (since + config.bicubic_every - 1) // config.bicubic_every
    least = 1e-6 * config.bicubic
    bicubic = jnp.maximum(config.bicubic * config.bicubic_fall ** -falls.astype(jnp.float32), least)
    late = bicubic < 1e-3 * config.bicubic
    return {
        "adversarial": 1.0,
        "bicubic": bicubic,
        "covariance": jnp.where(falls > 0, config.covariance, 0.0),
        "sum": config.sum,
        "boundary": config.boundary,
        "centre": jnp.where(late, config.centre, 0.0),
        "sparse": jnp.where(late, config.sparse, 0.0),
        "negative": jnp.where(late, config.negative, 0.0),
    }


@dataclasses.dataclass(frozen=True)
class Draw:
    """The random draws of a step: two crops in [-1, 1], and noise for three downscaled images."""

    large: Array
    real: Array
    noise: Array


def draw(task: Task, key: Array, inputs: Inputs) -> Draw:
    """Draws crops with texture and noise, all at once: each draw would add to the compile time."""
    image, statistics = jnp.asarray(inputs["image"]), inputs["statistics"]
    shape, count = (3, task.small, task.small, image.shape[-1]), statistics["large"].shape[0]
    uniform = jax.random.uniform(key, (math.prod(shape) + 2,), minval=2**-24)
    noise = math.sqrt(2) * jax.lax.erf_inv(2 * uniform[2:] - 1).reshape(shape)
    chosen = jnp.minimum(count * uniform[:2], count - 1).astype(jnp.int32)

    def cut(name: str, index: Array, side: int) -> Array:
        corner = jnp.asarray(statistics[name])[index]
        return 2 * jax.lax.dynamic_slice(image, (*corner, 0), (side, side, image.shape[-1])) - 1

    large, real = cut("large", chosen[0], task.crop), cut("small", chosen[1], task.small)
    return Draw(large, real, noise)


def _missing(kernel: Array, statistics: Inputs) -> Array:
    """The noise added to generated patches: that of real ones and what the kernel removes."""
    lost = jnp.maximum(1 - jnp.sum(jnp.square(kernel)), 0)
    return jnp.sqrt(FLOOR**2 + lost * (2 * statistics["noise_std"]) ** 2)


def generator_loss(
    task: Task,
    judge: Callable[[Array], Array],
    drawn: Draw,
    statistics: Inputs,
    weights: dict[str, Array],
    params: PyTree,
) -> tuple[Array, Metrics]:
    """The generator's loss on one crop, and its terms."""
    kernel = task.kernel(params)
    made = correlate(drawn.large, kernel, STRIDE)
    first = KERNEL_SIZE // 2 // STRIDE  # the first position whose kernel lies inside the crop
    places = slice(first, first + task.small)
    small = resizing.resize(drawn.large, scale=1 / STRIDE)[places, places]
    # No gradient goes through the noise, so that the generator cannot fool the judge with it.
    std = jax.lax.stop_gradient(_missing(kernel, statistics))
    terms = {
        "adversarial": absolute(judge(made + std * drawn.noise[0]), 1.0),
        "bicubic": jnp.mean(jnp.square(made - small)) / (jnp.var(small) + FLOOR**2),
        "sum": priors.sum_to_one(kernel),
        "boundary": priors.boundary(kernel),
        "centre": priors.centred(kernel, KERNEL_SIZE / 2),
        "sparse": priors.sparse(kernel),
        "negative": priors.negative(kernel),
    }
    if task.config.covariance:
        terms["covariance"] = estimate.divergence(kernel, statistics)
    return weighted_sum(terms, {name: weights[name] for name in terms}), terms


def discriminator_loss(
    task: Task, drawn: Draw, made: Array, params: PyTree
) -> tuple[Array, Metrics]:
    """The discriminator's loss on a real and a generated image of the small size, and its terms."""
    judge = lambda x: task.discriminator.apply({"params": params}, x)
    judged = jax.vmap(judge)(jnp.stack([drawn.real + FLOOR * drawn.noise[2], made]))
    terms = {"real": absolute(judged[0], 1.0), "made": absolute(judged[1], 0.0)}
    return weighted_sum(terms, {"real": 0.5, "made": 0.5}), terms


def step(task: Task, state: TrainState, inputs: Inputs, variant) -> tuple[TrainState, Metrics]:
    """One update of the generator, followed by one of the discriminator."""
    del variant
    config, statistics, model = task.config, inputs["statistics"], state.model_state
    drawn = draw(task, jax.random.fold_in(state.key, state.step), inputs)
    falls = model["since"] // config.decay_every
    rate = config.learning_rate * 0.1 ** falls.astype(jnp.float32)
    nets = gan.nets(state)

    judge, discriminator = gan.normalized(nets["discriminator"])
    judging = lambda x: task.discriminator.apply({"params": judge}, x)
    weight = weights(config, model["since"])
    loss = functools.partial(generator_loss, task, judging, drawn, statistics, weight)
    generator, loss_made, terms = gan.update(nets["generator"], loss, rate)

    kernel = task.kernel(generator.params)
    made = correlate(drawn.large, kernel, STRIDE) + _missing(kernel, statistics) * drawn.noise[1]
    loss = functools.partial(discriminator_loss, task, drawn, made)
    discriminator, loss_judged, terms_judged = gan.update(discriminator, loss, rate)

    near = jnp.where(terms["bicubic"] < config.bicubic_reached, model["near"] + 1, 0)
    near = jnp.where(model["near"] >= 3, 3, near)
    new = gan.next_state(
        state,
        {"generator": generator, "discriminator": discriminator},
        near=near,
        since=model["since"] + (near >= 3),
        average=moving_average(model["average"], kernel, state.step, decay=0.98),
    )
    loss = loss_made + loss_judged
    return new, {"loss": loss, **terms, **terms_judged, "learning_rate": rate}


def evaluate(task: Task, state: TrainState, inputs: Inputs) -> tuple[TrainState, Metrics]:
    """Measures whether the kernel still changes, and how well it explains the image."""
    config, model = task.config, state.model_state
    now, before = model["average"], model["before"]
    length = jnp.sqrt(jnp.sum(now**2) * jnp.sum(before**2))
    change = 1 - jnp.sum(now * before) / jnp.maximum(length, 1e-12)
    late = weights(config, model["since"])["sparse"] >= config.sparse
    still = jnp.where((change < config.settled) & late, model["still"] + 1, 0)
    new = state.replace(model_state={**model, "before": now, "still": still})
    kernel = estimate.finished(now, config.faint)
    error = estimate.divergence(kernel, inputs["statistics"])
    return new, {"divergence": error, "kernel_change": change}


def done(state: TrainState) -> Array:
    """Whether the kernel has settled."""
    return state.model_state["still"] >= _STILL


def outputs(task: Task, state: TrainState, inputs: Inputs) -> dict[str, Output]:
    """The kernel of one replica, the image downscaled with it, and scalars about its quality."""
    scale, statistics = task.config.scale, inputs["statistics"]
    figures = estimate.figures(state.model_state["average"], statistics, task.config.faint)
    kernel, size = estimate.for_scale(scale, figures.pop("kernel")), inputs.get("size")
    small = kernels.downscale(inputs["image"], kernel, scale, size=size)
    made = {
        "result": Output(jnp.clip(small, 0, 1), size=None if size is None else -(-size // scale)),
        "kernel": Output(kernel, "kernel"),
    }
    figures["noise_std"] = statistics["noise_std"]
    if (reference := inputs.get("reference_kernel")) is not None:
        figures |= estimate.scores(kernel, reference)
        made["reference_kernel"] = Output(reference, "kernel")
    return made | {name: Output(value, "scalar") for name, value in figures.items()}


def best(outputs: dict[str, Output]) -> dict[str, Output]:
    """Selects the outputs of the replica whose kernel has the least divergence.

    Args:
        outputs: The outputs of all replicas, with a leading axis.

    Returns:
        The outputs of the best replica, but `kernel_divergence` of all replicas; `kernel_seed`, its
        index; `kernel_agreement`, the least correlation of any replica's kernel with the best one.
    """
    errors = outputs["kernel_divergence"].value
    number = jnp.argmin(errors)
    made = jax.tree.map(lambda x: x[number], outputs)
    flat = outputs["kernel"].value.reshape(len(errors), -1)
    flat = flat / jnp.linalg.norm(flat, axis=1, keepdims=True)
    alike = jnp.matmul(flat, flat[number], precision="highest")
    return {
        **made,
        "kernel_divergence": Output(errors, "scalar"),
        "kernel_seed": Output(number, "scalar"),
        "kernel_agreement": Output(jnp.min(alike), "scalar"),
    }
