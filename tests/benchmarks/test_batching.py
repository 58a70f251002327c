"""The benchmark of batched convolutions, on a tiny net."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import skimage.data

from benchmarks import batching, common, throughput
from deepinternal.methods import registry

TINY = ["layers=2", "features=6", "crop=24", "back_projection=1", "ensemble=off"]


def test_together_and_one_by_one_train_the_same_weights():
    """Two images in one program, and one by one: the same states after two steps."""
    config = registry.defaults("zssr")
    common.override(config, [*TINY, "learning_rate=0.01"])
    photo = skimage.data.astronaut()[:48, 180:228].astype(np.float32) / 255
    _, inputs = throughput.sample("zssr", config, photo)
    trainers = {
        form: batching.Trainer(
            batching._method(config, inputs, form), inputs, images=2, batched=form is not None
        )
        for form in (None, "patches")
    }
    for trainer in trainers.values():
        assert trainer.run(2) > 0
    alone = [state.params["net"] for state in trainers[None]._states]
    (together,) = trainers["patches"]._states
    assert together.step.tolist() == [2, 2]
    for i, params in enumerate(alone):
        for name, kernel in params.items():
            np.testing.assert_allclose(together.params["net"][name][i], kernel, atol=1e-4)


def test_every_form_is_another_program():
    """What is measured as a form is that form: only loop has a convolution for each image."""
    config = registry.defaults("zssr")
    common.override(config, TINY)
    photo = skimage.data.astronaut()[:48, 180:228].astype(np.float32) / 255
    _, inputs = throughput.sample("zssr", config, photo)
    texts = {}
    for form in ("loop", "grouped", "patches", "taps"):
        method = batching._method(config, inputs, form)
        keys = jax.random.split(jax.random.key(0), 2)
        states = jax.eval_shape(jax.vmap(method.init, (0, None)), keys, inputs)
        step = jax.jit(jax.vmap(lambda s, method=method: method.step(s, inputs)[0]))
        texts[form] = step.lower(states).as_text()
    assert len(set(texts.values())) == 4
    counts = {form: text.count("stablehlo.convolution") for form, text in texts.items()}
    assert counts["loop"] > counts["grouped"] > counts["patches"] == counts["taps"]


@pytest.mark.slow
def test_command(tmp_path):
    out = tmp_path / "figures.json"
    settings = [f"--config.{setting}" for setting in TINY[:3]]
    command = [sys.executable, "-m", "benchmarks.batching", "--images=1,2", "--forms=taps"]
    command += ["--presets=ideal", "--steps=1", "--rounds=2", f"--json={out}", *settings]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    written = json.loads(out.read_text())
    results = written["presets"]["ideal"]
    kinds = [(1, "one by one"), (1, "taps"), (2, "one by one"), (2, "taps")]
    assert [(r["images"], r["form"]) for r in results] == kinds
    # Fathers of 24x24; the first layer needs no gradient of its input.
    flops = 2 * 24 * 24 * 9 * (2 * 3 * 6 + 3 * 6 * 3)
    for r in results:
        seconds = r["seconds_per_image"]["median"]
        assert r["flops_per_second"] == pytest.approx(flops / seconds)
        assert r["compile_seconds"] > 0
        assert (r["ratio_to_one_by_one"]["median"] == 1) or r["form"] != "one by one"
        assert r["form"] in run.stdout
    assert written["machine"]["date"] in run.stdout


def test_bad_form():
    command = [sys.executable, "-m", "benchmarks.batching", "--forms=fold"]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 2
    assert "--forms=fold: give some of loop, grouped" in run.stderr
