"""Files that cannot be written during training do not end it, and are tried again."""

import dataclasses
import errno
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.engine import array_files
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.loop import Stopped, train
from deepinternal.engine.parallel import Programs
from deepinternal.writers import JsonlLog, read_jsonl
from tests import tiny_methods
from tests.engine.stop import Stop

INPUTS = {"image": jnp.asarray(tiny_methods.photo())}
STEPS = 12


@pytest.fixture(scope="module")
def programs():
    return Programs(tiny_methods.gan())


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run(programs, folder, **options):
    checkpoints = Checkpoints(folder / "checkpoints")
    log = str(folder / "train.jsonl")
    options = {"log_every": 1, "checkpoint_every": 0, "name": "a", **options}
    return train(programs, INPUTS, seed=3, checkpoints=checkpoints, log_path=log, **options)


def bits(state):
    leaves = [x for x in jax.tree.leaves(state) if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)]
    return [np.asarray(x).tobytes() for x in leaves]


@pytest.fixture(scope="module")
def whole(programs, tmp_path_factory):
    return bits(run(programs, tmp_path_factory.mktemp("whole")).state)


def steps(folder):
    return [entry["step"] for entry in read_jsonl(folder / "train.jsonl")]


def test_checkpoints_are_tried_again(programs, tmp_path, monkeypatch, capfd, whole):
    write, tries = array_files.write, []

    def writing(folder, arrays):
        tries.append(folder)
        return write(folder, arrays) if len(tries) in (1, 4) else full()

    monkeypatch.setattr(array_files, "write", writing)
    ended = run(programs, tmp_path)
    assert (ended.status, ended.steps) == ("done", STEPS)
    assert ended.unsaved == f"{tmp_path / 'checkpoints'}: No space left on device"
    assert len(tries) > 5
    numbers = Checkpoints(tmp_path / "checkpoints").numbers()
    assert len(numbers) == 2, "those that are whole stay"
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("a: checkpoints cannot be written (")
    monkeypatch.undo()
    again = run(programs, tmp_path)
    assert again.spent.resumed_steps == [numbers[-1]]
    assert (bits(again.state), again.unsaved) == (whole, "")
    assert steps(tmp_path) == list(range(1, STEPS + 1))


def test_lines_of_the_log_are_not_lost(programs, tmp_path, monkeypatch, capfd, whole):
    """Not even by a kill after a checkpoint that holds them, or by one that tore a line."""
    write, tries = JsonlLog.write, []

    def writing(self, entries):
        tries.append(len(entries))
        write(self, entries) if len(tries) in (1, 4) else full()

    monkeypatch.setattr(JsonlLog, "write", writing)
    with pytest.raises(OSError, match="No space"):
        run(programs, tmp_path)
    assert max(tries) > 1
    assert steps(tmp_path) == list(range(1, len(steps(tmp_path)) + 1))
    assert capfd.readouterr().err.count("a: the log cannot be written (") == 1
    monkeypatch.undo()
    assert bits(run(programs, tmp_path).state) == whole
    assert steps(tmp_path) == list(range(1, STEPS + 1))


def test_pictures_are_left_out(tmp_path, capfd, whole):
    method = tiny_methods.gan()
    (stage,) = method.stages
    plain = stage.evaluate

    def evaluate(state, inputs):
        state, metrics = plain(state, inputs)
        return state, {**metrics, "made": inputs["image"]}

    shown = dataclasses.replace(stage, evaluate=evaluate)
    programs = Programs(dataclasses.replace(method, stages=(shown,)))
    assert bits(run(programs, tmp_path, pictures=full).state) == whole
    assert capfd.readouterr().err.count("a: pictures cannot be written (No space left") == 1


def test_a_checkpoint_that_a_signal_asks_for_is_an_error(programs, tmp_path, monkeypatch, whole):
    with pytest.raises(Stopped):
        run(programs, tmp_path, stop=(stop := Stop(4)), progress=stop, checkpoint_every=1e9)
    numbers = Checkpoints(tmp_path / "checkpoints").numbers()
    monkeypatch.setattr(array_files, "write", full)
    with pytest.raises(OSError, match="No space"):
        run(programs, tmp_path, stop=(stop := Stop(4)), progress=stop, checkpoint_every=1e9)
    assert Checkpoints(tmp_path / "checkpoints").numbers() == numbers
    monkeypatch.undo()
    assert bits(run(programs, tmp_path).state) == whole


def test_a_line_is_written_as_a_whole_or_not_at_all(tmp_path):
    import resource

    log = JsonlLog(tmp_path / "log", upto=0)
    log.write([{"step": 1}])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            log.write([{"step": 2, "text": "x" * 100}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.filename == str(tmp_path / "log")
    log.write([{"step": 3}])
    log.close()
    assert steps_of(tmp_path / "log") == [1, 3]


def steps_of(path):
    return [entry["step"] for entry in read_jsonl(path)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_errors_of_the_system_are_kept(programs, tmp_path, monkeypatch, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    state = programs.init(jax.random.key(0), INPUTS)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        Checkpoints(tmp_path).save(1, state, None, {"stage": 0})
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_passed_over_without_noise(programs, tmp_path, capfd, caplog):
    """Each file in turn: cut short, empty, other bytes, missing, a folder."""
    state = programs.init(jax.random.key(0), INPUTS)
    folder, kept = tmp_path / "checkpoints", Checkpoints(tmp_path / "checkpoints")
    for number in (1, 2):
        kept.save(number, state.replace(step=jnp.int32(number)), None, {"stage": 0})
    paths = [path for path in (folder / "2").rglob("*") if path.is_file()]
    assert len(paths) >= 6
    for path in paths:
        data = path.read_bytes()
        for damaged in (data[: len(data) // 2], b"", b"damaged", None, ...):
            path.unlink()
            if damaged is ...:
                path.mkdir()
            elif damaged is not None:
                path.write_bytes(damaged)
            found = kept.restore(programs.method, INPUTS)
            needed = path.name != "_METADATA" or damaged is ...  # orbax alone needs it
            assert int(found[0].step) == (1 if needed else 2)
            if damaged is ...:
                path.rmdir()
            path.write_bytes(data)
        assert int(kept.restore(programs.method, INPUTS)[0].step) == 2
    assert capfd.readouterr() == ("", "")
    assert "checkpoint 2 is damaged" in caplog.text


def test_a_checkpoint_that_may_be_good_is_kept(programs, tmp_path, monkeypatch):
    run(programs, tmp_path)
    numbers = Checkpoints(tmp_path / "checkpoints").numbers()

    def denied(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(array_files, "read", denied)
    with pytest.raises(PermissionError):
        run(programs, tmp_path)
    assert Checkpoints(tmp_path / "checkpoints").numbers() == numbers
