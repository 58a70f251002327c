"""Updates of a GAN's nets, shared by several methods: loss, gradient and update of one net at a time.

A step of a GAN is a list of updates:

    nets = gan.nets(state)
    judge, discriminator = gan.normalized(nets["discriminator"])
    generator, loss, terms = gan.update(nets["generator"], lambda w: loss_g(w, judge), rate)
    discriminator, loss, terms = gan.update(discriminator, lambda w: loss_d(w, made), rate)
    return gan.next_state(state, {"generator": generator, "discriminator": discriminator})

A `TrainState` holds a net under its name in `params`, in `opt_state` and, if its kernels are normalised
spectrally, in `model_state`.
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
        params: The parameters, layers by name.
        opt_state: The state of Adam.
        vectors: The vectors of the spectral normalisation, see `ops.spectral`; empty: none.
    """

    params: PyTree
    opt_state: PyTree
    vectors: Vectors


def adam() -> optax.GradientTransformation:
    """Adam with b1 = 0.5 for GANs; its updates are not yet multiplied by the learning rate."""
    # All weights form one vector, which saves the compilation and the dispatch of hundreds of kernels.
    return optax.chain(optax.flatten(optax.scale_by_adam(b1=0.5, b2=0.999)), optax.scale(-1.0))


def new_net(params: PyTree, vectors: Vectors | None = None) -> Net:
    """Returns a net before its first update.

    Args:
        params: The parameters, layers by name.
        vectors: As `spectral.vectors` returns them; None: nothing is normalised.
    """
    return Net(params, adam().init(params), vectors or {})


def normalized(net: Net) -> tuple[PyTree, Net]:
    """Returns the weights with which a net is applied.

    Returns:
        The parameters with normalised kernels, and the net with the vectors of the next
        normalisation. If that net is dropped, the next normalisation gives the same weights.
    """
    weights, vectors = spectral.normalized(net.params, net.vectors)
    return weights, net.replace(vectors=vectors)


def update(
    net: Net, loss: Callable[[PyTree], tuple[Array, Any]], rate: Array | float
) -> tuple[Net, Array, Any]:
    """Takes one step of Adam on a loss.

    Args:
        net: The net.
        loss: `weights -> (value, aux)` for the normalised weights; the gradient flows through the
            normalisation.
        rate: The learning rate.

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
    """Returns the state before the first step.

    Args:
        key: The key from which the steps draw.
        nets: The nets by name.
        **model_state: Further state of the method, under other names.
    """
    state = TrainState(jnp.zeros((), jnp.int32), key, {}, {}, model_state)
    return _with_nets(state, nets)


def next_state(state: TrainState, nets: Mapping[str, Net], **model_state: PyTree) -> TrainState:
    """Returns the state after a step.

    Args:
        state: The state before it.
        nets: All nets after it, by name.
        **model_state: Further state that has changed.
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
