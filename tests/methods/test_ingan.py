"""InGAN: its fields, training, sizes, swaps and scales, and what it makes of an image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal import video_paths
from deepinternal.engine import schedule
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.loop import Stopped, train
from deepinternal.engine.parallel import Programs
from deepinternal.methods.ingan import (
    PRESETS,
    RECIPE,
    Config,
    crops,
    retargeting,
    scales,
    sizes,
    training,
)
from deepinternal.nets.ingan import PatchDiscriminator
from deepinternal.ops.patches import sharpening
from deepinternal.ops.resizing import resize
from deepinternal.types import InputError, input_spec
from deepinternal.writers import read_jsonl
from tests.engine.stop import Stop
from tests.tiny_methods import photo

# Steps of two sizes, the second with an update for the way back: two programs to compile.
FIELDS = {"train_steps": 4, "hold": 2, "growth": 2, "inverse_from": 2, "crop": 40, "blocks": 0}
FIELDS |= {"seed": 62, "shapes": 5, "samples": "0.5,1.5", "average": 0.9}
VARIANTS = [(40, 40, False)] * 2 + [(32, 32, True)] * 2


def _config(**fields):
    return RECIPE.build("smoke", **fields)


def _method(config, image):
    inputs = RECIPE.prepare(config, image)
    return RECIPE.method(config, input_spec(inputs)), inputs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Programs, a run of four steps, and the lines of its log."""
    config = _config(**FIELDS)
    method, inputs = _method(config, photo(48))
    programs, log = Programs(method), tmp_path_factory.mktemp("run") / "train.jsonl"
    made = train(programs, inputs, seed=config.seed, log_path=log, log_every=1)
    return programs, made, read_jsonl(log)


@pytest.mark.slow
def test_steps_change_both_nets(run):
    programs, made, log = run
    before = programs.init(jax.random.key(FIELDS["seed"]), made.inputs)
    for name in ("generator", "discriminator"):
        pairs = zip(*(jax.tree.leaves(s.params[name]) for s in (before, made.state)), strict=True)
        changed = [not np.array_equal(a, b) for a, b in pairs]
        assert np.mean(changed) > 0.5  # biases before a norm do not matter
    assert [programs.method.variant(FIELDS["seed"], step) for step in range(4)] == VARIANTS
    assert [(line["height"], line["width"], "inverse" in line) for line in log] == VARIANTS
    for line in log:
        assert line["loss"] == pytest.approx(
            line["adversarial"] + 0.1 * line["cycle"] + 0.5 * (line["real"] + line["made"]),
            rel=1e-4,
        )
    assert [line["learning_rate"] for line in log] == pytest.approx([5e-5] * 4)


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_bits(run, tmp_path):
    programs, whole, _ = run
    count, stop = programs.count, Stop(1)
    options = {"seed": FIELDS["seed"], "checkpoints": Checkpoints(tmp_path)}
    with pytest.raises(Stopped):
        train(programs, whole.initial, stop=stop, progress=stop, **options)
    resumed = train(programs, whole.initial, **options | {"checkpoints": Checkpoints(tmp_path)})
    assert resumed.spent.resumed_steps != []
    assert programs.count == count  # nothing is compiled twice
    states = (x.state.replace(key=None) for x in (whole, resumed))
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_what_is_made_in_the_end_and_on_the_way(run):
    programs, trained, _ = run
    made = programs.outputs(trained.state, trained.inputs)
    assert made["result"].value.shape == (48, 96, 3)
    assert made["cycle"].value.shape == (48, 48, 3)
    assert made["samples"].kind == "images"
    assert {n: x.shape for n, x in made["samples"].value.items()} == {"0.5x1.5": (24, 72, 3)}
    np.testing.assert_array_equal(made["input"].value, photo(48))
    figures = ("coherence", "completeness", "sifid", "diversity")
    assert all(float(made[name].value) > 0 for name in figures)
    for image in (made["result"], made["cycle"]):
        assert 0 <= float(image.value.min()) < float(image.value.max()) <= 1
    error = np.abs(np.asarray(made["cycle"].value) - photo(48)).mean()
    assert float(made["cycle_error"].value) == pytest.approx(error, rel=1e-4)

    same, seen = jax.jit(programs.method.evaluate)(trained.state, trained.inputs)
    np.testing.assert_allclose(seen["result"], made["result"].value, atol=1e-5)
    np.testing.assert_allclose(seen["cycle_error"], error, rtol=1e-4)
    for a, b in zip(*(jax.tree.leaves(s.params) for s in (same, trained.state)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "shapes"),
    [
        ({"swap": True, "shift": 0.4}, [48]),
        ({"together": True}, [48, 56]),
        ({"fit_side": 40}, [80]),
    ],
)
def test_other_ways_to_train(fields, shapes):
    config = _config(**fields)
    image = [photo(side) for side in shapes]
    method, inputs = _method(config, image if config.together else image[0])
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    step = lambda s, i: method.step(s, i, (32, 40, True))
    after, metrics = jax.eval_shape(step, state, inputs)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert metrics["inverse"].shape == ()


def test_scales_of_patches():
    """From 28 pixels of the image, or the net's size if that is smaller, in steps of at most 2."""
    factors = lambda detail, *shapes: retargeting.patch_factors(_config(detail=detail), *shapes)
    assert factors(0, (303, 384), (101, 128)) == ()
    assert factors(4, (384, 303), (128, 101)) == pytest.approx((0.125, 0.25, 0.5, 1))
    assert factors(4, (180, 274), (75, 92)) == pytest.approx((28 / 180) ** (np.arange(4)[::-1] / 3))
    assert factors(2, (300, 300), (300, 300)) == (0.5, 1)
    assert factors(1, (300, 300), (300, 300)) == (1,)
    found = factors(3, (2000, 1000), (100, 50))
    assert found[0] == pytest.approx(0.05)
    assert len(found) == 6
    assert sharpening.scale_sizes((0.1, 1), (30, 100)) == [(7, 10), (30, 100)]


@pytest.mark.parametrize("factors", ["0.05", "0.4,3"])
def test_small_results_are_measured_at_fewer_scales(factors):
    config = _config(result_scale=factors, detail=2)
    method, inputs = _method(config, photo(60))
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    made = jax.eval_shape(method.outputs, state, inputs)
    assert made["coherence"].value.shape == ()
    assert made["result"].value.shape == {"0.05": (3, 3, 3), "0.4,3": (24, 180, 3)}[factors]
    assert "samples" not in made


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


def test_programs_of_the_default_preset_on_an_accelerator():
    """At most two of each size: without and with the way back. One size fills whole dispatches."""
    config = RECIPE.build("default", train_steps=15000)
    method, _ = _method(config, np.zeros((256, 300, 1), np.float32))
    found = list(schedule.programs(method.stages[0], config.seed, 0, 50))
    sizes_ = {variant[:2] for variant, _ in found}
    assert len(sizes_) == 45
    assert len(found) <= 2 * len(sizes_)
    assert [(variant, count) for variant, count in found if count > 1] == [((248, 256, False), 50)]
    assert {count for _, count in found} == {1, 50}


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
    """Pixels are kept as a set where the rectangles are apart; seams are left out."""
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
    """Bilinear shrinking by 4 reads 2 of 4 pixels a side; smoothed, it reads all."""
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


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"result_scale": "0,1"}, r"config.result_scale=0,1: must be vertical,horizontal"),
        ({"samples": "1,2;x"}, r"config.samples=1,2;x: must be vertical,horizontal"),
        ({"channels": 6}, "config.channels=6: must be a multiple of 4"),
        ({"smallest": 1.5}, "config.smallest=1.5"),
        ({"shift": 0.6}, "config.shift=0.6"),
        ({"crop": 20}, "config.crop=20: must be a whole number of at least 40"),
        ({"noise_std": 25}, "25 of 255 is 0.098"),
        ({"stepz": 1}, "config.stepz: there is no such field, did you mean steps"),
    ],
)
def test_fields_out_of_range(fields, message):
    with pytest.raises(InputError, match=message):
        _config(**fields)


def test_scales_are_read_and_written():
    config = Config(result_scale=2, samples="1;0.3333333333333333,1.5;")
    assert config.result_scale == (2, 2)
    assert config.samples == ((1, 1), (1 / 3, 1.5))
    assert config.plain()["result_scale"] == "2,2"
    assert config.replace() == config
    assert Config(samples="").samples == Config(samples=()).samples == ()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_can_be_built_and_written(name):
    config = RECIPE.build(name)
    assert config == RECIPE.build("", **config.plain())


def test_the_later_preset_decides():
    first, second = RECIPE.build("smoke,lite"), RECIPE.build("lite,smoke")
    assert (first.channels, second.channels) == (16, 4)
    assert (first.samples, second.average) == ((), 0.99)


def test_examples_say_what_they_were_made_from():
    scene = np.random.default_rng(0).random((512, 512, 3), np.float32)
    coins = RECIPE.example(_config(), scene)
    assert (coins.name, coins.image.shape) == ("skimage.data.coins", (303, 384, 1))
    config = RECIPE.build("many,smoke")
    parts = RECIPE.example(config, scene)
    assert [x.shape for x in parts.image] == [(160, 160, 3)] * 2
    assert "astronaut" in parts.name
    grouping = RECIPE.grouping(config)
    assert (grouping.kind, grouping.least, grouping.any_size) == ("together", 2, True)


def test_a_large_image_is_learned_from_at_a_smaller_size():
    image = np.random.default_rng(0).random((160, 120, 3), np.float32)
    config = _config(fit_pixels=5000, fit_side=0)
    inputs = RECIPE.prepare(config, image)
    assert inputs["full1"].shape == (160, 120, 3)
    assert inputs["image1"].shape == (80, 60, 3)
    np.testing.assert_allclose(
        inputs["image1"], image.reshape(80, 2, 60, 2, 3).mean((1, 3)), atol=1e-6
    )
    (said,) = RECIPE.remarks(config, inputs, None)
    assert said.startswith(
        "the net learns from an image that is reduced from 160x120 to 80x60 pixels, because of "
        "config.fit_pixels=5000; results "
    )
    assert RECIPE.remarks(_config(fit_side=0), inputs, None) == ()
    config = _config(fit_pixels=5000, fit_side=64)
    (said,) = RECIPE.remarks(config, RECIPE.prepare(config, image), None)
    assert "from 160x120 to 54x40 pixels, because of config.fit_side=64" in said


def test_small_images_are_refused():
    with pytest.raises(InputError, match="at least 40 pixels"):
        RECIPE.prepare(_config(), photo(39))
    with pytest.raises(InputError, match="fit_side"):
        RECIPE.prepare(_config(fit_side=50), np.zeros((45, 300, 3), np.float32))
