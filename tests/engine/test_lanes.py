"""Many runs side by side: the result of each does not depend on the others."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.engine import costs, lanes, layout, parallel
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.layout import spread
from deepinternal.engine.loop import Loop
from deepinternal.engine.parallel import Programs
from deepinternal.engine.run import NonFiniteError, Run
from deepinternal.writers import read_jsonl
from tests import tiny_methods
from tests.engine.stop import Stop

pytestmark = pytest.mark.usefixtures("quick_programs")
PHOTO = tiny_methods.photo(24)
IMAGES = [
    jnp.asarray(PHOTO[y : y + 16, x : x + 16]) for y, x in ((0, 0), (8, 8), (0, 8), (8, 0), (4, 4))
]


def plain(steps=12):
    """One program for all steps, and evaluations."""
    return tiny_methods.gan(steps, sizes=(8,))


METHODS = {"gan": tiny_methods.gan, "decomposition": tiny_methods.decomposition, "plain": plain}


def runs(folder=None, *, images=IMAGES, stop=None, **schedule):
    """A run for each image, with a number and a folder."""
    for number, image in enumerate(images):
        place = folder / str(number) if folder else None
        if place:
            place.mkdir(exist_ok=True)
        yield Run(
            {"image": image},
            seed=3,
            name=str(number),
            log_every=1,
            **schedule,
            checkpoints=Checkpoints(place / "checkpoints") if place else None,
            log_path=str(place / "train.jsonl") if place else None,
            progress=stop,
        )


def run(programs, *args, stop=None, **kwargs):
    """Trains; returns the runs by number."""
    ended = list(Loop(programs, stop=stop).train(runs(*args, stop=stop, **kwargs)))
    return {int(one.name): one for one in ended}


def params(one):
    return {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(one.state.params)
    }


def assert_alike(a, b, *, rtol=2e-3, atol=2e-4):
    assert a.keys() == b.keys()
    for seed in a:
        assert (a[seed].status, a[seed].steps) == (b[seed].status, b[seed].steps)
        mine, theirs = params(a[seed]), params(b[seed])
        for name in mine:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=rtol, atol=atol)


@pytest.fixture(scope="module")
def alone():
    """All runs one by one, by method."""
    return {name: run(Programs(make())) for name, make in METHODS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("steps", [1, 4])
def test_lanes_agree_with_one_by_one(alone, tmp_path, name, steps):
    programs = Programs(METHODS[name](), images_per_device=3, steps_per_dispatch=steps)
    side_by_side = run(programs, tmp_path, checkpoint_every=1e9)
    assert sorted(side_by_side) == list(range(len(IMAGES)))
    assert_alike(side_by_side, alone[name])
    for seed, one in side_by_side.items():
        log = read_jsonl(tmp_path / str(seed) / "train.jsonl")
        assert [e["step"] for e in log] == list(range(1, one.steps + 1))
        if name == "plain":
            assert [e["step"] for e in log if "contrast" in e] == [5, 10]


def test_neighbours_change_nothing():
    """Not even the last bits, in the same program."""
    programs = Programs(plain(10), images_per_device=3)
    first = run(programs, images=IMAGES[:3])
    others = run(programs, images=[IMAGES[0], 1 - IMAGES[3], 0 * IMAGES[4]])
    for name, value in params(first[0]).items():
        np.testing.assert_array_equal(value, params(others[0])[name])
    assert not np.array_equal(params(first[1])["['generator']"], params(others[1])["['generator']"])


def test_refills_compile_nothing():
    programs = Programs(plain(10), images_per_device=2)
    run(programs, images=IMAGES[:3])
    compiled = programs.count
    run(programs, images=IMAGES)
    assert programs.count == compiled


@pytest.mark.slow
def test_a_lane_is_refilled_when_its_image_ends_early():
    """The others continue where they are; evaluations stay common to all lanes."""
    method = tiny_methods.decomposition(replicas=1, target=0.03)
    taken = {seed: one.steps for seed, one in run(Programs(method)).items()}
    assert len(set(taken.values())) > 1, "all end at the same step: nothing to see"
    evaluated = []

    class Counting(Programs):
        def evaluate(self, *args):
            evaluated.append(args[-1])
            return super().evaluate(*args)

    def evaluate(state, inputs):
        del inputs
        return state, {"seen": state.step}

    stages = [dataclasses.replace(s, evaluate=evaluate, evaluate_every=4) for s in method.stages]
    watched = dataclasses.replace(method, stages=tuple(stages))
    programs = Counting(watched, images_per_device=2)
    ended = run(programs)
    assert {seed: one.steps for seed, one in ended.items()} == taken
    rounds = sum(-(-steps // 4) for steps in taken.values())
    assert len(evaluated) < rounds, "lanes are evaluated one by one"


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_run_resumes_with_another_number_of_lanes(alone, tmp_path, name):
    """Each image continues from its own step, whatever trained beside it before."""
    seen = []
    for at, count in ((3, 3), (8, 1), (1e9, 2)):
        programs = Programs(METHODS[name](), images_per_device=count)
        ended = run(programs, tmp_path, stop=Stop(at), checkpoint_every=1e9)
        seen.append({seed: one.steps for seed, one in ended.items()})
        if at < 1e9:
            assert any(one.status == "stopped" for one in ended.values())
    assert_alike(ended, alone[name])
    for earlier, later in itertools.pairwise(seen):
        assert all(later.get(seed, steps) >= steps for seed, steps in earlier.items())
    assert any(one.spent.resumed_steps for one in ended.values())
    for seed, one in ended.items():
        log = read_jsonl(tmp_path / str(seed) / "train.jsonl")
        assert [e["step"] for e in log] == list(range(1, one.steps + 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["decomposition", "plain"])
def test_a_nan_loss_ends_only_that_image(alone, tmp_path, name):
    images = [*IMAGES[:1], IMAGES[1].at[:].set(jnp.nan), *IMAGES[2:]]
    ended = run(Programs(METHODS[name](), images_per_device=3), tmp_path, images=images)
    bad = ended.pop(1)
    assert bad.status == "failed"
    assert isinstance(bad.error, NonFiniteError)
    assert "step 1" in str(bad.error)
    assert not list((tmp_path / "1/checkpoints").glob("[0-9]*")), "a bad state was saved"
    assert_alike(ended, {number: alone[name][number] for number in ended})


@pytest.mark.slow
def test_the_last_good_state_is_kept(tmp_path):
    """Parameters that stop being numbers are not saved, even where the loss still was one."""
    method = tiny_methods.gan(20)
    stage = method.stages[0]

    def step(state, inputs, variant):
        state, metrics = stage.step(state, inputs, variant)
        bad = jnp.where(state.step >= 7, jnp.nan, 0.0)
        params = jax.tree.map(lambda x: x + bad, state.params)
        return state.replace(params=params), metrics

    broken = dataclasses.replace(method, stages=(dataclasses.replace(stage, step=step),))
    ended = run(Programs(broken), tmp_path, images=IMAGES[:1], checkpoint_every=0)
    assert ended[0].status == "failed"
    kept = [int(p.name) for p in (tmp_path / "0/checkpoints").glob("[0-9]*")]
    assert max(kept) == 6
    state = Checkpoints(tmp_path / "0/checkpoints").restore(broken, {"image": IMAGES[0]})[0]
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))


def test_an_error_of_the_programs_ends_the_images_in_the_lanes():
    class Broken(Programs):
        def steps(self, *args):
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    ended = run(Broken(plain(4), images_per_device=2))
    assert sorted(ended) == list(range(len(IMAGES)))
    assert all("lower config.parallel" in str(one.error) for one in ended.values())
    alone = run(Broken(plain(4)))
    assert all("out of memory" in str(one.error) for one in alone.values())


def test_how_images_are_spread_over_devices(monkeypatch):
    assert spread(5) == (1, 1)  # the CPU's default
    assert spread(5, images_per_device=3) == (1, 3)
    assert spread(2, images_per_device=8) == (1, 2)
    monkeypatch.setattr(jax, "local_device_count", lambda: 8)
    assert spread(100, images_per_device=4) == (8, 4)
    assert spread(12, images_per_device=4) == (8, 2)
    assert spread(3, images_per_device=4) == (3, 1)
    assert spread(100, images_per_device=4, devices=2) == (2, 4)
    assert spread(0) == (1, 1)


def test_default_lanes_of_an_accelerator(monkeypatch):
    """From the memory of a step, and what is free; not more than 64."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    given = {"method": plain(), "inputs": {"image": IMAGES[0]}}
    assert spread(100) == spread(100, **given) == (1, 64)
    assert spread(100, images_per_device=40, **given) == (1, 40)
    memory = costs.memory_of_training(**given)
    monkeypatch.setattr(layout, "free", lambda device: 2 * 3.5 * memory)
    assert spread(100, **given) == (1, 3)
    assert spread(2, **given) == (1, 2)
    monkeypatch.setattr(layout, "free", lambda device: 1.0)
    assert spread(100, **given) == (1, 1)
    monkeypatch.undo()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(costs, "memory_of_training", lambda *_: 1.5e9)
    assert spread(100, **given) == (1, 1), "one image fills the device"
    mapped = dataclasses.replace(plain(), lanes="map")
    assert spread(100, **given | {"method": mapped}) == (1, 1)


def test_lanes_one_after_another_in_a_program(alone, monkeypatch):
    """As an accelerator trains a method with `lanes='map'`."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    forms = []

    def over_lanes(*args, form, **options):
        forms.append(form)
        return lanes.over_lanes(*args, form=form, **options)

    monkeypatch.setattr(parallel, "over_lanes", over_lanes)
    method = dataclasses.replace(METHODS["gan"](), lanes="map")
    options = {"images_per_device": 3, "steps_per_dispatch": 4, "threads": 0}
    assert_alike(run(Programs(method, **options)), alone["gan"])
    assert "map" in forms


def test_lanes_that_are_mapped_agree_with_vmapped_ones():
    def function(x, y, z):
        return {"sum": x["a"] + y * z}

    args = {"a": jnp.arange(6.0).reshape(2, 3)}, jnp.float32(2), jnp.arange(2.0)
    made = [
        lanes.over_lanes(function, (0, None, 0), jax.local_devices()[:1], 2, form=form)
        for form in ("vmap", "map")
    ]
    for one in made:
        np.testing.assert_array_equal(one(*args)["sum"], args[0]["a"] + 2 * args[2][:, None])
    assert ["while" in one.lower(*args).as_text() for one in made] == [False, True]


@pytest.mark.parametrize("count", [1, 3])
def test_dispatches_send_nothing_to_the_device(monkeypatch, count):
    """Inputs are there since a run began, and the numbers of steps since they were first used."""
    guards = {name: itertools.chain(["disallow"], itertools.repeat("disallow_explicit"))
              for name in ("steps", "evaluate")}  # fmt: skip

    def guarded(name):
        method = getattr(Programs, name)

        def call(*args):
            with jax.transfer_guard_host_to_device(next(guards[name])):
                return method(*args)

        return call

    for name in guards:
        monkeypatch.setattr(Programs, name, guarded(name))
    programs = Programs(METHODS["gan"](), images_per_device=count)
    waiting = [Run({"image": np.asarray(x)}, seed=3) for x in IMAGES[:3]]
    for ended in Loop(programs).train(waiting):
        assert ended.status == "done", ended.error
    assert next(guards["evaluate"]) == "disallow_explicit", "never called"
