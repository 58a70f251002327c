"""ZSSR: zero-shot super-resolution (Shocher, Cohen, Irani, CVPR 2018).

A small net learns, from one image alone, to undo a downscaling: at each step a random augmented crop
of the image (the high-resolution *father*, as the paper calls it) is downscaled (its low-resolution
*son*), and the net learns son -> father. Then it is applied to the image itself.

Where the paper is in the code: section 3.1 (fathers, sons) -> `sr.task.draw_pair`; section 3.2 (net,
L1, Adam) -> `nets.zssr`, `loss_fn`, `step`; its learning-rate policy and stopping -> `_policy`;
gradual increase of the factor -> `sr.jumps`, `advance`; test-time ensemble (median of 8) and
back-projection -> `sr.enlarge`; section 3.3 (known kernel, noise) -> the input `kernel` and the
fields `noise_std`, `flips`, `back_projection`.

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

Presets: configs/zssr.py.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from deepinternal.losses.pixel import l1
from deepinternal.methods import optimizers
from deepinternal.methods.sr import blind, canvas, enlarge, examples, jumps, presets
from deepinternal.methods.sr.task import Task, build, check_degradation, draw_pair, self_test
from deepinternal.ops import kernels, resize
from deepinternal.types import (
    Array,
    InputError,
    Inputs,
    Method,
    Output,
    PyTree,
    Stage,
    TrainState,
)

SIDE_INPUTS = {"kernel": "kernel", "reference_kernel": "kernel"}
PRESETS = presets.PRESETS
target_size, example = jumps.target_size, examples.example
canvas_group, pad = canvas.canvas_group, canvas.pad


def defaults() -> ml_collections.ConfigDict:
    """The published settings for one jump by a factor of 2 with the ideal (cubic) kernel."""
    return ml_collections.ConfigDict(
        {
            "seed": 0,
            "steps": 0,  # at most so many per jump; 0: 3000
            "scale": "2",  # factor, 'vertical,horizontal', or several with ';' between: gradual
            "rounds": 1,  # how often the last factor is taken, fathers also cut from its own results
            "base_change": "",  # factors after which the result takes the input's place
            "output_shape": "",  # 'height,width' instead of scale
            "kernel": "",  # file or folder of blur kernels; '': cubic downscaling
            "noise_std": 0.0,  # noise added to sons, in units of the [0, 1] range; blind, < 0: as found
            "tile": 0,  # side of the tiles in which large images are enlarged; 0: see `sr.enlarge`
            "net": "interpolated",  # input enlarged first; or subpixel: at low resolution
            "layers": 8,
            "features": 64,
            "init_variance": 2.0,  # of hidden layers, times fan-in; 0.1 in the authors' code
            "precision": "default",  # matmul precision of the net
            "crop": 128,  # side of the fathers, in pixels
            "patch_batch": 1,  # fathers per step
            "optimizer": "adam",  # or muon: with Adam for the first and the last layer
            "learning_rate": 1e-3,
            "muon_rate": 0.03,
            "schedule": "policy",  # or cosine: warm-up, then to zero over all steps
            "warmup": 20,
            "average": 0.0,  # decay of the moving average of weights; 0: none
            "min_learning_rate": 9e-6,  # training ends below it
            "evaluate_every": 50,  # 0: never, where the schedule does not need it
            "policy_every": 60,
            "policy_wait": 256,  # steps after a change of learning rate before the next
            "policy_slope": 1.5,
            "p_as_is": 0.05,
            "p_dihedral": 0.45,
            "affine_scale_min": 0.5,
            "affine_scale_max": 1.0,
            "affine_scale_difference": 0.25,
            "affine_shear": 0.1,
            "affine_sampling": "cubic",  # or linear
            "flips": "auto",  # rotated and mirrored fathers: on, off, auto: on without a kernel
            "ensemble": "auto",  # over flips of the net: on, off, auto: as flips
            "ensemble_reduce": "median",  # or mean, back-projected only once
            "back_projection": "",  # iterations, one for all jumps or one each; '': 10, with kernel 2
            **blind.defaults(),
        }
    )


def prepare(
    config: ml_collections.ConfigDict, image: np.ndarray, kernel=None, reference_kernel=None
) -> Inputs:
    """The inputs of the method from what the user gave; on the host.

    Args:
        config: the method's config (`scale`, `output_shape`).
        image: (H, W, C) in [0, 1], C = 1 or 3.
        kernel: (K, K) blur kernel, summing to 1, or None.
        reference_kernel: (K, K), what an estimate is scored against, or None.

    Returns:
        `image`, and `kernel` centred for the scale factor where one is given; with `blind` what
        `sr.blind.prepare` adds.
    """
    inputs = {"image": jnp.asarray(image, jnp.float32)}
    if kernel is not None:
        scale, _ = target_size(config, image.shape[:2])
        inputs["kernel"] = kernels.centre_kernel(np.asarray(kernel, np.float32), scale)
    if config.blind:
        inputs |= blind.prepare(config, image, inputs.get("kernel"), reference_kernel)
    return inputs


def remarks(config: ml_collections.ConfigDict, inputs: Inputs, figures) -> Sequence[str]:
    """What was decided for an image with `blind`; see `methods.registry`."""
    return blind.remarks(config, inputs, figures) if config.blind else ()


def init(task: Task, optimizer: optax.GradientTransformation, key: Array, inputs: Inputs):
    """The state before the first step."""
    key_net, key = jax.random.split(key)
    channels = inputs["image"].shape[-1]
    params = task.net.init(key_net, jnp.zeros((1, 8, 8, channels)))["params"]
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        params={"net": params},
        opt_state={"net": optimizer.init(params)},
        # A copy: a step may take over its state's memory, each array once.
        model_state={"average": jax.tree.map(jnp.copy, params)} if task.config.average else {},
    )
    return _restart(task.config, state)


def _restart(config: ml_collections.ConfigDict, state: TrainState) -> TrainState:
    """The state at the beginning of a jump: weights, moments and average are kept."""
    model_state = {k: v for k, v in state.model_state.items() if k == "average"}
    if config.schedule == "policy":
        tests = max(config.policy_wait // config.evaluate_every, 3)
        model_state |= {
            "learning_rate": jnp.asarray(config.learning_rate, jnp.float32),
            "changed_at": jnp.zeros((), jnp.int32),
            "test_mse": jnp.full((tests,), jnp.inf, jnp.float32),
        }
    return state.replace(step=jnp.zeros((), jnp.int32), model_state=model_state)


def loss_fn(task: Task, params: PyTree, fathers: Array, sons: Array):
    """Mean absolute error over a batch of pairs (N, h, w, C), and its named terms."""
    refine = functools.partial(task.refine, params["net"], shape=task.crop)
    loss = l1(jax.vmap(refine)(sons), fathers)
    return loss, {"l1": loss}


def step(task: Task, optimizer, steps: int, state: TrainState, inputs: Inputs, variant=None):
    """One step on `patch_batch` pairs."""
    del variant
    config = task.config
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), config.patch_batch)
    fathers, sons = jax.vmap(functools.partial(draw_pair, task), (0, None))(keys, inputs)
    grad_fn = jax.value_and_grad(functools.partial(loss_fn, task), has_aux=True)
    (loss, terms), grads = grad_fn(state.params, fathers, sons)
    updates, opt_state = optimizer.update(grads["net"], state.opt_state["net"])
    if config.schedule == "policy":
        rate = state.model_state["learning_rate"]
    else:
        rate = optimizers.warmup_cosine(
            state.step, steps, peak=config.learning_rate, warmup=config.warmup
        )
    updates = jax.tree.map(lambda u: rate * u, updates)
    params = optax.apply_updates(state.params["net"], updates)
    model_state = dict(state.model_state)
    if config.average:
        model_state["average"] = optimizers.moving_average(
            model_state["average"], params, state.step, decay=config.average
        )
    new = state.replace(
        step=state.step + 1,
        params={"net": params},
        opt_state={"net": opt_state},
        model_state=model_state,
    )
    if config.schedule == "policy":
        new = new.replace(model_state=_policy(new, config))
        new = _unless(done(task, state), new, state)
    return new, {"loss": loss, **terms, "learning_rate": rate}


def _policy(state: TrainState, config: ml_collections.ConfigDict) -> dict[str, Array]:
    """The learning rate falls tenfold where the test error has stopped falling."""
    new = state.model_state
    due = (state.step % config.policy_every == 0) & (
        state.step - new["changed_at"] > config.policy_wait
    )
    stalled = optimizers.stalled(new["test_mse"], config.evaluate_every, slopes=config.policy_slope)
    fall = due & stalled
    return {
        **new,
        "learning_rate": jnp.where(fall, new["learning_rate"] / 10, new["learning_rate"]),
        "changed_at": jnp.where(fall, state.step, new["changed_at"]),
    }


def done(task: Task, state: TrainState) -> Array:
    """Whether the learning rate has fallen below its least value; never with the other schedule."""
    if task.config.schedule != "policy":
        return state.step < 0
    return state.model_state["learning_rate"] < task.config.min_learning_rate


def _unless(frozen: Array, new: TrainState, old: TrainState) -> TrainState:
    """`new`, or `old` to the bit once a run is done; the key never changes."""
    select = lambda a, b: jnp.where(frozen, b, a)
    new, key = new.replace(key=None), old.key
    return jax.tree.map(select, new, old.replace(key=None)).replace(key=key)


def evaluate(task: Task, state: TrainState, inputs: Inputs):
    """Notes how well the image is reconstructed from its own downscaled version."""
    error = self_test(task, _weights(state), inputs)
    scores = {"test_mse": error, "test_psnr": -10 * jnp.log10(error)}
    if task.config.schedule != "policy":
        return state, scores
    history = jnp.append(state.model_state["test_mse"][1:], error)
    new = state.replace(model_state={**state.model_state, "test_mse": history})
    return _unless(done(task, state), new, state), scores


def _weights(state: TrainState) -> PyTree:
    return state.model_state.get("average", state.params["net"])


def outputs(task: Task, state: TrainState, inputs: Inputs) -> dict[str, Output]:
    """The super-resolved image, and the spread of the ensemble."""
    made = enlarge.enlarge(task, _weights(state), inputs)
    kinds = {"result": "image", "uncertainty": "map"}
    _, size = task.sizes(inputs)
    results = {name: Output(value, kinds[name], size) for name, value in made.items()}
    return results | (blind.outputs(inputs) if "decisions" in inputs else {})


def advance(task: Task, following: Task, state: TrainState, inputs: Inputs):
    """State and inputs of the jump after `task`: its result joins the pool, or becomes the base."""
    result = enlarge.enlarge(task, _weights(state), inputs)["result"]
    new = {k: v for k, v in inputs.items() if k != "pool"}
    if task.jump.rebase:
        new["image"] = result
    else:
        pool = inputs.get("pool", inputs["image"][None])
        h, w = (max(pair) for pair in zip(pool.shape[1:3], result.shape[:2]))
        fill = lambda x: ((0, 0), (0, h - x.shape[1]), (0, w - x.shape[2]), (0, 0))
        new["pool"] = jnp.concatenate([jnp.pad(x, fill(x)) for x in (pool, result[None])])
    return _restart(following.config, state), new


def make(
    config: ml_collections.ConfigDict,
    input_spec: Inputs,
    *,
    down: Callable[[Array], Array] | None = None,
) -> Method:
    """ZSSR for images of one shape.

    Args:
        config: as `defaults()`.
        input_spec: shapes of the inputs: `image` (H, W, C), and `kernel` (K, K) where the blur kernel
            is known (centred, as `prepare` returns it); of an image on a canvas what `pad` returns,
            but not with `down`.
        down: a degradation to undo instead of cubic downscaling or a kernel: any differentiable
            function (h, w, C) -> (ceil(h / scale), ceil(w / scale), C) of images in [0, 1].

    Returns:
        The method. Outputs: `result` (H', W', C), and with the ensemble `uncertainty` (H', W'), the
        standard deviation over the flips.

    Raises:
        InputError: a field out of range, an image too small, or a `down` of other sizes.
    """
    check(config)
    if config.blind and "decisions" not in input_spec:
        raise InputError("config.blind: the inputs lack `decisions`; take them from `zssr.prepare`")
    config = ml_collections.FrozenConfigDict(config)
    tasks = build(config, input_spec, down)
    for task in tasks:
        enlarge.tile_of(task)
        if down is not None:
            check_degradation(task, input_spec["image"])
    return _method(tasks, config, input_spec)


def _method(tasks: list[Task], config: ml_collections.ConfigDict, input_spec: Inputs) -> Method:
    """The stages: one for the kernel, where it is estimated, and one for each jump."""
    optimizer = optimizers.adam()
    if config.optimizer == "muon":
        optimizer = optimizers.muon_and_adam(config.muon_rate / config.learning_rate)
    steps, bind = config.steps or 3000, functools.partial
    stages = []
    for number, (task, following) in enumerate(zip(tasks, [*tasks[1:], None]), 1):
        stages.append(
            Stage(
                name=f"{number}: " + "x".join(f"{s:g}" for s in task.jump.scale),
                steps=steps,
                step=bind(step, task, optimizer, steps),
                evaluate=bind(evaluate, task) if config.evaluate_every else None,
                evaluate_every=config.evaluate_every,
                done=bind(done, task),
                advance=following and bind(advance, task, following),
            )
        )

    def baseline(inputs: Inputs) -> Array:
        scale, shape = target_size(config, inputs["image"].shape[:2])
        size, _ = tasks[0].sizes(inputs)
        large = resize.resize(inputs["image"], scale=scale, output_shape=shape, size=size)
        return jnp.clip(large, 0, 1)

    first = bind(init, tasks[0], optimizer)
    if "statistics" in input_spec:
        first, estimation = blind.stage(config, input_spec["image"].shape[:2], first)
        stages = [estimation, *stages]
    final = bind(outputs, tasks[-1])
    return Method("zssr", first, tuple(stages), final, baseline=baseline, progress="test_psnr")


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses settings that work with no image, in one line each.

    Raises:
        InputError: a field out of range.
    """
    if not config.output_shape:
        jumps.plan(config, (1, 1), back_projection=0)
    text = {
        "flips": ("auto", "on", "off"),
        "ensemble": ("auto", "on", "off"),
        "ensemble_reduce": ("median", "mean"),
        "affine_sampling": ("cubic", "linear"),
        "precision": ("default", "high", "highest"),
        "net": ("interpolated", "subpixel"),
        "optimizer": ("adam", "muon"),
        "schedule": ("policy", "cosine"),
        "kernel_use": ("auto", "estimated", "cubic"),
        "jpeg": ("auto", "on", "off"),
    }
    for field, choices in text.items():
        if config[field] not in choices:
            raise InputError(
                f"config.{field}={config[field]!r}: choose one of {', '.join(choices)}"
            )
    blind.check(config)
    least = {"steps": 0, "layers": 1, "features": 1, "crop": 16, "tile": 0}
    least |= {"patch_batch": 1, "evaluate_every": 1, "policy_every": 1, "learning_rate": 0}
    least |= {"affine_scale_min": 0.1, "affine_scale_max": config.affine_scale_min, "average": 0}
    least |= {"warmup": 0, "muon_rate": 0, "rounds": 1}
    if config.schedule == "cosine":
        least["evaluate_every"] = 0
    if config.optimizer == "muon":
        least |= {"layers": 3, "learning_rate": 1e-12}
    for field, bound in least.items():
        if not config[field] >= bound:
            raise InputError(f"config.{field}={config[field]}: must be at least {bound}")
    if not config.average < 1:
        raise InputError(f"config.average={config.average}: must be less than 1")
