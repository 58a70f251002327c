"""ZSSR at a factor of 1: deblurring with a known kernel."""

import jax.numpy as jnp
import numpy as np
import pytest

import deepinternal as di
from deepinternal.methods.zssr import deblur
from deepinternal.ops import kernels, resizing
from deepinternal.types import InputError
from tests.tiny_methods import photo

pytestmark = pytest.mark.usefixtures("quick_programs")
KERNEL = np.asarray(kernels.gaussian_kernel(9, (1.6, 0.9), theta=0.5))


def observed(side=80, noise=2 / 255):
    """A blurred photograph with noise, and the photograph."""
    truth = photo(side)
    made = np.asarray(kernels.downscale(jnp.asarray(truth), jnp.asarray(KERNEL), 1))
    made = made + noise * np.random.default_rng(0).normal(size=made.shape)
    return np.clip(made, 0, 1).astype(np.float32), truth


@pytest.mark.parametrize("noise", [0.5 / 255, 3 / 255])
def test_noise_is_measured_where_the_kernel_passes_nothing(noise):
    image, _ = observed(128, noise)
    assert deblur.noise_std(image, KERNEL) == pytest.approx(noise, rel=0.2)


def test_no_noise_is_measured_where_the_kernel_passes_everything():
    assert deblur.noise_std(photo(64), np.eye(3)[1:2].T @ np.eye(3)[1:2]) == 0


def test_fathers_are_smaller_versions_of_the_image():
    """The weights for a whole image are those of `ops.resizing`; beyond its ends, it is mirrored."""
    image = photo(40)[..., :1]
    matrix = np.asarray(deblur._weights(0.5, 0.0, 20, 40))
    expected = resizing.resize(image, scale=0.5)[..., 0]
    np.testing.assert_allclose(matrix @ image[..., 0] @ matrix.T, expected, atol=1e-5)
    beyond = np.asarray(deblur._weights(0.5, -32.0, 52, 40)) @ image[..., 0]
    np.testing.assert_allclose(beyond[:16], beyond[16:32][::-1], atol=1e-5)
    np.testing.assert_allclose(beyond[36:], beyond[20:36][::-1], atol=1e-5)


def test_training_sharpens_an_image_of_the_same_size():
    image, truth = observed(64)
    samples = np.round(255 * image).astype(np.uint8)
    small = {"features": 8, "layers": 3, "pairs": 4, "crop": 24, "steps": 20}
    made = di.super_resolve(samples, kernel=KERNEL, preset="deblur", full=True, **small)
    result, pairs = made.outputs["result"], np.asarray(made.state.model_state["pairs"])
    assert (result.shape, result.dtype) == (samples.shape, samples.dtype)
    errors = [np.mean((x / 255.0 - truth) ** 2) for x in (result, samples)]
    assert 10 * np.log10(errors[1] / errors[0]) > 2
    for sharp, _, son, father in pairs:
        assert np.mean((sharp - father) ** 2) < np.mean((son - father) ** 2)
    assert len({float(father.mean()) for *_, father in pairs}) == 4
    assert made.remarks[0].endswith("measured with the kernel")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": 2}, "config.scale=2: must be 1 with mode=deblur"),
        ({"blind": True}, "config.blind: must be False with mode=deblur"),
        ({}, "config.kernel: give the blur kernel of the image"),
        ({"kernel": np.ones((41, 41)), "full": True}, "sides must be at least 51 pixels"),
    ],
)
def test_mistakes_are_refused_in_one_line(fields, message):
    with pytest.raises(InputError, match=message):
        di.super_resolve(np.full((48, 60, 3), 128, np.uint8), preset="deblur", **fields)
