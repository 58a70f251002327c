"""The dispatches of a stage: one step or a full dispatch."""

import itertools

import pytest

from deepinternal.engine import schedule
from deepinternal.types import Stage


def stage(steps, variant=None, every=0):
    options = {"variant": variant} if variant else {}
    step = evaluate = lambda state, inputs, *variant: (state, {})
    return Stage("one", steps, step, evaluate, evaluate_every=every, **options)


def dispatches(one, full, **pauses):
    step, found = 0, []
    while step < one.steps:
        most = schedule.limit(one, step, **pauses)
        found.append(schedule.dispatch(one, 0, step, most, full))
        step += found[-1][0]
    assert step == one.steps
    return found


def test_without_variants_only_the_rest_is_shorter():
    assert dispatches(stage(11), 4) == [(4, None), (4, None), (3, None)]
    assert [n for n, _ in dispatches(stage(11, every=5), 4)] == [4, 1, 4, 1, 1]


@pytest.mark.parametrize("full", [1, 4, 50])
@pytest.mark.parametrize("pauses", [{}, {"offset": 3, "snapshot_every": 7}])
def test_with_variants_one_step_or_a_full_dispatch(full, pauses):
    one = stage(200, lambda seed, step: "abc"[(step // 11) % 3] if step < 120 else "d", 60)
    taken, variants = dispatches(one, full, **pauses), []
    for count, variant in taken:
        assert count in (1, full)
        variants += [variant] * count
    assert variants == [one.variant(0, step) for step in range(200)]
    ends = set(itertools.accumulate(count for count, _ in taken))
    assert ends >= {60, 120, 180, 200}
    if pauses:
        assert ends >= set(range(4, 200, 7))
    programs = list(schedule.programs(one, 0, 0, full, **pauses))
    assert programs == list(dict.fromkeys((variant, count) for count, variant in taken))


def test_programs_of_the_steps_that_remain():
    one = stage(20, lambda seed, step: min(step // 5, 2))
    assert list(schedule.programs(one, 0, 0, 5)) == [(0, 5), (1, 5), (2, 5)]
    assert list(schedule.programs(one, 0, 12, 5)) == [(2, 5), (2, 1)]
    assert list(schedule.programs(one, 0, 20, 5)) == []
