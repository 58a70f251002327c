"""Rough pictures made sharp by patches, alone, on canvases, in shapes, and in videos."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.ops.patches import synthesis
from deepinternal.ops.patches.synthesis import Before, Scale
from deepinternal.ops.resizing import resize
from tests.brute_patches import photo

SOURCE = photo(40, 48)
HALF = np.asarray(resize(SOURCE, output_shape=(20, 24)))
SIZES = np.int32([[28, 34], [56, 68]])
PLACES = tuple(np.zeros((h - 6, w - 6, 2), np.int32) for h, w in SIZES)
FIRST = Before(PLACES, SIZES, np.eye(3, dtype=np.float32), np.asarray(False))


def _rough(image, seed=0):
    """The image without its finest detail, and with some noise."""
    noise = np.random.default_rng(seed).normal(0, 0.02, image.shape)
    return np.float32(np.clip(image + noise, 0, 1))


@jax.jit
def _sharp(guess, size, before):
    """On canvases of 28x34 and 56x68."""
    half = jnp.asarray(size) // 2
    scales = (Scale(HALF, (28, 34), half), Scale(SOURCE, (56, 68), size))
    return synthesis.sharpened(guess, scales, iterations=(2, 1), before=before)


def _on_canvas(image, fill):
    canvas = np.full((28, 34, 3), fill, np.float32)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas


def _assert_inside(places, sizes):
    for place, sides in zip(places, sizes, strict=True):
        assert (np.asarray(place) >= 0).all()
        assert (np.asarray(place) <= np.array(sides) - 7).all()


def test_scale_factors():
    assert synthesis.scale_factors(3, 0.25) == pytest.approx((0.25, 0.5, 1))
    assert synthesis.scale_factors(1, 0.5) == pytest.approx((0.5, 1))
    assert synthesis.scale_factors(2, 0.1) == pytest.approx([0.1 ** (1 - i / 4) for i in range(5)])
    assert synthesis.scale_factors(4, 1.0) == (1.0,)


def test_the_source_itself_becomes_sharp_again():
    """From half of its size, with a much smaller error than interpolation, on any canvas."""
    results = []
    for fill in (0.0, 0.6):
        made, places = _sharp(_on_canvas(_rough(HALF), fill), (40, 48), FIRST)
        results.append(np.asarray(made[:40, :48]))
        assert [x.shape for x in places] == [(22, 28, 2), (50, 62, 2)]
        _assert_inside(places, [(20, 24), (40, 48)])
    np.testing.assert_allclose(*results, atol=1e-5)
    error = lambda x: np.mean(np.square(np.clip(x, 0, 1) - SOURCE))
    plain = np.asarray(resize(HALF, output_shape=(40, 48)))
    assert error(results[0]) < 0.3 * error(plain)


def test_all_of_a_result_comes_from_the_source():
    """Every value of a result, of twice the width, is a mean of values of the source."""
    source = np.where(SOURCE[..., :1] > 0.5, 0.75, 0.25).astype(np.float32)
    guess = np.asarray(resize(source, output_shape=(40, 68)))
    scale = Scale(source, (40, 68), (40, 68))
    make = functools.partial(synthesis.sharpened, scales=(scale,), iterations=(1,))
    made, places = jax.jit(make)(guess)
    assert made.shape == (40, 68, 1)
    assert 0.2499 <= float(made.min()) < 0.3
    assert 0.7 < float(made.max()) <= 0.7501
    _assert_inside(places, [(40, 48)])


def test_pixels_outside_of_a_shape_do_not_count():
    inside = np.tri(28, 34, 8, dtype=bool)

    @jax.jit
    def make(guess):
        scale = Scale(HALF, (28, 34), (28, 34), jnp.asarray(inside))
        return synthesis.sharpened(guess, (scale,), iterations=(1,))[0]

    guess = np.asarray(resize(SOURCE, output_shape=(28, 34)))
    first, second = (make(np.where(inside[..., None], guess, x)) for x in (0.0, 1.0))
    np.testing.assert_allclose(first[inside], second[inside], atol=1e-5)
    assert float(jnp.abs(first - second)[~inside].max()) < 1  # values of the source lie there, too


def test_frames_of_a_video_keep_their_patches():
    """With different noise in the guess, the next frame changes less if it keeps matches.

    A previous result that is not used changes nothing.
    """
    guess = np.asarray(resize(SOURCE, output_shape=(28, 34)))
    first, places = _sharp(_rough(guess), (56, 68), FIRST)
    before = FIRST._replace(places=places, used=np.asarray(True))
    rough = _rough(guess, seed=1)
    alone, _ = _sharp(rough, (56, 68), FIRST)
    kept, _ = _sharp(rough, (56, 68), before)
    change = lambda x: float(jnp.mean(jnp.abs(x - first)))
    assert change(kept) < 0.75 * change(alone)
    unused = before._replace(used=FIRST.used)
    np.testing.assert_allclose(_sharp(rough, (56, 68), unused)[0], alone, atol=1e-5)
