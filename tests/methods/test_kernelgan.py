"""KernelGAN as a method."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

from deepinternal import methods
from deepinternal.methods.kernelgan import RECIPE, estimate, training
from deepinternal.methods.kernelgan.inputs import sides
from deepinternal.ops import kernel_scores, kernels, resizing
from deepinternal.replicas import over_replicas
from deepinternal.types import InputError, input_spec

TINY = {"features": 8, "replicas": 1, "bicubic_every": 4, "evaluate_every": 5}
divergence = jax.jit(estimate.divergence)


def photo(size=128):
    return skimage.data.astronaut()[100 : 100 + size, 150 : 150 + size].astype(np.float32) / 255


def blurred(kernel, size=128):
    image = photo(size)
    small = kernels.downscale(jnp.asarray(image), kernels.centre_kernel(kernel, 2), 2)
    return np.round(np.clip(np.asarray(small), 0, 1) * 255) / 255


def slanted():
    return np.asarray(kernels.gaussian_kernel(11, (2.0, 0.8), theta=np.pi / 6))


def setting(image, presets="", reference=None, **fields):
    config = RECIPE.build(presets, **{**TINY, **fields})
    inputs = RECIPE.prepare(config, image, reference)
    return config, inputs, over_replicas(RECIPE.method(config, input_spec(inputs)))


class Built:
    """A method and its programs, for one image."""

    def __init__(self, image, presets="", reference=None, **fields):
        self.config, self.inputs, self.method = setting(image, presets, reference, **fields)
        quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
        self._init = quick(self.method.init)
        self.outputs = quick(self.method.outputs)

    def init(self, seed=0):
        return self._init(jax.random.key(seed), self.inputs)

    @functools.cached_property
    def _step(self):
        return jax.jit(self.method.step).lower(self.init(), self.inputs).compile()

    def steps(self, state, count):
        for _ in range(count):
            state, self.metrics = self._step(state, self.inputs)
        return state


@pytest.fixture(scope="module")
def built():
    return Built(blurred(slanted()))


@pytest.mark.slow
def test_divergence_prefers_the_true_kernel():
    true = slanted()
    _, given, _ = setting(blurred(true, 192))
    sharp = kernels.gaussian_kernel(13, 0.7)
    wide = kernels.gaussian_kernel(13, 3.0)
    turned = kernels.gaussian_kernel(13, (2.0, 0.8), theta=np.pi / 6 + np.pi / 2)
    candidates = [np.pad(true, 1), sharp, wide, turned, kernels.cubic_kernel(2, 13)]
    scores = [float(divergence(jnp.asarray(k), given["statistics"])) for k in candidates]
    assert scores[0] < 0.5 * min(scores[1:])


def test_divergence_of_noisy_images_is_that_of_clean_ones():
    # What the statistics of a noisy image say of the true kernel must still set it apart.
    true, rng = slanted(), np.random.default_rng(0)
    image = blurred(true, 192)
    noisy = np.clip(image + rng.normal(0, 10 / 255, image.shape), 0, 1).astype(np.float32)
    _, inputs, _ = setting(noisy, noise_std=10 / 255)
    _, unaware, _ = setting(noisy, noise_std=0.0)

    def score(given):
        kernel = jnp.asarray(np.pad(true, 1))
        return float(divergence(kernel, given["statistics"]))

    assert score(inputs) < 0.6 * score(unaware)


@pytest.mark.slow
def test_initial_weights_have_the_published_distribution():
    """Xavier's normal with a gain of 0.1, all from one draw."""
    fields = {"features": 32}
    _, inputs, method = setting(blurred(slanted()), **fields)
    params = jax.jit(method.init)(jax.random.key(0), inputs).params
    for net in ("generator", "discriminator"):
        for name, layer in params[net].items():
            kernel = layer if net == "generator" else layer.get("kernel")
            if kernel is None:
                np.testing.assert_array_equal(layer["scale"], 1)
                np.testing.assert_array_equal(layer["shift"], 0)
                continue
            kh, kw, c_in, c_out = kernel.shape
            expected = 0.1 * np.sqrt(2 / (kh * kw * (c_in + c_out)))
            spread = 4 / np.sqrt(2 * kernel.size)
            assert np.std(kernel) == pytest.approx(expected, rel=spread), (net, name)
    np.testing.assert_array_equal(params["discriminator"]["conv0"]["bias"], 0)


@pytest.fixture(scope="module")
def several():
    return Built(blurred(slanted()), replicas=3)


@pytest.mark.slow
def test_a_step_changes_the_generator_and_depends_only_on_the_state(several):
    state = several.init()
    first = several.steps(state, 1)
    changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), state.params, first.params)
    assert all(jax.tree.leaves(changed["generator"]))
    again, whole = several.steps(first, 2), several.steps(state, 3)
    same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), again.params, whole.params)
    assert all(jax.tree.leaves(same))


@pytest.mark.slow
def test_the_best_of_several_replicas_is_taken(several):
    made = several
    state = made.steps(made.init(), 6)
    weights = state.params["generator"]["conv1"]
    assert weights.shape[0] == 3
    assert float(jnp.abs(weights[0] - weights[1]).max()) > 1e-2
    outputs = {name: np.asarray(o.value) for name, o in made.outputs(state, made.inputs).items()}
    finished = [
        np.asarray(estimate.finished(average, "peak")) for average in state.model_state["average"]
    ]
    errors = [float(divergence(k, made.inputs["statistics"])) for k in finished]
    best = int(np.argmin(errors))
    np.testing.assert_allclose(outputs["kernel_divergence"], errors, rtol=1e-4)
    assert outputs["kernel_seed"] == best
    np.testing.assert_allclose(outputs["kernel"], finished[best], atol=1e-6)
    cosines = [np.sum(k * finished[best]) / np.linalg.norm(k) for k in finished]
    agreement = min(cosines) / np.linalg.norm(finished[best])
    assert outputs["kernel_agreement"] == pytest.approx(agreement, abs=1e-5)
    small = kernels.downscale(made.inputs["image"], finished[best], 2)
    np.testing.assert_allclose(outputs["result"], np.clip(small, 0, 1), atol=1e-5)


@pytest.mark.slow
def test_a_settled_replica_rests_and_the_run_ends_with_the_last(several):
    made = several
    state = made.init()
    still = lambda *counts: state.replace(
        model_state={**state.model_state, "still": jnp.asarray(counts)}
    )
    assert not bool(made.method.done(still(3, 2, 3)))
    assert bool(made.method.done(still(3, 3, 3)))
    after = made.steps(still(3, 0, 0), 1)
    np.testing.assert_array_equal(after.step, [0, 1, 1])
    before, now = (jax.tree.leaves(s.replace(key=None)) for s in (still(3, 0, 0), after))
    for a, b in zip(before, now, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
    kernels_ = [s.params["generator"]["conv1"] for s in (state, after)]
    assert np.any(kernels_[0][1] != kernels_[1][1])


def test_cubic_weight_reacts_and_brings_in_the_late_terms():
    config = RECIPE.build("published")
    weights = [training.weights(config, jnp.asarray(n)) for n in (0, 1, 200, 201, 401, 10_000)]
    cubic = [float(w["bicubic"]) for w in weights]
    np.testing.assert_allclose(cubic, [1, 1e-2, 1e-2, 1e-4, 1e-6, 1e-6], rtol=1e-5)
    assert [float(w["sparse"]) for w in weights] == [0, 0, 0, 5, 5, 5]
    assert [float(w["centre"]) for w in weights] == [0, 0, 0, 1, 1, 1]


def test_the_shape_of_the_image_determines_all_shapes(built):
    shape = built.inputs["image"].shape
    made = methods.make("kernelgan", {**TINY}, shape)
    assert made.spec == built.method.spec == input_spec(built.inputs)
    state = jax.eval_shape(made.init, jax.random.key(0), built.inputs)
    assert jax.tree.map(jnp.shape, state.params) == jax.tree.map(jnp.shape, built.init().params)
    with pytest.raises(InputError, match="made for statistics"):
        made.init(jax.random.key(0), {"image": built.inputs["image"]})
    lacking = {"image": shape, "reference_kernel": (13, 13)}
    with pytest.raises(InputError, match="take the inputs from `prepare`"):
        methods.make("kernelgan", {**TINY}, lacking)


def test_images_that_share_a_canvas(built):
    group = lambda *args: RECIPE.canvas.group(built.config, *args)
    assert group((72, 70, 3), {}) == group((300, 90, 3), {})
    others = [group((72, 70, 1), {}), group((60, 90, 3), {})]
    others += [group((72, 70, 3), {"reference_kernel": (9, 9)})]
    assert len({group((72, 70, 3), {}), *others}) == 4


@pytest.mark.slow
def test_crops_and_outputs_do_not_depend_on_the_canvas(built):
    """A step reads the image only through the crops that it draws."""
    padded = RECIPE.canvas.pad(built.config, built.inputs, (72, 70))
    crops = sides(built.config, built.inputs["image"].shape[:2])
    task = training.Task(built.config, *crops)
    draw = jax.jit(lambda key, given: vars(training.draw(task, key, given)))
    for seed in range(3):
        drawn = [draw(jax.random.key(seed), given) for given in (built.inputs, padded)]
        jax.tree.map(np.testing.assert_array_equal, *drawn)
    assert sides(built.config, (72, 70)) == crops
    state = built.init()
    average = jnp.asarray(np.pad(slanted(), 1))
    state = state.replace(model_state={**state.model_state, "average": average})
    other = RECIPE.method(built.config, input_spec(padded))
    on_canvas = jax.jit(other.outputs)(state, padded)["result"]
    h, w = on_canvas.size
    small = built.outputs(state, built.inputs)["result"].value
    assert (h, w) == small.shape[:2]
    np.testing.assert_allclose(on_canvas.value[:h, :w], small, atol=1e-5)


@pytest.mark.slow
def test_finds_a_slanted_gaussian():
    true = slanted()
    centred = np.asarray(kernels.centre_kernel(true, 2))
    fields = {"features": 32, "bicubic_every": 100, "train_steps": 210}
    made = Built(blurred(true, 256), "fast", centred, **fields)
    made = made.outputs(made.steps(made.init(), 210), made.inputs)
    best = max(
        float(kernel_scores.correlation(kernels.gaussian_kernel(15, s), centred))
        for s in np.arange(0.8, 2.4, 0.2)
    )
    assert float(made["kernel_correlation"].value) > max(best, 0.95)
    assert made["kernel"].value.shape == (19, 19)
    assert abs(float(made["kernel"].value.sum()) - 1) < 1e-5
    np.testing.assert_allclose(kernels.centre_of_mass(made["kernel"].value), 9.5, atol=0.05)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"scale": "3"}, "config.scale=3"),
        ({"crop": 20}, "config.crop"),
        ({"replicas": 0}, "config.replicas"),
        ({"faint": "all"}, "config.faint=all: must be one of peak, rank"),
        ({"covariance": -1.0}, "config.covariance"),
        ({"noise_std": float("nan")}, "config.noise_std"),
    ],
)
def test_bad_settings_are_refused_in_one_line(fields, named):
    with pytest.raises(InputError, match=named) as caught:
        RECIPE.build("", **fields)
    assert "\n" not in str(caught.value)


def test_tiny_and_flat_images():
    config = RECIPE.build()
    with pytest.raises(InputError, match="at least 40 pixels"):
        RECIPE.prepare(config, photo(39))
    flat = np.full((64, 64, 3), 0.5, np.float32)
    inputs = RECIPE.prepare(config, flat)
    cubic = jnp.asarray(kernels.cubic_kernel(2, 13))
    assert np.isfinite(divergence(cubic, inputs["statistics"]))
    said = RECIPE.remarks(config, inputs, None)
    assert len(said) == 1
    assert "little texture" in said[0]
    large = {**inputs, "image": np.zeros((3000, 1000, 3), np.float32)}
    assert "from the middle 2048x1000 pixels" in RECIPE.remarks(config, large, None)[0]


def test_example_has_its_kernel():
    made = RECIPE.example(RECIPE.build("x4"), photo(128))
    assert made.name == "skimage.data.astronaut, downscaled by 4 with a slanted Gaussian kernel"
    assert made.image.shape == (32, 32, 3)
    reference = made.sides["reference_kernel"]
    made_again = kernels.downscale(jnp.asarray(photo(128)), jnp.asarray(reference), 4)
    np.testing.assert_allclose(made.image, np.clip(made_again, 0, 1), atol=0.51 / 255)
    assert (
        np.abs(np.asarray(resizing.resize(jnp.asarray(made.image), scale=4.0)) - photo(128)).mean()
        < 0.2
    )


def test_gaussians_need_no_training():
    kernel = kernels.gaussian_kernel(15, (2.1, 1.2), theta=0.6)
    config = RECIPE.build("gaussian")
    inputs = RECIPE.prepare(config, blurred(kernel, 224), np.asarray(kernel))
    method = RECIPE.method(config, input_spec(inputs))
    state = method.init(jax.random.key(0), inputs)
    made = jax.jit(method.outputs)(method.stages[0].step(state, inputs, None)[0], inputs)
    assert made["result"].value.shape == (56, 56, 3)
    assert float(made["kernel_correlation"].value) > 0.97
    assert 0.5 < float(made["kernel_confidence"].value) < 1
    figures = {k: np.asarray(o.value).tolist() for k, o in made.items() if o.kind == "scalar"}
    assert "correlation with the true one" in " ".join(RECIPE.remarks(config, inputs, figures))
    with pytest.raises(InputError, match="lack `estimate`"):
        RECIPE.method(config, input_spec({"image": photo()}))
