"""Programs that are compiled in threads: the same results, prompt stops, and errors of the run."""

import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.engine import ahead
from deepinternal.engine.loop import Stopped, train
from deepinternal.engine.parallel import Programs
from tests import tiny_methods

INPUTS = {"image": jnp.asarray(tiny_methods.photo())}
WAIT = 30.0  # seconds after which a test has failed


def variants(method, steps=12):
    return [method.variant(3, step) for step in range(steps)]


class Watched(Programs):
    """Notes which thread compiles the steps of which variant, and calls `before` there."""

    def __init__(self, *args, before=lambda variant: None, **options):
        super().__init__(*args, **options)
        self.compiled, self.dispatched, self._before = {}, threading.Event(), before

    def _tracing(self, name, *args):
        trace = super()._tracing(name, *args)
        if name[0] != "steps":
            return trace

        def traced():
            compiles = trace()

            def compiling():
                self.compiled[name[2]] = threading.current_thread()
                self._before(name[2])
                return compiles()

            return compiling

        return traced

    def steps(self, *args):
        made = super().steps(*args)
        self.dispatched.set()
        return made


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    for thread in threading.enumerate():
        if thread.name == ahead._NAME:
            thread.join(WAIT)
            assert not thread.is_alive()


def params(run):
    return jax.tree.map(np.asarray, run.state.params)


def test_threads_change_no_bit_and_compile_the_same():
    alone = Programs(tiny_methods.gan())
    expected = train(alone, INPUTS, seed=3)
    programs = Watched(tiny_methods.gan(), threads=2)
    run = train(programs, INPUTS, seed=3)
    jax.tree.map(np.testing.assert_array_equal, params(run), params(expected))
    assert run.spent.programs == expected.spent.programs
    assert set(programs.compiled) == set(variants(programs.method))
    assert threading.main_thread() not in programs.compiled.values()


def test_training_continues_while_another_program_is_compiled():
    first, *rest = dict.fromkeys(variants(tiny_methods.gan()))
    in_time = []

    def before(variant):
        if variant != first:
            in_time.append(programs.dispatched.wait(WAIT))

    programs = Watched(tiny_methods.gan(), threads=2, before=before)
    train(programs, INPUTS, seed=3)
    assert in_time == [True] * len(rest)


def test_only_programs_of_the_steps_left_are_compiled():
    seen = variants(tiny_methods.gan())
    steps = seen.index(next(v for v in seen if v != seen[0])) or 1
    programs = Watched(tiny_methods.gan(steps), threads=2)
    train(programs, INPUTS, seed=3)
    assert set(programs.compiled) == set(seen[:steps])


def test_an_error_in_a_thread_is_raised_by_the_run():
    error, last = ValueError("cannot be compiled"), variants(tiny_methods.gan())[0]
    last = [v for v in dict.fromkeys(variants(tiny_methods.gan())) if v != last][-1]

    def before(variant):
        if variant == last:
            raise error

    programs = Watched(tiny_methods.gan(), threads=2, before=before)
    with pytest.raises(ValueError, match="cannot be compiled") as caught:
        train(programs, INPUTS, seed=3)
    assert caught.value is error
    assert programs.dispatched.is_set()


def test_a_signal_ends_training_that_waits_for_a_program():
    """What is not yet being compiled is dropped."""
    released, stop = threading.Event(), type("Stop", (), {"signum": 0})()

    def before(variant):
        del variant
        stop.signum = 15
        released.wait(WAIT)

    programs = Watched(tiny_methods.gan(), threads=1, before=before)
    began = time.monotonic()
    with pytest.raises(Stopped) as caught:
        train(programs, INPUTS, seed=3, stop=stop)
    assert time.monotonic() - began < WAIT
    assert caught.value.run.steps == 0
    released.set()
    _join()
    assert len(programs.compiled) < len(set(variants(programs.method)))
    stop.signum = 0
    assert train(programs, INPUTS, seed=3).status == "done"


def _join():
    for thread in threading.enumerate():
        if thread.name == ahead._NAME:
            thread.join(WAIT)


def test_threads_trace_with_the_settings_of_a_with_block():
    seen = []

    def trace():
        seen.append(jax.config.jax_default_matmul_precision)
        return lambda: seen.append

    compiler = ahead.Compiler(1)
    with jax.default_matmul_precision("highest"):
        compiler.ahead(iter([("a", trace)]))
        _join()
    assert seen == ["highest"]


def test_a_process_ends_while_xla_works():
    code = (
        "import time; from deepinternal.engine import ahead; ahead.exit_now(5); "
        "c = ahead.Compiler(1); c.ahead(iter([('a', lambda: lambda: time.sleep(600))])); "
        "print('ready'); ahead.exit_now(143)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (143, "ready\n")


def test_threads_are_few_on_accelerators_and_none_on_cpu(monkeypatch):
    assert ahead.default_threads() == 0
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for cores, threads in ((1, 0), (4, 3), (64, 8)):
        monkeypatch.setattr(ahead.os, "cpu_count", lambda cores=cores: cores)
        assert ahead.default_threads() == threads
