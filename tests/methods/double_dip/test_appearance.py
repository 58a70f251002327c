"""The mask that follows from hints: it contains the object and agrees with the hints."""

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.methods.double_dip import appearance, segmentation
from tests.methods.double_dip.shared import prepared


def _scene():
    """Two discs of one colour on a ground of another, noisy, and hints on one of the discs."""
    y, x = np.mgrid[:40, :60]
    first, second = np.hypot(y - 20, x - 15) < 11, np.hypot(y - 20, x - 45) < 9
    image = np.where((first | second)[..., None], [0.7, 0.3, 0.2], [0.3, 0.4, 0.5])
    image = image + np.random.default_rng(0).normal(0, 0.04, image.shape)
    foreground = (np.abs(y - 20) < 2) & (np.abs(x - 15) < 6)
    background = (y < 3) | ((np.abs(x - 30) < 2) & (np.abs(y - 20) < 12))
    return np.float32(np.clip(image, 0, 1)), foreground, background, first


def test_the_mask_has_the_hinted_object_only():
    """The other disc has the same colours, but no path inside of the mask leads there."""
    image, foreground, background, truth = _scene()
    odds, mask = appearance.evidence(image, foreground, background)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9
    assert odds.shape == mask.shape == truth.shape
    assert mask[foreground].all()
    assert not mask[background].any()
    cut = jax.jit(appearance.segmented)(image, odds, foreground, background)
    np.testing.assert_array_equal(cut, mask)


def test_wrong_hints_are_obeyed():
    image, foreground, background, _ = _scene()
    wrong = np.zeros_like(foreground)
    wrong[18:22, 12:18] = True  # background within the disc
    _, mask = appearance.evidence(image, foreground & ~wrong, background | wrong)
    assert not mask[wrong].any()
    assert mask[foreground & ~wrong].all()


def test_the_opacity_follows_soft_edges():
    """Along an outline that is blurred over six pixels, alpha is between 0 and 1; the mask is hard."""
    x = np.broadcast_to(np.arange(48.0), (32, 48))
    share = np.clip((x - 21) / 6, 0, 1)[..., None]
    image = jnp.asarray(share * [0.9, 0.8, 0.2] + (1 - share) * [0.1, 0.2, 0.5], jnp.float32)
    odds = jnp.asarray(np.where(x > 23.5, 4.0, -4.0)[..., None], jnp.float32)
    signs = jnp.zeros((32, 48, 1)).at[:, 40:].set(1).at[:, :8].set(-1)
    config = segmentation.RECIPE.build("fast", foreground="a.png", background="b.png")
    mask, alpha = jax.jit(segmentation.cut_by_odds, static_argnums=0)(config, odds, signs, image)
    assert set(np.unique(mask)) == {0, 1}
    inner = np.asarray(alpha)[:, 21:27]
    assert ((inner > 0.02) & (inner < 0.98)).mean() > 0.3
    np.testing.assert_allclose(np.asarray(alpha)[:, :16], 0, atol=0.02)
    np.testing.assert_allclose(np.asarray(alpha)[:, 32:], 1, atol=0.02)


def test_the_preview_has_the_mask_of_fast_and_no_layers():
    image, foreground, background, _ = _scene()
    sides = {"foreground": foreground, "background": background}
    options = {"fit_steps": 1, "channels": "4", "skip": "0"}
    found = {}
    for preset in ("preview", "fast"):
        method, inputs = prepared("segmentation", image, preset, sides, **options)
        state = jax.jit(method.init)(jax.random.key(0), inputs)
        found[preset] = jax.jit(method.outputs)(state, inputs)
    assert set(found["preview"]) == {"result", "mask", "alpha"}
    assert set(found["fast"]) == {"result", "mask", "alpha", "foreground", "background"}
    np.testing.assert_array_equal(found["preview"]["mask"].value, found["fast"]["mask"].value)
