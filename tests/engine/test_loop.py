"""The loop with methods of three kinds: what is resumed ends with the same bits."""

import copy
import dataclasses
import itertools
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal import types
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.loop import Loop, Stopped, train
from deepinternal.engine.parallel import Programs
from deepinternal.engine.run import NonFiniteError, Run
from deepinternal.replicas import over_replicas
from deepinternal.writers import JsonlLog, read_jsonl
from tests import tiny_methods
from tests.engine.stop import Stop

INPUTS = {"image": jnp.asarray(tiny_methods.photo())}


METHODS = {"gan": tiny_methods.gan, "decomposition": tiny_methods.decomposition}


@pytest.fixture(scope="module")
def programs():
    return {name: Programs(make()) for name, make in METHODS.items()}


def run(programs, folder=None, *, stop=None, log_every=1, inputs=INPUTS, **schedule):
    checkpoints = Checkpoints(folder / "checkpoints") if folder else None
    return train(
        programs,
        inputs,
        seed=3,
        log_every=log_every,
        **schedule,
        checkpoints=checkpoints,
        log_path=str(folder / "train.jsonl") if folder else None,
        progress=stop,
        stop=stop,
    )


def plain(tree):
    """Leaves as NumPy arrays, random keys as their data."""
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]


def assert_same_bits(a, b):
    for x, y in zip(plain(a), plain(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_resumed_runs_end_with_the_same_bits(programs, tmp_path, name):
    whole = run(programs[name], None)
    resumed_at = []
    for at in itertools.count(3, 4):
        try:
            result = run(programs[name], tmp_path, stop=Stop(at))
            break
        except Stopped as event:
            resumed_at.append(event.run.steps)
    assert len(resumed_at) >= 2
    assert_same_bits(whole.state, result.state)
    assert result.steps == whole.steps
    assert result.spent.resumed_steps == resumed_at
    log = read_jsonl(tmp_path / "train.jsonl")
    assert [e["step"] for e in log] == list(range(1, whole.steps + 1))
    assert all(a["seconds"] <= b["seconds"] for a, b in itertools.pairwise(log))


def test_the_log_of_a_resumed_run_has_the_same_numbers(programs, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    run(programs["gan"], tmp_path / "a")
    with pytest.raises(Stopped):
        run(programs["gan"], tmp_path / "b", stop=Stop(5))
    run(programs["gan"], tmp_path / "b")
    logs = [read_jsonl(tmp_path / x / "train.jsonl") for x in "ab"]
    other = {"seconds", "memory_mb", "compile_seconds", "programs"}
    strip = lambda log: [{k: e[k] for k in e.keys() - other} for e in log]
    assert strip(logs[0]) == strip(logs[1])
    assert "contrast" in logs[0][4]
    assert "contrast" not in logs[0][3]


@pytest.mark.slow
@pytest.mark.parametrize("steps_per_dispatch", [1, 4])
@pytest.mark.parametrize("name", ["gan", "decomposition"])
def test_snapshots_stay(tmp_path, name, steps_per_dispatch):
    """Checkpoints of every third step, over all stages; and the last two."""
    programs = Programs(METHODS[name](), steps_per_dispatch=steps_per_dispatch)
    schedule = {"log_every": 1, "checkpoint_every": 1e9, "snapshot_every": 3}
    checkpoints = Checkpoints(tmp_path, keep_every=3)
    ended = train(programs, INPUTS, seed=3, checkpoints=checkpoints, **schedule)
    checkpoints = Checkpoints(tmp_path)
    numbers = checkpoints.numbers()
    assert set(range(3, ended.steps + 1, 3)) <= set(numbers) <= set(range(1, ended.steps + 1))
    assert ended.steps in numbers
    inputs = INPUTS
    if name == "gan":
        found, _, meta = checkpoints.restore(programs.method, inputs, 3)
        assert (int(found.step), meta["steps"]) == (3, 3)
    assert checkpoints.restore(programs.method, inputs, 10**6) is None


def test_a_snapshot_is_due_once():
    """Not before the first step, nor again while a lane waits for others."""
    schedule = {"log_every": 100, "checkpoint_every": 1e9, "snapshot_every": 3}
    one = Run({}, seed=0, checkpoints=object(), **schedule)
    due = []
    for one.step in range(8):
        due.append(one.must_save())
        if due[-1]:
            one._saver.note(one.step)
            assert not one.must_save()
    assert due == [False, False, False, True, False, False, True, False]


def test_pictures_of_an_evaluation_are_passed_on_alone(tmp_path):
    method = tiny_methods.gan()
    stage = method.stages[0]

    def evaluate(state, inputs):
        state, metrics = stage.evaluate(state, inputs)
        return state, {**metrics, "made": inputs["image"] * 0.5}

    shown = dataclasses.replace(stage, evaluate=evaluate)
    seen = []
    train(
        Programs(dataclasses.replace(method, stages=(shown,))),
        INPUTS,
        seed=3,
        log_path=str(tmp_path / "train.jsonl"),
        pictures=lambda step, pictures: seen.append((step, pictures)),
    )
    every = stage.evaluate_every
    assert [step for step, _ in seen] == list(range(every, 13, every))
    np.testing.assert_allclose(seen[0][1]["made"], INPUTS["image"] * 0.5)
    log = read_jsonl(tmp_path / "train.jsonl")
    assert not any("made" in e for e in log)
    assert "contrast" in next(e for e in log if e["step"] == every)


@pytest.mark.parametrize("name", METHODS)
def test_scanned_steps_agree_with_single_steps(programs, name):
    one = run(programs[name])
    many = run(Programs(METHODS[name](), steps_per_dispatch=4))
    assert one.steps == many.steps
    for a, b in zip(plain(one.state), plain(many.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


def test_one_program_per_variant():
    method = tiny_methods.gan(steps=20)
    programs = Programs(method)
    result = run(programs)
    variants = {method.variant(3, step) for step in range(20)}
    assert variants == set(tiny_methods.SIZES)
    # Besides the steps: init, evaluate, done.
    assert result.spent.programs == len(variants) + 3
    assert result.spent.compile_seconds > 0


@pytest.mark.slow
def test_stages_replicas_and_early_stop(programs, tmp_path):
    method = tiny_methods.decomposition()
    result = run(programs["decomposition"], tmp_path)
    log = read_jsonl(tmp_path / "train.jsonl")
    stages = [stage for stage, _ in itertools.groupby(e["stage"] for e in log)]
    assert stages == ["coarse", "fine"]
    coarse = sum(e["stage"] == "coarse" for e in log)
    assert coarse < method.stages[0].steps, "no early stop"
    assert result.steps == len(log)
    assert result.state.params["first"].shape == (3, 16, 16, 3)
    # Three runs of one replica with the keys that the runtime promises, and their median.
    single = tiny_methods.decomposition(replicas=1)
    images = []
    for i in range(3):
        key = jax.random.fold_in(jax.random.key(3), i)
        state, inputs = single.init(key, INPUTS), INPUTS
        for stage, taken in ((single.stages[0], coarse), (single.stages[1], result.steps - coarse)):
            for _ in range(taken):
                state, _ = stage.step(state, inputs, None)
            if stage.advance:
                state, inputs = stage.advance(state, inputs)
        images.append(np.asarray(single.outputs(state, inputs)["result"].value))
    outputs = programs["decomposition"].outputs(result.state, result.inputs)
    np.testing.assert_allclose(outputs["result"].value, np.median(images, axis=0), atol=1e-4)
    assert outputs["mask"].kind == "mask"


def test_a_finished_run_changes_only_with_more_steps(programs, tmp_path):
    short = copy.copy(programs["gan"])
    stage = dataclasses.replace(short.method.stages[0], steps=6)
    short.method = dataclasses.replace(short.method, stages=(stage,))
    first, again = run(short, tmp_path), run(short, tmp_path)
    assert_same_bits(first.state, again.state)
    assert again.steps == 6
    longer = run(programs["gan"], tmp_path)
    assert_same_bits(longer.state, run(programs["gan"]).state)
    assert longer.spent.resumed_steps == [6, 6]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(programs, tmp_path, caplog):
    whole = run(programs["gan"])
    for at in (4, 8):
        with pytest.raises(Stopped):
            run(programs["gan"], tmp_path, stop=Stop(at))
    numbers = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.is_dir())
    assert len(numbers) == 2
    for path in (tmp_path / "checkpoints" / str(numbers[1]) / "state/float32").iterdir():
        path.write_bytes(b"damaged")
    result = run(programs["gan"], tmp_path)
    assert "damaged" in caplog.text
    assert result.spent.resumed_steps[-1] == numbers[0]
    assert_same_bits(whole.state, result.state)
    steps = [e["step"] for e in read_jsonl(tmp_path / "train.jsonl")]
    assert steps == list(range(1, 13))


def test_unreadable_checkpoints_are_replaced(programs, tmp_path):
    with pytest.raises(Stopped):
        run(programs["gan"], tmp_path, stop=Stop(8))
    folder = tmp_path / "checkpoints"
    for path in folder.glob("*/state/float32/0"):  # without it, orbax reads zeros
        path.unlink()
    with pytest.raises(Stopped):
        run(programs["gan"], tmp_path, stop=Stop(4))
    numbers = [int(p.name) for p in folder.iterdir() if p.is_dir()]
    assert max(numbers) < 8
    result = run(programs["gan"], tmp_path)
    assert result.spent.resumed_steps == [max(numbers)]
    assert_same_bits(run(programs["gan"]).state, result.state)


@pytest.mark.parametrize("every", [0, 1e9])
def test_the_first_checkpoint_is_saved_when_it_is_due(programs, tmp_path, every):
    """The log does not wait for it."""
    seen = []

    class Watch:
        signum = 0

        def update(self, step, figure):
            lines = read_jsonl(tmp_path / "train.jsonl")
            saved = [int(p.name) for p in (tmp_path / "checkpoints").glob("[0-9]*")]
            seen.append((step, len(lines), sorted(saved)))

    run(programs["gan"], tmp_path, stop=Watch(), log_every=3, checkpoint_every=every)
    assert any(lines for _, lines, _ in seen)
    assert any(saved for *_, saved in seen) == (every == 0)
    assert Checkpoints(tmp_path / "checkpoints").numbers()[-1] == 12


def test_lines_after_the_checkpoint_are_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    log = JsonlLog(path, upto=2, tail=[{"step": 2, "new": True}])
    log.write([{"step": 3, "loss": float("nan")}])
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"step": 1}, {"step": 2}, {"step": 3, "loss": None}]
    log = JsonlLog(path, upto=5, tail=[{"step": 4}, {"step": 5}])
    log.close()
    assert [e["step"] for e in read_jsonl(path)] == [1, 2, 3, 4, 5]


def test_a_nan_loss_ends_the_run():
    broken = {"image": INPUTS["image"].at[0, 0, 0].set(jnp.nan)}
    with pytest.raises(NonFiniteError, match="step 1"):
        run(Programs(tiny_methods.gan(4)), inputs=broken)


def test_a_method_without_replicas_is_left_alone():
    method = tiny_methods.gan()
    assert over_replicas(method) is method
    with pytest.raises(ValueError, match="reduce"):
        types.Method("x", method.init, method.stages, method.outputs, replicas=2)
    with pytest.raises(ValueError, match="advance"):
        types.Method("x", method.init, method.stages * 2, method.outputs)


@pytest.mark.parametrize("name", METHODS)
def test_the_callback_gets_what_the_log_gets(programs, tmp_path, name):
    (tmp_path / "logged").mkdir()
    run(programs[name], tmp_path / "logged", log_every=4)
    log = read_jsonl(tmp_path / "logged/train.jsonl")
    other = {"step", "seconds", "stage", "compile_seconds", "programs", "memory_mb"}
    expected = [(e["step"], {k: v for k, v in e.items() if k not in other}) for e in log]
    seen = []
    began = time.monotonic()
    ended = run(programs[name], log_every=4, callback=lambda *told: seen.append(told))
    assert seen == expected
    assert all(type(value) is float for _, metrics in seen for value in metrics.values())
    assert 0 < ended.seconds < time.monotonic() - began + 0.001  # it is rounded


@pytest.mark.parametrize("images", [1, 2])
def test_an_error_of_a_callback_ends_only_its_run(programs, images):
    error = RuntimeError("RESOURCE_EXHAUSTED of the user's own")

    def callback(step, metrics):
        if step == 5:
            raise error

    if images == 1:
        with pytest.raises(RuntimeError) as caught:
            run(programs["gan"], callback=callback)
        assert caught.value is error
        return
    runs = [Run(INPUTS, seed=3, log_every=1, callback=c) for c in (callback, None)]
    alone = Programs(tiny_methods.gan(sizes=(8,)), images_per_device=2)
    ended = list(Loop(alone).train(runs))
    assert [r.status for r in ended] == ["failed", "done"]
    assert (ended[0].error, ended[0].steps, ended[1].steps) == (error, 5, 12)
