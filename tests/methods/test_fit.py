"""The fit of layers with nets that are small enough to be recomputed in NumPy or JAX."""

import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.losses.pixel import l2
from deepinternal.methods import fit
from deepinternal.methods.generator import growing
from deepinternal.types import Output

SHAPE = (6, 10)


class PixelNet(nn.Module):
    """Two 1x1 layers; sides must divide by 4."""

    outputs: int = 3
    multiple = 4

    @nn.compact
    def __call__(self, x):
        return nn.sigmoid(nn.Dense(self.outputs)(nn.tanh(nn.Dense(8)(x))))


def _image(frames=0):
    rng = np.random.default_rng(0)
    return rng.random(((frames,) if frames else ()) + (*SHAPE, 3)).astype(np.float32)


def _loss(layers, inputs, step):
    del step
    error = l2(layers["image"], inputs["image"])
    return error, {"psnr": -10 * jnp.log10(error)}


def _error(layers, inputs):
    return l2(layers["image"], inputs["image"])


def _outputs(layers, inputs):
    del inputs
    return {"result": Output(layers["image"])}


def _method(generator=None, shape=SHAPE, frames=0, batch=0, **phase):
    generator = generator or fit.Generator(PixelNet(), low=-1, high=1, jitter=0.1)
    phase = fit.Phase("fit", 30, **{"loss": _loss, "learning_rate": 0.05, **phase})
    return fit.build(
        "one", {"image": generator}, [phase], _outputs, shape=shape, frames=frames, batch=batch
    )


def _run(method, inputs, steps, *, stage=0, state=None):
    """The state after so many steps, all states and all metrics."""
    state = method.init(jax.random.key(1), inputs) if state is None else state
    step = jax.jit(functools.partial(method.stages[stage].step, variant=None))
    states, metrics = [state], []
    for _ in range(steps):
        state, now = step(state, inputs)
        states.append(state)
        metrics.append({k: float(v) for k, v in now.items()})
    return state, states, metrics


@pytest.mark.slow
def test_a_layer_has_the_images_size_and_comes_near_it():
    inputs = {"image": _image()}
    method = _method()
    state, _, metrics = _run(method, inputs, 30)
    assert state.model_state["z"]["image"].shape == (8, 12, 2)
    assert method.outputs(state, inputs)["result"].value.shape == (*SHAPE, 3)
    assert metrics[-1]["loss"] < 0.8 * metrics[0]["loss"]
    assert metrics[-1]["psnr"] == pytest.approx(-10 * math.log10(metrics[-1]["loss"]), abs=1e-4)


def test_the_result_is_made_from_the_unperturbed_input():
    inputs, method = {"image": _image()}, _method()
    state, *_ = _run(method, inputs, 3)
    z = state.model_state["z"]["image"]
    made = PixelNet().apply({"params": state.params["image"]}, z[None])[0, 1:7, 1:11]
    np.testing.assert_allclose(method.outputs(state, inputs)["result"].value, made, atol=1e-6)


def _layers_of(states):
    """The layers of the states' weights, without noise on the nets' inputs."""
    return [
        np.asarray(
            PixelNet().apply({"params": s.params["image"]}, s.model_state["z"]["image"][None])
        )[0, 1:7, 1:11]
        for s in states
    ]


def _still():
    return fit.Generator(PixelNet(), low=-1, high=1)


def test_average_is_an_exponential_moving_average():
    inputs, method = {"image": _image()}, _method(_still(), keep="average", average=0.8)
    state, states, _ = _run(method, inputs, 12)
    average = np.zeros((*SHAPE, 3))
    for step, layer in enumerate(_layers_of(states[:-1])):
        decay = min(0.8, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * layer
    np.testing.assert_allclose(method.outputs(state, inputs)["result"].value, average, atol=1e-5)


def test_best_keeps_the_layer_of_the_least_loss():
    inputs = {"image": _image()}
    method = _method(_still(), keep="best", learning_rate=1.0)  # jumps about
    state, states, metrics = _run(method, inputs, 12)
    best = int(np.argmin([m["loss"] for m in metrics]))
    assert best < 11
    layer = _layers_of(states)[best]
    np.testing.assert_allclose(method.outputs(state, inputs)["result"].value, layer, atol=1e-5)


def test_early_stop_finds_the_least_error_of_the_validation():
    """The fit leaves out the right half, whose error the steps first lower and then raise."""
    inputs = {"image": _image()}
    inputs["image"][:, 5:] = 0.5

    def loss(layers, inputs, step):
        return l2(layers["image"][:, :5], inputs["image"][:, :5]), {}

    right = lambda layers, inputs: l2(layers["image"][:, 5:], inputs["image"][:, 5:])
    how = {"loss": loss, "validate": right, "patience": 6, "learning_rate": 0.1}
    method = _method(_still(), **how)
    state, states, metrics = _run(method, inputs, 30)
    layers = np.stack(_layers_of(states))
    errors = [right({"image": layer}, inputs) for layer in layers]
    assert len(metrics) == 30
    steps = int(state.step)
    assert steps < 30
    least = int(np.argmin(errors[:steps]))
    assert steps == least + 6 + 1
    np.testing.assert_allclose(
        method.outputs(state, inputs)["result"].value, layers[least], atol=1e-5
    )
    frozen, before = states[-1].replace(key=None), states[steps].replace(key=None)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), frozen, before))


OPTIMIZERS = {"lion": optax.lion(1e-2), "adamw": optax.adamw(1e-2, weight_decay=0.1)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_custom_optimizer(name):
    """A step equals that of optax with the parameters as an argument; no learning rate is logged."""
    inputs, optimizer = {"image": _image()}, OPTIMIZERS[name]
    method = _method(_still(), optimizer=optimizer)
    state, states, metrics = _run(method, inputs, 20)
    params, z = states[0].params, states[0].model_state["z"]["image"][None]
    layer = lambda params: PixelNet().apply({"params": params["image"]}, z)[0, 1:7, 1:11]
    grads = jax.grad(lambda params: l2(layer(params), inputs["image"]))(params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    expected = optax.apply_updates(params, updates)
    close = functools.partial(np.testing.assert_allclose, atol=1e-6)
    jax.tree.map(close, states[1].params, expected)
    assert set(metrics[0]) == {"loss", "psnr"}
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    assert set(state.opt_state) == {"optimizer"}


def test_a_checkpoint_holds_the_optimizers_state(tmp_path):
    inputs, method = {"image": _image()}, _method(optimizer=OPTIMIZERS["lion"])
    state, states, _ = _run(method, inputs, 4)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, states[2], None, {"stage": 0})
    restored, _, meta = checkpoints.restore(method, inputs)
    assert meta["stage"] == 0
    again, *_ = _run(method, inputs, 2, state=restored)
    jax.tree.map(np.testing.assert_array_equal, again.replace(key=0), state.replace(key=0))


def test_target_ends_a_phase():
    inputs = {"image": np.full((*SHAPE, 3), 0.5, np.float32)}
    state, _, metrics = _run(_method(_still(), target=25.0), inputs, 30)
    steps = int(state.step)
    assert 0 < steps < 30
    assert metrics[steps - 1]["psnr"] > 25 >= metrics[steps - 2]["psnr"]


def test_backtracking_brings_the_good_weights_back():
    inputs, method = {"image": _image()}, _method(backtrack=5.0)
    stage = method.stages[0]
    assert stage.evaluate_every == fit.EVALUATE_EVERY
    good, *_ = _run(method, inputs, 5)
    good, metrics = stage.evaluate(good, inputs)
    assert metrics["went_back"] == 0
    broken = jax.tree.map(lambda x: x + 3, good.params)
    bad = good.replace(params=broken)
    bad = bad.replace(model_state={**bad.model_state, "psnr": good.model_state["psnr"] - 6})
    back, metrics = stage.evaluate(bad, inputs)
    assert metrics["went_back"] == 1
    same = jax.tree.map(lambda a, b: bool((a == b).all()), back.params, good.params)
    assert jax.tree.all(same)
    small = bad.replace(model_state={**bad.model_state, "psnr": good.model_state["psnr"] - 4})
    kept, _ = stage.evaluate(small, inputs)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), kept.params, broken))


def test_growing_noise():
    std = growing(1e-3, 100)
    assert [float(std(jnp.asarray(s))) for s in (0, 99, 250, 999, 1000, 5000)] == pytest.approx(
        [0, 0, 2e-3, 9e-3, 1e-3, 1e-3]
    )


def test_flips_show_each_variant_of_image_and_input():
    """A square image has all eight variants; the image and the net's input are flipped together."""
    image = np.random.default_rng(1).random((4, 4, 1)).astype(np.float32)
    seen = []

    def loss(layers, inputs, step):
        jax.debug.callback(
            lambda x, y: seen.append((np.array(x), np.array(y))), inputs["image"], step
        )
        return l2(layers["image"], inputs["image"]), {}

    generator = fit.Generator(PixelNet(1), depth=1, source="image")
    method = _method(generator, shape=(4, 4), flips=2, loss=loss)
    _run(method, {"image": image}, 16)
    jax.effects_barrier()
    shown = {int(step): x for x, step in seen}
    for step in range(0, 16, 2):
        np.testing.assert_array_equal(shown[step], image)
    variants = {shown[step].tobytes() for step in range(1, 16, 2)}
    rotations = [np.rot90(image, k) for k in range(4)]
    every = {np.ascontiguousarray(x).tobytes() for r in rotations for x in (r, r[:, ::-1])}
    assert variants == every


def test_phases_share_weights_and_begin_anew():
    """The second phase starts with the first one's weights, except restarted ones, and a new Adam."""
    nets = {"image": _still(), "other": fit.Generator(PixelNet(), source="=image")}
    carry = lambda layers, inputs: {**inputs, "image": layers["image"]}
    phases = [
        fit.Phase("a", 4, _loss, nets=("image",), carry=carry),
        fit.Phase("b", 4, _loss, restart=("other",)),
    ]
    method = fit.build("two", nets, phases, _outputs, shape=SHAPE)
    inputs = {"image": _image()}
    state, states, _ = _run(method, inputs, 4)
    other = [s.params["other"]["Dense_0"]["kernel"] for s in (states[0], state)]
    np.testing.assert_array_equal(*other)
    following, carried = method.stages[0].advance(state, inputs)
    np.testing.assert_allclose(carried["image"], _layers_of([state])[0], atol=1e-6)
    np.testing.assert_array_equal(
        following.params["image"]["Dense_0"]["kernel"], state.params["image"]["Dense_0"]["kernel"]
    )
    assert (following.params["other"]["Dense_0"]["kernel"] != other[1]).all()
    assert int(following.step) == 0
    assert all(float(jnp.abs(x).max()) == 0 for x in jax.tree.leaves(following.opt_state))
    _run(method, carried, 2, stage=1, state=following)


def test_restarted_nets_differ_from_each_other():
    nets = {"image": _still(), "other": fit.Generator(PixelNet(), source="=image")}
    phases = [fit.Phase("a", 1, _loss), fit.Phase("b", 1, _loss, restart=("image", "other"))]
    method = fit.build("two", nets, phases, _outputs, shape=SHAPE)
    inputs = {"image": _image()}
    state = method.init(jax.random.key(0), inputs)
    params = jax.jit(method.stages[0].advance)(state, inputs)[0].params
    kernels = [tree[name]["Dense_0"]["kernel"] for tree in (state.params, params) for name in nets]
    for a, b in itertools.combinations(kernels, 2):
        assert (a != b).all()


def test_a_finished_fit_continues_with_other_inputs():
    """It starts with its weights, its net inputs except those from inputs, and a new Adam."""
    nets = {"image": _still(), "other": fit.Generator(PixelNet(), depth=3, source="image")}
    phases = [fit.Phase("fit", 3, _loss, learning_rate=0.05)]
    method = fit.build("more", nets, phases, _outputs, shape=SHAPE, more=2)
    inputs, changed = {"image": _image()}, {"image": 1 - _image()}
    state, *_ = _run(method, inputs, 3)
    began = method.again(state, changed)
    for a, b in zip(jax.tree.leaves(began.params), jax.tree.leaves(state.params)):
        np.testing.assert_array_equal(a, b)
    z, before = began.model_state["z"], state.model_state["z"]
    np.testing.assert_array_equal(z["image"], before["image"])
    np.testing.assert_allclose(z["other"], 1 - before["other"], atol=1e-6)
    assert int(began.step) == 0
    assert all(float(jnp.abs(x).max()) == 0 for x in jax.tree.leaves(began.opt_state))
    assert (jax.random.key_data(began.key) != jax.random.key_data(state.key)).any()
    ended, metrics = method.more.step(began, changed, None)
    assert method.stages == method.all_stages[:1]
    assert method.all_stages[1].steps == 2
    assert metrics["loss"] > l2(method.outputs(ended, changed)["result"].value, changed["image"])
    again = method.again(ended, inputs)
    assert jax.tree.structure(again) == jax.tree.structure(began)


def test_frames_share_weights_and_drift_within_bounds():
    generator = fit.Generator(PixelNet(), low=-0.05, high=0.05, drift=0.02)
    method = _method(generator, frames=9, batch=4, jitter={"image": 0.0})
    inputs = {"image": 0.2 + 0.1 * _image(9)}
    state, _, metrics = _run(method, inputs, 25)
    z = np.asarray(state.model_state["z"]["image"])
    assert z.shape == (9, 8, 12, 2)
    assert -0.05 <= z.min() < -0.045 < 0.045 < z.max() <= 0.05
    steps = np.abs(np.diff(z, axis=0))
    assert 0.015 < steps.max() <= 0.02 + 1e-6
    made = method.outputs(state, inputs)["result"].value
    frame = PixelNet().apply({"params": state.params["image"]}, z[5:6])[0, 1:7, 1:11]
    assert made.shape == (9, *SHAPE, 3)
    np.testing.assert_allclose(made[5], frame, atol=1e-6)
    assert metrics[-1]["loss"] < metrics[0]["loss"]


@pytest.mark.slow
def test_images_side_by_side_give_the_same_as_alone():
    inputs, method = {"image": _image()}, _method(validate=_error, patience=50, keep="average")
    keys = jax.random.split(jax.random.key(3), 2)
    both = jax.tree.map(lambda x: jnp.stack([x, 1 - x]), inputs)
    states = jax.jit(jax.vmap(method.init))(keys, both)
    step = jax.jit(jax.vmap(functools.partial(method.step, variant=None)))
    for _ in range(5):
        states, _ = step(states, both)
    alone = method.init(keys[1], {"image": 1 - inputs["image"]})
    alone, *_ = _run(method, {"image": 1 - inputs["image"]}, 5, state=alone)
    np.testing.assert_allclose(
        states.model_state["kept"]["image"][1], alone.model_state["kept"]["image"], atol=1e-5
    )


def test_mistakes_in_a_decomposition_are_refused():
    with pytest.raises(ValueError, match="no generator 'sky'"):
        _method(nets=("sky",))
    with pytest.raises(ValueError, match="flips"):
        _method(flips=2, keep="average")
    with pytest.raises(ValueError, match="validate needs patience"):
        _method(validate=_error)
    carrying = fit.Phase("a", 3, _loss, carry=lambda layers, inputs: inputs)
    phases = [carrying, fit.Phase("b", 3, _loss)]
    with pytest.raises(ValueError, match="`more` needs phases without `carry`"):
        fit.build("one", {"image": _still()}, phases, _outputs, shape=SHAPE, more=3)


def test_meshgrid_input():
    inputs = {"image": _image()}
    meshed = _method(fit.Generator(PixelNet(), source="meshgrid"))
    z = meshed.init(jax.random.key(0), inputs).model_state["z"]["image"]
    assert float(z[0, -1, 0]) == float(z[-1, 0, 1]) == 1
    assert float(z[0, -1, 1]) == float(z[-1, 0, 0]) == 0
