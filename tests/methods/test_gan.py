"""Shared updates of GANs, against Adam and the spectral normalisation written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.methods import gan
from deepinternal.ops import spectral

B1, B2, EPSILON, RATE = 0.5, 0.999, 1e-8, 0.01


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    return {"first": {"kernel": draw(1, 1, 4, 5)}, "last": {"kernel": draw(1, 1, 3, 2)}}


def _target(params):
    return jax.tree.map(np.ones_like, params)


def _distance(target):
    def loss(weights):
        parts = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), weights, target)
        return sum(jax.tree.leaves(parts)), {"parts": parts}

    return loss


def _adam(params, gradient, steps):
    """Kingma and Ba (2015), algorithm 1, in double precision."""
    m = v = 0.0
    for t in range(1, steps + 1):
        g = gradient(params)
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
        params = params - RATE * (m / (1 - B1**t)) / (np.sqrt(v / (1 - B2**t)) + EPSILON)
    return params


def test_updates_are_those_of_adam(params):
    net, loss = gan.new_net(params), _distance(_target(params))
    update = jax.jit(lambda net: gan.update(net, loss, RATE))
    for _ in range(4):
        net, _, _ = update(net)
    for name, layer in params.items():
        expected = _adam(layer["kernel"].astype(np.float64), lambda p: 2 * (p - 1), 4)
        np.testing.assert_allclose(net.params[name]["kernel"], expected, atol=1e-5)
    _, value, aux = update(gan.new_net(params))
    expected = sum(((layer["kernel"] - 1.0) ** 2).sum() for layer in params.values())
    assert float(value) == pytest.approx(expected, rel=1e-5)
    assert set(aux["parts"]) == {"first", "last"}


def test_gradients_go_through_the_normalisation(params):
    """Central differences of the loss of w / (v^T w u), with v and u of one power iteration."""
    vectors = spectral.vectors(jax.random.key(0), params, skip=("last",))
    net = gan.new_net(params, vectors)
    loss = _distance(_target(params))
    after, value, _ = gan.update(net, loss, RATE)

    w = params["first"]["kernel"].reshape(4, 5).astype(np.float64)
    v = w @ np.asarray(vectors["first"], np.float64)
    v /= np.linalg.norm(v)
    u = v @ w / np.linalg.norm(v @ w)
    first = lambda w: np.sum((w / (v @ w @ u) - 1) ** 2)
    gradient = np.zeros_like(w)
    for at in np.ndindex(*w.shape):
        step = np.zeros_like(w)
        step[at] = 1e-5
        gradient[at] = (first(w + step) - first(w - step)) / 2e-5
    change = np.asarray(after.params["first"]["kernel"]).reshape(4, 5) - w
    np.testing.assert_allclose(change, -RATE * np.sign(gradient), atol=1e-5)  # Adam's first step
    np.testing.assert_allclose(after.vectors["first"], u, atol=1e-5)
    rest = np.sum((params["last"]["kernel"] - 1.0) ** 2)
    assert float(value) == pytest.approx(first(w) + rest, rel=1e-4)


def test_the_power_iteration_continues_only_with_the_returned_net(params):
    net = gan.new_net(params, spectral.vectors(jax.random.key(0), params))
    weights, following = gan.normalized(net)
    again, _ = gan.normalized(net)
    later, _ = gan.normalized(following)
    np.testing.assert_array_equal(weights["first"]["kernel"], again["first"]["kernel"])
    assert np.any(weights["first"]["kernel"] != later["first"]["kernel"])


def test_nets_lie_in_the_state_under_their_names(params):
    vectors = spectral.vectors(jax.random.key(0), params)
    made = {"generator": gan.new_net(params), "discriminator": gan.new_net(params, vectors)}
    state = gan.new_state(jax.random.key(1), made, average=0.0)
    assert set(state.params) == set(state.opt_state) == set(made)
    assert set(state.model_state) == {"discriminator", "average"}
    assert gan.nets(state) == made
    changed = made | {"generator": made["generator"].replace(params={"first": 1.0})}
    later = gan.next_state(state, changed, average=2.0)
    assert gan.nets(later) == changed
    assert (int(later.step), later.model_state["average"]) == (1, 2.0)
    assert jax.random.key_data(later.key).tolist() == jax.random.key_data(state.key).tolist()
