"""KernelGAN: the kernel an image was downscaled with (Bell-Kligler, Shocher, Irani, NeurIPS 2019).

A linear generator downscales crops of the image; a discriminator must not be able to tell the result's
patches from the image's own. What all the generator's layers do together is the kernel.

Where the paper is in the code: nets (sections 4.1, 4.2) -> `nets.kernelgan`; L1 GAN (eq. 2) ->
`losses.adversarial.absolute`; explicit kernel and its regularisation (section 4.3) -> `losses.kernel`;
their weights over time (public code) -> `_weights`; crops where there is texture (supplement) ->
`estimators.recurrence`; x4 (section 4.4) -> `ops.kernels.doubled_kernel`.

Deliberate deviations from the authors' code: the generator is applied as its one kernel, which is the
same to rounding; the cubic term compares each colour with itself, and its
threshold fits that; the noise by which the discriminator is kept from comparing roundings is the same
for real and made patches, and what the kernel takes away of the image's own noise is put back.
Beyond the paper: a term says how differently patches of the image and of its downscaled version are
distributed, by their covariances, from the whole image at once (field `covariance`, 0 for none):
kernels come out less round, and in fewer steps. By the same measure the best of several `seeds` is
chosen. Negative values count against a kernel. Training ends when the kernels have settled.

Presets: configs/kernelgan.py.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import ml_collections
import optax

from deepinternal.losses import kernel as priors
from deepinternal.losses.adversarial import absolute
from deepinternal.losses.compose import weighted_sum
from deepinternal.methods import checks, kernel_estimate, kernel_inputs
from deepinternal.methods.kernel_inputs import factor, sides, with_statistics
from deepinternal.methods.kernel_statistics import FLOOR, divergence
from deepinternal.methods.optimizers import moving_average
from deepinternal.nets import kernelgan as nets
from deepinternal.ops import kernels, resize, spectral
from deepinternal.types import Array, Inputs, Method, Output, Stage, TrainState

SIDE_INPUTS = {"reference_kernel": "kernel"}
SCORED = False
prepare, example = kernel_inputs.prepare, kernel_inputs.example
canvas_group, pad = kernel_inputs.canvas_group, kernel_inputs.pad
_WEIGHTS = ("covariance", "sum", "boundary", "centre", "sparse", "negative", "bicubic")
_STILL = 3  # evaluations without a change that end the training


def defaults() -> ml_collections.ConfigDict:
    """Settings for the kernel of a downscaling by 2."""
    return ml_collections.ConfigDict(
        {
            "seed": 0,
            "steps": 0,  # at most so many; 0: `train_steps`
            "train_steps": 1000,
            "scale": "2",  # or 4: from the kernel for 2
            "reference_kernel": "",  # file or folder: what the estimate is scored against
            "noise_std": -1.0,  # of the image, in units of the [0, 1] range; negative: estimated
            "border": 0,  # pixels at each side that are not looked at
            "seeds": 2,  # kernels estimated side by side
            "features": 64,
            "crop": 64,  # side of the crops that are downscaled
            "learning_rate": 2e-4,
            "decay_every": 200,  # steps after which it falls tenfold, counted from nearness to cubic
            "covariance": 1.0,  # weights
            "sum": 0.5,
            "boundary": 0.5,
            "centre": 1.0,
            "sparse": 2.0,
            "negative": 1.0,
            "bicubic": 1.0,  # the first weight of the difference from cubic downscaling
            "bicubic_reached": 0.1,  # the difference, in units of the variance, at which it falls
            "bicubic_every": 100,  # steps after which it falls
            "bicubic_fall": 100.0,  # to what part
            "faint": "peak",  # what is cut off: under 2 % of the peak; rank: see `kernels.faint_level`
            "evaluate_every": 50,
            "settled": 1e-3,  # change of the kernels between evaluations that counts as none
        }
    )


PRESETS = {
    "x2": {},
    "x4": {"scale": "4"},
    "published": {
        **{"covariance": 0.0, "train_steps": 3000, "decay_every": 750, "bicubic_every": 200},
        **{"seeds": 1, "settled": 0.0, "sparse": 5.0, "negative": 0.0, "faint": "rank"},
    },
    "fast": {"train_steps": 600, "decay_every": 250, "seeds": 1},
    "smoke": {"steps": 60, "seeds": 1, "features": 8, "bicubic_every": 5},
}


@dataclasses.dataclass(frozen=True)
class Estimation:
    """What is static: the config, and the sides of both kinds of crops."""

    config: ml_collections.FrozenConfigDict
    crop: int
    small: int

    @property
    def steps(self) -> int:
        """At most so many."""
        return self.config.steps or self.config.train_steps


def _adam() -> optax.GradientTransformation:
    # One vector of all weights: many small programs less to compile.
    return optax.flatten(optax.scale_by_adam(b1=0.5, b2=0.999))


def _networks(config):
    return nets.LinearGenerator(config.features), nets.Discriminator(config.features)


def init(task: Estimation, key: Array, inputs: Inputs) -> TrainState:
    """The state before the first step; weights have a leading axis of seeds."""
    config, channels = task.config, inputs["image"].shape[-1]
    generator, judge = _networks(config)
    patch = jnp.zeros((8, 8, channels))
    shapes = (
        jax.eval_shape(lambda k: generator.init(k, method="kernel")["params"], key),
        jax.eval_shape(lambda k: judge.init(k, patch)["params"], key),
    )

    def one(key):
        keys = jax.random.split(key)
        made, judges = nets.drawn(keys[0], *shapes)
        params = {"generator": made, "discriminator": judges}
        moments = {name: _adam().init(p) for name, p in params.items()}
        return params, moments, spectral.vectors(keys[1], judges)

    key, rest = jax.random.split(key)
    params, moments, vectors = jax.vmap(one)(jax.random.split(rest, config.seeds))
    zeros = jnp.zeros((config.seeds,), jnp.int32)
    kernel = jnp.zeros((config.seeds, nets.KERNEL_SIZE, nets.KERNEL_SIZE))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        params=params,
        opt_state=moments,
        model_state={
            "vectors": vectors,
            "near": zeros,  # how often in a row the kernel was near to the cubic one
            "since": zeros,  # steps since that began to count for less
            "average": kernel,
            "before": kernel,
            "still": jnp.zeros((), jnp.int32),
        },
    )


def _weights(config, since: Array) -> dict[str, Array]:
    """Weights of the generator's terms so many steps after the kernel came near to the cubic one."""
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


def _generator_loss(task: Estimation, net, params, judge, crop, noise, statistics, weights):
    """The generator's loss on one crop, and its terms."""
    kernel = net.apply({"params": params}, method="kernel")
    made = nets.downscale(crop, kernel)
    first = nets.KERNEL_SIZE // 2 // nets.STRIDE  # the place whose kernel lies inside of the crop
    places = slice(first, first + task.small)
    small = resize.resize(crop, scale=1 / nets.STRIDE)[places, places]
    terms = {
        "adversarial": absolute(judge(made + noise), 1.0),
        "bicubic": jnp.mean(jnp.square(made - small)) / (jnp.var(small) + FLOOR**2),
        "sum": priors.sum_to_one(kernel),
        "boundary": priors.boundary(kernel),
        "centre": priors.centred(kernel, nets.KERNEL_SIZE / 2),
        "sparse": priors.sparse(kernel),
        "negative": priors.negative(kernel),
    }
    if task.config.covariance:
        terms["covariance"] = divergence(kernel, statistics)
    return weighted_sum(terms, {name: weights[name] for name in terms}), terms


def _one_step(task: Estimation, inputs: Inputs, key: Array, state):
    """A step of one seed's two nets."""
    params, moments, model = state
    config, statistics = task.config, inputs["statistics"]
    net, judge_net = _networks(config)
    image = inputs["image"]
    shape, count = (3, task.small, task.small, image.shape[-1]), statistics["large"].shape[0]
    # One draw for all, for each adds to the time of compiling.
    uniform = jax.random.uniform(key, (math.prod(shape) + 2,), minval=2**-24)
    noise = math.sqrt(2) * jax.lax.erf_inv(2 * uniform[2:] - 1).reshape(shape)
    chosen = jnp.minimum(count * uniform[:2], count - 1).astype(jnp.int32)

    def cut(name, index, side):
        corner = statistics[name][index]
        return 2 * jax.lax.dynamic_slice(image, (*corner, 0), (side, side, image.shape[-1])) - 1

    large, real = cut("large", chosen[0], task.crop), cut("small", chosen[1], task.small)
    weights = _weights(config, model["since"])
    falls = model["since"] // config.decay_every
    rate = config.learning_rate * 0.1 ** falls.astype(jnp.float32)

    def judging(judges):
        return lambda x: judge_net.apply({"params": judges}, x)

    def update(name, grads, kept):
        change, adam = _adam().update(grads, moments[name])
        return jax.tree.map(lambda p, u: p - rate * u, kept, change), adam

    def missing(kernel):
        """Noise for made patches: as in real ones, what the kernel takes away put back."""
        lost = jnp.maximum(1 - jnp.sum(jnp.square(kernel)), 0)
        return jnp.sqrt(FLOOR**2 + lost * (2 * statistics["noise_std"]) ** 2)

    judges, vectors = spectral.normalized(params["discriminator"], model["vectors"])
    now = net.apply({"params": params["generator"]}, method="kernel")
    loss_fn = lambda p: _generator_loss(
        task, net, p, judging(judges), large, missing(now) * noise[0], statistics, weights
    )
    (loss, terms), grads = jax.value_and_grad(loss_fn, has_aux=True)(params["generator"])
    generator, adam_generator = update("generator", grads, params["generator"])

    kernel_new = net.apply({"params": generator}, method="kernel")
    made = nets.downscale(large, kernel_new) + missing(kernel_new) * noise[1]

    def judge_loss(judges):
        judges, following = spectral.normalized(judges, vectors)
        judged = jax.vmap(judging(judges))(jnp.stack([real + FLOOR * noise[2], made]))
        terms = {"real": absolute(judged[0], 1.0), "made": absolute(judged[1], 0.0)}
        return weighted_sum(terms, {"real": 0.5, "made": 0.5}), (terms, following)

    (loss_judge, (terms_judge, following)), grads = jax.value_and_grad(judge_loss, has_aux=True)(
        params["discriminator"]
    )
    judges, adam_judge = update("discriminator", grads, params["discriminator"])
    near = jnp.where(terms["bicubic"] < config.bicubic_reached, model["near"] + 1, 0)
    near = jnp.where(model["near"] >= 3, 3, near)
    new = {
        "vectors": following,
        "near": near,
        "since": model["since"] + (near >= 3),
        "average": kernel_new,
    }
    params = {"generator": generator, "discriminator": judges}
    moments = {"generator": adam_generator, "discriminator": adam_judge}
    metrics = {"loss": loss + loss_judge, **terms, **terms_judge, "learning_rate": rate}
    return (params, moments, new), metrics


def step(task: Estimation, state: TrainState, inputs: Inputs, variant=None):
    """One step of all seeds."""
    del variant
    config, old = task.config, state.model_state
    inputs = with_statistics(config, inputs)
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), config.seeds)
    per_seed = {name: old[name] for name in ("vectors", "near", "since")}
    run = jax.vmap(functools.partial(_one_step, task, inputs))
    (params, moments, model), metrics = run(keys, (state.params, state.opt_state, per_seed))
    model["average"] = moving_average(old["average"], model["average"], state.step, decay=0.98)
    new = state.replace(
        step=state.step + 1,
        params=params,
        opt_state=moments,
        model_state={**old, **model},
    )
    frozen, key = done(task, state), state.key
    new, old_state = (s.replace(key=None) for s in (new, state))
    new = jax.tree.map(lambda a, b: jnp.where(frozen, b, a), new, old_state).replace(key=key)
    return new, {name: jnp.mean(x) for name, x in metrics.items()}


def remarks(config: ml_collections.ConfigDict, inputs: Inputs, figures) -> tuple[str, ...]:
    """What speaks against the estimate; see `methods.registry`."""
    del config
    return kernel_estimate.remarks(inputs["statistics"], figures)


def evaluate(task: Estimation, state: TrainState, inputs: Inputs):
    """Whether the kernels still change, and how well they fit."""
    inputs = with_statistics(task.config, inputs)
    model = state.model_state
    now, before = model["average"], model["before"]
    lengths = jnp.sqrt(jnp.sum(now**2, (1, 2)) * jnp.sum(before**2, (1, 2)))
    change = 1 - jnp.sum(now * before, (1, 2)) / jnp.maximum(lengths, 1e-12)
    late = _weights(task.config, model["since"])["sparse"] >= task.config.sparse
    calm = jnp.all((change < task.config.settled) & late)
    still = jnp.where(done(task, state), model["still"], jnp.where(calm, model["still"] + 1, 0))
    new = state.replace(model_state={**model, "before": now, "still": still})
    _, errors = kernel_estimate.finished(now, inputs["statistics"], task.config.faint)
    return new, {"divergence": jnp.min(errors), "kernel_change": jnp.max(change)}


def done(task: Estimation, state: TrainState) -> Array:
    """Whether the kernels have settled."""
    del task
    return state.model_state["still"] >= _STILL


def outputs(task: Estimation, state: TrainState, inputs: Inputs) -> dict[str, Output]:
    """The kernel, the image downscaled by it, and what speaks for it."""
    inputs = with_statistics(task.config, inputs)
    scale = factor(task.config)
    figures = kernel_estimate.estimate(
        state.model_state["average"], inputs["statistics"], task.config.faint, scale
    )
    kernel, size = figures.pop("kernel"), inputs.get("size")
    small = kernels.downscale(inputs["image"], kernel, scale, size=size)
    made = {
        "result": Output(jnp.clip(small, 0, 1), size=None if size is None else -(-size // scale)),
        "kernel": Output(kernel, "kernel"),
    }
    figures["noise_std"] = inputs["statistics"]["noise_std"]
    if (reference := inputs.get("reference_kernel")) is not None:
        figures |= kernel_estimate.scores(kernel, reference)
        made["reference_kernel"] = Output(reference, "kernel")
    return made | {name: Output(value, "scalar") for name, value in figures.items()}


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses settings that work with no image, in one line each.

    Raises:
        InputError: a field out of range.
    """
    factor(config)
    checks.choices(config, {"faint": ("peak", "rank")})
    checks.least(
        config,
        {"steps": 0, "train_steps": 1, "border": 0, "seeds": 1, "features": 1, "crop": 32}
        | {"learning_rate": 0, "decay_every": 1, "bicubic_every": 1, "bicubic_fall": 1}
        | {"evaluate_every": 1, "settled": 0}
        | dict.fromkeys(_WEIGHTS, 0),
    )
    checks.below(config, {"noise_std": 1})


def make(config: ml_collections.ConfigDict, input_spec: Inputs) -> Method:
    """KernelGAN for images of given shapes.

    Args:
        config: as `defaults()`.
        input_spec: shapes of the inputs that `prepare` or `pad` returned. `image` alone will do, but
            then each step finds its statistics anew, on the host.

    Returns:
        The method. Outputs: `kernel` (K, K); `result`, the image downscaled by it; figures.

    Raises:
        InputError: a field out of range.
    """
    check(config)
    config = ml_collections.FrozenConfigDict(config)
    task = Estimation(config, *sides(config, input_spec["image"].shape[:2]))
    bind = functools.partial
    return Method(
        "kernelgan",
        bind(init, task),
        (stage(task),),
        bind(outputs, task),
        progress="divergence",
    )


def stage(task: Estimation) -> Stage:
    """The one stage."""
    bind = functools.partial
    return Stage(
        "kernel",
        task.steps,
        bind(step, task),
        evaluate=bind(evaluate, task),
        evaluate_every=task.config.evaluate_every,
        done=bind(done, task),
    )
