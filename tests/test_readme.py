"""The code in the documents runs as printed."""

import functools
import re
import types
from pathlib import Path

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepinternal as di
from tests.tiny_methods import photo

pytestmark = pytest.mark.usefixtures("quick_programs")
ROOT = Path(__file__).parent.parent
TINY = {"steps": 2, "features": 4, "layers": 3, "crop": 24}


def code(words: str, document: str = "deepinternal/README.md") -> str:
    """The first block of a document with these words."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return next(b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if words in b)


def shorter(block: str, old: str, new: str) -> str:
    """The block with a number of steps, or other fields, that takes less time."""
    assert old in block
    return block.replace(old, new)


def quick() -> types.SimpleNamespace:
    """`deepinternal`, whose ZSSR is small."""
    return types.SimpleNamespace(super_resolve=functools.partial(di.super_resolve, **TINY))


def test_five_lines_of_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(di, "super_resolve", quick().super_resolve, raising=False)
    iio.imwrite("photo.jpg", np.uint8(photo(32) * 255))
    exec(code("super_resolve", "README.md"), {})
    assert iio.imread("big.png").shape == (64, 64, 3)


def test_the_whole_result():
    names = {"image": photo(32), "other_image": photo(40), "di": quick()}
    exec(code("full=True"), names)
    assert names["made"].outputs["result"].shape == (64, 64, 3)
    assert names["other_result"].shape == (80, 80, 3)


def test_a_loop_of_ones_own_with_another_loss():
    names = {"photo": np.uint8(photo(64) * 255)}
    exec(shorter(code("def step"), "1000", "3"), names)
    assert names["result"].shape == (128, 128, 3)
    assert np.isfinite(names["value"])
    cubic = di.ops.resize(names["image"], scale=2)
    assert np.abs(names["result"] - cubic).mean() < 0.2, "of images in [0, 1], and not in [0, 255]"


def test_a_degradation_of_ones_own(monkeypatch):
    monkeypatch.setattr(di, "super_resolve", quick().super_resolve, raising=False)
    names = {"image": photo(32)}
    exec(code("def down"), names)
    assert names["sharp"].shape == (64, 64, 3)
    assert jax.eval_shape(names["down"], jnp.zeros((7, 9, 3))).shape == (4, 5, 3)
    # Each sample lies between two rows and two columns, as the text says.
    rows_and_columns = np.moveaxis(np.indices((16, 16), np.float32), 0, -1)
    made = names["down"](rows_and_columns)[1:-1, 1:-1]
    expected = rows_and_columns[2:-2:2, 2:-2:2] + 0.5
    np.testing.assert_allclose(made, expected, rtol=1e-6)
    resized = di.ops.resize(rows_and_columns, scale=0.5)[2:-2, 2:-2]
    np.testing.assert_allclose(resized, expected[1:-1, 1:-1], rtol=1e-5)


@pytest.mark.slow
def test_a_loss_of_ones_own_for_dip():
    seen = []
    callback = lambda step, metrics: seen.append(metrics)
    run = functools.partial(di.run, preset="smoke", steps=2, channels="4,4", callback=callback)
    names = {"image": photo(32), "jnp": jnp, "di": types.SimpleNamespace(losses=di.losses, run=run)}
    exec(code("def regularizer"), names)
    assert names["clean"].shape == (32, 32, 3)
    loss, data, regularizer = (seen[-1][name] for name in ("loss", "data", "regularizer"))
    assert min(data, regularizer) > 0
    assert loss == pytest.approx(data + regularizer)


@pytest.mark.slow
def test_a_decomposition_of_ones_own():
    image = np.clip(photo(24), 0.05, 1)
    names = {"image": image}
    exec(shorter(code("def outputs"), "1000", "150"), names)
    made = names["out"]["result"] * names["out"]["shading"]
    assert names["out"]["shading"].shape == (24, 24, 1)
    assert np.mean((made - image) ** 2) < 0.3 * np.var(image)


def test_four_seeds_of_the_method():
    names = {"image": jnp.asarray(photo(32))}
    small = '"scale": "2", "features": 8, "layers": 3, "steps": 2'
    exec(shorter(code("vmap(method.init"), '"scale": "2"', small), names)
    assert names["states"].step.tolist() == [2] * 4
    images = np.asarray(names["images"])
    assert images.shape == (4, 64, 64, 3)
    assert len({image.tobytes() for image in images}) == 4
    assert np.abs(images - names["method"].baseline(names["inputs"])).mean() < 0.1


def test_what_the_text_says_about_stages():
    """`fast` has one stage up to 2.25 and no evaluations; the published settings need them."""
    make = lambda scale, preset: di.methods.make(
        "zssr", {"scale": scale}, (64, 64, 3), preset=preset
    )
    counts = [len(make(scale, "fast").stages) for scale in ("2", "2.25", "2.3")]
    assert counts[:2] == [1, 1]
    assert counts[2] > 1
    assert make("2", "fast").stages[0].evaluate is None
    published = make("2", "")
    assert len(published.stages) == 1
    assert published.stages[0].evaluate_every > 0
