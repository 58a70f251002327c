import json
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
import skimage.metrics

from benchmarks import bare, common, quality, throughput, timing
from deepinternal.codecs import image_io
from deepinternal.methods import registry
from deepinternal.types import InputError

TINY = ["layers=2", "features=8", "crop=24", "back_projection=1", "ensemble=off"]


def tiny_config(*settings):
    config = registry.defaults("zssr")
    common.override(config, [*TINY, *settings])
    return config


def photo(size, *, at=0):
    return skimage.data.astronaut()[at : at + size, 180 : 180 + size].astype(np.float32) / 255


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    image_io.write_image(path, pixels)


# The count of operations


def conv_flops_of(jaxpr):
    """Two operations per multiplication of every convolution in a traced program."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "conv_general_dilated":
            spec = eqn.params["dimension_numbers"]
            kernel = eqn.invars[1].aval.shape
            taps = math.prod(kernel[i] for i in spec.rhs_spec[1:])  # inputs and places
            total += 2 * math.prod(eqn.outvars[0].aval.shape) * taps
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", None)
            total += conv_flops_of(getattr(inner, "jaxpr", inner)) if inner is not None else 0
    return total


@pytest.mark.parametrize(
    ("batch", "kind", "side"),
    [(1, "interpolated", 24), (2, "interpolated", 24), (2, "subpixel", 12)],
)
def test_flops_by_hand_are_those_of_the_convolutions_that_autodiff_makes(batch, kind, side):
    config = tiny_config(f"patch_batch={batch}", "layers=4", f"net={kind}")
    net = bare.zssr(config, {"image": jnp.zeros((40, 30, 3))})
    assert net.shape == (batch, side, side, 3)
    x = jnp.ones(net.shape)
    traced = jax.make_jaxpr(jax.grad(lambda p: net.plain(p, x).sum()))(net.params)
    assert bare.training_flops(net.convs) == conv_flops_of(traced.jaxpr)


def test_flops_of_one_layer_written_out():
    conv = bare.Conv(5 * 7, (3, 3, 2, 4))
    forward = sum(2 for _ in range(5 * 7) for _ in range(9) for _ in range(2) for _ in range(4))
    assert bare.training_flops([conv]) == 3 * forward
    first = bare.Conv(5 * 7, (3, 3, 2, 4), input_gradient=False)
    assert bare.training_flops([first]) == 2 * forward


@pytest.mark.parametrize("kind", ["interpolated", "subpixel"])
def test_both_bare_nets_compute_the_same(kind):
    net = bare.zssr(tiny_config("crop=33", f"net={kind}"), {"image": jnp.zeros((40, 40, 3))})
    x = jax.random.uniform(jax.random.key(2), net.shape)
    np.testing.assert_allclose(net.apply(net.params, x), net.plain(net.params, x), atol=1e-5)


def test_bare_training_learns_its_batch():
    net = bare.zssr(tiny_config(), {"image": jnp.zeros((24, 24, 3))})
    trainer = bare.BareTrainer(net, net.plain, chunk=5, learning_rate=3e-3)
    first = trainer.run(5)
    assert trainer.run(40) < first


# Turns


def test_turns_rotate_and_ratios_are_taken_within_a_round():
    order = []
    clock = {"full": iter([2.0, 6.0, 4.0]), "bare": iter([1.0, 2.0, 4.0])}

    def turn(name):
        def run():
            order.append(name)
            return next(clock[name])

        return run

    taken = timing.take_turns({name: turn(name) for name in clock}, 3)
    assert order == ["full", "bare", "bare", "full", "full", "bare"]
    assert throughput._ratios(taken) == {"full/bare": {"median": 2.0, "min": 1.0, "max": 3.0}}


def test_throughput_is_consistent():
    config = tiny_config("steps=100")
    result = throughput.measure(
        "zssr", config, images=(1, 2), steps=4, rounds=2, photo=photo(64), peak_side=64, copied=4096
    )
    one, two = result["runs"]
    step = result["seconds_per_step"]["full"]["median"]
    image = 100 * step + 2 * result["evaluate_seconds"] + result["outputs_seconds"]
    assert one["images_per_hour"] == pytest.approx(3600 / image)
    assert one["steps_per_second"] == pytest.approx(1 / step)
    rate = result["flops_per_step"] / step
    assert one["share_of_peak"] == pytest.approx(rate / result["peak_flops_per_second"])
    assert two["images"] == 2
    assert two["steps_per_second"] > 0
    assert set(result["ratios"]) == {"full/bare", "full/plain", "bare/plain"}
    for spread in [*result["ratios"].values(), *result["seconds_per_step"].values()]:
        assert 0 < spread["min"] <= spread["median"] <= spread["max"] < math.inf
    assert result["compile_seconds"] > 0
    assert result["peak_memory_mb"]["host"] > 0
    # XLA leaves out the padding and counts all the rest of the step.
    assert 0.5 * result["flops_per_step"] < result["xla_flops_per_step"]
    line = result["roofline"]
    assert 0.5 * line["flops"] < line["contractions"] < line["flops"], (
        "the rest is element by element"
    )
    least = max(
        line["flops"] / result["peak_flops_per_second"],
        line["bytes"] / result["copy_bytes_per_second"],
    )
    assert line["share"] == pytest.approx(least / step)
    text = throughput.report([result])
    assert two["lanes"] == 1, "on CPU images train one after another"
    assert "nan" not in text


# Pairs


def names(folder):
    pairs = quality.find_pairs(folder)
    return {name: (low.name, high.name) for name, (low, high) in pairs.items()}


def touch(folder, *files):
    for name in files:
        (folder / name).write_bytes(b"")


def test_pairs_of_both_kinds(tmp_path):
    touch(tmp_path, "b_LR.png", "b_HR.png", "a.png", "a_gt.tif", "alone.png", "c_LR.png")
    touch(tmp_path, "notes.txt", "d_HR.png", "e_gt.png")
    assert names(tmp_path) == {"a": ("a.png", "a_gt.tif"), "b": ("b_LR.png", "b_HR.png")}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "X_LR.png"),
        (["a.png", "b_gt.png"], "X_LR.png"),
        (["a.png", "a_gt.png", "a_LR.png", "a_HR.png"], "two pairs"),
        (["a.png", "a.jpg", "a_gt.png"], "one of the two"),
    ],
)
def test_pairs_that_cannot_be_told(tmp_path, files, words):
    touch(tmp_path, *files)
    with pytest.raises(InputError, match=words):
        quality.find_pairs(tmp_path)


def test_links_are_those_of_the_data_and_old_ones_go(tmp_path):
    data, links = tmp_path / "data", tmp_path / "links"
    data.mkdir()
    touch(data, "a.png", "a_gt.png")
    (data / "b_LR.png").write_bytes(b"low")
    (data / "b_HR.png").write_bytes(b"high")
    quality.link_pairs(quality.find_pairs(data), links)
    (data / "a.png").unlink()
    quality.link_pairs(quality.find_pairs(data), links)
    assert {p.name: p.read_bytes() for p in links.iterdir()} == {
        "b.png": b"low",
        "b_gt.png": b"high",
    }
    assert sorted(p.name for p in data.iterdir()) == ["a_gt.png", "b_HR.png", "b_LR.png"]


# Configs


def test_overrides_keep_types():
    config = common.load_config(quality_config())
    common.override(
        config, ["steps=7", "progress=false", "parallel.steps_per_dispatch=2", "scale=3"]
    )
    assert (config.steps, config.progress, config.scale) == (7, False, "3")
    assert config.parallel.steps_per_dispatch == 2


@pytest.mark.parametrize("setting", ["stepz=3", "steps=many", "steps", "a.b=1", "progress=perhaps"])
def test_overrides_refused(setting):
    with pytest.raises(InputError, match=setting):
        common.override(common.load_config(quality_config()), [setting])


@pytest.mark.parametrize("text", ["configs/none.py", "zssr", "configs/zssr.py:nonsense"])
def test_configs_refused(text):
    with pytest.raises(InputError, match=text.split(":")[-1]):
        common.load_config(text if ":" not in text else quality_config("nonsense"))


def test_launcher_style_overrides():
    given = ["prog", "--config=a.py:x", "--config.steps=3", "--json=f"]
    assert common.as_overrides(given) == ["prog", "--config=a.py:x", "--set=steps=3", "--json=f"]


def quality_config(presets=""):
    root = os.path.dirname(os.path.dirname(quality.__file__))
    return os.path.join(root, "configs", "zssr.py") + (f":{presets}" if presets else "")


# Quality


def test_quality_runs_jobs_and_scores_them(tmp_path):
    data, workdir = tmp_path / "data", tmp_path / "work"
    config = registry.defaults("zssr")
    for i, name in enumerate(("one", "two")):
        truth = photo(48, at=60 * i)
        low = np.asarray(registry.get("zssr").example(config, truth))
        write(data / f"{name}_LR.png", low)
        write(data / f"{name}_HR.png", truth)
    settings = [*TINY, "layers=1", "steps=3", "progress=false"]
    (result,) = quality.measure(
        str(data), [quality_config("smoke")], settings, workdir=str(workdir)
    )
    assert result["status"] == 0
    assert [m["image"] for m in result["images"]] == ["one", "two"]
    folder = workdir / quality.folder_name(quality_config("smoke"), settings)
    for m in result["images"]:
        expected = luma_psnr(folder / m["image"] / "result.png", data / f"{m['image']}_HR.png")
        assert m["psnr_y"] == pytest.approx(expected, abs=2e-3)
    column = [m["psnr_y"] for m in result["images"]]
    assert result["mean"]["psnr_y"] == pytest.approx(sum(column) / 2)
    text = quality.report(result, settings)
    assert f"| {column[0]:.2f} |" in text.replace("  ", " ")
    assert "mean" in text
    before = json.loads((folder / "summary.json").read_text())
    again = list(quality.measure(str(data), [quality_config("smoke")], settings, workdir=workdir))
    assert again[0]["images"] == before["images"], "finished images are not run again"


def luma_psnr(result, truth):
    """By the protocol: 8-bit files, BT.601 luma in 0..255 before rounding, border of 2 left out."""
    pair = [image_io.read_image(p).pixels.astype(np.float64) for p in (result, truth)]
    luma = [16 + x @ np.array([65.481, 128.553, 24.966]) for x in pair]
    return skimage.metrics.peak_signal_noise_ratio(*(x[2:-2, 2:-2] for x in luma), data_range=255)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["benchmarks.quality", "--data=nowhere", "--config=configs/zssr.py"], "nowhere"),
        (["benchmarks.throughput", "--images=1,x"], "--images"),
    ],
)
def test_a_mistake_is_one_line(arguments, words):
    root = os.path.dirname(os.path.dirname(quality.__file__))
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
