"""Tests that need 8 devices: `test_devices.py` runs them in a process that has as many."""

import warnings

import jax
import numpy as np
import pytest

from deepinternal.engine.lanes import over_lanes
from deepinternal.engine.layout import spread
from deepinternal.engine.parallel import Programs
from tests.engine.stop import Stop
from tests.engine.test_lanes import METHODS, assert_alike, run

pytestmark = pytest.mark.usefixtures("quick_programs")


@pytest.fixture(scope="module")
def alone():
    return {name: run(Programs(make())) for name, make in METHODS.items()}


def test_there_are_8_devices():
    assert jax.local_device_count() == 8
    assert spread(20, images_per_device=2) == (8, 2)


@pytest.mark.parametrize(
    ("name", "devices", "per_device"),
    [("plain", 2, 2), ("gan", 5, 1), ("decomposition", 8, 1)],
)
def test_devices_agree_with_one_by_one(alone, name, devices, per_device):
    """More lanes than images, as many, and fewer."""
    programs = Programs(METHODS[name](), devices=devices, images_per_device=per_device)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ended = run(programs)
    assert_alike(ended, alone[name])
    assert len(programs.devices) == devices


def test_every_device_has_its_lanes():
    programs = Programs(METHODS["plain"](), devices=4, images_per_device=2)
    batch = programs.stack([{"x": np.full(3, i, np.float32)} for i in range(7)])["x"]
    places = {
        shard.device.id: np.asarray(shard.data)[0, :, 0] for shard in batch.addressable_shards
    }
    assert sorted(places) == [device.id for device in jax.local_devices()[:4]]
    np.testing.assert_array_equal(np.ravel([places[i] for i in sorted(places)]), [*range(7), 0])
    batch = programs.put({"x": batch}, 5, {"x": np.full(3, 50, np.float32)})
    values = [float(programs.pick(batch, lane)["x"][0]) for lane in range(8)]
    assert values == [0, 1, 2, 3, 4, 50, 6, 0]


def test_a_picked_lane_stays_on_its_device():
    programs = Programs(METHODS["gan"](), devices=4, images_per_device=2)
    inputs = {"image": np.zeros((16, 16, 3), np.float32)}
    states = [programs.init(jax.random.key(i), inputs) for i in range(8)]
    batch = programs.stack(states)
    picked = {}
    with jax.transfer_guard_device_to_device("disallow_explicit"):
        for lane in range(8):
            picked[lane] = programs.pick(batch, lane)
    for lane, state in picked.items():
        leaves = jax.tree.leaves(state)
        assert {x.device for x in leaves} == {jax.local_devices()[lane // 2]}
        same = lambda a, b: np.array_equal(
            *(jax.random.key_data(x) if _is_key(x) else x for x in (a, b))
        )
        assert all(jax.tree.map(same, jax.tree.leaves(states[lane]), leaves))
        made = programs.outputs(state, inputs)["result"].value
        expected = programs.outputs(states[lane], inputs)["result"].value
        np.testing.assert_array_equal(made, expected)
    guard = jax.transfer_guard_device_to_device("disallow_explicit")
    with pytest.raises(jax.errors.JaxRuntimeError, match="isallowed"), guard:
        jax.device_put(picked[2], jax.local_devices()[0])


def _is_key(x):
    return jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key)


def test_each_lane_runs_on_its_own_device():
    function = over_lanes(lambda x, y: x * y, (0, None), jax.local_devices()[:4], 2)
    out = function(np.arange(8.0, dtype=np.float32).reshape(4, 2), np.float32(3))
    assert len(out.sharding.device_set) == 4
    np.testing.assert_array_equal(out, 3 * np.arange(8).reshape(4, 2))


def test_a_run_resumes_with_another_number_of_devices(alone, tmp_path):
    for at, devices, per_device in ((3, 4, 1), (6, 1, 1), (1e9, 2, 2)):
        programs = Programs(METHODS["plain"](), devices=devices, images_per_device=per_device)
        ended = run(programs, tmp_path, stop=Stop(at), checkpoint_every=1e9)
    assert_alike(ended, alone["plain"])
