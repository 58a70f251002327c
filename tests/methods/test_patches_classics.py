"""Bidirectional similarity against brute force in NumPy; seam carving seam by seam."""

import itertools

import jax
import numpy as np
import pytest
import skimage.data

from deepinternal.methods.patches import RECIPE, bidirectional
from deepinternal.ops import seams
from deepinternal.ops.patches.voting import assembled
from deepinternal.types import InputError, input_spec

PATCH = 3


def photo(height, width):
    return np.float32(skimage.data.astronaut()[20 : 20 + height, 180 : 180 + width]) / 256


def run(preset, image, size, **fields):
    """Runs all steps; returns the result and the losses of each stage."""
    config = RECIPE.build(preset, result_size="{},{}".format(*size), **fields)
    inputs = RECIPE.prepare(config, image)
    method = RECIPE.method(config, input_spec(inputs))
    state, losses = method.init(jax.random.key(0), inputs), []
    for stage in method.stages:
        step, found = jax.jit(stage.step).lower(state, inputs, None).compile(), []
        for _ in range(stage.steps):
            state, metrics = step(state, inputs, None)
            found.append(float(metrics["loss"]))
        losses.append(found)
        if stage.advance:
            state, inputs = stage.advance(state, inputs)
    return np.asarray(method.outputs(state, inputs)["result"].value), losses


def places(image):
    return list(itertools.product(*(range(n - PATCH + 1) for n in image.shape[:2])))


def patch(image, place):
    y, x = place
    return image[y : y + PATCH, x : x + PATCH]


def improved_by_loops(target, source):
    """Equation 3 of Simakov et al.; returns the new target and the distance of the old one."""
    sums, apart = np.zeros((*target.shape[:2], 4)), 0
    pairs = ((target, source), (source, target))
    for image, other in pairs:
        here, there = places(image), places(other)
        for place in here:
            distances = [np.mean((patch(image, place) - patch(other, q)) ** 2) for q in there]
            found = there[int(np.argmin(distances))]
            apart += min(distances) / len(here)
            at, of = (place, found) if image is target else (found, place)
            votes = np.concatenate([patch(source, of), np.ones((PATCH, PATCH, 1))], axis=-1)
            patch(sums, at)[:] += votes / len(here)
    return sums[..., :3] / sums[..., 3:], apart


def on_canvases(*images):
    canvas = [max(x.shape[i] for x in images) for i in (0, 1)]
    padded = [np.pad(x, (*((0, n - m) for n, m in zip(canvas, x.shape)), (0, 0))) for x in images]
    fields = np.zeros((2, *(n - PATCH + 1 for n in canvas), 2), np.int32)
    return np.stack(padded), np.int32([x.shape[:2] for x in images]), fields


def test_a_bidirectional_step_by_brute_force():
    target, source = photo(40, 40)[-6:, -9:], photo(8, 7)
    expected, apart = improved_by_loops(target, source)
    made, _, found = bidirectional.improved(*on_canvases(target, source), patch=PATCH, key=None)
    np.testing.assert_allclose(made[:6, :9], expected, atol=1e-5)
    assert found == pytest.approx(apart, rel=1e-4)


def test_the_source_is_where_the_iteration_stays():
    image = photo(12, 14)
    arrays = on_canvases(image, image)
    made, _, apart = bidirectional.improved(*arrays, patch=PATCH, key=None)
    np.testing.assert_allclose(made, image, atol=1e-6)
    assert apart == 0


def test_assembled_patches_by_loops():
    rng, values = np.random.default_rng(0), photo(6, 7)
    place, at = rng.integers(0, 4, (20, 2)), rng.integers(0, 5, (20, 2))
    weights = rng.uniform(0.5, 1, 20).astype(np.float32)
    sums = np.zeros((9, 8, 4))
    for p, q, weight in zip(place, at, weights):
        patch(sums, q)[:] += weight * np.concatenate([patch(values, p), np.ones((3, 3, 1))], -1)
    made = assembled(place, at, values, (9, 8), patch=PATCH, weights=weights)
    np.testing.assert_allclose(made, sums[..., :3] / np.maximum(sums[..., 3:], 1e-9), atol=1e-6)


def test_bidirectional_retargeting_lowers_its_distance_at_each_scale():
    image = photo(32, 36)
    made, losses = run("bidir", image, (32, 54), smallest=12, iterations=3, growth=1.3)
    assert made.shape == (32, 54, 3)
    assert [len(x) for x in losses] == [6, 3]  # two sizes at 16x18
    for found in (losses[0][:3], losses[0][3:], losses[1]):
        assert found[-1] < found[0]
    assert losses[1][-1] < 0.5 * losses[1][0]


@pytest.mark.parametrize("size", [(15, 26), (12, 9)])
def test_seams_are_carved_first_across_and_then_down(size):
    image, (height, width) = photo(12, 17), size
    expected = image
    for length in (width, height):
        while expected.shape[1] < length:  # in rounds of at most half the length
            before = expected.shape[1]
            count = min(length - before, before // 2)
            canvas = np.pad(expected, ((0, 0), (0, count), (0, 0)))
            columns = seams.remove_seams(canvas, count, width=before)[1]
            expected = seams.double_seams(canvas, columns, count, width=before)
        count = expected.shape[1] - length
        expected = np.asarray(seams.remove_seams(expected, count)[0])[:, :length].swapaxes(0, 1)
    made, losses = run("seams", image, size, smallest=8, patch=3)
    np.testing.assert_array_equal(made, expected)
    assert [len(x) for x in losses] == [abs(width - 17), abs(height - 12)]


def test_seam_carving_to_the_same_size_changes_nothing():
    np.testing.assert_array_equal(run("seams", photo(9, 10), (9, 10), smallest=8)[0], photo(9, 10))


@pytest.mark.parametrize("preset", ["bidir", "seams"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "generate"}, "config.task=generate: algorithm={} can only retarget"),
        ({"samples": 2}, "config.samples=2: must be 1 for algorithm={}"),
    ],
)
def test_limits_of_the_classical_methods_are_refused(preset, fields, message):
    with pytest.raises(InputError, match=message.format(preset)):
        RECIPE.build(preset, **fields).resolved()
