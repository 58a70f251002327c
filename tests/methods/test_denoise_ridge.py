"""Tests of the method `denoise` by linear combinations of similar patches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.methods.denoise import clipping, groups, ridge, solving
from deepinternal.methods.denoise.config import Config
from deepinternal.ops.color import OPPONENT

CONFIG = Config(reach=6)


def inputs(image, std, **noise):
    std = np.full(image.shape[-1], std, np.float32)
    power = np.ones((16, 16, image.shape[-1]), np.float32)
    model = {"std": std, "gain": 0 * std, "offset": std**2, "power": power}
    model |= {"mixing": np.ones_like(std)} | noise
    model |= clipping.tables(image, model["gain"], model["offset"])
    return {"image": np.asarray(image, np.float32), "noise": model}


@functools.cache
def compiled(shape, level, config, strip):
    del strip  # read by `parts`
    made = ridge.parts(config, shape, level)
    stages = [(s.steps, jax.jit(s.step), s.advance and jax.jit(s.advance)) for s in made.stages]
    return jax.jit(made.init), stages, jax.jit(made.outputs)


def denoised(image, std, *, config=CONFIG, level="low", **noise):
    init, stages, outputs = compiled(image.shape, level, config, groups._STRIP)
    given = inputs(image, std, **noise)
    state = init(jax.random.key(0), given)
    for steps, step, advance in stages:
        for _ in range(steps):
            state, _ = step(state, given, None)
        if advance:
            state, given = advance(state, given)
    return {name: np.asarray(x.value) for name, x in outputs(state, given).items()}


def scene(height, width, channels=1):
    y, x = np.mgrid[:height, :width] / 6
    image = 0.5 + 0.2 * np.sin(y)[..., None] * np.cos(x[..., None] + np.arange(channels))
    return image + 0.1 * (x[..., None] > 2)


@pytest.mark.parametrize("n", [3, 37, 67])
def test_solve_equals_numpy(n):
    rng = np.random.default_rng(0)
    half = rng.normal(size=(3, n, 2 * n))
    matrix, right = half @ half.swapaxes(-1, -2), rng.normal(size=(3, n, 5))
    found = solving.solve(jnp.asarray(matrix, jnp.float32), jnp.asarray(right, jnp.float32))
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right), atol=2e-4)


def naive(image, std, config):
    """Both passes in float64 and loops, for a grey image."""
    image, pilot = image[..., 0].astype(float), None
    for plan in ridge.passes(config, (*image.shape, 1), "low"):
        p, source = plan.patch, image if pilot is None else pilot
        total, weight = np.zeros_like(image), np.zeros_like(image)
        places = [sorted({*range(0, n - p, plan.stride), n - p}) for n in image.shape]
        cut = lambda x, at, p=p: x[at[0] : at[0] + p, at[1] : at[1] + p].ravel()
        for center in ((i, j) for i in places[0] for j in places[1]):
            near = [
                range(max(c - plan.reach, 0), min(c + plan.reach, n - p) + 1)
                for c, n in zip(center, image.shape)
            ]
            all_ = [(i, j) for i in near[0] for j in near[1]]
            far = [np.sum((cut(source, at) - cut(source, center)) ** 2) for at in all_]
            group = [all_[i] for i in np.argsort(far, kind="stable")[: plan.group]]
            values = np.stack([cut(image, at) for at in group])
            known = np.stack([cut(source, at) for at in group])
            noise = p * p * std**2 * np.eye(len(group))
            known = known - known.mean(axis=0)
            gram, eye = known @ known.T, np.eye(len(group))
            matrix = gram + (1 if plan.second else 0.02) * noise
            matrix += np.trace(matrix) / len(group) * (1e-5 * eye + 1)
            # Lagrange multipliers keep the sum of each combination's weights at 1.
            inverse = np.linalg.inv(matrix)
            multipliers = np.sum(inverse @ noise, axis=0) / np.sum(inverse)
            theta = eye - inverse @ (noise - multipliers)
            np.testing.assert_allclose(theta.sum(axis=0), 1)
            for i, at in enumerate(group[: plan.estimated]):
                here = np.s_[at[0] : at[0] + p, at[1] : at[1] + p]
                trust = 1 / max(np.sum(theta[:, i] ** 2), 1 / len(group))
                total[here] += trust * (theta[:, i] @ values).reshape(p, p)
                weight[here] += trust
        pilot = total / weight
    return pilot[..., None]


def test_result_equals_naive_implementation():
    config = Config(reach=3, stride=5)
    image = scene(21, 24) + np.random.default_rng(0).normal(0, 0.05, (21, 24, 1))
    image = np.float32(image)
    found = denoised(image, 0.05, config=config)["result"]
    np.testing.assert_allclose(found, naive(image, 0.05, config), atol=2e-4)


def test_strips_of_any_height_give_the_same_result(monkeypatch):
    image = scene(48, 64, 3) + np.random.default_rng(0).normal(0, 0.05, (48, 64, 3))
    whole = denoised(image, 0.05)
    monkeypatch.setattr(groups, "_STRIP", 1)
    strips = denoised(image, 0.05)
    assert len(ridge.parts(CONFIG, image.shape, "low").stages) == 2
    assert ridge.parts(CONFIG, image.shape, "low").stages[0].steps > 1
    for name, value in whole.items():
        np.testing.assert_allclose(strips[name], value, atol=1e-4, rtol=1e-4)


def test_result_is_better_and_its_error_is_expected():
    clean = scene(48, 48, 3)
    noisy = clean + np.random.default_rng(1).normal(0, 0.1, clean.shape)
    found = denoised(noisy, 0.1, level="middle")
    psnr = -10 * np.log10(np.mean((found["result"] - clean) ** 2))
    assert psnr > 27  # of the noisy image: 20
    assert abs(found["expected_psnr"] - psnr) < 3
    assert found["uncertainty"].shape == (48, 48)


@pytest.mark.parametrize("channels", [1, 3])
def test_smallest_images_are_denoised(channels):
    clean = scene(8, 8, channels)
    noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)
    result = denoised(noisy, 0.1)["result"]
    assert np.isfinite(result).all()
    assert np.mean((result - clean) ** 2) < np.mean((noisy - clean) ** 2)


def test_clipped_noise_is_recognised_and_does_not_brighten_black():
    clean = np.full((64, 64, 1), 0.04)
    clean[:, 32:] = 0.5
    noisy = clean + np.random.default_rng(0).normal(0, 0.15, clean.shape)
    files = np.clip(np.round(255 * noisy), 0, 255) / 255
    clipped = denoised(files, 0.15, level="middle")["result"]
    unclipped = denoised(noisy, 0.15, level="middle")["result"]
    assert abs(files[:, :24].mean() - 0.04) > 0.03
    assert abs(clipped[:, :24].mean() - 0.04) < 0.015
    assert abs(unclipped[:, :24].mean() - 0.04) < 0.015


def test_areas_without_any_variation_stay_as_they_are():
    """All patches of a window are equal there, and each pixel is in one of the groups."""
    image = np.ones((48, 64, 3))
    image[:, :16] = 0.5 + np.random.default_rng(0).normal(0, 0.05, (48, 16, 3))
    result = denoised(image, 0.05)["result"]
    np.testing.assert_allclose(result[:, 32:], 1, atol=0.01)


def test_unequal_noise_of_luma_and_chroma_is_removed_better_if_it_is_known():
    clean = scene(48, 48, 3)
    noise = np.random.default_rng(0).normal(0, [0.15, 0.02, 0.02], clean.shape) @ OPPONENT
    std = np.sqrt((0.15**2 + 2 * 0.02**2) / 3)
    mixing = np.float32([0.15, 0.02, 0.02]) ** 2 / std**2
    errors = [
        np.mean((denoised(clean + noise, std, level="middle", **known)["result"] - clean) ** 2)
        for known in ({"mixing": mixing}, {})
    ]
    assert errors[0] < 0.8 * errors[1]


def test_correlated_noise_is_removed_better_if_it_is_known():
    rng = np.random.default_rng(0)
    kernel = np.zeros((64, 64))
    kernel[:3, :3] = 1 / 3
    spectrum = np.fft.fft2(kernel)
    clean = scene(64, 64)
    noise = np.fft.ifft2(np.fft.fft2(rng.normal(0, 0.1, (64, 64))) * spectrum).real
    noisy = clean + noise[..., None]
    power = np.float32(np.abs(spectrum[::4, ::4, None]) ** 2)
    white = denoised(noisy, 0.1, level="middle")["result"]
    known = denoised(noisy, 0.1, level="middle", power=power / power.mean())["result"]
    assert np.mean((known - clean) ** 2) < 0.8 * np.mean((white - clean) ** 2)
