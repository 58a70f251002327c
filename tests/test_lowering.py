"""All programs of all methods lower for GPUs and TPUs, where only the nets may be less than exact.

This needs neither device: the programs are traced and lowered, not compiled.
"""

import contextlib
import warnings

import jax
import numpy as np
import pytest
from jax import lax

from benchmarks import programs, timing
from deepinternal import methods
from deepinternal.config import NetConfig
from deepinternal.ops.kernels import gaussian_kernel
from deepinternal.types import input_spec
from tests import traced

PLATFORMS = {"gpu": "cuda", "tpu": "tpu"}  # by backend
# Presets whose programs consist of parts that those of others have as well.
FAMILIAR = {
    *(("zssr", "real"), ("zssr", "fast"), ("dip", "fast")),
    *(("dip", "large_hole"), ("dip", "region"), ("dip", "restore")),
    *(("segmentation", "default"), ("video_segmentation", "default"), ("watermark", "single")),
    *(("dehazing", "uniform"), ("transparency", "fast")),
    *(("ingan", "default"), ("ingan", "swap"), ("ingan", "many"), ("kernelgan", "published")),
}
SIDES = {("zssr", "kernel"): {"kernel": np.asarray(gaussian_kernel(7, 1.0))}}
NETS = ("float32", (lax.Precision.HIGH,) * 2)
NAMES = methods.names()
# Presets without nets of methods whose others have nets.
WITHOUT_NETS = {
    *(("kernelgan", "gaussian"), ("transparency", "reflection"), ("transparency", "frames")),
    *(("dehazing", "fast"), ("watermark", "fast"), ("segmentation", "preview")),
}


@pytest.fixture(scope="module", autouse=True)
def _gpu():
    """For all tests of this file: what one of them has traced, the next ones need not trace again."""
    with programs.traced_for("gpu"):
        yield


def _config(name, preset, **fields):
    recipe, sides = methods.find(name), SIDES.get((name, preset), {})
    return recipe.build(f"{preset},smoke", **recipe.given(sides), **fields)


def _presets():
    """One preset for each choice of the fields that are not numbers, by method."""
    for name in NAMES:
        seen = []
        for preset in methods.find(name).presets:
            choices = [v for _, v in _config(name, preset) if isinstance(v, bool | str | tuple)]
            if choices not in seen and (name, preset) not in FAMILIAR:
                yield name, preset
            seen.append(choices)


def programs_of(name, preset, backend, *, lanes=1, **fields):
    """The programs of a method with tiny nets for its example, traced for a backend."""
    recipe, sides = methods.find(name), SIDES.get((name, preset), {})
    config = _config(name, preset, **fields)
    made = recipe.example(config, timing.bundled_photo(), **sides)
    inputs = recipe.prepare(config, made.image, **{**sides, **made.sides})
    here = jax.default_backend() == backend
    with (
        warnings.catch_warnings(),
        contextlib.nullcontext() if here else programs.traced_for(backend),
    ):
        warnings.simplefilter("error")
        method = recipe.method(config, input_spec(inputs))
        listed = programs.all_programs(method, inputs, lanes=lanes, most_variants=2)
        for program in listed if backend in PLATFORMS else ():
            _check_lowered(program, PLATFORMS[backend])
    return listed


def _check_lowered(program, platform):
    text = program.traced.lower(lowering_platforms=(platform,)).as_text()
    for unknown in ("f64", "callback", "tensor<?"):
        assert unknown not in text, f"{program.name} for {platform}"


def products_of(listed):
    """(name of the program, dtype, precision) of all products of programs."""
    return {(p.name, *made) for p in listed for made in traced.products(p.traced.jaxpr.jaxpr)}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "preset"), [*_presets()])
def test_programs_lower_and_all_but_the_nets_is_exact(name, preset):
    """With precision 'high', a product without a precision belongs to no net.

    Products that ask for the default precision do so on purpose.
    """
    has_nets = issubclass(methods.find(name).config, NetConfig)
    fields = {"precision": "high"} if has_nets else {}
    listed = programs_of(name, preset, "gpu", **fields)
    assert {"init", "steps", "done", "outputs"} <= {program.kind for program in listed}
    products = products_of(listed)
    assert {p for p in products if p[1:] not in (traced.EXACT, traced.ROUNDED, NETS)} == set()
    trained = has_nets and (name, preset) not in WITHOUT_NETS
    assert (NETS in {p[1:] for p in products}) == trained


def test_choices_are_those_of_the_other_backend():
    """A dispatch takes one step on CPU, many on accelerators."""
    fields = {"layers": 3, "features": 8, "ensemble": "off", "back_projection": 0}
    for backend, several in (("cpu", False), ("gpu", True)):
        listed = programs_of("zssr", "fast", backend, **fields)
        (steps,) = (program.steps for program in listed if program.kind == "steps")
        assert (steps > 1) == several
