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
    names = {"image": jnp.asarray(photo(64)), "steps": 3}
    exec(code("def step"), names)
    assert names["result"].shape == (128, 128, 3)
    assert np.isfinite(names["value"])


def test_a_degradation_of_ones_own():
    names = {"image": photo(32), "jnp": jnp, "di": quick()}
    exec(code("def down"), names)
    assert names["sharp"].shape == (64, 64, 3)


@pytest.mark.slow
def test_a_decomposition_of_ones_own():
    image = np.clip(photo(24), 0.05, 1)
    names = {"image": image, "steps": 150}
    exec(code("def outputs"), names)
    made = names["out"]["result"] * names["out"]["shading"]
    assert names["out"]["shading"].shape == (24, 24, 1)
    assert np.mean((made - image) ** 2) < 0.3 * np.var(image)


def test_four_seeds_of_the_method():
    names = {"image": jnp.asarray(photo(32)), "di": di, "jax": jax}
    block = code("vmap(method.init").replace(
        '"scale": "2"', '"scale": "2", "features": 8, "layers": 3'
    )
    exec(block, names)
    assert names["metrics"]["loss"].shape == (4,)
    assert len(set(np.asarray(names["metrics"]["loss"]).tolist())) == 4
