"""Which images share programs."""

import numpy as np
import pytest

from deepinternal.recipe import Canvas
from deepinternal.runs.groups import SPARE, Shapes, groups
from deepinternal.runs.inputs import Job
from tests import tiny_sets

CONFIG = tiny_sets.Config()
PLAIN = tiny_sets.RECIPE
# Images of as many channels and a side input of one shape; those wider than 600 pixels stay apart.
SHARED = Canvas(
    lambda config, shape, sides: None if shape[1] > 600 else (shape[2], sides.get("mask")),
    lambda config, inputs, canvas: inputs,
)


@pytest.fixture
def on_canvas():
    import dataclasses

    return dataclasses.replace(PLAIN, canvas=SHARED)


def shapes(*sizes, channels=3, **sides):
    return {
        Job(f"{i}", None): size and Shapes(((*size, channels),), sides)
        for i, size in enumerate(sizes)
    }


def found(recipe, jobs):
    return [
        ("".join(job.stem for job in group.jobs), group.canvas)
        for group in groups(recipe, CONFIG, jobs)
    ]


def test_a_method_without_canvases_groups_equal_shapes():
    jobs = shapes((20, 30), (30, 20), None, (20, 30), None)
    assert found(PLAIN, jobs) == [("03", None), ("1", None), ("2", None), ("4", None)]


def test_side_inputs_and_frames_belong_to_the_shape():
    first, second = shapes((20, 30), mask=(20, 30)), shapes((20, 30))
    videos = {Job("v", None): Shapes(((9, 20, 30, 3),), {}), Job("w", None): Shapes((), {})}
    others = {Job("x", None): Shapes((), {}), Job("y", None): next(iter(second.values()))}
    assert found(PLAIN, first | videos | others) == [
        ("0", None),
        ("v", None),
        ("wx", None),
        ("y", None),
    ]


def test_sizes_share_a_canvas(on_canvas):
    assert found(on_canvas, shapes((130, 150), (140, 128), (200, 130))) == [("012", (200, 150))]
    assert found(on_canvas, shapes((130, 150), (130, 150))) == [("01", None)]


def test_what_differs_in_more_than_size_is_apart(on_canvas):
    grey = {Job("g", None): known for known in shapes((130, 150), channels=1).values()}
    assert found(on_canvas, shapes((130, 140)) | grey) == [("0", None), ("g", None)]
    assert found(on_canvas, shapes((130, 601), (130, 602))) == [("0", None), ("1", None)]


def test_small_images_are_not_lost_on_large_canvases(on_canvas):
    sizes = [(130, 130), (400, 400), (140, 150), (300, 390), (131, 500)]
    made = found(on_canvas, shapes(*sizes))
    assert sorted("".join(stems for stems, _ in made)) == list("01234")
    assert len(made) == 2
    for stems, canvas in made:
        inside = [sizes[int(stem)] for stem in stems]
        canvas = canvas or inside[0]
        assert canvas == tuple(np.max(inside, axis=0))
        assert np.prod(canvas) <= SPARE * min(np.prod(size) for size in inside)
