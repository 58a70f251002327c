"""InGAN: a GAN that retargets one image (Shocher, Bagon, Isola, Irani, ICCV 2019).

A GAN of one image. The generator makes the image anew at another size or shape; a discriminator of
patches at many scales tells the result's patches from the image's; and the same generator must lead
back to the image.

Where the paper is in the code: nets and the sum over scales (section 4) -> `nets.ingan`; adversarial
and reconstruction loss (eq. 1 to 3) -> `_generator_loss`, `_discriminator_loss`; the growing range of
sizes (supplement) -> `methods.ingan_sizes`; scale weights over time -> `_scale_weights`; extra step for
the way back (public code) -> `_inverse_loss`; two rectangles swapped -> `methods.ingan_crops.swapped`.

Deliberate deviations from the authors' code: sizes come from a finite set, each with its compiled
program; the way back is the exact inverse of the transformation, which has one alignment of pixels
everywhere; normalisations take the statistics of each image by itself; one power iteration of the
spectral normalisation in a step. Beyond the paper, by fields (presets `lite` and `fast`): large images
are fitted smaller (`fit_side`), and results then take their detail from the full image (`detail`); the
discriminator's scales are smoothed when shrunk (`antialias`); the generator is averaged (`average`).

Presets: configs/ingan.py.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from deepinternal.losses.adversarial import least_squares
from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.pixel import l1, masked_l2
from deepinternal.methods import checks, ingan_crops, ingan_sizes, retargeting
from deepinternal.nets import ingan as nets
from deepinternal.ops import fitting, shear, spectral
from deepinternal.types import Array, Example, InputError, Inputs, Method, Stage, TrainState

SIDE_INPUTS = {}
_SMALLEST = 40  # least side of an image


def defaults() -> ml_collections.ConfigDict:
    """The published settings."""
    return ml_collections.ConfigDict(
        {
            "seed": 0,
            "steps": 0,  # at most so many; 0: `train_steps`
            "train_steps": 75000,
            "together": False,  # all files of config.input are one job: one net for all of them
            "fit_side": 0,  # images are reduced so that no side is over so many pixels; 0: as they are
            "crop": 256,  # side of the crops that it trains on, or less in smaller images
            "channels": 64,  # of the generator's first layer
            "blocks": 6,  # its residual blocks
            "discriminator_channels": 64,
            "ratio": 1.4,  # from one scale of the discriminator to the next
            "smallest": 0.15,  # factors of the sides of what is made
            "largest": 2.25,
            "shapes": 40,  # how many sizes there are, each a program to compile
            "antialias": False,  # whether the discriminator's scales are smoothed when shrunk
            "hold": 1,  # steps for which a size is kept
            "growth": 10000,  # steps in which the range of sizes and shifts grows to its width
            "shift": 0.0,  # greatest shift of two corners, in half widths: non-rectangular shapes
            "cycle": 0.1,  # weight of the reconstruction
            "inverse_from": 10000,  # step from which the way back has a step of its own; -1: never
            "swap": False,  # whether two rectangles of the input are swapped
            "noise": 1 / 255,  # added uniformly to what the nets see, up to so much of [0, 1]
            "even_at": 25000,  # step at which all scales of the discriminator weigh the same
            "learning_rate": 5e-5,
            "decay_from": 20000,  # step from which the learning rate falls, to 0 at the end
            "detail": 0,  # rounds in which results at a greater size than the net's take their detail
            # from patches of the full image; 0: they are enlarged by cubic interpolation
            "picture_every": 200,  # steps between pictures of the progress; 0 for none
            "average": 0.0,  # decay of the generator's moving average, which is used; 0: its last state
            "result_scale": "1,2",  # of the result: vertical, horizontal
            "samples": "2,1;0.5,1;1,0.5;1.5,1.5",  # of further ones
        }
    )


_NARROW = {
    **{"channels": 16, "blocks": 4, "discriminator_channels": 16, "ratio": 1.7, "antialias": True},
    **{"smallest": 0.5, "largest": 2.1, "inverse_from": -1, "average": 0.99, "detail": 3},
}
PRESETS = {
    "default": {},
    "nonrect": {"shift": 0.45},
    "swap": {"swap": True},
    "many": {"together": True},
    "lite": {
        **_NARROW,
        **{"fit_side": 144, "crop": 128, "train_steps": 3600, "growth": 1000, "even_at": 3200},
        **{"shapes": 6, "learning_rate": 4e-4, "decay_from": 2200},
    },
    "fast": {
        **_NARROW,
        **{"fit_side": 112, "crop": 96, "train_steps": 3000, "growth": 800, "even_at": 2800},
        **{"shapes": 2, "learning_rate": 4e-4, "decay_from": 1900},
    },
    "smoke": {
        **{"fit_side": 64, "crop": 48, "channels": 4, "blocks": 1, "discriminator_channels": 4},
        **{
            "steps": 6,
            "growth": 99,
            "even_at": 6,
            "inverse_from": -1,
            "decay_from": 3,
            "shapes": 1,
        },
        **{"samples": "", "ratio": 3.0, "picture_every": 0},
    },
}


def grouping(config: ml_collections.ConfigDict) -> str:
    """All files are one job of `many`."""
    return "together" if config.together else "single"


def counts(config: ml_collections.ConfigDict) -> tuple[int, int | None]:
    """How many files make a job of `many`."""
    del config
    return 2, None


def any_size(config: ml_collections.ConfigDict) -> bool:
    """The images of `many` may differ in size: crops do not."""
    return config.together


def example(config: ml_collections.ConfigDict, photo: np.ndarray, **sides) -> Example:
    """Scikit-image's coins; with `many`, two parts of the photograph."""
    if config.together:
        return Example([photo[:160, 160:320], photo[160:320, 160:320]], None, sides)
    import skimage.data

    return Example(skimage.data.coins()[..., None].astype(np.float32) / 255, None, sides)


def prepare(config: ml_collections.ConfigDict, image: np.ndarray | Sequence[np.ndarray]) -> Inputs:
    """The inputs of the method from what the user gave; on the host.

    Args:
        config: as `defaults()`.
        image: (H, W, C) in [0, 1]; a list of such with `together`.

    Returns:
        `full1` (H, W, C), ... and `image1` (h, w, C), ..., to be learned from.

    Raises:
        InputError: an image is too small.
    """
    images = image if config.together else [image]
    inputs = {}
    for number, full in enumerate(images, 1):
        small = fitting.reduced(full, config.fit_side)
        for which, x in (("the image", full), ("the image reduced to config.fit_side", small)):
            if min(x.shape[:2]) < _SMALLEST:
                h, w = x.shape[:2]
                raise InputError(
                    f"{which} is {h}x{w}: its sides must be at least {_SMALLEST} pixels, for "
                    "the discriminator's scales"
                )
        inputs[f"full{number}"] = np.asarray(full, np.float32)
        inputs[f"image{number}"] = small
    return inputs


def crop_size(config: ml_collections.ConfigDict, sizes: Sequence[tuple[int, int]]) -> tuple:
    """(h, w) of the crops from images of these sizes: multiples of 8, less than their sides."""
    least = [min(size[axis] for size in sizes) for axis in (0, 1)]
    return tuple(min(config.crop, n - 1) // nets.MULTIPLE * nets.MULTIPLE for n in least)


def scale_count(config: ml_collections.ConfigDict, sizes: Sequence[tuple[int, int]]) -> int:
    """How many scales the discriminator has for images of these sizes (H, W)."""
    return nets.most_scales(max(min(config.crop, *map(max, sizes)), 32), config.ratio)


def _generator_loss(generate, transforms, judge, cycle, x, given, kept):
    """Adversarial and reconstruction loss (eq. 1 to 3), and what is made.

    Args:
        generate: (images, transform) -> images.
        transforms: there and back.
        judge: the discriminator.
        cycle: weight of the reconstruction.
        x: (N, h, w, C), what should come back.
        given: x with noise.
        kept: (h, w, 1), where the reconstruction counts, or None for everywhere.
    """
    there, back = transforms
    made = generate(given, there)
    again = generate(made, back)
    terms = {"adversarial": least_squares(judge(made), 1.0)}
    terms["cycle"] = l1(again, x) if kept is None else masked_l2(again, x, kept)
    return weighted_sum(terms, {"adversarial": 1.0, "cycle": cycle}), (terms, made)


def _discriminator_loss(judge, real, made):
    """Half the sum of what is wrong about real and made patches (eq. 2)."""
    terms = {"real": least_squares(judge(real), 1.0), "made": least_squares(judge(made), 0.0)}
    return weighted_sum(terms, {"real": 0.5, "made": 0.5}), terms


def _inverse_loss(generate, back, x, made):
    """Reconstruction from what was made, held fixed."""
    return l1(generate(made, back), x)


def _scale_weights(step: Array, even_at: int, ratio: float, count: int) -> Array:
    """Weights of the discriminator's scales: coarse ones first, fine ones after `even_at` steps."""
    factor = ratio ** ((even_at - step) / even_at)
    return factor ** jnp.arange(count)


def _learning_rate(config: ml_collections.ConfigDict, steps: int, step: Array) -> Array:
    """Constant, then falling to 0 at the end."""
    start = min(config.decay_from, steps - 1)
    return config.learning_rate * jnp.clip((steps - step) / (steps - start), 0, 1)


def _adam() -> optax.GradientTransformation:
    # One vector of all weights: hundreds of small programs less to compile, and to run.
    adam = optax.flatten(optax.scale_by_adam(b1=0.5, b2=0.999))
    return optax.chain(adam, optax.scale(-1.0))


def _init(config, judge_net, count: int, key: Array, inputs: Inputs) -> TrainState:
    channels = inputs["image1"].shape[-1]
    patch = jnp.zeros((1, 32, 32, channels))
    keys = jax.random.split(key, 5)
    same = lambda x: x
    generator = retargeting.network(config).init(keys[0], patch, same)["params"]
    judges = jax.vmap(lambda k: judge_net.init(k, patch)["params"])(
        jax.random.split(keys[1], count)
    )
    params = {"generator": generator, "discriminator": judges}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key=keys[2],
        params=params,
        opt_state={name: _adam().init(p) for name, p in params.items()},
        model_state={
            "generator": spectral.vectors(keys[3], generator, ("last",)),
            "discriminator": spectral.vectors(keys[4], judges),
            **({"average": generator} if config.average else {}),
        },
    )


def _transforms(config, progress, key, crop, size) -> tuple[Callable, Callable]:
    """The transformation of a step and its inverse."""
    if not config.shift:
        return retargeting.resizing(size), retargeting.resizing(crop)
    shifts = config.shift * progress * jax.random.uniform(key, (2,), minval=-1.0)
    matrix = shear.homography(shifts)
    there = retargeting.warping(matrix, size)
    return there, retargeting.warping(shear.inverse(matrix), crop)


def _step(
    config, judge_net, count: int, crop, steps: int, state: TrainState, inputs: Inputs, variant
):
    """A step of the generator and one of the discriminator; maybe one more of the generator."""
    *size, inverse = variant
    key = jax.random.fold_in(state.key, state.step)
    keys = jax.random.split(key, 6)
    x = real = ingan_crops.crops(inputs, keys[0], crop)
    kept = None
    if config.swap:
        x, kept = ingan_crops.swapped(keys[1], ingan_crops.crops(inputs, keys[5], crop))
    progress = jnp.clip(state.step / config.growth, 0, 1)
    transforms = _transforms(config, progress, keys[2], crop, tuple(size))
    params, vectors, opt_state = dict(state.params), dict(state.model_state), dict(state.opt_state)
    rate = _learning_rate(config, steps, state.step)
    weights = _scale_weights(state.step, config.even_at, config.ratio, count)
    net = retargeting.network(config)
    noise = functools.partial(ingan_crops.noisy, most=config.noise)

    def generating(weights):
        return lambda x, transform: net.apply({"params": weights}, x, transform)

    def judging(judges):
        return lambda x: nets.judge(judge_net, config.ratio, judges, x, weights, config.antialias)

    def normalized(name):
        """Weights, and how gradients with respect to them become those of the parameters."""
        function = functools.partial(spectral.normalized, vectors=vectors[name])
        weights, pull, vectors[name] = jax.vjp(function, params[name], has_aux=True)
        return weights, pull

    def update(name, grads):
        change, opt_state[name] = _adam().update(grads, opt_state[name])
        params[name] = optax.apply_updates(params[name], jax.tree.map(lambda u: rate * u, change))

    judges, pull_judges = normalized("discriminator")
    generator, pull = normalized("generator")
    loss_fn = lambda g: _generator_loss(
        *(generating(g), transforms, judging(judges)),
        *(config.cycle, x, noise(keys[3], x), kept),
    )
    (loss, (terms, made)), grads = jax.value_and_grad(loss_fn, has_aux=True)(generator)
    update("generator", *pull(grads))

    pair = noise(keys[4], real), noise(jax.random.fold_in(keys[4], 1), made)
    loss_fn = lambda d: _discriminator_loss(judging(d), *pair)
    (loss_d, terms_d), grads = jax.value_and_grad(loss_fn, has_aux=True)(judges)
    update("discriminator", *pull_judges(grads))
    if inverse:
        generator, pull = normalized("generator")
        loss_fn = lambda g: _inverse_loss(generating(g), transforms[1], x, made)
        terms["inverse"], grads = jax.value_and_grad(loss_fn)(generator)
        update("generator", *pull(grads))
    if config.average:
        decay = jnp.minimum(config.average, (1 + state.step) / (10 + state.step))
        mix = lambda old, new: new + decay * (old - new)
        vectors["average"] = jax.tree.map(mix, vectors["average"], params["generator"])
    new = state.replace(
        step=state.step + 1,
        params=params,
        opt_state=opt_state,
        model_state=vectors,
    )
    metrics = {"loss": loss + loss_d, **terms, **terms_d, "learning_rate": rate}
    return new, {**metrics, "height": jnp.asarray(size[0]), "width": jnp.asarray(size[1])}


def make(config: ml_collections.ConfigDict, input_spec: Inputs) -> Method:
    """InGAN for images of given shapes.

    Args:
        config: as `defaults()`.
        input_spec: shapes of `prepare`'s inputs.

    Returns:
        The method. Outputs: `result` at `result_scale`, `cycle`, which the way back makes of it, the
        images themselves (`input`, ...), what is made at the other `samples`; figures, see
        `methods.retargeting.outputs`.

    Raises:
        InputError: a field out of range.
    """
    check(config)
    found = [x.shape[:2] for x in retargeting.images(input_spec)]
    crop = crop_size(config, found)
    steps = config.steps or config.train_steps
    judge_net = nets.PatchDiscriminator(config.discriminator_channels)
    count = scale_count(config, found)
    sizes = ingan_sizes.shapes(crop, config.shapes, config.smallest, config.largest)

    def variant(seed: int, step: int):
        progress = min(step / config.growth, 1.0)
        size = ingan_sizes.draw(sizes, progress, seed, step // config.hold)
        return *size, 0 <= config.inverse_from <= step

    stage = Stage(
        "ingan",
        steps,
        functools.partial(_step, config, judge_net, count, crop, steps),
        evaluate=functools.partial(retargeting.evaluate, config),
        evaluate_every=config.picture_every,
        variant=variant,
    )
    return Method(
        "ingan",
        functools.partial(_init, config, judge_net, count),
        (stage,),
        functools.partial(retargeting.outputs, config),
        baseline=functools.partial(retargeting.stretched, config),
    )


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses settings that work with no image, in one line each.

    Raises:
        InputError: a field out of range.
    """
    ones = ("train_steps", "channels", "discriminator_channels", "shapes", "hold", "growth")
    checks.least(config, dict.fromkeys((*ones, "even_at"), 1))
    zeros = ("steps", "fit_side", "blocks", "cycle", "noise", "picture_every", "detail")
    checks.least(config, dict.fromkeys(zeros, 0))
    checks.least(config, {"crop": 40, "smallest": 0.05, "largest": 1.01, "inverse_from": -1})
    checks.least(
        config, {"learning_rate": 0, "shift": 0, "average": 0, "decay_from": 0, "ratio": 1.2}
    )
    checks.below(config, {"average": 1, "smallest": 1, "largest": 8, "shift": 0.5})
    if config.channels % 4:
        raise InputError(f"config.channels={config.channels}: must be a multiple of 4")
    retargeting.scale("result_scale", config.result_scale)
    retargeting.pairs("samples", config.samples)
