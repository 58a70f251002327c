"""GPNN: one step against float64 in NumPy, and small runs through the engine."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal import methods
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.loop import Stopped, train
from deepinternal.engine.parallel import Programs
from deepinternal.methods.patches import RECIPE, coarse, gpnn, pyramid
from deepinternal.ops.patches.voting import voted_by_both
from deepinternal.types import InputError, input_spec
from tests.brute_patches import all_patches, brute_force, photo
from tests.engine.stop import Stop

PATCH, CANVAS = 3, (14, 18)
TINY = {"patch": 3, "smallest": 12, "ratio": 2.0, "iterations": 2, "growth": 1.3, "trials": 2}

pytestmark = pytest.mark.usefixtures("quick_programs")


def on_canvas(image):
    """The image in the upper left of a canvas, whose rest must have no effect."""
    canvas = np.full((*CANVAS, image.shape[-1]), 0.5, np.float32)
    canvas[: image.shape[0], : image.shape[1]] = image
    return jnp.asarray(canvas)


def setting(image, preset="", **fields):
    config = RECIPE.build(preset, **{**TINY, **fields})
    inputs = RECIPE.prepare(config, image)
    return inputs, RECIPE.method(config, input_spec(inputs))


def run(image, preset="", **fields):
    inputs, method = setting(image, preset, **fields)
    return train(Programs(method), inputs, seed=3)


def image_of(result):
    return np.asarray(result.state.model_state["guess"])  # on a canvas at coarse scales


# One step


@functools.cache
def matched(alpha, position=0.0, *, both=False):
    options = {"patch": PATCH, "alpha": alpha, "position": position, "both": both}
    function = functools.partial(coarse.matched, **options)
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def normalised(guess, source, alpha, position=0.0):
    """Distances (h, w, N) in float64, and scores: eq. 2 of the paper."""
    apart = brute_force(guess, source, PATCH)
    if position:
        places = [
            np.stack(np.mgrid[: n[0], : n[1]], -1) + 0.5
            for n in ([m - PATCH + 1 for m in x.shape[:2]] for x in (guess, source))
        ]
        a, b = (x / (np.array(x.shape[:2])) for x in places)
        apart = apart + position * ((a[:, :, None] - b.reshape(-1, 2)) ** 2).sum(-1)
    least = apart.min(axis=(0, 1))
    return apart, apart / (alpha + least) if alpha else apart


@pytest.mark.parametrize(
    ("alpha", "position"), [(0.0, 0.0), (1e-3, 0.0), (1e-3, 0.1)], ids=["plain", "score", "place"]
)
def test_patches_are_matched_by_the_normalised_score(alpha, position):
    guess, source = photo(11, 16), photo(12, 13, at=(60, 180))
    images = on_canvas(guess), jnp.asarray([11, 16]), on_canvas(source), jnp.asarray([12, 13])
    found, _, mean, neglected = matched(alpha, position)(*images)
    apart, score = normalised(guess, source, alpha, position)
    y, x = np.moveaxis(np.asarray(found)[:9, :14], -1, 0)
    chosen = (y * (13 - PATCH + 1) + x)[..., None]
    np.testing.assert_allclose(
        np.take_along_axis(score, chosen, -1)[..., 0], score.min(axis=-1), rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(mean, np.take_along_axis(apart, chosen, -1).mean(), rtol=1e-3)
    if alpha:
        np.testing.assert_allclose(neglected, apart.min(axis=(0, 1)).mean(), rtol=1e-3)


def test_pixels_that_are_not_allowed_are_not_used():
    guess, source = photo(11, 16), photo(12, 13, at=(60, 180))
    allowed = np.zeros(CANVAS, bool)
    allowed[3:12, 2:9] = True
    sizes = jnp.asarray([11, 16]), jnp.asarray([12, 13])
    images = on_canvas(guess), sizes[0], on_canvas(source), sizes[1]
    place, *_ = matched(1e-3)(*images, allowed=jnp.asarray(allowed))
    place = np.asarray(place)[:9, :14]
    assert (place.min(axis=(0, 1)) >= [3, 2]).all()
    assert (place.max(axis=(0, 1)) <= [9, 6]).all()


def test_overlapping_patches_are_averaged_with_gaussian_weights():
    source, rng = photo(12, 13), np.random.default_rng(0)
    place = np.zeros((CANVAS[0] - PATCH + 1, CANVAS[1] - PATCH + 1, 2), np.int32)
    place[:9, :14] = rng.integers(0, 10, (9, 14, 2))
    made = coarse.voted(jnp.asarray(place), jnp.asarray([11, 16]), on_canvas(source), patch=PATCH)
    patches = all_patches(source, PATCH).reshape(10, 11, PATCH, PATCH, 3)
    sums, total = np.zeros((11, 16, 3)), np.zeros((11, 16, 1))
    offsets = (np.arange(PATCH) - 1) ** 2
    weights = np.exp(-(offsets[:, None] + offsets) / (2 * (PATCH / 4) ** 2))[..., None]
    for y, x in itertools.product(range(9), range(14)):
        sums[y : y + PATCH, x : x + PATCH] += weights * patches[tuple(place[y, x])]
        total[y : y + PATCH, x : x + PATCH] += weights
    np.testing.assert_allclose(np.asarray(made)[:11, :16], sums / total, atol=1e-5)


def test_patches_of_both_images_vote():
    guess, source = photo(11, 16), photo(12, 13, at=(60, 180))
    sizes = jnp.asarray([11, 16]), jnp.asarray([12, 13])
    images = on_canvas(guess), sizes[0], on_canvas(source), sizes[1]
    found = matched(0.0, both=True)(*images)
    options = {"size": sizes[0], "searched_size": sizes[1], "patch": PATCH, "weight": 2.0}
    made = np.asarray(voted_by_both(found.place, found.back, images[2], **options))[:11, :16]
    there = brute_force(guess, source, PATCH).reshape(9 * 14, 10 * 11)
    patches = all_patches(source, PATCH).reshape(-1, PATCH, PATCH, 3)
    pairs = [(i, j, 1 / 126) for i, j in enumerate(there.argmin(axis=1))]
    pairs += [(i, j, 2 / 110) for j, i in enumerate(there.argmin(axis=0))]
    sums, total = np.zeros((11, 16, 3)), np.zeros((11, 16, 1))
    for i, j, weight in pairs:
        y, x = divmod(i, 14)
        sums[y : y + PATCH, x : x + PATCH] += weight * patches[j]
        total[y : y + PATCH, x : x + PATCH] += weight
    np.testing.assert_allclose(made, sums / total, atol=1e-5)


# Scales


def test_scales_end_at_the_full_size_and_begin_at_the_least():
    config = RECIPE.build(smallest=24, ratio=4 / 3)
    levels = pyramid.levels(config, (96, 120), (96, 240))
    assert levels[-1] == pyramid.Level((96, 120), (96, 240))
    assert 24 <= min(levels[0].source) < 24 * 4 / 3
    ratios = [b.source[0] / a.source[0] for a, b in itertools.pairwise(levels)]
    np.testing.assert_allclose(ratios, 4 / 3, rtol=0.05)


def test_fine_scales_have_one_factor_for_the_image_and_the_result():
    levels = pyramid.levels(RECIPE.build(smallest=24, ratio=2), (224, 274), (224, 548))
    thin = pyramid.thinned(levels, 1, 2.25, 2)
    assert thin[0] == levels[0]
    assert [x.source for x in thin[1:]] == [(56, 68), (112, 137), (224, 274)]
    assert [x.result for x in thin[1:]] == [(56, 137), (112, 274), (224, 548)]


def test_sides_are_multiples_of_four_while_retargeting_and_as_asked_for_at_the_end():
    image = np.random.default_rng(0).random((97, 130, 1), np.float32)
    inputs, method = setting(image, smallest=24, result_size="97,259", trials=1)
    config = RECIPE.build(**{**TINY, "smallest": 24, "result_size": "97,259"}).resolved()
    plan = gpnn._plan(config, (97, 130), (97, 259))
    assert plan.levels[-1] == pyramid.Level((100, 132), (100, 260))
    padded = np.pad(image, ((0, 3), (0, 2), (0, 0)), "symmetric")
    np.testing.assert_array_equal(plan.source(inputs), padded)
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    for stage in method.stages[:-1]:
        state, _ = jax.eval_shape(stage.advance, state, inputs)
    assert jax.eval_shape(method.outputs, state, inputs)["result"].value.shape == (97, 259, 1)


def test_the_schedule_grows_gradually_and_then_follows_the_scales():
    levels = (pyramid.Level((10, 10), (10, 20)), pyramid.Level((13, 13), (13, 26)))
    plan = coarse.schedule(levels, [(10, 14), (10, 20)], (10, 10), 2)
    assert plan.level.tolist() == [0, 0, 0, 0, 1, 1]
    assert plan.before[:, 1].tolist() == [10, 14, 14, 20, 20, 26]
    assert plan.after[:, 1].tolist() == [14, 14, 20, 20, 26, 26]


# Runs


@pytest.fixture(scope="module")
def fine(quick_programs):
    """A run with a coarse and a fine stage, without interruption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpnn, "_PAIRS", 2**17)
        blocks = np.random.default_rng(0).random((16, 20, 3), np.float32)
        image = blocks.repeat(2, axis=0).repeat(2, axis=1)
        inputs, method = setting(image, result_scale="1,1.5")
        programs = Programs(method)
        return inputs, programs, train(programs, inputs, seed=3)


def test_a_run_ends_with_the_size_that_was_asked_for_and_with_patches_of_the_image(fine):
    inputs, programs, result = fine
    assert len(programs.method.stages) > 1
    made = image_of(result)[0]
    assert made.shape == (32, 60, 3)
    stretched = programs.method.baseline(inputs)
    apart, worse = (
        brute_force(np.asarray(x), inputs["image"], PATCH).min(axis=-1).mean()
        for x in (made, stretched)
    )
    assert apart < 0.9 * worse


def test_resumed_runs_end_with_the_same_bits(fine, tmp_path):
    inputs, programs, whole = fine
    first, resumed = programs.method.stages[0].steps, []
    for at in (2, first + 1):  # in both stages
        stop = Stop(at)
        options = {"stop": stop, "progress": stop, "checkpoints": Checkpoints(tmp_path)}
        with pytest.raises(Stopped):
            train(programs, inputs, seed=3, **options)
        resumed.append(stop)
    result = train(programs, inputs, seed=3, checkpoints=Checkpoints(tmp_path))
    assert len(result.spent.resumed_steps) == len(resumed)
    np.testing.assert_array_equal(image_of(result), image_of(whole))


def test_samples_of_generate_differ_and_have_the_images_size():
    grey = photo(32, 40)[..., :1]
    made = image_of(run(grey, "generate", samples=3, trials=1))
    assert made.shape[:1] + made.shape[3:] == (3, 1)
    pairs = itertools.combinations(made[:, :32, :40], 2)
    assert min(np.abs(a - b).mean() for a, b in pairs) > 0.02


def test_an_image_keeps_itself_if_its_size_is_kept():
    image = photo(24, 24)
    made = image_of(run(image, result_scale="1", smallest=24))[0]
    np.testing.assert_allclose(made[:24, :24], image, atol=1e-5)


@pytest.mark.parametrize("preset", ["", "fast", "smoke", "generate,smoke", "bidir,smoke", "seams"])
def test_presets_make_methods_for_images_of_one_shape(preset):
    method = methods.make("patches", {}, (64, 80, 3), preset=preset)
    assert method.spec["image"].shape == (64, 80, 3)
    assert sum(stage.steps for stage in method.stages) > 0


@pytest.mark.parametrize(
    ("shape", "fields", "message"),
    [
        ((7, 40, 3), {}, "the image is 7x40 (height x width): its sides must be at least 8 pixels"),
        ((32, 40, 3), {"result_scale": "0.1,1"}, "the result is 3x40"),
        ((64, 80, 3), {"result_size": "20000,20000"}, "config.result_size=20000,20000: the sides"),
        (
            (3000, 3000, 3),
            {"result_scale": "8"},
            "the result is 24000x24000 (height x width): it must",
        ),
        ((32, 40, 3), {"result_scale": "9"}, "config.result_scale=9: must be vertical,horizontal"),
        ((32, 40, 3), {"result_size": "9"}, "config.result_size=9: must be height,width"),
    ],
    ids=["image", "result", "absurd", "large", "scale", "size"],
)
def test_sizes_that_are_not_possible_are_refused(shape, fields, message):
    with pytest.raises(InputError) as error:
        methods.make("patches", fields, shape)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
