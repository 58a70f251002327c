"""The README's code runs as printed."""

import functools
import re
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import deepinternal as di
from tests.tiny_methods import photo

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_a_loop_of_ones_own_with_another_loss():
    names = {"image": jnp.asarray(photo(64)), "steps": 3}
    exec(next(b for b in BLOCKS if "def step" in b), names)
    assert names["result"].shape == (128, 128, 3)
    assert np.isfinite(names["value"])


def test_a_degradation_of_ones_own():
    tiny = {"steps": 2, "features": 4, "layers": 3, "crop": 24}
    stub = types.SimpleNamespace(super_resolve=functools.partial(di.super_resolve, **tiny))
    names = {"image": photo(32), "jnp": jnp, "di": stub}
    exec(next(b for b in BLOCKS if "def down" in b), names)
    assert names["sharp"].shape == (64, 64, 3)


def test_a_decomposition_of_ones_own():
    image = np.clip(photo(24), 0.05, 1)
    names = {"image": image, "steps": 150}
    exec(next(b for b in BLOCKS if "def outputs" in b), names)
    made = names["out"]["result"] * names["out"]["shading"]
    assert names["out"]["shading"].shape == (24, 24, 1)
    assert np.mean((made - image) ** 2) < 0.3 * np.var(image)


def test_four_seeds_of_the_method():
    names = {"image": jnp.asarray(photo(32)), "di": di, "jax": jax}
    code = next(b for b in BLOCKS if "vmap(method.init" in b)
    exec(code.replace('"scale": "2"', '"scale": "2", "features": 8, "layers": 3'), names)
    assert names["metrics"]["loss"].shape == (4,)
    assert len(set(np.asarray(names["metrics"]["loss"]).tolist())) == 4
