"""The one-call functions keep the caller's dtype and rank, and refuse in one line."""

import numpy as np
import pytest

import deepinternal as di
from deepinternal.types import InputError
from tests.tiny_methods import photo

FAST = {"features": 4, "layers": 2, "crop": 16, "steps": 2, "ensemble": "off"}
IMAGE = (photo(24) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        IMAGE[..., 0],
        IMAGE[..., 0].astype(np.uint16) * 257,
        np.dstack([IMAGE, IMAGE[..., 0]]),
        IMAGE.astype(np.float64) / 255,
    ],
    ids=["grey8", "grey16", "rgba8", "float"],
)
def test_dtype_and_rank_are_kept(image):
    out = di.super_resolve(image, scale=2, **FAST)
    result = out["result"]
    assert result.shape == (2 * image.shape[0], 2 * image.shape[1], *image.shape[2:])
    assert result.dtype == (image.dtype if image.dtype.kind == "u" else np.float32)
    # Back-projection holds the result to the image: on average it keeps its brightness.
    assert np.mean(result) == pytest.approx(np.mean(image), rel=0.02)


def test_options_seed_and_kernel():
    kernel = np.ones((3, 3))
    out = [
        di.super_resolve(IMAGE, (1.5, 2), kernel=kernel, seed=s, **FAST)["result"]
        for s in (0, 0, 1)
    ]
    assert out[0].shape == (36, 48, 3)
    np.testing.assert_array_equal(out[0], out[1])
    assert np.any(out[0] != out[2])
    out = di.super_resolve(IMAGE, output_shape=(30, 40), **{**FAST, "ensemble": "on"})
    assert out["result"].shape == (30, 40, 3)
    assert out["uncertainty"].shape == (30, 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 1}, "greater than 1"),
        ({"stepz": 3}, "no option 'stepz'"),
        ({"steps": "many"}, "steps"),
        ({"kernel": np.zeros((3, 3))}, "sum"),
        ({"kernel": np.ones((3, 4))}, "square"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        di.super_resolve(IMAGE, **{**FAST, **arguments})
    assert "\n" not in str(error.value)


def test_images_that_are_none():
    with pytest.raises(InputError, match="NaN"):
        di.super_resolve(np.full((20, 20), np.nan), **FAST)
    with pytest.raises(InputError, match="shape"):
        di.super_resolve(np.zeros((3, 20, 20, 3)), **FAST)
