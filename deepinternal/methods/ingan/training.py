"""InGAN's training: its losses, and a step, which is a list of updates of the two nets."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from deepinternal.losses.adversarial import least_squares
from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.pixel import l1, masked_l2
from deepinternal.methods import gan
from deepinternal.methods.ingan import retargeting, scales, sizes
from deepinternal.methods.ingan.config import Config
from deepinternal.methods.ingan.crops import crops, noisy, swapped
from deepinternal.methods.optimizers import moving_average
from deepinternal.nets.ingan import MULTIPLE, PatchDiscriminator
from deepinternal.ops import shear, spectral
from deepinternal.types import Array, Inputs, Metrics, TrainState

Transform = Callable[[Array], Array]
Judge = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class Training:
    """The static part of a training.

    Attributes:
        config: The settings.
        crop: (h, w) of the crops: multiples of 8, less than the images' sides.
        scales: Number of scales of the discriminator.
    """

    config: Config
    crop: tuple[int, int]
    scales: int

    @property
    def steps(self) -> int:
        """The number of steps."""
        return self.config.steps or self.config.train_steps


def training(config: Config, images: Sequence[tuple[int, int]]) -> Training:
    """Returns the training for images of these sizes (H, W)."""
    least = [min(size[axis] for size in images) for axis in (0, 1)]
    crop = tuple(min(config.crop, n - 1) // MULTIPLE * MULTIPLE for n in least)
    longest = max(min(config.crop, *map(max, images)), 32)
    return Training(config, crop, scales.most(longest, config.ratio))


def variant(task: Training, seed: int, step: int) -> tuple[int, int, bool]:
    """The size (H, W) of a step's output, and whether the inverse gets an update of its own."""
    config = task.config
    known = sizes.shapes(task.crop, config.shapes, config.smallest, config.largest)
    progress = min(step / config.growth, 1.0)
    size = sizes.draw(known, progress, seed, step // config.hold)
    return *size, 0 <= config.inverse_from <= step


def init(task: Training, key: Array, inputs: Inputs) -> TrainState:
    """The state before the first step."""
    patch = jnp.zeros((1, 32, 32, inputs["image1"].shape[-1]))
    keys = jax.random.split(key, 5)
    net, judge = retargeting.network(task.config), _discriminator(task.config)
    generator = net.init(keys[0], patch, lambda x: x)["params"]
    one = lambda key: judge.init(key, patch)["params"]
    judges = jax.vmap(one)(jax.random.split(keys[1], task.scales))
    vectors = spectral.vectors(keys[3], generator, skip=("last",))
    nets = {
        "generator": gan.new_net(generator, vectors),
        "discriminator": gan.new_net(judges, spectral.vectors(keys[4], judges)),
    }
    return gan.new_state(keys[2], nets, **({"average": generator} if task.config.average else {}))


def step(
    task: Training, state: TrainState, inputs: Inputs, variant: tuple[int, int, bool]
) -> tuple[TrainState, Metrics]:
    """Updates the generator, the discriminator and, in variants with `inverse`, the generator again."""
    config, (*size, inverse) = task.config, variant
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), 6)
    images = retargeting.images(inputs)
    x = real = crops(keys[0], images, task.crop)
    kept = None
    if config.swap:
        x, kept = swapped(keys[1], crops(keys[5], images, task.crop))
    progress = jnp.clip(state.step / config.growth, 0, 1)
    there, back = _transforms(config, progress, keys[2], task.crop, tuple(size))
    rate = _learning_rate(config, task.steps, state.step)
    noise = functools.partial(noisy, noise_std=config.noise_std)
    nets, judging = gan.nets(state), _judging(task, state.step)
    generating = lambda w: functools.partial(retargeting.network(config).apply, {"params": w})

    judge = judging(gan.normalized(nets["discriminator"])[0])
    options = {"x": x, "given": noise(keys[3], x), "kept": kept, "cycle": config.cycle}
    loss_fn = lambda w: _generator_loss(generating(w), there, back, judge, **options)
    generator, loss, (terms, made) = gan.update(nets["generator"], loss_fn, rate)

    pair = noise(keys[4], real), noise(jax.random.fold_in(keys[4], 1), made)
    loss_fn = lambda w: _discriminator_loss(judging(w), *pair)
    discriminator, loss_judge, terms_judge = gan.update(nets["discriminator"], loss_fn, rate)

    if inverse:
        loss_fn = lambda w: (l1(generating(w)(made, back), x), None)
        generator, terms["inverse"], _ = gan.update(generator, loss_fn, rate)

    changed = {}
    if config.average:
        changed["average"] = moving_average(
            state.model_state["average"], generator.params, state.step, decay=config.average
        )
    metrics = {"loss": loss + loss_judge, **terms, **terms_judge, "learning_rate": rate}
    metrics |= {"height": jnp.asarray(size[0]), "width": jnp.asarray(size[1])}
    nets = {"generator": generator, "discriminator": discriminator}
    return gan.next_state(state, nets, **changed), metrics


def _generator_loss(generate, there, back, judge: Judge, *, x, given, kept, cycle: float):
    """Adversarial and reconstruction loss (eq. 1 to 3), and the generated images.

    Args:
        generate: (images, transform) -> images.
        there: The transformation.
        back: Its inverse.
        judge: The discriminator.
        x: (N, h, w, C), the images that should be reconstructed.
        given: `x` with noise, the generator's input.
        kept: (h, w, 1), the weight of the reconstruction at each pixel; None: 1 everywhere.
        cycle: Weight of the reconstruction.
    """
    made = generate(given, there)
    again = generate(made, back)
    terms = {"adversarial": least_squares(judge(made), 1.0)}
    terms["cycle"] = l1(again, x) if kept is None else masked_l2(again, x, kept)
    return weighted_sum(terms, {"adversarial": 1.0, "cycle": cycle}), (terms, made)


def _discriminator_loss(judge: Judge, real: Array, made: Array):
    """The mean of the losses on real and on generated patches (eq. 2)."""
    terms = {"real": least_squares(judge(real), 1.0), "made": least_squares(judge(made), 0.0)}
    return weighted_sum(terms, {"real": 0.5, "made": 0.5}), terms


def _discriminator(config: Config) -> PatchDiscriminator:
    return PatchDiscriminator(config.discriminator_channels, config.precision)


def _judging(task: Training, step: Array) -> Callable:
    """Returns a function from the discriminator's weights to the discriminator at a step."""
    config = task.config
    weights = scales.weights(step, even_at=config.even_at, ratio=config.ratio, count=task.scales)
    options = {"weights": weights, "ratio": config.ratio, "antialias": config.antialias}
    return lambda judges: functools.partial(scales.judge, _discriminator(config), judges, **options)


def _transforms(config: Config, progress, key: Array, crop, size) -> tuple[Transform, Transform]:
    """The transformation of a step and its inverse."""
    if not config.shift:
        return retargeting.resizing(size), retargeting.resizing(crop)
    shifts = config.shift * progress * jax.random.uniform(key, (2,), minval=-1.0)
    matrix = shear.homography(shifts)
    return retargeting.warping(matrix, size), retargeting.warping(shear.inverse(matrix), crop)


def _learning_rate(config: Config, steps: int, step: Array) -> Array:
    """The learning rate: constant, then falling linearly to 0 at the last step."""
    start = min(config.decay_from, steps - 1)
    return config.learning_rate * jnp.clip((steps - step) / (steps - start), 0, 1)
