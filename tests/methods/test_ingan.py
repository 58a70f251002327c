"""InGAN: its fields, its training, and its outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.engine import schedule
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.loop import Stopped, train
from deepinternal.engine.parallel import Programs
from deepinternal.methods.ingan import PRESETS, RECIPE, Config, retargeting
from deepinternal.ops.patches import sharpening
from deepinternal.types import InputError, input_spec
from deepinternal.writers import read_jsonl
from tests.engine.stop import Stop
from tests.tiny_methods import photo

# All steps have one size and an update for the way back: a single program to compile.
FIELDS = {"train_steps": 4, "inverse_from": 0, "crop": 40, "blocks": 0, "seed": 62}
FIELDS |= {"samples": "0.5,1.5", "average": 0.9}


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
    for line in log:
        assert (line["height"], line["width"]) == (40, 40)
        assert line["inverse"] > 0
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
def test_outputs_and_pictures_of_the_progress(run):
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
    """They begin at 28 pixels, or at the net's size if that is smaller, with ratios of at most 2."""
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


def test_names_and_sizes_of_examples():
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
