"""The field `precision` reaches the nets of every method, and nothing but the nets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import programs
from deepinternal import methods
from deepinternal.types import InputError, input_spec
from tests import traced

IMAGE = np.random.default_rng(0).uniform(size=(48, 48, 3)).astype(np.float32)
CORNER = np.zeros((48, 48), np.float32)
CORNER[:6, :6] = 1
HINTS = {"foreground": CORNER, "background": CORNER[::-1]}
VIDEO = np.uint8(255 * np.stack([IMAGE, IMAGE[::-1]]))
TINY = {"channels": "4,8", "skip": "0,4"}

# By method: the presets, the fields, the image and the side inputs.
CASES = {
    "zssr": ("smoke", {}, IMAGE, {}),
    "zssr-blind": ("blind,smoke", {"optimizer": "adam"}, IMAGE, {}),
    "kernelgan": ("smoke", {}, IMAGE, {}),
    "ingan": ("smoke", {}, IMAGE, {}),
    "dip": ("smoke", TINY, IMAGE, {}),
    "segmentation": ("smoke", TINY, IMAGE, HINTS),
    "video_segmentation": ("smoke", TINY, VIDEO, {n: x[None] for n, x in HINTS.items()}),
    "dehazing": ("smoke", {**TINY, "airlight": "0.8,0.8,0.9"}, IMAGE, {}),
    "transparency": ("smoke", TINY, IMAGE, {}),
    "watermark": ("smoke", TINY, IMAGE, {"mask": CORNER}),
}


@pytest.fixture(scope="module", autouse=True)
def _gpu():
    """For all tests of this file: what one of them has traced, the next ones need not trace again."""
    with programs.traced_for("gpu"):
        yield


@functools.cache
def _prepared(name):
    """A function from a precision to the method, and its inputs."""
    recipe = methods.find(name.partition("-")[0])
    presets, fields, image, sides = CASES[name]
    fields = {**fields, **recipe.given(sides)}
    inputs = recipe.prepare(recipe.build(presets, **fields), image, **sides)
    spec = input_spec(inputs)
    return (
        lambda precision: recipe.method(recipe.build(presets, **fields, precision=precision), spec),
        inputs,
    )


def _all_traced(method, inputs):
    """The steps of all stages and the outputs as traced, and the shapes of all that they make."""
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    jaxprs, made = [], [state]
    for stage in method.stages:
        variant = stage.variant(0, 0) if stage.variant else None
        step = functools.partial(stage.step, variant=variant)
        jaxpr, shapes = jax.make_jaxpr(step, return_shape=True)(state, inputs)
        jaxprs, made = [*jaxprs, jaxpr.jaxpr], [*made, shapes]
        if stage.advance:
            state, inputs = jax.eval_shape(stage.advance, state, inputs)
    jaxpr, shapes = jax.make_jaxpr(method.outputs, return_shape=True)(state, inputs)
    return [*jaxprs, jaxpr.jaxpr], jax.tree.leaves([made, shapes])


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *((name, "bfloat16") for name in CASES),
        *((name, "highest") for name in ("zssr-blind", "ingan", "dip", "transparency")),
    ],
)
def test_the_precision_reaches_the_nets_and_nothing_else(name, precision):
    make, inputs = _prepared(name)
    jaxprs, made = _all_traced(make(precision), inputs)
    *steps, outputs = (
        {*traced.products(jaxpr)} - {traced.EXACT, traced.ROUNDED} for jaxpr in jaxprs
    )
    of_nets = {("bfloat16", None)} if precision == "bfloat16" else set()
    assert [kinds == of_nets for kinds in steps] == [True] * len(steps)
    assert outputs <= of_nets, "the nets are applied again, or their last results are taken"
    assert not any(traced.sums_in(jaxpr, jnp.bfloat16) for jaxpr in jaxprs)
    assert jnp.bfloat16 not in {x.dtype for x in made}


def test_every_method_has_the_one_field():
    names = {name.partition("-")[0] for name in CASES}
    fields = [methods.find(name).config.model_fields["precision"] for name in names]
    assert len({(x.default, x.description, x.annotation) for x in fields}) == 1


def test_an_unknown_precision_is_refused_in_one_line():
    wrong = r"config.precision=half: must be one of default, high, highest, bfloat16$"
    with pytest.raises(InputError, match=wrong):
        methods.find("ingan").build("smoke", precision="half")
