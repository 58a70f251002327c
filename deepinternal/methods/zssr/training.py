"""ZSSR's training: a step, the self-test, and the transition between jumps."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from deepinternal.losses.pixel import l1
from deepinternal.methods import optimizers
from deepinternal.methods.zssr import blind, enlarge
from deepinternal.methods.zssr.config import Config
from deepinternal.methods.zssr.jumps import middle
from deepinternal.methods.zssr.task import Task, draw_pair, self_test
from deepinternal.ops.metrics import mse_to_psnr
from deepinternal.types import Array, Inputs, Output, PyTree, Stage, TrainState, never_done


def init(task: Task, optimizer: optax.GradientTransformation, key: Array, inputs: Inputs):
    """The state before the first step."""
    key_net, key = jax.random.split(key)
    channels = inputs["image"].shape[-1]
    sides = task.crop if task.own_net else (8, 8)
    params = task.net.init(key_net, jnp.zeros((1, *sides, channels)))["params"]
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        params={"net": params},
        opt_state={"net": optimizer.init(params)},
        # A copy, since a step may donate the state's memory, each array once.
        model_state={"average": jax.tree.map(jnp.copy, params)} if task.config.average else {},
    )
    if task.config.blind:
        state.model_state["estimated"] = jnp.copy(inputs["decisions"]["estimated"])
    return _restart(task.config, state)


def _restart(config: Config, state: TrainState) -> TrainState:
    """The state at the start of a jump, which keeps the weights, the moments and the average."""
    model_state = {k: v for k, v in state.model_state.items() if k in ("average", "estimated")}
    if config.schedule == "policy":
        tests = max(config.policy_wait // config.evaluate_every, 3)
        model_state |= {
            "learning_rate": jnp.asarray(config.learning_rate, jnp.float32),
            "changed_at": jnp.zeros((), jnp.int32),
            "test_mse": jnp.full((tests,), optimizers.UNKNOWN, jnp.float32),
        }
    return state.replace(step=jnp.zeros((), jnp.int32), model_state=model_state)


def loss_fn(task: Task, params: PyTree, fathers: Array, sons: Array):
    """Mean absolute error over a batch of pairs (N, h, w, C), and its named terms."""
    refine = functools.partial(task.refine, params["net"], shape=task.crop)
    loss = l1(jax.vmap(refine)(sons), fathers)
    return loss, {"l1": loss}


def step(task: Task, optimizer, steps: int, state: TrainState, inputs: Inputs, variant=None):
    """Takes one step on `patch_batch` pairs."""
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
        falling = functools.partial(
            optimizers.warmup_cosine, state.step, peak=config.learning_rate, warmup=config.warmup
        )
        rate = falling(steps)
        if config.blind and not config.steps:
            short = falling(min(steps, config.blind_steps))
            rate = jnp.where(state.model_state["estimated"], short, rate)
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
    return new, {"loss": loss, **terms, "learning_rate": rate}


def _policy(state: TrainState, config: Config) -> dict[str, Array]:
    """Divides the learning rate by ten when the test error has stopped falling."""
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


def done(config: Config, state: TrainState) -> Array:
    """Whether the policy's learning rate is below its least, or blind training is long enough."""
    over = jnp.zeros((), bool)
    if config.schedule == "policy":
        over = state.model_state["learning_rate"] < config.min_learning_rate
    if config.blind and not config.steps:
        over |= state.model_state["estimated"] & (state.step >= config.blind_steps)
    return over


def evaluate(task: Task, state: TrainState, inputs: Inputs):
    """Records how well the net reconstructs the image from its own downscaled version."""
    error = self_test(task, weights(state), inputs)
    scores = {"test_mse": error, "test_psnr": mse_to_psnr(error)}
    if task.config.schedule != "policy":
        return state, scores
    history = jnp.append(state.model_state["test_mse"][1:], error)
    return state.replace(model_state={**state.model_state, "test_mse": history}), scores


def weights(state: TrainState) -> PyTree:
    """The net's weights that results are made with: averaged ones if there are."""
    return state.model_state.get("average", state.params["net"])


def outputs(task: Task, state: TrainState, inputs: Inputs) -> dict[str, Output]:
    """The super-resolved image, and the spread of the ensemble."""
    made = enlarge.enlarge(task, weights(state), inputs)
    kinds = {"result": "image", "uncertainty": "map"}
    _, size = task.sizes(inputs)
    results = {name: Output(value, kinds[name], size) for name, value in made.items()}
    return results | (blind.outputs(inputs) if "decisions" in inputs else {})


def advance(task: Task, following: Task, state: TrainState, inputs: Inputs):
    """Returns state and inputs of the next jump: the result of `task` joins the pool or is the base."""
    new = {k: v for k, v in inputs.items() if k != "pool"}
    enlarged = lambda image: enlarge.enlarge(task, weights(state), {**inputs, "image": image})
    if task.jump.rebase:
        new["image"] = enlarged(inputs["image"])["result"]
    else:
        part = inputs["image"][middle(task.jump.base)]
        pool, result = inputs.get("pool", part[None]), enlarged(part)["result"]
        h, w = (max(pair) for pair in zip(pool.shape[1:3], result.shape[:2]))
        fill = lambda x: ((0, 0), (0, h - x.shape[1]), (0, w - x.shape[2]), (0, 0))
        new["pool"] = jnp.concatenate([jnp.pad(x, fill(x)) for x in (pool, result[None])])
    return _restart(following.config, state), new


def stages(tasks: list[Task]) -> tuple[Callable[[Array, Inputs], TrainState], tuple[Stage, ...]]:
    """Returns the `init` of the first jump, and a stage for each jump."""
    config, bind = tasks[0].config, functools.partial
    optimizer = optimizers.adam()
    if config.optimizer == "muon":
        optimizer = optimizers.muon_and_adam(config.muon_rate / config.learning_rate)
    steps_of = lambda task: config.steps or round(task.jump.share * config.train_steps)
    made = tuple(
        Stage(
            name=f"{number}: " + "x".join(f"{s:g}" for s in task.jump.scale),
            steps=steps_of(task),
            step=bind(step, task, optimizer, steps_of(task)),
            evaluate=bind(evaluate, task) if config.evaluate_every else None,
            evaluate_every=config.evaluate_every,
            done=bind(done, config) if config.schedule == "policy" or config.blind else never_done,
            advance=following and bind(advance, task, following),
        )
        for number, (task, following) in enumerate(zip(tasks, [*tasks[1:], None]), 1)
    )
    return bind(init, tasks[0], optimizer), made
