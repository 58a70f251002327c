"""The benchmark of batched convolutions measures each form as that form."""

import jax
import pytest
import skimage.data

from benchmarks import batching, timing
from deepinternal.methods import find
from deepinternal.ops.conv.batching import FORMS
from deepinternal.types import input_spec

TINY = {"layers": 3, "features": 8, "crop": 24, "back_projection": 1, "ensemble": "off"}
pytestmark = pytest.mark.usefixtures("quick_programs")
PHOTO = skimage.data.astronaut()[:48, 180:228].astype("float32") / 255


@pytest.mark.slow
def test_every_form_has_a_different_program():
    """Only loop has a convolution for each image."""
    config = find("zssr").build("", **TINY)
    inputs = timing.sample(find("zssr"), config, PHOTO)
    texts = {}
    for form in FORMS:
        method = batching.method(config, inputs, form)
        keys = jax.random.split(jax.random.key(0), 2)
        states = jax.eval_shape(jax.vmap(method.init, (0, None)), keys, inputs)
        step = jax.jit(jax.vmap(lambda s, method=method: method.step(s, inputs)[0]))
        texts[form] = step.lower(states).as_text()
    assert len(set(texts.values())) == 4
    counts = {form: text.count("stablehlo.convolution") for form, text in texts.items()}
    assert counts["loop"] > counts["grouped"] > counts["hybrid"] > counts["patches"]


@pytest.mark.slow
def test_figures_of_each_form():
    config = find("zssr").build("", **TINY)
    options = {"images": (2,), "forms": ["hybrid"], "steps": 1, "rounds": 2}
    results = batching.measure(config, **options, photo=PHOTO)
    assert [(r["images"], r["form"]) for r in results] == [(2, "one by one"), (2, "hybrid")]
    assert results[0]["ratio_to_one_by_one"] == {"median": 1, "min": 1, "max": 1}
    for r in results:
        assert r["compile_seconds"] > 0
        assert f"{1e3 * r['seconds_per_image']['median']:.1f} (" in batching.report({"": results})


def test_the_subpixel_net_of_scale_2_is_the_methods_own():
    config = find("zssr").build("fast", **TINY)
    inputs = timing.sample(find("zssr"), config, PHOTO)
    own = find("zssr").method(config, input_spec(inputs))
    made = batching.method(config, inputs, "grouped")
    shapes = [jax.eval_shape(m.init, jax.random.key(0), inputs) for m in (own, made)]
    assert jax.tree.structure(shapes[0]) == jax.tree.structure(shapes[1])
    assert jax.tree.leaves(shapes[0]) == jax.tree.leaves(shapes[1])
