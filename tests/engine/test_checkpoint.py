"""Checkpoints: what is read is what was saved, also by orbax itself and from earlier versions."""

import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from etils import epath

from deepinternal.engine import array_files
from deepinternal.engine.checkpoint import Checkpoints, shapes_at
from deepinternal.replicas import over_replicas
from deepinternal.types import TrainState
from tests import tiny_methods

INPUTS = {"image": jnp.asarray(tiny_methods.photo())}


def plain(tree):
    """Leaves as NumPy arrays, random keys as their data."""
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(plain(a), plain(b), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def method():
    """Of two stages, and three replicas with a random key each."""
    return over_replicas(tiny_methods.decomposition())


def filled(method, stage):
    """A state and inputs of a stage with distinct numbers."""
    rng = np.random.default_rng(stage)

    def fill(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.split(jax.random.key(7), x.shape)
        return jnp.asarray(rng.uniform(0, 99, x.shape).astype(x.dtype))

    return jax.tree.map(fill, shapes_at(method, INPUTS, stage))


@pytest.mark.parametrize("stage", [0, 1])
def test_what_is_read_is_what_was_saved(tmp_path, method, stage):
    state, inputs = filled(method, stage)
    saved = Checkpoints(tmp_path / "new")
    saved.save(5, state, inputs if stage else None, {"stage": stage, "steps": 5})
    found, later, meta = Checkpoints(tmp_path / "new").restore(method, INPUTS)
    assert_same(found, state)
    assert_same(later, inputs if stage else INPUTS)
    assert (meta["stage"], meta["steps"]) == (stage, 5)


def test_leaves_of_all_kinds(tmp_path):
    """None, no elements, two bytes, booleans, and keys of another generator."""
    state = TrainState(
        step=jnp.int32(3),
        key=jax.random.split(jax.random.key(1, impl="rbg"), 2),
        params={"half": jnp.arange(3, dtype=jnp.bfloat16), "empty": jnp.zeros((0, 4))},
        opt_state=(None, jnp.array([True, False])),
        model_state={},
    )
    method = tiny_methods.gan()
    method = type(method)("x", lambda key, inputs: state, method.stages, method.outputs)
    Checkpoints(tmp_path).save(3, state, None, {"stage": 0})
    assert_same(Checkpoints(tmp_path).restore(method, INPUTS)[0], state)


def test_orbax_reads_the_arrays(tmp_path, method):
    state, _ = filled(method, 0)
    Checkpoints(tmp_path).save(1, state, None, {"stage": 0})
    found = ocp.StandardCheckpointer().restore(tmp_path.absolute() / "1/state")
    layout = json.loads((tmp_path / "1/meta/metadata").read_text())["layout"]
    assert not [path for path in tmp_path.rglob("*") if "ocdbt" in path.name]
    names = [(kind, shape) for _, kind, shape in layout if kind == "float32"]
    assert sum(int(np.prod(shape)) for _, shape in names) == len(found["float32"])
    first = next(x for x in plain(state) if x.dtype == np.float32)
    np.testing.assert_array_equal(found["float32"][: first.size], first.ravel())


def test_orbax_and_we_read_the_same(tmp_path):
    """Of all dtypes, written by us or by orbax, which compresses."""
    arrays = {
        "float32": np.linspace(0, 1, 999, dtype=np.float32),
        "bfloat16": np.asarray(jnp.arange(5, dtype=jnp.bfloat16)),
        "bool": np.array([True, False]),
        "int64": np.arange(-2, 3),
        "uint32": np.array([2**32 - 1], np.uint32),
        "float16": np.ones(3, np.float16),
    }
    array_files.write(tmp_path / "ours", arrays)
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False)
    (tmp_path / "theirs").mkdir()
    handler.save(epath.Path(tmp_path / "theirs"), args=ocp.args.PyTreeSave(arrays))
    read = [
        array_files.read(tmp_path / "ours"),
        array_files.read(tmp_path / "theirs"),
        handler.restore(epath.Path(tmp_path / "ours"), args=ocp.args.PyTreeRestore()),
        ocp.StandardCheckpointer().restore(tmp_path / "ours"),
    ]
    for found in read:
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(np.asarray(found[name]), array)
    described = [json.loads((tmp_path / x / "_METADATA").read_text()) for x in ("ours", "theirs")]
    assert described[0] == described[1]


@pytest.mark.parametrize("stage", [0, 1])
def test_checkpoints_of_earlier_versions(tmp_path, method, stage):
    """Those of an orbax manager, with a part of the log."""
    state, inputs = filled(method, stage)
    meta = {"stage": stage, "steps": 2, "tail": [{"step": 1}]}
    items = {"state": ocp.args.StandardSave(state), "meta": ocp.args.JsonSave(meta)}
    if stage:
        items["inputs"] = ocp.args.StandardSave(dict(inputs))
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(2, args=ocp.args.Composite(**items))
        manager.wait_until_finished()
    found, later, read = Checkpoints(tmp_path).restore(method, INPUTS)
    assert_same(found, state)
    assert_same(later, inputs if stage else INPUTS)
    assert read == meta


def test_the_last_two_stay_and_nothing_unfinished(tmp_path, method, monkeypatch):
    state, _ = filled(method, 0)
    folder = Checkpoints(tmp_path, keep_every=4)
    for number in (2, 4, 6, 8, 10, 11):
        folder.save(number, state, None, {"stage": 0})
    assert folder.numbers() == [4, 8, 10, 11]
    replace = os.replace

    def full(source, target):
        if str(target).endswith("/12"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        folder.save(12, state, None, {"stage": 0})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["10", "11", "4", "8"]
    (tmp_path / "12.0123abcd.tmp/state").mkdir(parents=True)
    assert folder.numbers() == [4, 8, 10, 11]
    folder.discard_above(10)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["10", "4", "8"]


def test_arrays_of_another_checkpoint_or_method_are_not_read(tmp_path, method, caplog):
    """The arrays of another checkpoint, and a checkpoint of another method."""
    folder = Checkpoints(tmp_path)
    states = [filled(method, 0)[0].replace(step=jnp.full(3, n, jnp.int32)) for n in (1, 2)]
    for number, state in enumerate(states, 1):
        folder.save(number, state, None, {"stage": 0})
    assert int(folder.restore(method, INPUTS)[0].step[0]) == 2
    shutil.rmtree(tmp_path / "2/state")
    shutil.copytree(tmp_path / "1/state", tmp_path / "2/state")
    assert int(folder.restore(method, INPUTS)[0].step[0]) == 1
    assert "checkpoint 2 is damaged (the checksums of its arrays are wrong)" in caplog.text
    assert folder.restore(tiny_methods.gan(), INPUTS) is None
    assert "checkpoint 1 is damaged (its arrays are not those" in caplog.text
