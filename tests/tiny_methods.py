"""Two tiny methods that use all of the Method protocol.

`gan` resembles retargeting: two nets, two optimisers, an output size that changes from step to step.
`decomposition` resembles the separation of layers: three nets, stages of different shapes, an early
stop, the median over replicas.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from deepinternal.ops.resizing import resize
from deepinternal.types import Method, Output, Stage, TrainState, no_variant

SIZES = (8, 12, 16)


def _conv(x, w):
    dims = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x[None], w, (1, 1), "SAME", dimension_numbers=dims)[0]


def _noise(key, shape):
    """Normal noise, drawn flat: it compiles several times faster."""
    return jax.random.normal(key, (math.prod(shape),)).reshape(shape)


def _generate(w, image, size):
    return jnp.tanh(resize(_conv(image, w), output_shape=(size, size), method="linear"))


def gan(steps: int = 12, *, sizes: tuple[int, ...] = SIZES) -> Method:
    """A generator and a discriminator of one convolution each; with a single size, without variants."""
    adam = optax.adam(1e-2, b1=0.5)

    def init(key, inputs):
        c = inputs["image"].shape[-1]
        key_g, key_d, key = jax.random.split(key, 3)
        params = {
            "generator": 0.3 * jax.random.normal(key_g, (9 * c * c,)).reshape(3, 3, c, c),
            "discriminator": 0.3 * jax.random.normal(key_d, (9 * c,)).reshape(3, 3, c, 1),
        }
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            params=params,
            opt_state={name: adam.init(p) for name, p in params.items()},
            model_state={"average": jnp.zeros(())},
        )

    def step(state, inputs, variant):
        key, size = jax.random.fold_in(state.key, state.step), variant or sizes[0]
        image = inputs["image"] + _noise(key, inputs["image"].shape) / 255
        params, opt_state, losses = dict(state.params), dict(state.opt_state), {}

        def loss_g(g):
            fake = _generate(g, image, size)
            return jnp.mean((_conv(fake, params["discriminator"]) - 1) ** 2)

        def loss_d(d):
            fake = _generate(params["generator"], image, size)
            return 0.5 * (jnp.mean((_conv(image, d) - 1) ** 2) + jnp.mean(_conv(fake, d) ** 2))

        for name, loss in (("generator", loss_g), ("discriminator", loss_d)):
            losses[name], grads = jax.value_and_grad(loss)(params[name])
            updates, opt_state[name] = adam.update(grads, opt_state[name])
            params[name] = optax.apply_updates(params[name], updates)
        average = 0.9 * state.model_state["average"] + 0.1 * losses["generator"]
        state = state.replace(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            model_state={"average": average},
        )
        return state, {"loss": losses["generator"] + losses["discriminator"], **losses}

    def evaluate(state, inputs):
        cycle = _generate(state.params["generator"], inputs["image"], 8)
        return state, {"contrast": jnp.std(cycle)}

    def outputs(state, inputs):
        image = 0.5 + 0.5 * _generate(state.params["generator"], inputs["image"], 16)
        return {
            "result": Output(image, "image"),
            "average": Output(state.model_state["average"], "scalar"),
        }

    def variant(seed, step):
        return int(np.random.default_rng((seed, step)).choice(sizes))

    variant = variant if len(sizes) > 1 else no_variant
    stage = Stage("gan", steps, step, evaluate, evaluate_every=5, variant=variant)
    return Method("tiny_gan", init, (stage,), outputs, progress="contrast")


def _compose(params):
    mask = jax.nn.sigmoid(params["mask"])
    return mask * params["first"] + (1 - mask) * params["second"]


def _layers(key, shape):
    """The first parameters of a decomposition, for images of a shape."""
    keys = jax.random.split(key, 3)
    return {
        "first": 0.1 * _noise(keys[0], shape),
        "second": 0.1 * _noise(keys[1], shape),
        "mask": 0.1 * _noise(keys[2], (*shape[:2], 1)),
    }


def decomposition(steps: int = 30, *, target: float = 0.02, replicas: int = 3) -> Method:
    """Fits image = m * a + (1 - m) * b, first at half size, then at full size."""
    adam = optax.adam(5e-2)

    def init(key, inputs):
        h, w, c = inputs["image"].shape
        params = _layers(key, (h // 2, w // 2, c))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            params=params,
            opt_state={"all": adam.init(params)},
            model_state={"best": jnp.asarray(jnp.inf), "blended": jnp.zeros((h // 2, w // 2, c))},
        )

    def done(state):
        return state.model_state["best"] < target

    def step(state, inputs, variant):
        del variant
        size = state.params["first"].shape[:2]
        image = resize(inputs["image"], output_shape=size, method="box")
        noise = 1e-3 * _noise(jax.random.fold_in(state.key, state.step), image.shape)
        loss_fn = lambda p: jnp.mean((_compose(p) - image - noise) ** 2)
        loss, grads = jax.value_and_grad(loss_fn)(state.params)
        updates, opt_state = adam.update(grads, state.opt_state["all"])
        new = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            opt_state={"all": opt_state},
            model_state={
                "best": jnp.minimum(state.model_state["best"], loss),
                "blended": _compose(state.params),
            },
        )
        return new, {"loss": loss}

    def advance(state, inputs):
        h, w, c = inputs["image"].shape
        grow = lambda x: resize(x, output_shape=(h, w), method="linear")
        params = jax.tree.map(grow, state.params)
        state = state.replace(
            step=jnp.zeros((), jnp.int32),
            key=jax.random.fold_in(state.key, 1),
            params=params,
            opt_state={"all": adam.init(params)},
            model_state={"best": jnp.asarray(jnp.inf), "blended": jnp.zeros((h, w, c))},
        )
        return state, {"image": inputs["image"], "coarse": params["mask"]}

    def outputs(state, inputs):
        del inputs
        return {
            "result": Output(_compose(state.params), "image"),
            "mask": Output(jax.nn.sigmoid(state.params["mask"])[..., 0], "mask"),
        }

    def reduce(outputs):
        return jax.tree.map(lambda x: jnp.median(x, axis=0), outputs)

    stages = (
        Stage("coarse", steps, step, done=done, advance=advance),
        Stage("fine", steps, step, done=done),
    )
    many = {"replicas": replicas, "reduce": reduce} if replicas > 1 else {}
    return Method("tiny_decomposition", init, stages, outputs, **many)


def photo(size: int = 16) -> np.ndarray:
    """A piece of a photograph, (size, size, 3) in [0, 1]."""
    import skimage.data

    image = skimage.data.astronaut()[:256, 128:384].astype(np.float32) / 255
    return np.asarray(resize(jnp.asarray(image), output_shape=(size, size)).clip(0, 1))
