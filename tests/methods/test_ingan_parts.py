"""The parts of InGAN: sizes, crops, noise, swapped rectangles, and the scales of the discriminator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal import video_paths
from deepinternal.methods.ingan import RECIPE, crops, scales, sizes, training
from deepinternal.nets.ingan import PatchDiscriminator
from deepinternal.ops.resizing import resize
from tests.tiny_methods import photo


def test_sizes_are_few_and_respect_the_growing_range():
    known = sizes.shapes((216, 256), 44, 0.15, 2.25)
    assert known[0] == ((216, 256), 0.0)
    assert 40 <= len(known) <= 45
    assert len({size for size, _ in known}) == len(known)
    for (h, w), reach in known:
        assert h % 8 == w % 8 == 0
        for side, crop in ((h, 216), (w, 256)):
            least, most = crop * (1 - 0.85 * reach), crop * (1 + 1.25 * reach)
            assert least - 1e-6 <= side <= most + 8
    factors = np.array([h / 216 for (h, _), _ in known])
    assert factors.min() < 0.25
    assert factors.max() > 2.1
    for progress in (0.0, 0.3, 1.0):
        drawn = {sizes.draw(known, progress, 0, n) for n in range(400)}
        within = {size for size, reach in known if reach <= progress}
        assert drawn == within
    assert sizes.draw(known, 1.0, 3, 7) == sizes.draw(known, 1.0, 3, 7)


@pytest.mark.parametrize(
    ("preset", "count"), [("lite", 5), ("lite,nonrect,swap", 5), ("fast", 3), ("default", 45)]
)
def test_how_many_sizes_presets_compile(preset, count):
    config = RECIPE.build(preset)
    task = training.training(config, [(152, 192)])
    seen = {training.variant(task, 0, step)[:2] for step in range(20000, 22000)}
    assert len(seen) == count


def test_sizes_change_while_the_range_grows_and_the_inverse_is_added_later():
    fields = {"hold": 2, "growth": 2, "inverse_from": 2, "crop": 40, "shapes": 5}
    task = training.training(RECIPE.build("smoke", **fields), [(48, 48)])
    found = [training.variant(task, 62, step) for step in range(4)]
    assert found == [(40, 40, False)] * 2 + [(32, 32, True)] * 2


def test_crops_are_parts_of_the_images():
    images = [jnp.asarray(photo(48)), jnp.asarray(photo(56))]
    made = np.asarray(crops.crops(jax.random.key(0), images, (40, 24)))
    assert made.shape == (2, 40, 24, 3)
    for image, crop in zip(images, (made + 1) / 2):
        windows = np.lib.stride_tricks.sliding_window_view(image, (40, 24, 3))[..., 0, :, :, :]
        assert np.abs(windows - crop).max((-3, -2, -1)).min() < 1e-6


def test_noise_has_its_standard_deviation():
    made = crops.noisy(jax.random.key(0), jnp.zeros((2, 40, 50, 3)), 0.01)
    assert float(jnp.std(made)) == pytest.approx(2 * 0.01, rel=0.03)  # x is in [-1, 1]
    assert float(jnp.abs(made).max()) == pytest.approx(2 * 0.01 * np.sqrt(3), rel=0.01)


def test_swapping_exchanges_two_rectangles():
    """Pixels move by two opposite offsets; pixels near the seams have no weight."""
    y, x = np.mgrid[:80, :90]
    image = np.stack([y, x, y * 90 + x], axis=-1)[None].astype(np.float32)
    swapped, kept = jax.jit(crops.swapped)(jax.random.key(3), image)
    moved = np.asarray(swapped[0, ..., 2]) != image[0, ..., 2]
    assert 0.03 < moved.mean() < 0.6
    assert kept.shape == (80, 90, 1)
    assert 0 < float(kept.mean()) < 1
    rows, columns = np.nonzero(moved)
    steps = np.asarray(swapped[0, rows, columns, :2]) - np.stack([rows, columns], axis=-1)
    offsets = np.unique(steps, axis=0)
    assert len(offsets) == 2
    np.testing.assert_array_equal(offsets[0], -offsets[1])


def test_small_images_have_fewer_scales():
    counts = [scales.looking((side, 300), 9, 1.4) for side in (13, 18, 19, 36, 256, 600)]
    assert counts == [1, 1, 2, 4, 9, 9]
    assert scales.most(256, 1.4) == 9


def test_scale_weights_over_time():
    """f^i with f = 1.4^((25000 - step) / 25000): coarse ones first, equal at 25000."""
    for step in (0, 25000, 50000):
        expected = (1.4 ** ((25000 - step) / 25000)) ** np.arange(5)
        found = scales.weights(jnp.asarray(step), even_at=25000, ratio=1.4, count=5)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.fixture(scope="module")
def judges():
    """A discriminator's net, and the weights of two scales."""
    net = PatchDiscriminator(2)
    init = jax.jit(lambda key: net.init(key, jnp.zeros((1, 16, 16, 1)))["params"])
    made = [init(jax.random.key(seed)) for seed in (1, 2)]
    return net, jax.tree.map(lambda *x: 100 * jnp.stack(x), *made)


def test_the_map_is_the_weighted_mean_of_the_scales(judges):
    """By hand for two scales: each judged alone, brought to the finest map's size."""
    net, params = judges
    x = jax.random.uniform(jax.random.key(0), (1, 30, 27, 1), minval=-1)
    smaller = lambda x, size: resize(x, output_shape=size, method="linear", antialias=False)

    @jax.jit
    def expected(x):
        finer, coarser = (jax.tree.map(lambda p, i=i: p[i], params) for i in range(2))
        fine = net.apply({"params": finer}, x)
        coarse = net.apply({"params": coarser}, smaller(x, (15, 13)))
        return 0.75 * fine + 0.25 * smaller(coarse, fine.shape[1:3])

    judge = jax.jit(lambda x: scales.judge(net, params, x, jnp.array([3.0, 1.0]), ratio=2.0))
    np.testing.assert_allclose(judge(x), expected(x), atol=1e-6)


@pytest.mark.parametrize(("antialias", "least", "most"), [(False, 0.0, 0.4), (True, 0.99, 1.0)])
def test_which_pixels_a_coarse_scale_looks_at(judges, antialias, least, most):
    """Bilinear reduction by 4 reads 2 of 4 pixels along each axis; with antialiasing, all of them."""
    net, params = judges
    x = jax.random.uniform(jax.random.key(0), (1, 64, 64, 1), minval=-1)
    weights = jnp.array([0.0, 1.0])
    judge = lambda x: scales.judge(net, params, x, weights, ratio=4.0, antialias=antialias)
    inner = np.abs(jax.jit(jax.grad(lambda x: jnp.sum(judge(x))))(x)[0, 8:-8, 8:-8, 0])
    assert least <= np.mean(inner > 1e-9 * inner.max()) <= most


@pytest.mark.parametrize("name", video_paths.NAMES)
def test_paths_of_videos_are_smooth_and_within_bounds(name):
    way = np.array(video_paths.path(name, 40))
    assert way.shape == (40, 4)
    assert way[:, :2].min() >= 0.49
    assert way[:, :2].max() <= 2.01
    assert np.abs(way[:, 2:]).max() <= 0.45
    assert np.abs(way[:, 2] + way[:, 3]).max() < 0.95
    closed = np.concatenate([way, way[:1]])
    assert np.abs(np.diff(closed, axis=0)).max() < 0.3
    assert np.ptp(way, axis=0).max() > 0.3
