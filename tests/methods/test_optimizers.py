"""Muon, Adam and the schedules against float64 NumPy: Newton-Schulz, singular values, polyfit."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from deepinternal.methods import optimizers

LAYERS, FEATURES = 12, 8
NAMES = [f"conv{i}" for i in range(LAYERS)]
MUON_RATE = 0.25


def _gradients(seed=0):
    """Of a chain of 12 layers, as a dict in the order in which JAX sorts it: conv1, conv10, ..."""
    rng = np.random.default_rng(seed)
    shape = lambda i: (3, 3, 3 if i == 0 else FEATURES, 3 if i == LAYERS - 1 else FEATURES)
    made = {name: rng.normal(size=shape(i)).astype(np.float32) for i, name in enumerate(NAMES)}
    return dict(sorted(made.items()))


@functools.cache
def _updates(steps=1):
    """Updates after each of `steps` different gradients."""
    optimizer = optimizers.muon_and_adam(MUON_RATE)
    update, state = jax.jit(optimizer.update), optimizer.init(_gradients())
    updates = []
    for i in range(steps):
        new, state = update(_gradients(i), state)
        updates.append(jax.tree.map(np.asarray, new))
    return updates


def _matrix(kernel):
    return np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])


def _newton_schulz(x):
    """Jordan's quintic iteration: five times a X + (b A + c A^2) X with A = X X^T, in float64."""
    x = x.T / np.linalg.norm(x)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T


def _adam(gradients, b1=0.9, b2=0.999, eps=1e-8):
    """Kingma and Ba 2015, algorithm 1, of the last of several gradients, in float64."""
    m = v = 0
    for g in gradients:
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    t = len(gradients)
    return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)


@pytest.mark.parametrize("name", NAMES[1:-1])
def test_hidden_layers_are_orthogonalised(name):
    """Each by its own gradient: same singular vectors, singular values about 1, downhill."""
    u, s, vt = np.linalg.svd(_matrix(_gradients()[name]), full_matrices=False)
    assert s[-1] < 0.7 * s[0]
    turned = u.T @ _matrix(_updates()[0][name]) @ vt.T / -MUON_RATE
    values = np.diag(turned)
    np.testing.assert_allclose(turned, np.diag(values), atol=1e-3)
    assert 0.5 < values.min() < values.max() < 1.5


def test_muon_is_newton_schulz():
    for name in NAMES[1:-1]:
        expected = -MUON_RATE * _newton_schulz(_matrix(_gradients()[name]))
        np.testing.assert_allclose(_matrix(_updates()[0][name]), expected, atol=1e-4)


def test_muon_takes_the_gradients_running_average():
    """Nesterov's, corrected for its start (Dozat 2016), with decay 0.95."""
    average, steps = 0, 4
    for t in range(1, steps + 1):
        g = _matrix(_gradients(t - 1)["conv10"])
        average = 0.95 * average + 0.05 * g
        looked_ahead = 0.95 * average / (1 - 0.95 ** (t + 1)) + 0.05 * g / (1 - 0.95**t)
    expected = -MUON_RATE * _newton_schulz(looked_ahead)
    np.testing.assert_allclose(_matrix(_updates(steps)[-1]["conv10"]), expected, atol=1e-4)


@pytest.mark.parametrize("name", [NAMES[0], NAMES[-1]])
def test_ends_are_adams(name):
    updates = _updates(4)
    for t in range(1, 5):
        past = [_gradients(i)[name] for i in range(t)]
        expected = -_adam([g.astype(np.float64) for g in past])
        np.testing.assert_allclose(updates[t - 1][name], expected, rtol=2e-4, atol=1e-5)
    state = (adam := optax.scale_by_adam()).init(past[0])
    for g in past:
        new, state = adam.update(g, state)
    np.testing.assert_allclose(updates[3][name], -new, rtol=1e-5, atol=1e-6)


def test_updates_have_the_parameters_structure():
    gradients, updates = _gradients(), _updates()[0]
    assert jax.tree.structure(updates) == jax.tree.structure(gradients)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, gradients)


def test_muons_step_does_not_depend_on_the_gradients_size():
    optimizer = optimizers.muon_and_adam(1.0)
    scaled = jax.tree.map(lambda g: 1e-3 * g, _gradients())
    updates, _ = jax.jit(optimizer.update)(scaled, optimizer.init(scaled))
    np.testing.assert_allclose(MUON_RATE * updates["conv5"], _updates()[0]["conv5"], atol=1e-4)


def test_adam_alone():
    rng = np.random.default_rng(0)
    gradients = [{"a": rng.normal(size=(3, 2)).astype(np.float32)} for _ in range(3)]
    optimizer = optimizers.adam()
    state = optimizer.init(gradients[0])
    for g in gradients:
        updates, state = optimizer.update(g, state)
    expected = -_adam([g["a"].astype(np.float64) for g in gradients])
    np.testing.assert_allclose(updates["a"], expected, rtol=2e-4)


@pytest.mark.parametrize(
    ("steps", "warmup", "used"),
    # At most half of the run, at least one step.
    [(400, 20, 20), (100, 0, 1), (30, 20, 15), (7, 20, 3), (1, 20, 1)],
)
def test_warmup_cosine(steps, warmup, used):
    rate = functools.partial(optimizers.warmup_cosine, steps=steps, peak=2e-3, warmup=warmup)
    step = np.arange(steps + 1)
    rise = 0.1 + 0.9 * step / used
    fall = 0.5 + 0.5 * np.cos(np.pi * (step - used) / max(steps - used, 1))
    expected = 2e-3 * np.where(step < used, rise, fall)
    got = np.asarray(jax.jit(jax.vmap(rate))(step))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-9)
    assert got[:-1].min() > 0  # no step is wasted
    if steps > 1:
        assert abs(got.max() - 2e-3) < 1e-8
        assert got.argmax() == used
        assert abs(got[-1]) < 1e-9


def _averages(values, decay):
    average, made = {"a": jnp.full(2, 100.0)}, []
    update = jax.jit(functools.partial(optimizers.moving_average, decay=decay))
    for step, value in enumerate(values):
        average = update(average, {"a": jnp.asarray(value, jnp.float32)}, step)
        made.append(np.asarray(average["a"]))
    return np.stack(made)


def test_moving_average_in_float64():
    values = np.random.default_rng(0).normal(size=(60, 2))
    expected, average = [], np.full(2, 100.0)
    for step, value in enumerate(values):
        decay = min(0.8, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * value
        expected.append(average)
    np.testing.assert_allclose(_averages(values, 0.8), expected, rtol=1e-5, atol=1e-5)


def test_moving_average_soon_forgets_its_start():
    """Long before 1 / (1 - decay) steps; a plain average would still be at 90 after 10."""
    made = _averages(np.ones((100, 2)), 0.99)
    assert abs(made[0] - 10.9).max() < 1e-4
    # The start's weight: 1 * 2 ... * 10 / (10 * 11 ... * 19).
    np.testing.assert_allclose(made[9], 1 + 99 / math.comb(19, 9), atol=1e-5)
    assert abs(made[-1] - 1).max() < 1e-5


def test_moving_average_in_the_long_run_weighs_geometrically():
    values = np.random.default_rng(1).normal(size=(200, 2))
    weights = 0.3 * 0.7 ** np.arange(199, -1, -1)
    np.testing.assert_allclose(_averages(values, 0.7)[-1], weights @ values, atol=1e-5)


def _fits(n, slopes, every=50):
    """Random error curves with different descents: decisions and NumPy's, and how clear it was."""
    rng = np.random.default_rng(n)
    x = np.arange(n) * every
    noise = rng.normal(size=(300, n)) * 10 ** rng.uniform(-6, -3, (300, 1))
    curves = (1e-3 + rng.uniform(-5e-6, 2e-6, (300, 1)) * x + noise).astype(np.float32)
    expected, margins = [], []
    for curve in curves.astype(np.float64):
        (slope, _), covariance = np.polyfit(x, curve, 1, cov=True)
        deviation = np.sqrt(covariance[0, 0])
        expected.append(-slopes * slope < deviation)
        margins.append(abs(slopes * slope + deviation) / (abs(slope) * slopes + deviation))
    got = jax.jit(jax.vmap(lambda e: optimizers.stalled(e, every, slopes=slopes)))(curves)
    clear = np.array(margins) > 1e-3
    return np.asarray(got)[clear], np.array(expected)[clear]


@pytest.mark.parametrize("n", [3, 5, 20])
@pytest.mark.parametrize("slopes", [1.5, 0.5])
def test_stalled_is_polyfits_deviation(n, slopes):
    got, expected = _fits(n, slopes)
    assert len(got) > 250
    assert 30 < expected.sum() < len(got) - 30
    np.testing.assert_array_equal(got, expected)


def test_stalled_at_the_ends():
    stalled = functools.partial(optimizers.stalled, every=50, slopes=1.5)
    falling = jnp.array([5.0, 4.0, 3.1, 2.0])
    assert not stalled(falling)
    assert stalled(falling[::-1])  # it rises
    for infinite in (jnp.full(4, jnp.inf), falling[::-1].at[0].set(jnp.inf)):
        assert not stalled(infinite)
