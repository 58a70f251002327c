"""The decompositions on small images: what they find, what they keep, what they refuse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

from deepinternal import methods
from deepinternal.methods.double_dip import hints, segmentation
from deepinternal.ops.atmosphere import haze
from deepinternal.ops.metrics import psnr
from deepinternal.types import InputError, input_spec

TINY = {"channels": "4,8", "skip": "0,4"}


def _prepared(name, image, presets="", sides=None, **fields):
    """A method for an image, and its inputs."""
    recipe, sides = methods.find(name), sides or {}
    config = recipe.build(presets, **recipe.given(sides), **fields)
    inputs = recipe.prepare(config, image, **sides)
    return recipe.method(config, input_spec(inputs)), jax.tree.map(jnp.asarray, dict(inputs))


def _fitted(name, image, presets="", sides=None, **fields):
    """The outputs of a method after all steps, as arrays by name."""
    method, inputs = _prepared(name, image, presets, sides, **fields)
    state = jax.jit(method.init)(jax.random.key(0), inputs)
    for stage in method.stages:
        step = jax.jit(stage.step)
        for _ in range(stage.steps):
            state, _ = step(state, inputs, None)
        if stage.advance:
            state, inputs = jax.jit(stage.advance)(state, inputs)
    outputs = jax.jit(method.outputs)(state, inputs)
    return {name: np.asarray(output.value) for name, output in outputs.items()}


def _photo(y=60, x=160, side=32):
    return (
        skimage.data.astronaut()[y : y + 4 * side : 4, x : x + 4 * side : 4].astype(np.float32)
        / 255
    )


def _correlation(a, b):
    a, b = (np.ravel(x - x.mean((0, 1))) for x in (a, b))
    return a @ b / np.sqrt((a @ a) * (b @ b))


def _composite(side=32):
    """A striped disc on a dotted ground, hints of 5 % of the pixels each, and the truth."""
    y, x = np.mgrid[:side, :side]
    truth = np.hypot(y - side / 2, x - side / 2) < side / 3
    fore = np.where((x // 2 % 2)[..., None], [0.8, 0.3, 0.2], [0.6, 0.5, 0.1])
    back = np.where(((x // 3 + y // 3) % 2)[..., None], [0.2, 0.3, 0.7], [0.1, 0.5, 0.5])
    image = np.where(truth[..., None], fore, back).astype(np.float32)
    foreground = (np.abs(y - side // 2) < 3) & (np.abs(x - side // 2) < 5)
    return image, foreground, (y < 2) | (x < 1), truth


def _iou(mask, truth):
    mask = mask > 0.5
    return (mask & truth).sum() / (mask | truth).sum()


@pytest.mark.slow
def test_segmentation_finds_the_disc():
    image, foreground, background, truth = _composite()
    sides = {"foreground": foreground, "background": background}
    options = {"hint_steps": 40, "fit_steps": 40, "channels": "8", "skip": "0"}
    out = _fitted("segmentation", image, "fast", sides, **options)
    assert _iou(out["mask"], truth) > 0.9
    np.testing.assert_array_equal(out["result"], image * out["mask"][..., None])
    assert out["foreground"].shape == out["background"].shape == image.shape


def test_the_edge_of_an_enlarged_mask_stays_where_it_was():
    """Of a flat image, whatever its size and the radius, it keeps a straight edge in its place."""
    mask, full = np.zeros((40, 40, 1), np.float32), np.full((80, 80, 3), 0.5, np.float32)
    mask[:, :20] = 1
    cut = jax.jit(segmentation.cut, static_argnums=0)
    for edges in (2, 5):
        config = segmentation.RECIPE.build(edges=edges)
        refined = cut(config, mask, full)
        np.testing.assert_array_equal(refined, np.repeat(np.repeat(mask[..., 0], 2, 0), 2, 1))


@pytest.mark.slow
def test_segmentation_of_a_video_with_hints_of_the_first_frame():
    image, foreground, background, truth = _composite()
    video = np.stack([np.roll(image, shift, axis=1) for shift in (0, 2, 4)])
    video = np.round(255 * video).astype(np.uint8)
    truths = [np.roll(truth, shift, axis=1) for shift in (0, 2, 4)]
    options = {"hint_steps": 120, "fit_steps": 40, "channels": "8", "skip": "4", "batch": 3}
    sides = {"foreground": foreground[None], "background": background[None]}
    out = _fitted("video_segmentation", video, "fast", sides, **options)
    assert out["mask"].shape == (3, 32, 32)
    assert min(_iou(m, t) for m, t in zip(out["mask"], truths)) > 0.8
    assert out["result"].shape == video.shape


@pytest.mark.slow
def test_dehazing_brings_the_image_nearer_to_the_truth():
    truth = _photo()
    t = np.linspace(0.3, 0.9, 32, dtype=np.float32)[:, None, None]
    light = np.array([0.8, 0.85, 0.9], np.float32)
    hazy = haze(truth, t, light)
    options = {"presets": "uniform,fast", "airlight": light, "pass_steps": 120, "channels": "8,16"}
    out = _fitted("dehazing", hazy, skip="0,4", **options)
    assert psnr(out["result"], truth) > psnr(hazy, truth) + 1
    np.testing.assert_allclose(out["airlight_colour"], light, atol=1e-4)
    mixed = haze(out["result"], out["transmission"][..., None], out["airlight"])
    inside = (out["result"] > 0.01) & (out["result"] < 0.99)
    np.testing.assert_allclose(mixed[inside], hazy[inside], atol=1e-4)


@pytest.mark.slow
def test_two_passes_explain_the_image_as_it_came():
    hazy = haze(_photo(), np.float32(0.5), np.array([0.8, 0.85, 0.9], np.float32))
    out = _fitted("dehazing", hazy, passes=2, steps=3, channels="4", skip="0")
    mixed = haze(out["result"], out["transmission"][..., None], out["airlight"])
    inside = (out["result"] > 0.01) & (out["result"] < 0.99) & (out["airlight"] < 0.99)
    np.testing.assert_allclose(mixed[inside], hazy[inside], atol=2e-3)


@pytest.mark.slow
def test_a_pair_is_separated():
    first, second = _photo(), _photo(300, 40)
    mixed = [np.float32(a * first + (1 - a) * second) for a in (0.7, 0.4)]
    out = _fitted("transparency", mixed, "pair,fast", train_steps=5, filters=3, **TINY)
    layers, truths = (out["layer1"], out["layer2"]), (first, second)
    known = _correlation(first, second)
    for i in (0, 1):
        assert _correlation(layers[i], truths[i]) > 0.95
        assert abs(_correlation(layers[i], truths[1 - i]) - known) < 0.3


@pytest.mark.slow
def test_a_watermarks_surroundings_stay_to_the_bit():
    image = _photo(side=48)
    marked = image.copy()
    marked[20:28, 18:34] = marked[20:28, 18:34] / 2 + 0.4
    options = {"margin": 8, "clean_steps": 20, "fit_steps": 20, "filters": 3, **TINY}
    out = _fitted("watermark", marked, "fast", box=(18, 16, 30, 36), **options)
    outside = np.ones((48, 48), bool)
    outside[18:30, 16:36] = False
    np.testing.assert_array_equal(out["result"][outside], marked[outside])
    assert out["mask"][outside].max() == 0
    assert (out["result"] != marked).any()
    assert (out["mask"].shape, out["watermark"].shape) == ((48, 48), (48, 48, 3))


@pytest.mark.slow
def test_several_images_are_changed_only_where_their_mark_is():
    mark, photo = np.zeros((80, 96, 1), np.float32), skimage.data.astronaut() / np.float32(255)
    for left in range(20, 76, 8):
        mark[24:56, left : left + 3] = 0.5
    images = [photo[:80, 160:256], photo[320:400, 40:136]]
    marked = [mark + (1 - mark) * image for image in images]
    options = {"fit_steps": 60, "filters": 3, "margin": 4, "learning_rate": 2e-2}
    out = _fitted("watermark", marked, "many,fast", **options, channels="16,32", skip="0,4")
    far = np.ones((80, 96), bool)
    far[12:78] = False
    for n in (0, 1):
        np.testing.assert_array_equal(out[f"clean{n + 1}"][far], marked[n][far])
        before, after = (np.abs(x - images[n]).mean() for x in (marked[n], out[f"clean{n + 1}"]))
        assert after < 0.5 * before
    assert out["mask"].shape == (80, 96)
    assert out["mask"][far].max() == 0


def _untrained_median(image, presets="", **fields):
    """What a method makes of three replicas before their first step."""
    method, inputs = _prepared("watermark", image, presets, filters=3, **TINY, **fields)
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
    image = _photo()
    every, out = _untrained_median(image, box=(8, 8, 20, 20))
    np.testing.assert_array_equal(out["result"][:8], image[:8])
    marked = np.median(every["mask"], axis=0) >= 0.1
    assert marked[8:20, 8:20].mean() > 0.5
    clean = np.median(every["clean"], axis=0)
    np.testing.assert_allclose(out["result"][marked], clean[marked], atol=1e-6)


@pytest.mark.slow
def test_median_of_three_fits_of_several_images():
    """Images of different sizes; the frame around their common centre stays."""
    images = [_photo(side=40)[:, :36], _photo(300, 40, side=40)[:38]]
    _, out = _untrained_median(images, "many")
    assert out["clean1"].shape == images[0].shape
    assert out["clean2"].shape == images[1].shape
    np.testing.assert_array_equal(out["clean1"][0], images[0][0])
    np.testing.assert_array_equal(out["clean2"][:, 0], images[1][:, 0])
    np.testing.assert_array_equal(out["result"], out["clean1"])


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
    """Parameter counts of the authors' nets; a step and the outputs of the default settings trace."""
    fields = {"box": "4,4,20,20"} if (name, presets) == ("watermark", "single") else {}
    image = _photo(side=40)
    several = methods.find(name).grouping(methods.find(name).build(presets)).kind == "together"
    method, inputs = _prepared(name, [image, 1 - image] if several else image, presets, **fields)
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    sizes = {n: sum(x.size for x in jax.tree.leaves(p)) for n, p in state.params.items()}
    assert {n: sizes[n] for n in counts} == counts
    for stage in method.stages:
        step = functools.partial(stage.step, variant=None)
        state, metrics = jax.eval_shape(step, state, inputs)
        assert "loss" in metrics
        if stage.advance:
            state, inputs = jax.eval_shape(stage.advance, state, inputs)
    assert outputs <= set(jax.eval_shape(method.outputs, state, inputs))


def _refused(name, image, presets="", sides=None, **fields):
    with pytest.raises(InputError) as caught:
        _prepared(name, image, presets, sides, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


_TOP = slice(0, 5)


def _mask(size=(32, 32), rows=_TOP):
    mask = np.zeros(size, np.float32)
    mask[rows] = 1
    return mask


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ({"foreground": _mask((16, 16)), "background": _mask()}, "config.foreground: is 16x16"),
        ({"foreground": 0 * _mask(), "background": _mask()}, "config.foreground: nothing is white"),
        (
            {"foreground": _mask(), "background": 1 + 0 * _mask()},
            "config.background: everything is white",
        ),
        ({"foreground": _mask(), "background": _mask()}, "overlap in 160 pixels"),
        ({"foreground": _mask()}, "config.background: give this hint as well"),
    ],
)
def test_hints_that_are_refused(sides, message):
    assert message in _refused("segmentation", _photo(), sides=sides)
    masks = {name: mask[None] for name, mask in sides.items()}
    video = np.zeros((3, 32, 32, 3), np.uint8)
    assert message in _refused("video_segmentation", video, sides=masks)


def test_hints_of_frames_that_are_refused():
    video = np.zeros((3, 32, 32, 3), np.uint8)
    top, bottom = np.stack([_mask()] * 2), np.stack([_mask(rows=slice(20, 30))] * 2)
    text = _refused(
        "video_segmentation", video, sides={"foreground": top, "background": bottom[:1]}
    )
    assert "config.foreground has 2 masks and config.background 1" in text
    bottom[1] = top[1]
    text = _refused("video_segmentation", video, sides={"foreground": top, "background": bottom})
    assert "overlap in frame 1" in text


def test_automatic_hints_and_files_exclude_each_other():
    sides = {"foreground": _mask(), "background": _mask(rows=slice(20, 30))}
    text = _refused("segmentation", _photo(), sides=sides, hints="auto")
    assert "config.hints=auto and config.foreground" in text


def test_hints_are_shrunk_to_the_pixels_of_which_most_is_hinted():
    """Against the mean of each cell, the last ones cut off; a hint too thin for that stays."""
    hint = np.random.default_rng(0).random((10, 13)) < 0.5
    cells = [[hint[y : y + 3, x : x + 3].mean() for x in range(0, 13, 3)] for y in range(0, 10, 3)]
    np.testing.assert_array_equal(hints.shrunk(hint, (4, 5)), np.array(cells) >= 0.5)
    thin = np.zeros((10, 13), bool)
    thin[4, 7] = True
    assert np.argwhere(hints.shrunk(thin, (4, 5))).tolist() == [[1, 2]]


def test_films_have_the_frame_rate_of_the_config():
    video = np.stack([_composite()[0]] * 2)
    sides = {"foreground": _composite()[1][None], "background": _composite()[2][None]}
    method, inputs = _prepared(
        "video_segmentation", np.uint8(255 * video), sides=sides, frame_rate=12, **TINY
    )
    outputs = jax.eval_shape(lambda i: method.outputs(method.init(jax.random.key(0), i), i), inputs)
    assert {output.frame_rate for output in outputs.values()} == {12.0}
    assert {output.kind for output in outputs.values()} == {"frames"}


@pytest.mark.parametrize("airlight", ["blue", "0.5,0.6", "0.5,0.6,1.2", "0,0.5,0.5", "nan,0.5,0.5"])
def test_airlight_out_of_range(airlight):
    text = _refused("dehazing", _photo(), airlight=airlight)
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
        ({}, {"mask": 0 * _mask()}, "config.mask: nothing is white"),
        ({}, {"mask": _mask((8, 8))}, "config.mask: is 8x8, but the image is 32x32"),
        ({"box": "1,1,9,9"}, {"mask": _mask()}, "exclude each other"),
    ],
)
def test_regions_that_are_refused(fields, sides, message):
    assert message in _refused("watermark", _photo(), sides=sides, **fields)


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
    photo = _photo()
    assert "two mixtures are equal" in _refused("transparency", [photo, photo], "pair")
    many = _refused("watermark", [photo, photo], "many", box="1,1,9,9")
    assert "must be empty for several images" in many
    assert "sides must be at least 16" in _refused("dehazing", photo[:8])


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
def test_what_transparency_takes_for_auto(presets, fields, expected):
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
def test_samples_are_what_the_methods_take(name, presets, kind):
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
