"""The decompositions on small images: their results, the pixels that they keep, and refusals."""

import functools

import jax
import numpy as np
import pytest
import skimage.data

from deepinternal import methods
from deepinternal.estimators import marks
from deepinternal.methods.double_dip import watermark, watermark_cuts
from deepinternal.ops.atmosphere import haze
from deepinternal.ops.metrics import psnr
from deepinternal.types import InputError, Output
from tests.methods.double_dip.shared import TINY, fitted, photograph, prepared, refused, white_rows


def _correlation(a, b):
    a, b = (np.ravel(x - x.mean((0, 1))) for x in (a, b))
    return a @ b / np.sqrt((a @ a) * (b @ b))


@pytest.mark.slow
def test_dehazing_brings_the_image_nearer_to_the_truth():
    truth = photograph()
    t = np.linspace(0.3, 0.9, 32, dtype=np.float32)[:, None, None]
    light = np.array([0.8, 0.85, 0.9], np.float32)
    hazy = haze(truth, t, light)
    options = {"presets": "uniform", "airlight": light, "pass_steps": 60, "passes": 1}
    options |= {"learning_rate": 5e-3, "schedule": "cosine", "channels": "8", "skip": "0"}
    out = fitted("dehazing", hazy, losses=(losses := []), **options)
    assert losses[-1] < 0.4 * losses[0]
    assert psnr(out["result"], truth) > psnr(hazy, truth) + 1
    np.testing.assert_allclose(out["airlight_colour"], light, atol=1e-4)
    mixed = haze(out["result"], out["transmission"][..., None], out["airlight"])
    inside = (out["result"] > 0.01) & (out["result"] < 0.99)
    np.testing.assert_allclose(mixed[inside], hazy[inside], atol=1e-4)


@pytest.mark.slow
def test_two_passes_explain_the_input():
    hazy = haze(photograph(), np.float32(0.5), np.array([0.8, 0.85, 0.9], np.float32))
    how = {"passes": 2, "steps": 3, "channels": "4", "skip": "0"}
    method, _ = prepared("dehazing", hazy, **how)
    assert [stage.steps for stage in method.stages] == [3, 3]
    out = fitted("dehazing", hazy, losses=(losses := []), **how)
    assert len(losses) == 6
    assert losses[0] != pytest.approx(losses[3], rel=1e-3)
    mixed = haze(out["result"], out["transmission"][..., None], out["airlight"])
    inside = (out["result"] > 0.01) & (out["result"] < 0.99) & (out["airlight"] < 0.99)
    np.testing.assert_allclose(mixed[inside], hazy[inside], atol=2e-3)


@pytest.mark.slow
def test_a_pair_is_separated():
    first, second = photograph(), photograph(300, 40)
    mixed = [np.float32(a * first + (1 - a) * second) for a in (0.7, 0.4)]
    out = fitted("transparency", mixed, "pair,fast", train_steps=5, filters=3, **TINY)
    layers, truths = (out["layer1"], out["layer2"]), (first, second)
    known = _correlation(first, second)
    for i in (0, 1):
        assert _correlation(layers[i], truths[i]) > 0.95
        assert abs(_correlation(layers[i], truths[1 - i]) - known) < 0.3


@pytest.mark.slow
def test_a_watermarks_surroundings_stay_to_the_bit():
    marked = photograph(side=80)
    for left in range(30, 62, 8):
        marked[34:54, left : left + 4] = marked[34:54, left : left + 4] / 2 + 0.5
    out = fitted("watermark", marked, "fast", box=(30, 26, 58, 66))
    outside = np.ones((80, 80), bool)
    outside[30:58, 26:66] = False
    np.testing.assert_array_equal(out["result"][outside], marked[outside])
    assert out["mask"][outside].max() == 0
    assert (out["result"] != marked).any()
    assert (out["mask"].shape, out["watermark"].shape) == ((80, 80), (80, 80, 3))


def test_a_single_mark_without_a_region_must_repeat():
    photo = skimage.data.coffee()[60:240, 60:300] / np.float32(255)
    assert "nothing here repeats" in refused("watermark", photo, "fast")
    y, x = np.mgrid[:180, :240]
    matte = 0.4 * np.float32(np.abs(np.hypot(y % 36 - 18, x % 40 - 20) - 11) < 2)[..., None]
    marked = matte + (1 - matte) * photo
    out = fitted("watermark", marked, "fast")
    before, after = (np.abs(x - photo).mean() for x in (marked, out["result"]))
    assert after < 0.2 * before


@pytest.mark.slow
def test_several_images_are_changed_only_where_their_mark_is():
    mark, photo = np.zeros((80, 96, 1), np.float32), skimage.data.astronaut() / np.float32(255)
    for left in range(20, 76, 8):
        mark[24:56, left : left + 3] = 0.5
    images = [photo[:80, 160:256], photo[320:400, 40:136]]
    marked = [mark + (1 - mark) * image for image in images]
    out = fitted("watermark", marked, "many,fast")
    far = np.ones((80, 96), bool)
    far[12:78] = False
    for n in (0, 1):
        np.testing.assert_array_equal(out[f"clean{n + 1}"][far], marked[n][far])
        before, after = (np.abs(x - images[n]).mean() for x in (marked[n], out[f"clean{n + 1}"]))
        assert after < 0.3 * before
    assert out["mask"].shape == (80, 96)
    assert out["mask"][far].max() == 0


def _untrained_median(image, presets="", **fields):
    """The outputs of three replicas before their first step, each alone and reduced."""
    method, inputs = prepared("watermark", image, presets, filters=3, **TINY, **fields)
    assert method.replicas == 3

    @jax.jit
    def run(keys):
        states = jax.vmap(lambda key: method.init(key, inputs))(keys)
        every = jax.vmap(lambda state: method.outputs(state, inputs))(states)
        return every, method.reduce(every)

    every, made = run(jax.random.split(jax.random.key(0), 3))
    value = lambda outputs: {name: np.asarray(output.value) for name, output in outputs.items()}
    return value(every), value(made)


@pytest.mark.slow
def test_median_of_three_fits_of_one_image():
    image = photograph()
    every, out = _untrained_median(image, box=(8, 8, 20, 20))
    np.testing.assert_array_equal(out["result"][:8], image[:8])
    marked = np.median(every["mask"], axis=0) >= 0.1
    assert marked[8:20, 8:20].mean() > 0.5
    clean = np.median(every["clean"], axis=0)
    np.testing.assert_allclose(out["result"][marked], clean[marked], atol=1e-6)


@pytest.mark.parametrize("colour", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.9, 0.0, 0.1)])
def test_a_common_mark_of_any_colour_is_removed(colour):
    """The layers are the true ones, except for an opacity of 0.05 where there is no mark."""
    cleans = [photograph(), photograph(300, 40)]
    mark = np.zeros((32, 32, 1), np.float32)
    mark[8:20, 4:28] = 0.5
    images = [mark * np.float32(colour) + (1 - mark) * clean for clean in cleans]
    config = watermark.RECIPE.build("many")
    layers = {f"clean{n}": clean for n, clean in enumerate(cleans, 1)}
    layers |= {"mask": np.maximum(mark, 0.05), "watermark": np.full_like(cleans[0], colour)}
    found = watermark._many_outputs(2, layers, watermark.prepare(config, images))
    out = jax.jit(functools.partial(watermark._finish_many, 2))(found)
    expected = np.where(mark > 0, cleans, images)
    np.testing.assert_array_equal([out[f"clean{n}"].value for n in (1, 2)], expected)


def test_large_images_without_a_common_mark_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(watermark_cuts, "_SEARCHED", 0)
    none = marks.Mark(np.ones(3), 0.5, 0.0), np.zeros((38, 40), bool)
    monkeypatch.setattr(marks, "search_common", lambda parts: none)
    images = [photograph(side=40), photograph(300, 40, side=40)[:38]]
    out = fitted("watermark", images, "many,fast")
    for number, image in enumerate(images, 1):
        np.testing.assert_array_equal(out[f"clean{number}"], image)
    assert out["mask"].shape == (38, 40)
    assert not out["mask"].any()


@pytest.mark.parametrize("name", ["dehazing", "transparency"])
def test_median_and_spread_of_seeds(name):
    fields = {"replicas": 3} | ({"uniform": True, "passes": 1} if name == "dehazing" else {})
    method, _ = prepared(name, photograph(), **TINY, **fields)
    assert method.replicas == 3
    made = np.random.default_rng(0).random((3, 8, 9, 3)).astype(np.float32)
    names = ("result", "layer1", "layer2", "transmission", "airlight", "airlight_colour")
    out = method.reduce({name: Output(made + i, "image") for i, name in enumerate(names)})
    middle = np.median(made, axis=0)
    np.testing.assert_allclose(out["result"].value, middle)
    apart = np.sqrt(np.square(made - middle).mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(out["seed_spread"].value, np.median(apart), rtol=1e-5)
    alone, _ = prepared(name, photograph(), **TINY, **fields | {"replicas": 1})
    assert alone.reduce is None


@pytest.mark.slow
def test_median_of_three_fits_of_several_images():
    """Images of different sizes; the frame around their common centre stays."""
    images = [photograph(side=40)[:, :36], photograph(300, 40, side=40)[:38]]
    every, out = _untrained_median(images, "many")
    assert out["clean1"].shape == images[0].shape
    assert out["clean2"].shape == images[1].shape
    np.testing.assert_array_equal(out["clean1"][0], images[0][0])
    np.testing.assert_array_equal(out["clean2"][:, 0], images[1][:, 0])
    np.testing.assert_array_equal(out["result"], out["clean1"])
    colour, opacity = np.float64(every["watermark"]), np.float64(every["mask"][..., None])
    means = (opacity**2 * colour).sum((1, 2)) / (opacity**2).sum((1, 2))
    strength = opacity * np.where(means[:, None, None] >= 0.5, colour, 1 - colour)
    marked = np.median(strength, axis=0) >= 0.1
    assert marked.mean() > 0.5
    centres = out["clean1"][1:39], out["clean2"][:, 2:38]
    for number, made in enumerate(centres, 1):
        clean = np.median(every[f"clean{number}"], axis=0)
        np.testing.assert_allclose(made[marked], clean[marked], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "presets", "counts", "outputs"),
    [
        ("segmentation", "default", {"foreground": 35_179, "mask": 35_161}, {"result", "mask"}),
        ("dehazing", "default", {"J": 573_187, "t": 573_169}, {"result", "transmission"}),
        ("transparency", "single", {"layer1": 1_544_987}, {"layer1", "layer2"}),
        ("transparency", "pair", {"layer2": 1_544_787, "alpha1": 1_544_769}, {"alphas", "layer2"}),
        ("watermark", "single", {"clean": 1_544_787, "mask": 144_045}, {"watermark", "mask"}),
        ("watermark", "many", {"clean1": 572_755, "mask": 572_737}, {"watermark", "clean2"}),
    ],
)
def test_published_nets(name, presets, counts, outputs):
    """Parameter counts of the authors' nets; the outputs of the default settings trace."""
    fields = {"box": "4,4,20,20"} if (name, presets) == ("watermark", "single") else {}
    image = photograph(side=40)
    several = methods.find(name).grouping(methods.find(name).build(presets)).kind == "together"
    method, inputs = prepared(name, [image, 1 - image] if several else image, presets, **fields)
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    sizes = {n: sum(x.size for x in jax.tree.leaves(p)) for n, p in state.params.items()}
    assert {n: sizes[n] for n in counts} == counts
    for stage in method.stages:
        if stage.advance:
            state, inputs = jax.eval_shape(stage.advance, state, inputs)
    assert outputs <= set(jax.eval_shape(method.outputs, state, inputs))


@pytest.mark.parametrize("airlight", ["blue", "0.5,0.6", "0.5,0.6,1.2", "0,0.5,0.5", "nan,0.5,0.5"])
def test_airlight_out_of_range(airlight):
    text = refused("dehazing", photograph(), airlight=airlight)
    assert text.startswith(f"dehazing: config.airlight={airlight}: must be auto")
    assert "dark_channel, or red,green,blue" in text


@pytest.mark.parametrize(
    ("fields", "sides", "message"),
    [
        ({"box": "10,10,50,20"}, {}, "config.box=10,10,50,20: must be inside the image of 32x32"),
        ({"box": "10,10,5,20"}, {}, "must be inside"),
        ({"box": "1,2,3"}, {}, "config.box=1,2,3: must be y0,x0,y1,x1, four whole numbers"),
        ({"box": "0,0,32,32"}, {}, "config.box: covers the whole image"),
        ({}, {}, "give the region of the mark"),
        ({}, {"mask": 0 * white_rows()}, "config.mask: nothing is white"),
        ({}, {"mask": white_rows((8, 8))}, "config.mask: is 8x8, but the image is 32x32"),
        ({"box": "1,1,9,9"}, {"mask": white_rows()}, "exclude each other"),
    ],
)
def test_regions_that_are_refused(fields, sides, message):
    assert message in refused("watermark", photograph(), sides=sides, **fields)


@pytest.mark.parametrize(
    ("name", "presets", "fields", "message"),
    [
        ("dehazing", "", {"passes": 3}, "config.passes=3: must be a whole number from 1 to 2"),
        ("segmentation", "", {"edges": 0}, "config.edges=0: must be a whole number of at least 1"),
        ("segmentation", "", {"hint_share": 0.5}, "config.hint_share=0.5"),
        ("segmentation", "", {"schedule": "linear"}, "must be one of constant, cosine"),
        ("segmentation", "", {"skip": "4,4"}, "config.skip=4,4: give one number or 3"),
        ("watermark", "", {"filters": 4}, "config.filters=4: must be an odd whole number"),
        ("watermark", "", {"jitter_every": "1,2,3"}, "config.jitter_every=1,2,3: give one or two"),
        ("watermark", "", {"runs": 1}, "config.runs: there is no such field"),
        ("transparency", "pairs", {}, "no preset 'pairs', did you mean pair?"),
    ],
)
def test_settings_that_are_refused(name, presets, fields, message):
    with pytest.raises(InputError) as caught:
        methods.find(name).build(presets, **fields)
    assert str(caught.value).startswith(f"{name}: ")
    assert message in str(caught.value)


def test_other_refusals():
    photo = photograph()
    assert "two mixtures are equal" in refused("transparency", [photo, photo], "pair")
    many = refused("watermark", [photo, photo], "many", box="1,1,9,9")
    assert "must be empty for several images" in many
    assert "sides must be at least 16" in refused("dehazing", photo[:8])


PUBLISHED = {"exclusion": 0.01, "alphas": "learned", "trust": 0.0, "flips": 2, "depth": 3}
PAIR = {**PUBLISHED, "exclusion": 0.1, "flips": 0, "depth": 2}
SEARCHED = {**PAIR, "alphas": "searched", "trust": 0.003}
FAST = {"learning_rate": 3e-3, "schedule": "cosine"}


@pytest.mark.parametrize(
    ("presets", "fields", "expected"),
    [
        ("", {}, {"train_steps": 8000, "learning_rate": 5e-4, **PUBLISHED}),
        ("pair", {}, {"train_steps": 7000, "learning_rate": 1e-3, **PAIR}),
        ("single,fast", {}, {"train_steps": 1500, **FAST, **PUBLISHED}),
        ("pair,fast", {}, {"train_steps": 200, **FAST, **SEARCHED}),
        ("fast,pair", {}, {"train_steps": 200, **FAST, **SEARCHED}),
        ("fast", {"task": "pair"}, {"train_steps": 200, **FAST, **SEARCHED}),
        (
            "fast",
            {"task": "pair", "trust": 0.0},
            {"train_steps": 200, **FAST, **SEARCHED, "trust": 0},
        ),
        ("pair,fast,smoke", {}, {"steps": 10, "filters": 3, **FAST, **SEARCHED}),
    ],
)
def test_values_of_transparencys_auto_fields(presets, fields, expected):
    config = methods.find("transparency").build(presets, **fields)
    assert {name: getattr(config, name) for name in expected} == expected
    assert "auto" not in config.plain().values()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "presets", "kind"),
    [
        ("segmentation", "", "single"),
        ("video_segmentation", "", "video"),
        ("dehazing", "uniform", "single"),
        ("transparency", "single", "single"),
        ("transparency", "pair,fast", "together"),
        ("watermark", "", "single"),
        ("watermark", "many,fast", "together"),
    ],
)
def test_examples_can_be_prepared(name, presets, kind):
    recipe = methods.find(name)
    config = recipe.build(presets)
    photo = skimage.data.astronaut().astype(np.float32) / 255
    sample = recipe.example(config, photo)
    assert sample.name.startswith("skimage.data.astronaut")
    assert recipe.grouping(config).kind == kind
    size = sample.image[0].shape if kind == "together" else sample.image.shape
    if sample.truth is not None:
        assert sample.truth.shape == size
    inputs = recipe.prepare(config, sample.image, **sample.sides)
    assert all(np.isfinite(x).all() for x in inputs.values())
    given = dict.fromkeys(recipe.side_inputs, "mine")
    assert not recipe.example(config, photo, **given).sides
