"""Updates of a GAN's nets that methods share: loss, gradient and update of one net at a time.

A step of a GAN reads as a list of updates:

    nets = gan.nets(state)
    judge, discriminator = gan.normalized(nets["discriminator"])
    generator, loss, terms = gan.update(nets["generator"], lambda w: loss_g(w, judge), rate)
    discriminator, loss, terms = gan.update(discriminator, lambda w: loss_d(w, made), rate)
    return gan.next_state(state, {"generator": generator, "discriminator": discriminator})

In a `TrainState` a net lies under its name in `params`, `opt_state` and, where its kernels are
normalised spectrally, in `model_state`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from deepinternal.ops import spectral
from deepinternal.types import Array, PyTree, TrainState

Vectors = Mapping[str, Array]


@struct.dataclass
class Net:
    """A net in training.

    Attributes:
        params: its parameters, layers by name.
        opt_state: the state of its Adam.
        vectors: of the spectral normalisation, see `ops.spectral`; empty: nothing is normalised.
    """

    params: PyTree
    opt_state: optax.OptState
    vectors: Vectors


def adam() -> optax.GradientTransformation:
    """Adam as GANs take it; its updates have yet to be multiplied by the learning rate."""
    # One vector of all weights: hundreds of small programs less to compile, and to run.
    return optax.chain(optax.flatten(optax.scale_by_adam(b1=0.5, b2=0.999)), optax.scale(-1.0))


def new_net(params: PyTree, vectors: Vectors | None = None) -> Net:
    """A net before its first update.

    Args:
        params: layers by name.
        vectors: as `spectral.vectors` returns them; None where nothing is normalised.
    """
    return Net(params, adam().init(params), vectors or {})


def normalized(net: Net) -> tuple[PyTree, Net]:
    """The weights that a net is applied with.

    Returns:
        The parameters with normalised kernels, and the net with the vectors of the next
        normalisation. Where that net is dropped, the next normalisation gives the same weights.
    """
    weights, vectors = spectral.normalized(net.params, net.vectors)
    return weights, net.replace(vectors=vectors)


def update(
    net: Net, loss: Callable[[PyTree], tuple[Array, Any]], rate: Array | float
) -> tuple[Net, Array, Any]:
    """One step of Adam along the gradient of a loss.

    Args:
        net: the net.
        loss: `weights -> (value, aux)` of the normalised weights; the gradient goes through the
            normalisation.
        rate: the learning rate.

    Returns:
        The net after the step, and the loss's value and `aux` before it.
    """

    def of_params(params):
        weights, after = normalized(net.replace(params=params))
        value, aux = loss(weights)
        return value, (aux, after.vectors)

    (value, (aux, vectors)), grads = jax.value_and_grad(of_params, has_aux=True)(net.params)
    change, opt_state = adam().update(grads, net.opt_state)
    params = jax.tree.map(lambda p, u: p + rate * u, net.params, change)
    return Net(params, opt_state, vectors), value, aux


def new_state(key: Array, nets: Mapping[str, Net], **model_state: PyTree) -> TrainState:
    """The state before the first step.

    Args:
        key: from which the steps draw.
        nets: by name.
        **model_state: what else the method keeps, under other names.
    """
    state = TrainState(jnp.zeros((), jnp.int32), key, {}, {}, model_state)
    return _with_nets(state, nets)


def next_state(state: TrainState, nets: Mapping[str, Net], **model_state: PyTree) -> TrainState:
    """The state after a step.

    Args:
        state: before it.
        nets: all nets after it, by name.
        **model_state: what else has changed.
    """
    state = state.replace(step=state.step + 1, model_state={**state.model_state, **model_state})
    return _with_nets(state, nets)


def nets(state: TrainState) -> dict[str, Net]:
    """The nets of a state by name."""
    return {
        name: Net(params, state.opt_state[name], state.model_state.get(name, {}))
        for name, params in state.params.items()
    }


def _with_nets(state: TrainState, nets: Mapping[str, Net]) -> TrainState:
    vectors = {name: net.vectors for name, net in nets.items() if net.vectors}
    return state.replace(
        params={name: net.params for name, net in nets.items()},
        opt_state={name: net.opt_state for name, net in nets.items()},
        model_state={**state.model_state, **vectors},
    )
