"""Figures of memory, traces for a profiler, and the search for a NaN."""

import dataclasses
import resource

import jax
import jax.numpy as jnp
import pytest

from deepinternal.engine.loop import Loop, train
from deepinternal.engine.parallel import Programs
from deepinternal.engine.run import Run
from deepinternal.engine.telemetry import Profile, memory_mb
from tests import needs, tiny_methods

INPUTS = {"image": jnp.asarray(tiny_methods.photo())}


@needs.PROC
def test_memory_on_cpu_is_that_of_the_process():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    assert 50 < memory_mb(jax.local_devices()) <= peak * 1.01


def test_memory_on_an_accelerator_is_that_of_the_fullest_device():
    @dataclasses.dataclass
    class Device:
        used: int | None

        def memory_stats(self):
            return self.used and {"bytes_in_use": self.used}

    assert memory_mb([Device(10**6), Device(3 * 10**6), Device(None)]) == 3.0


def test_a_trace_is_written(tmp_path):
    profile = Profile(str(tmp_path), first=2, count=3)
    programs = Programs(tiny_methods.gan(8))
    assert [t.status for t in Loop(programs, profile=profile).train([Run(INPUTS, seed=0)])] == [
        "done"
    ]
    assert list(tmp_path.rglob("*.xplane.pb"))
    # Another one may begin: this one has ended.
    jax.profiler.start_trace(str(tmp_path / "again"))
    jax.profiler.stop_trace()


def test_no_trace_unless_asked(tmp_path):
    profile = Profile(str(tmp_path), first=0, count=0)
    for _ in range(3):
        profile.tick()
    profile.close()
    assert not list(tmp_path.iterdir())


def test_debugging_stops_at_the_operation_that_makes_a_nan():
    method = tiny_methods.decomposition(20, replicas=1)
    stage = method.stages[0]

    def step(state, inputs, variant):
        state, metrics = stage.step(state, inputs, variant)
        return state, {"loss": metrics["loss"] + 0 * jnp.arcsin(1.0 * (state.step > 3) * 2)}

    first = dataclasses.replace(stage, step=step)
    broken = dataclasses.replace(method, stages=(first, *method.stages[1:]))
    with pytest.raises(FloatingPointError, match="asin"):
        train(Programs(broken, debug_nans=True), INPUTS, seed=0)
    with pytest.raises(ValueError, match="single lane"):
        Programs(broken, debug_nans=True, images_per_device=2)
