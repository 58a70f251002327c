"""The decompositions on small images: what they find, what they keep, what they refuse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

import deepinternal as di
from deepinternal.estimators import alphas
from deepinternal.methods import registry
from deepinternal.methods.double_dip import segmentation
from deepinternal.ops.haze import haze
from deepinternal.ops.metrics import psnr
from deepinternal.types import InputError, input_spec

TINY = {"channels": "4,8", "skip": "0,4"}


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


def test_segmentation_finds_the_disc():
    image, foreground, background, truth = _composite()
    out = di.segment(
        image, foreground, background, hint_steps=40, fit_steps=40, channels="4,8", skip="0"
    )
    assert _iou(out["mask"], truth) > 0.9
    np.testing.assert_array_equal(out["result"], image * out["mask"][..., None])
    assert out["foreground"].shape == out["background"].shape == image.shape


def test_the_edge_of_an_enlarged_mask_stays_where_it_was():
    """Of a flat image, whatever its size and the radius, it keeps a straight edge in its place."""
    mask, full = np.zeros((40, 40, 1), np.float32), np.full((80, 80, 3), 0.5, np.float32)
    mask[:, :20] = 1
    config = registry.defaults("segmentation")
    for edges in (2, 5):
        config.edges = edges
        refined = segmentation.cut(config, jnp.asarray(mask), jnp.asarray(full))
        np.testing.assert_array_equal(refined, np.repeat(np.repeat(mask[..., 0], 2, 0), 2, 1))
    assert "config.edges" in _refused("segmentation", image=_photo(), fields={"edges": 0})


def test_segmentation_of_a_video_with_hints_of_the_first_frame():
    image, foreground, background, truth = _composite()
    video = np.stack([np.roll(image, shift, axis=1) for shift in (0, 2, 4)])
    truths = [np.roll(truth, shift, axis=1) for shift in (0, 2, 4)]
    options = {"hint_steps": 120, "fit_steps": 40, "channels": "8", "skip": "4", "batch": 3}
    out = di.segment(video, foreground[None], background[None], **options)
    assert out["mask"].shape == (3, 32, 32)
    assert min(_iou(m, t) for m, t in zip(out["mask"], truths)) > 0.8
    assert out["result"].shape == video.shape


def test_dehazing_brings_the_image_nearer_to_the_truth():
    truth = _photo()
    t = np.linspace(0.3, 0.9, 32, dtype=np.float32)[:, None, None]
    light = np.array([0.8, 0.85, 0.9], np.float32)
    hazy = haze(truth, t, light)
    options = {"preset": "uniform,fast", "airlight": light, "fit_steps": 120, "channels": "8,16"}
    out = di.dehaze(hazy, skip="0,4", **options)
    assert psnr(out["result"], truth) > psnr(hazy, truth) + 1
    np.testing.assert_allclose(out["airlight_colour"], light, atol=1e-4)
    mixed = haze(out["result"], out["transmission"][..., None], out["airlight"])
    inside = (out["result"] > 0.01) & (out["result"] < 0.99)
    np.testing.assert_allclose(mixed[inside], hazy[inside], atol=1e-4)


def test_two_passes_explain_the_image_as_it_came():
    hazy = haze(_photo(), np.float32(0.5), np.array([0.8, 0.85, 0.9], np.float32))
    out = di.dehaze(hazy, preset="", passes=2, steps=6, **TINY)
    mixed = haze(out["result"], out["transmission"][..., None], out["airlight"])
    inside = (out["result"] > 0.01) & (out["result"] < 0.99) & (out["airlight"] < 0.99)
    np.testing.assert_allclose(mixed[inside], hazy[inside], atol=2e-3)


@pytest.mark.parametrize("weights", [(0.7, 0.4), (0.35, 0.62)])
def test_weights_of_two_mixtures_are_found(weights):
    first, second = _photo(side=48), _photo(300, 40, side=48)
    mixed = [np.float32(a * first + (1 - a) * second) for a in weights]
    found = np.asarray(alphas.search(*map(jnp.asarray, mixed)))
    expected = weights if weights[0] > weights[1] else tuple(1 - a for a in weights)
    np.testing.assert_allclose(found, expected, atol=0.06)
    layers = alphas.solve(*map(jnp.asarray, mixed), jnp.float32(expected))
    truths = (first, second) if weights[0] > weights[1] else (second, first)
    np.testing.assert_allclose(layers, truths, atol=1e-4)


def test_solving_near_given_layers():
    """The least squares solution with a penalty, against NumPy, for one pixel."""
    rng, a, trust = np.random.default_rng(0), np.array([0.6, 0.5]), 0.1
    mixed, near = rng.random(2), rng.random(2)
    system = np.stack([a, 1 - a], axis=1)
    expected = np.linalg.solve(
        system.T @ system + trust * np.eye(2), system.T @ mixed + trust * near
    )
    pixel = lambda v: jnp.full((1, 1, 1), v)
    made = alphas.solve(
        *map(pixel, mixed), jnp.asarray(a), near=tuple(map(pixel, near)), trust=trust
    )
    np.testing.assert_allclose(np.ravel(made), expected, rtol=1e-4)


def test_a_pair_is_separated():
    first, second = _photo(), _photo(300, 40)
    mixed = [np.float32(a * first + (1 - a) * second) for a in (0.7, 0.4)]
    out = di.separate(mixed, fit_steps=5, filters=3, **TINY)
    layers, truths = (out["layer1"], out["layer2"]), (first, second)
    known = _correlation(first, second)
    for i in (0, 1):
        assert _correlation(layers[i], truths[i]) > 0.95
        assert abs(_correlation(layers[i], truths[1 - i]) - known) < 0.3


def test_a_watermarks_surroundings_stay_to_the_bit():
    image = (255 * _photo(side=48)).astype(np.uint8)
    marked = image.copy()
    marked[20:28, 18:34] = marked[20:28, 18:34] // 2 + 100
    options = {"margin": 8, "clean_steps": 20, "fit_steps": 20, "filters": 3, **TINY}
    out = di.remove_watermark(marked, box=(18, 16, 30, 36), **options)
    outside = np.ones((48, 48), bool)
    outside[18:30, 16:36] = False
    np.testing.assert_array_equal(out["result"][outside], marked[outside])
    assert out["mask"][outside].max() == 0
    assert (out["result"] != marked).any()
    assert (out["mask"].shape, out["watermark"].shape) == ((48, 48), (48, 48, 3))


def test_several_images_are_changed_only_where_their_mark_is():
    mark, photo = np.zeros((80, 96, 1), np.float32), skimage.data.astronaut() / np.float32(255)
    for left in range(20, 76, 8):
        mark[24:56, left : left + 3] = 0.5
    images = [photo[:80, 160:256], photo[320:400, 40:136]]
    marked = [mark + (1 - mark) * image for image in images]
    options = {"fit_steps": 150, "filters": 3, "margin": 4, "learning_rate": 1e-2}
    out = di.remove_watermark(marked, **options, channels="16,32", skip="0,4")
    far = np.ones((80, 96), bool)
    far[12:78] = False
    for n in (0, 1):
        np.testing.assert_array_equal(out[f"clean{n + 1}"][far], marked[n][far])
        before, after = (np.abs(x - images[n]).mean() for x in (marked[n], out[f"clean{n + 1}"]))
        assert after < 0.5 * before
    assert out["mask"].shape == (80, 96)
    assert out["mask"][far].max() == 0


def test_median_of_three_fits_of_one_image():
    options = {"runs": 3, "steps": 2, "filters": 3, **TINY}
    out = di.remove_watermark(_photo(), preset="", box=(8, 8, 20, 20), **options)
    np.testing.assert_array_equal(out["result"][:8], _photo()[:8])


def test_median_of_three_fits_of_several_images():
    """Images of different sizes; the frame around their common centre stays."""
    images = [_photo(side=40)[:, :36], _photo(300, 40, side=40)[:38]]
    out = di.remove_watermark(images, preset="", runs=3, steps=2, filters=3, **TINY)
    assert out["clean1"].shape == images[0].shape
    assert out["clean2"].shape == images[1].shape
    np.testing.assert_array_equal(out["clean1"][0], images[0][0])
    np.testing.assert_array_equal(out["clean2"][:, 0], images[1][:, 0])
    np.testing.assert_array_equal(out["result"], out["clean1"])


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
    module = registry.get(name)
    config = registry.preset(name, presets, registry.defaults(name))
    config.update({"box": "4,4,20,20"} if presets == "single" and name == "watermark" else {})
    image = _photo(side=40)
    grouped = getattr(module, "grouping", lambda _: "single")(config) == "together"
    inputs = module.prepare(config, [image, 1 - image] if grouped else image)
    method = module.make(config, input_spec(inputs))
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


def _refused(name, presets="", image=None, fields=None, **sides):
    module = registry.get(name)
    config = registry.defaults(name)
    if presets:
        registry.preset(name, presets, config)
    registry.override(config, fields or {})
    with pytest.raises(InputError) as caught:
        module.make(config, input_spec(module.prepare(config, image, **sides)))
    text = str(caught.value)
    assert "\n" not in text
    return text


def _mask(size=(32, 32), rows=slice(0, 5)):
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
        ({"foreground": _mask()}, "config.background: give a hint for it, too"),
    ],
)
def test_hints_that_are_refused(sides, message):
    assert message in _refused("segmentation", image=_photo(), **sides)
    masks = {name: mask[None] for name, mask in sides.items()}
    video = np.zeros((3, 32, 32, 3), np.uint8)
    assert message in _refused("video_segmentation", image=video, **masks)


def test_automatic_hints_and_files_exclude_each_other():
    sides = {"foreground": _mask(), "background": _mask(rows=slice(20, 30))}
    text = _refused("segmentation", image=_photo(), fields={"hints": "auto"}, **sides)
    assert "config.hints=auto and config.foreground" in text


@pytest.mark.parametrize("airlight", ["blue", "0.5,0.6", "0.5,0.6,1.2", "0,0.5,0.5", "nan,0.5,0.5"])
def test_airlight_out_of_range(airlight):
    text = _refused("dehazing", image=_photo(), fields={"airlight": airlight})
    assert text.startswith(
        f"config.airlight='{airlight}': give auto, dark_channel, or red,green,blue"
    )


@pytest.mark.parametrize(
    ("fields", "sides", "message"),
    [
        ({"box": "10,10,50,20"}, {}, "config.box=10,10,50,20: not inside the image of 32x32"),
        ({"box": "10,10,5,20"}, {}, "not inside"),
        ({"box": "1,2,3"}, {}, "config.box='1,2,3': give four whole numbers"),
        ({"box": "0,0,32,32"}, {}, "config.box: all of the image"),
        ({}, {}, "say where the mark is"),
        ({}, {"mask": 0 * _mask()}, "config.mask: nothing is white"),
        ({}, {"mask": _mask((8, 8))}, "config.mask: is 8x8, the image 32x32"),
        ({"box": "1,1,9,9"}, {"mask": _mask()}, "exclude each other"),
    ],
)
def test_regions_that_are_refused(fields, sides, message):
    assert message in _refused("watermark", image=_photo(), fields=fields, **sides)


def test_other_refusals():
    photo = _photo()
    assert "two mixtures are equal" in _refused("transparency", "pair", image=[photo, photo])
    many = _refused("watermark", "many", image=[photo, photo], fields={"box": "1,1,9,9"})
    assert "several images need none" in many
    assert "sides must be at least 16" in _refused("dehazing", image=photo[:8])
    assert "config.passes=3: 1 or 2" in _refused("dehazing", image=photo, fields={"passes": 3})
