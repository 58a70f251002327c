"""The factors of super-resolution: the plans for their fields, computed by hand, and refusals."""

import math

import jax
import numpy as np
import pytest

from deepinternal import methods
from deepinternal.methods.zssr import Config, jumps
from deepinternal.types import InputError

GRADUAL = "1,1.5;1.5,1;1.5,1.5;1.5,2;2,1.5;2,2"


def _config(**fields):
    return Config(**fields).resolved()


def _plan(size=(40, 60), default=10, **fields):
    return jumps.plan(_config(**fields), size, back_projection=default)


def _whole(x):
    return math.ceil(round(x, 6))


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("2", (2, 2)),
        ("1.5", (1.5, 1.5)),
        (" 2 , 3 ", (2, 3)),
        ("1.5x2", (1.5, 2)),
        ("1,1.25", (1, 1.25)),
        ("16", (16, 16)),
        (3, (3, 3)),
        ((1.5, 2), (1.5, 2)),
    ],
)
def test_one_factor(scale, expected):
    (jump,) = _plan(scale=scale)
    assert jump.scale == expected
    assert jump.base == (40, 60)
    assert jump.shape == (_whole(40 * expected[0]), _whole(60 * expected[1]))
    assert jump.pool == ((1, 1),)
    assert jump.back_projection == 10
    assert not jump.rebase
    assert jumps.target_size(_config(scale=scale), (40, 60)) == (expected, jump.shape)


def test_sizes_are_rounded_up_but_not_for_float_errors():
    assert _plan((33, 100), scale="1.5,1.1")[0].shape == (50, 110)
    assert _plan((100, 10), scale="1.1,1.01")[0].shape == (110, 11)


def test_gradual_list():
    """Without a change of base all factors count from the input, and results join the pool."""
    path = _plan(scale=GRADUAL, back_projection="6,6,8,10,10,12")
    factors = ((1, 1.5), (1.5, 1), (1.5, 1.5), (1.5, 2), (2, 1.5), (2, 2))
    assert tuple(jump.scale for jump in path) == factors
    assert {jump.base for jump in path} == {(40, 60)}
    assert [jump.shape for jump in path] == [
        (40, 90),
        (60, 60),
        (60, 90),
        (60, 120),
        (80, 90),
        (80, 120),
    ]
    for index, jump in enumerate(path):
        assert jump.pool == ((1, 1), *factors[:index])
    assert [jump.back_projection for jump in path] == [6, 6, 8, 10, 10, 12]
    assert not any(jump.rebase for jump in path)


def test_change_of_base():
    """The result takes the input's place: what follows is in its units, and the pool starts anew."""
    path = _plan(scale="1.5;2;3;4", base_change="2")
    assert [jump.rebase for jump in path] == [False, True, False, False]
    assert [jump.base for jump in path] == [(40, 60), (40, 60), (80, 120), (80, 120)]
    assert [jump.scale for jump in path] == [(1.5, 1.5), (2, 2), (1.5, 1.5), (2, 2)]
    assert [jump.shape for jump in path] == [(60, 90), (80, 120), (120, 180), (160, 240)]
    first = ((1, 1), (1.5, 1.5))
    assert [jump.pool for jump in path] == [((1, 1),), first, ((1, 1),), first]


def test_two_changes_of_base_and_uneven_factors():
    path = _plan(scale="1.25,2;2,2;2,4;4,5", base_change="1.25,2;2,4")
    assert [jump.rebase for jump in path] == [True, False, True, False]
    assert [jump.base for jump in path] == [(40, 60), (50, 120), (50, 120), (80, 240)]
    assert [jump.shape for jump in path] == [(50, 120), (80, 120), (80, 240), (160, 300)]
    assert path[-1].scale == (2, 1.25)
    assert path[2].pool == ((1, 1), (1.6, 1))
    assert path[3].pool == ((1, 1),)


@pytest.mark.parametrize("size", [(33, 47), (40, 60), (1, 1), (101, 103)])
@pytest.mark.parametrize(
    ("scale", "change"), [(GRADUAL, ""), ("1.5;2", "1.5"), ("1.25;1.5;3", "1.25;1.5")]
)
def test_the_last_result_has_the_target_size(size, scale, change):
    """However many jumps there are: the input's size times the last factor, rounded up."""
    fields = {"scale": scale, "base_change": change}
    factor, shape = jumps.target_size(_config(**fields), size)
    last = float(scale.split(";")[-1].split(",")[-1])
    assert factor == (last, last)
    assert shape == tuple(_whole(n * last) for n in size)
    assert _plan(size, **fields)[-1].shape == shape


@pytest.mark.parametrize("text", ["100,90", "100x90", " 100, 90 "])
def test_output_shape(text):
    """It determines the size, whatever the scale is."""
    (jump,) = _plan(scale=GRADUAL, output_shape=text)
    assert jump.shape == (100, 90)
    assert jump.scale == (2.5, 1.5)
    config = _config(scale="3", output_shape=text)
    assert jumps.target_size(config, (40, 60)) == ((2.5, 1.5), (100, 90))


def test_output_shape_of_no_round_factor():
    (jump,) = _plan((33, 47), output_shape="50,71")
    assert jump.shape == (50, 71)
    assert jump.scale == (50 / 33, 71 / 47)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("auto", [7, 7]), ("0", [0, 0]), ("12", [12, 12]), ("6, 8", [6, 8])],
)
def test_back_projection(text, expected):
    path = _plan(default=7, scale="1.5;2", back_projection=text)
    assert [jump.back_projection for jump in path] == expected


MISTAKES = [
    ({"scale": "1"}, "scale"),
    ({"scale": "0.5,2"}, "scale"),
    ({"scale": "-2"}, "scale"),
    ({"scale": "16.5"}, "scale"),
    ({"scale": "nan"}, "scale"),
    ({"scale": "2,nan"}, "scale"),
    ({"scale": "inf"}, "scale"),
    ({"scale": ""}, "scale"),
    ({"scale": "two"}, "scale"),
    ({"scale": "2,2,2"}, "scale"),
    ({"scale": "1.5;2;"}, "scale"),
    ({"scale": "1.5;1;2"}, "scale"),
    ({"scale": "1.5;2", "base_change": "1.25"}, "base_change"),
    ({"scale": "1.5;2", "base_change": "2"}, "base_change"),
    ({"scale": "2", "base_change": "2"}, "base_change"),
    ({"scale": "1.5;2", "base_change": "x"}, "base_change"),
    ({"scale": "1.5,1.5;1,2", "base_change": "1.5"}, "scale"),
    ({"scale": "1.5;1.5;2", "base_change": "1.5"}, "scale"),
    ({"output_shape": "39,80"}, "output_shape"),
    ({"output_shape": "40,60"}, "output_shape"),
    ({"output_shape": "641,60"}, "output_shape"),
    ({"output_shape": "80"}, "output_shape"),
    ({"output_shape": "80,120,3"}, "output_shape"),
    ({"output_shape": "80.5,120"}, "output_shape"),
    ({"output_shape": "big"}, "output_shape"),
    ({"output_shape": "nan,120"}, "output_shape"),
    ({"output_shape": "inf,120"}, "output_shape"),
    ({"back_projection": "-1"}, "back_projection"),
    ({"back_projection": ""}, "back_projection"),
    ({"back_projection": "2.5"}, "back_projection"),
    ({"back_projection": "many"}, "back_projection"),
    ({"back_projection": "nan"}, "back_projection"),
    ({"back_projection": "inf"}, "back_projection"),
    ({"back_projection": "6,8"}, "back_projection"),
    ({"scale": "1.5;1.6;2", "back_projection": "6,8"}, "back_projection"),
]


@pytest.mark.parametrize(("fields", "field"), MISTAKES)
def test_mistakes_are_refused_in_one_line(fields, field):
    with pytest.raises(InputError) as caught:
        _plan(**fields)
    message = str(caught.value)
    assert message.startswith(f"config.{field}")
    assert "\n" not in message
    assert any(part in message for part in fields[field].split(";"))  # what was wrong


FACTORS = ["1.2", "1.5", "2", "2.1", "3", "4", "4,1", "3,1.2", "6", "7.9"]


@pytest.mark.parametrize("kind", ["steps", "published"])
@pytest.mark.parametrize("scale", FACTORS)
def test_a_path_doubles_at_most_and_ends_at_the_factor(scale, kind):
    """Bases are the powers of two below the factor, axis by axis; results are never smaller."""
    found = _plan(scale=scale, path=kind)
    factor = _config(scale=scale).scale[0]
    assert found[-1].shape == jumps.target_size(_config(scale=scale), (40, 60))[1]
    assert all(1 <= s <= max(2, len(found) == 1 and 2.25) for jump in found for s in jump.scale)
    bases = sum(jump.rebase for jump in found)
    assert bases == (len(found) > 1) * sum(2**n < max(factor) for n in range(1, 5))
    reached = (1.0, 1.0)
    for before, jump in zip((None, *found), found):
        if before is not None and before.rebase:
            reached = tuple(min(2 * r, f) for r, f in zip(reached, factor))
            assert jump.base == before.shape
        assert all(r * s <= f + 1e-9 for r, s, f in zip(reached, jump.scale, factor))


def test_a_path_is_ignored_with_a_list_or_a_kernel():
    assert len(_plan(scale="4", path="steps")) == 4
    assert [jump.scale for jump in _plan(scale="1.5;4", path="steps")] == [(1.5, 1.5), (4, 4)]
    config = _config(scale="4", path="steps")
    (alone,) = jumps.plan(config, (40, 60), back_projection=2, alone=True)
    assert alone.scale == (4, 4)
    (alone,) = _plan(scale="2", path="steps")
    assert alone.share == 1


def test_a_path_to_an_output_shape():
    found = _plan(output_shape="120,180", path="steps")
    assert [jump.shape for jump in found] == [(60, 90), (80, 120), (120, 180)]
    assert [jump.base for jump in found] == [(40, 60), (40, 60), (80, 120)]


@pytest.mark.parametrize("text", ["641,60", "30,30"])
def test_target_size_refuses_the_same(text):
    with pytest.raises(InputError, match=r"^config\.output_shape"):
        jumps.target_size(_config(output_shape=text), (40, 60))


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (0, GRADUAL),
        (1, "2"),
        (2, "1,1.5;2,2"),
        (3, "1,1.5;1.5,1.5;2,2"),
        (6, GRADUAL),
        (9, GRADUAL),
    ],
)
def test_some_of_the_factors_are_taken(most, expected):
    config = _config(scale=GRADUAL, jumps=most)
    assert (config.plain()["scale"], config.jumps) == (expected, 0)
    assert _config(**config.plain()) == config


@pytest.mark.parametrize(
    ("field", "given", "text"),
    [
        ("scale", " 2 , 3 ", "2,3"),
        ("scale", "2,2", "2"),
        ("scale", "2;2.5,3", "2,2;2.5,3"),
        ("scale", 4 / 3, "1.33333333333"),
        ("scale", "1.3333333333333333", "1.3333333333333333"),
        ("output_shape", "100x90", "100,90"),
        ("output_shape", (100, 90), "100,90"),
        ("output_shape", "", ""),
        ("back_projection", 3, "3"),
        ("back_projection", "6, 8", "6,8"),
        ("base_change", "", ""),
    ],
)
def test_fields_are_text_again(field, given, text):
    config = Config(**{field: given})
    assert config.plain()[field] == text
    assert getattr(Config(**config.plain()), field) == getattr(config, field)


def test_fathers_of_a_large_image_come_from_its_middle(monkeypatch):
    monkeypatch.setattr(jumps, "POOLED", 24)
    path = _plan((40, 30), scale="1.5;2;3", base_change="2")
    assert path[0].pool_shapes == ((40, 30),)
    assert path[1].pool_shapes == ((24, 24), (36, 36))
    assert path[2].pool_shapes == ((80, 60),)
    assert [jump.shape for jump in path] == [(60, 45), (80, 60), (120, 90)]
    assert jumps.middle((40, 30)) == (slice(8, 32), slice(3, 27))
    assert jumps.middle((24, 7)) == (slice(0, 24), slice(0, 7))


def test_earlier_results_are_those_of_the_middle_alone(monkeypatch):
    monkeypatch.setattr(jumps, "POOLED", 24)
    fields = {"scale": "1.5;2", "features": 2, "layers": 2, "crop": 16, "steps": 1}
    image = np.random.default_rng(0).random((40, 30, 3), np.float32)
    part = image[8:32, 3:27]
    pools = []
    for given in (image, part):
        method = methods.make("zssr", fields, given.shape)
        state = method.init(jax.random.key(0), {"image": given})
        new, inputs = jax.jit(method.stages[0].advance)(state, {"image": given})
        jax.eval_shape(lambda s, i, m=method: m.stages[1].step(s, i, None), new, inputs)
        pools.append(np.asarray(inputs["pool"]))
        np.testing.assert_array_equal(inputs["image"], given)
    np.testing.assert_array_equal(*pools)
    np.testing.assert_array_equal(pools[0][0, :24, :24], part)
    assert pools[0].shape == (2, 36, 36, 3)


def test_a_large_image_is_remarked():
    large = {"image": np.zeros((2000, 600, 3), np.float32)}
    recipe = methods.find("zssr")
    (said,) = recipe.remarks(recipe.build("gradual"), large, None)
    assert "from the middle 1024x600 pixels" in said
    assert recipe.remarks(recipe.build("fast"), large, None) == []
    small = {"image": np.zeros((1024, 600, 3), np.float32)}
    assert recipe.remarks(recipe.build("gradual"), small, None) == []
