"""Calls that return how their results were made, and runs that are read from a work folder."""

import sys
import types
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepinternal as di
from deepinternal import notebook, retargeter
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.methods import registry
from deepinternal.methods.zssr import RECIPE as ZSSR
from deepinternal.runs import jobs, settings
from deepinternal.types import InputError
from tests.tiny_methods import decomposition, photo
from tests.tiny_sets import RECIPE as TINY

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_programs")]
SMALL = {"preset": "ideal", "features": 4, "layers": 2, "crop": 16, "ensemble": "off"}
IMAGE = (photo(24) * 255).astype(np.uint8)


def test_a_result_holds_method_state_and_inputs():
    """Averaged parameters, metrics of every tenth step and of the last, and all a callback is told."""
    told = []
    options = {**SMALL, "average": 0.9, "steps": 12, "evaluate_every": 5}
    plain = di.super_resolve(IMAGE, 2, **options)
    run = di.super_resolve(IMAGE, 2, full=True, callback=lambda *a: told.append(a), **options)
    np.testing.assert_array_equal(run.outputs["result"], plain["result"])
    assert run.history["step"].tolist() == [5, 10, 12] == [step for step, _ in told]
    assert run.history.keys() == {"step", "loss", "l1", "learning_rate", "test_mse", "test_psnr"}
    assert np.isnan(run.history["test_psnr"]).tolist() == [False, False, True]
    np.testing.assert_array_equal(run.history["loss"], [m["loss"] for _, m in told])
    assert all(type(value) is float for _, metrics in told for value in metrics.values())
    kept, mean = map(jax.tree.leaves, (run.params["net"], run.state.model_state["average"]))
    assert all(map(np.array_equal, kept, mean))
    assert not any(map(np.array_equal, kept, jax.tree.leaves(run.state.params)))
    assert run.seconds > 0
    assert run.config.average == 0.9
    again = jax.jit(run.method.outputs)(run.state, run.inputs)["result"].value
    np.testing.assert_allclose(again * 255, run.outputs["result"], atol=0.51)
    assert "result (48, 48, 3)" in repr(run)
    assert len(repr(run)) < 500


def test_a_net_applied_to_another_image():
    """To its own it gives its own result; alpha and dtype are the other image's."""
    run = di.super_resolve(IMAGE, 2, full=True, steps=3, **SMALL)
    np.testing.assert_array_equal(run.apply(IMAGE)["result"], run.outputs["result"])
    other = np.dstack([IMAGE[:20], IMAGE[:20, :, 0]]).astype(np.uint16) * 257
    made = run.apply(other)["result"]
    assert (made.shape, made.dtype) == ((40, 48, 4), np.uint16)
    with pytest.raises(InputError, match="has 1 channels, but the net was trained on 3"):
        run.apply(IMAGE[..., 0])
    with pytest.raises(InputError, match="takes no side input mask; there are: kernel"):
        run.apply(IMAGE, mask=IMAGE)


def test_remarks_come_from_the_recipe():
    options = {**SMALL, "preset": "blind,fast", "optimizer": "adam", "kernel_use": "cubic"}
    run = di.super_resolve(IMAGE, 2, full=True, steps=1, **options)
    assert any("kernel is the cubic one" in remark for remark in run.remarks)
    assert run.method.apply is None, "what was decided holds for the image alone"


def test_fit_returns_a_full_result():
    told = []
    inputs = {"image": photo(16)}
    run = di.fit(decomposition(4), inputs, full=True, callback=lambda *a: told.append(a))
    outputs = di.fit(decomposition(4), inputs)
    np.testing.assert_array_equal(run.outputs["result"], outputs["result"])
    assert run.history["step"].tolist() == [step for step, _ in told]
    assert jax.tree.leaves(run.params)[0].shape[0] == 3, "replicas in front"
    assert (run.task, run.config, run.remarks) == (None, None, ())
    with pytest.raises(InputError, match="only valid for its own image"):
        run.apply(IMAGE)


def test_an_exception_of_a_callback_ends_the_run():
    def stop(step, metrics):
        raise StopIteration(step)

    with pytest.raises(StopIteration):
        di.super_resolve(IMAGE, callback=stop, steps=1, **SMALL)


def test_a_trained_retargeter_is_a_result_too(optimised):
    options = {"preset": "smoke", "steps": 1, "samples": "", "blocks": 0}
    run = di.train_retargeter(photo(48), full=True, **options)
    made = di.retarget(run, (40, 64))
    np.testing.assert_array_equal(made, di.retarget(retargeter.of_result(run), (40, 64)))
    assert len(repr(retargeter.of_result(run))) < 100
    assert run.params.keys() == {"generator"}
    assert run.history["step"].tolist() == [1]
    with pytest.raises(InputError, match="is a run of 'zssr'; give the result"):
        di.retarget(di.super_resolve(IMAGE, full=True, steps=1, **SMALL), (40, 64))


def command(recipe, workdir, preset="", **fields):
    """What `deepinternal train` does."""
    config = settings.to_config_dict(recipe, preset)
    config.update({"progress": False, "parallel": {"devices": 1}, **fields})
    config, run = settings.split(recipe, config)
    assert jobs.run_all(recipe, config, run, str(workdir)) == 0


@pytest.fixture
def images(tmp_path):
    (tmp_path / "in").mkdir()
    for name, image in {"a": photo(24), "b": photo(24)[:20, :22]}.items():
        write_image(tmp_path / "in" / f"{name}.png", image)
    return tmp_path / "in"


@pytest.fixture
def tiny(images, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {"tiny_sets": TINY})
    command(TINY, tmp_path / "out", input=str(images), train_steps=30, snapshot_every=20)
    return tmp_path / "out"


def test_a_run_is_read_from_its_folder(tiny):
    run = di.load(tiny, "b")
    saved = read_image(tiny / "b/result.png").pixels
    np.testing.assert_allclose(run.outputs["result"], saved, atol=0.51 / 255)
    np.testing.assert_allclose(run.params["pixels"][0], saved, atol=0.51 / 255)
    assert run.params is run.state.params
    assert run.config.train_steps == 30
    assert run.history["step"].tolist() == [10, 20, 30]
    assert set(run.history) == {"step", "loss"}
    assert run.seconds > 0
    assert run.inputs["images"].shape == (1, 20, 22, 3)
    with pytest.raises(InputError, match="only valid for its own image"):
        run.apply(IMAGE)


def test_a_run_of_relative_paths_is_read_from_elsewhere(images, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {"tiny_sets": TINY})
    monkeypatch.chdir(tmp_path)
    command(TINY, "out", input="in/a.png, in/b.png", train_steps=3)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert di.load("../out", "b").outputs["result"].shape == (20, 22, 3)


def test_the_result_of_a_grey_file_has_two_axes(tmp_path):
    write_image(tmp_path / "grey.png", photo(24)[..., 0])
    small = {**SMALL, "train_steps": 2}
    command(ZSSR, tmp_path / "out", small.pop("preset"), input=str(tmp_path / "grey.png"), **small)
    run = di.load(tmp_path / "out")
    assert run.outputs["result"].shape == (48, 48)
    assert run.apply(photo(20)[..., 0])["result"].shape == (40, 40)


def test_folders_that_cannot_be_loaded(tiny, images):
    def refused(message, **options):
        with pytest.raises(InputError, match=message) as error:
            di.load(tiny, **options)
        assert "\n" not in str(error.value)

    refused("holds a, b: pick one with stem")
    refused("stem=c: there are: a, b", stem="c")
    refused("step=7: there is no readable checkpoint .* there are 20, 30", stem="a", step=7)
    write_image(images / "a.png", photo(24)[::-1])
    refused("a.png has changed since the run", stem="a")
    (images / "a.png").unlink()
    refused("its input cannot be read: config.input no longer names a", stem="a")
    write_image(tiny / "a/input.png", photo(24))
    assert di.load(tiny, "a").outputs["result"].shape == (24, 24, 3)
    (tiny / "b/metrics.json").unlink()
    refused("the run has not ended", stem="b")


def test_gradual_runs_of_different_sizes_on_a_canvas(images, tmp_path):
    """The state is that of the last jump, and its inputs hold the result of the one before."""
    fields = {"scale": "1.5;2", "steps": 2, "features": 4, "layers": 3, "crop": 16}
    command(ZSSR, tmp_path / "out", "gradual", input=str(images), ensemble="off", **fields)
    for name, shape in {"a": (48, 48, 3), "b": (40, 44, 3)}.items():
        run = di.load(tmp_path / "out", name)
        saved = read_image(tmp_path / "out" / name / "result.png").pixels
        assert saved.shape == shape
        np.testing.assert_allclose(run.outputs["result"], saved, atol=0.51 / 255)
    assert len(run.method.stages) == 2
    assert run.apply(IMAGE)["result"].shape == (48, 48, 3)


class Display:
    """What IPython hands out for a place below a cell."""

    def __init__(self):
        self.shown = []

    def display(self, drawing, *, display_id):
        assert display_id is True
        self.shown.append(drawing)
        return self

    def update(self, drawing):
        self.shown.append(drawing)


@pytest.fixture
def kernel(monkeypatch):
    """A process that looks like the kernel of a notebook."""
    place = Display()
    shell = types.SimpleNamespace(kernel=object())
    shown = types.SimpleNamespace(SVG=str, display=place.display)
    ipython = types.SimpleNamespace(get_ipython=lambda: shell, display=shown)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    monkeypatch.setattr(notebook, "INTERVAL", 0.0)
    return place


def test_a_notebook_shows_a_curve(kernel):
    di.fit(decomposition(12), {"image": photo(16)}, progress=True)
    assert len(kernel.shown) > 2
    last = kernel.shown[-1]
    assert last.startswith("<svg")
    assert "loss by step" in last
    assert last.count(" ") > kernel.shown[0].count(" "), "it grows"
    kernel.shown.clear()
    di.fit(decomposition(2), {"image": photo(16)})
    assert kernel.shown == [], "without progress nothing is shown"


def test_a_notebook_that_cannot_draw_does_not_end_the_run(kernel, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(kernel, "update", fail)
    monkeypatch.setattr(sys.modules["IPython.display"], "display", fail)
    out = di.fit(decomposition(2), {"image": photo(16)}, progress=True)
    assert isinstance(out, Mapping)


def test_no_curve_outside_of_a_notebook(monkeypatch):
    assert not notebook.is_running()
    terminal = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=None))
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert not notebook.is_running()


def test_inputs_of_jax_are_arrays_too():
    a, b = (di.super_resolve(x, 2, steps=1, **SMALL) for x in (jnp.asarray(IMAGE), IMAGE))
    np.testing.assert_array_equal(a["result"], b["result"])
