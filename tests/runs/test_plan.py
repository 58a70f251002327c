"""Which images share programs."""

import types

import jax
import numpy as np

from deepinternal.methods import registry
from deepinternal.runs.inputs import Job
from deepinternal.runs.plan import SPARE, Planner

ZSSR = registry.get("zssr")


def specs(*sizes, channels=3):
    return {
        Job(f"{i}", None): {"image": jax.ShapeDtypeStruct((*size, channels), "float32")}
        for i, size in enumerate(sizes)
    }


def groups(module, jobs, **fields):
    config = registry.defaults("zssr")
    config.update(fields)
    found = Planner(module, config).groups(jobs)
    return [("".join(job.stem for job in group.jobs), group.canvas) for group in found]


def test_a_method_without_canvases_groups_equal_shapes():
    plain = types.SimpleNamespace()
    jobs = specs((20, 30), (30, 20), (20, 30))
    assert groups(plain, jobs) == [("02", None), ("1", None)]


def test_sizes_share_a_canvas():
    jobs = specs((130, 150), (140, 128), (200, 130))
    assert groups(ZSSR, jobs) == [("012", (200, 150))]


def test_equal_sizes_need_no_canvas():
    assert groups(ZSSR, specs((130, 150), (130, 150))) == [("01", None)]


def test_what_differs_in_more_than_size_is_apart():
    grey = {Job("g", None): spec for spec in specs((130, 150), channels=1).values()}
    assert groups(ZSSR, specs((130, 140)) | grey) == [("0", None), ("g", None)]
    # Smaller than the crop: another shape of fathers.
    assert groups(ZSSR, specs((130, 140), (130, 100))) == [("0", None), ("1", None)]


def test_small_images_are_not_lost_on_large_canvases():
    sizes = [(130, 130), (400, 400), (140, 150), (300, 390), (131, 500)]
    jobs = specs(*sizes)
    found = groups(ZSSR, jobs)
    assert sorted("".join(stems for stems, _ in found)) == list("01234")
    assert len(found) == 2
    for stems, canvas in found:
        inside = [sizes[int(stem)] for stem in stems]
        canvas = canvas or inside[0]
        assert canvas == tuple(np.max(inside, axis=0))
        assert np.prod(canvas) <= SPARE * min(np.prod(size) for size in inside)


def test_images_that_are_tiled_stay_alone():
    assert groups(ZSSR, specs((300, 300), (310, 300)), tile=64) == [("0", None), ("1", None)]
