"""Programs that are kept for the next run of the same shapes."""

import dataclasses
import gc
import weakref

import jax
import numpy as np
import pytest

import deepinternal as di
from deepinternal.engine.kept import Kept
from deepinternal.methods import registry
from deepinternal.methods.denoise import RECIPE, make
from tests.tiny_methods import photo

OPTIONS = {"strength": 0}  # the image itself, whose programs are small


class _Programs:
    """Stands for compiled programs."""


def test_programs_are_taken_by_one_run_at_a_time():
    kept = Kept(most=2)
    first = kept.take("a", _Programs)
    assert kept.take("a", _Programs) is not first, "which is in use"
    kept.put("a", first)
    assert kept.take("b", _Programs) is not first
    assert kept.take("a", _Programs) is first


def test_the_programs_that_were_used_last_are_kept():
    kept = Kept(most=2)
    made = {name: _Programs() for name in "abc"}
    for name in "abac":
        kept.put(name, made[name])
    found = {name: kept.take(name, _Programs) is made[name] for name in "abc"}
    assert found == {"a": True, "b": False, "c": True}


@pytest.mark.parametrize("setting", [{"jax_default_matmul_precision": "highest"}])
def test_programs_belong_to_the_settings_of_the_host(setting):
    kept, made = Kept(most=2), _Programs()
    kept.put("a", made)
    with jax.default_matmul_precision(*setting.values()):
        assert kept.take("a", _Programs) is not made
    assert kept.take("a", _Programs) is made


@pytest.fixture
def compiled():
    """The names of the events of compiling, as JAX reports them."""
    seen = []
    listener = lambda name, seconds, **about: seen.append(name) if "compile" in name else None
    jax.monitoring.register_event_duration_secs_listener(listener)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listener)


def test_a_second_image_of_the_same_size_needs_nothing_compiled(compiled):
    first, second = photo(30), photo(30)[::-1].copy()
    made = di.denoise(first, **OPTIONS)["result"]
    assert compiled
    compiled.clear()
    other = di.denoise(second, **OPTIONS, seed=1)["result"]
    again = di.denoise(first, **OPTIONS)["result"]
    assert not compiled
    np.testing.assert_array_equal(again, made)
    np.testing.assert_array_equal(other, made[::-1])
    di.denoise(first, **OPTIONS, stride=5)
    assert compiled, "with other settings"


def test_nothing_of_a_run_is_kept():
    result = di.denoise(photo(28), **OPTIONS, full=True)
    kept = [weakref.ref(x) for x in jax.tree.leaves((result.state, result.inputs))]
    del result
    gc.collect()
    assert kept
    assert not any(one() is not None for one in kept)


def test_programs_of_the_users_own_code_are_not_kept(compiled, monkeypatch):
    def own(config, spec):
        return make(config, spec)

    recipe = dataclasses.replace(RECIPE, name="mine", make=own)
    monkeypatch.setitem(registry._registered, "mine", recipe)
    for _ in range(2):
        compiled.clear()
        di.run("mine", photo(26), **OPTIONS)
        assert compiled
