"""The settings of the program that imports the package change no result, and the package changes none.

`host_settings.py` tries many more of them, by hand.
"""

import contextlib
import subprocess
import sys
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepinternal as di
from deepinternal import methods, numerics
from deepinternal.types import input_spec
from tests.tiny_methods import photo

PHOTO = photo(32)
ZSSR = {"preset": "smoke", "steps": 3, "layers": 3, "features": 8, "crop": 24}
FIT = {"preset": "smoke", "channels": "4", "skip": "0"}
METHODS = {
    "zssr": ZSSR,
    "dip": {**FIT, "preset": "denoise,smoke"},
    "segmentation": {**FIT, "hints": "auto"},
    "dehazing": FIT,
    "transparency": {**FIT, "preset": "single,smoke"},
    "watermark": {**FIT, "preset": "single,smoke", "box": "4,4,14,16"},
    "ingan": {"preset": "smoke", "crop": 40, "fit_side": 0, "blocks": 1},
    "kernelgan": {"preset": "smoke"},
    "patches": {"preset": "smoke"},
    "denoise": {"preset": "smoke", "noise_std": 0.1},
}
QUICK = ("zssr", "dip")
SETTINGS = {
    "jax_enable_x64": True,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_threefry_partitionable": False,
    "jax_default_prng_impl": "rbg",
    "jax_debug_nans": True,
    "jax_debug_infs": True,
}


@contextlib.contextmanager
def hostile():
    """The settings of a program for all its threads, with errors for NumPy's and for warnings."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    try:
        for name, value in SETTINGS.items():
            jax.config.update(name, value)
        with np.errstate(all="raise"), warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def _state_of_host():
    return {name: getattr(jax.config, name) for name in SETTINGS} | np.geterr()


def _kinds(tree):
    return [(x.shape, str(x.dtype)) for x in jax.tree.leaves(tree)]


def _traced(method, inputs):
    """Shapes and dtypes of all that the functions of a method return."""
    key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
    state = jax.eval_shape(method.init, key, inputs)
    found = [_kinds(state)]
    for stage in method.stages:
        step = lambda state, inputs, stage=stage: stage.step(state, inputs, stage.variant(0, 0))
        new, metrics = jax.eval_shape(step, state, inputs)
        assert _kinds(new) == _kinds(state)
        found += [_kinds(metrics), _kinds(jax.eval_shape(stage.done, state))]
        if stage.evaluate:
            new, metrics = jax.eval_shape(stage.evaluate, state, inputs)
            assert _kinds(new) == _kinds(state)
            found.append(_kinds(metrics))
        if stage.advance:
            state, inputs = jax.eval_shape(stage.advance, state, inputs)
            found.append(_kinds((state, inputs)))
    return [*found, _kinds(jax.eval_shape(method.outputs, state, inputs))]


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in METHODS]
)
def test_methods_keep_their_types(name):
    """The dtypes stay the same when a user's program traces the functions with 64-bit inputs."""
    recipe, fields = methods.find(name), dict(METHODS[name])
    config = recipe.build(fields.pop("preset"), **fields)
    image = (
        np.tile(PHOTO, (2, 2, 1))[:48, :48] if name in ("ingan", "kernelgan", "patches") else PHOTO
    )
    inputs = jax.device_get(recipe.prepare(config, image))
    ours = _traced(recipe.method(config, input_spec(inputs)), inputs)
    with hostile():
        wide = jax.tree.map(
            lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, dict(inputs)
        )
        method = methods.make(name, config, input_spec(inputs))
        assert _traced(method, wide) == ours
    assert not [kind for kinds in ours for kind in kinds if "64" in kind[1]]


def _bits(tree):
    return [(x.dtype, x.shape, x.tobytes()) for x in map(np.asarray, jax.tree.leaves(tree))]


def test_a_call_returns_the_same_bits_and_changes_nothing(quick_programs):
    seen = []

    def look(step, metrics):
        """Called in the thread of the call; another thread sees the settings of the program, too."""
        other = threading.Thread(target=lambda: seen.append(jax.config.jax_enable_x64))
        other.start()
        other.join()
        seen.append(jnp.asarray(0.5).dtype == np.float64)

    call = lambda **options: di.super_resolve(PHOTO, 2, full=True, **ZSSR, **options)
    plain = call()
    with hostile():
        before = _state_of_host()
        made = call(callback=look)
        params = made.params
        assert _state_of_host() == before
    assert seen
    assert all(seen)
    assert _bits(made.outputs) == _bits(plain.outputs)
    assert _bits(params) == _bits(plain.params)
    assert made.remarks == plain.remarks
    assert made.outputs["result"].dtype == np.float32


def test_functions_in_a_program_with_64_bits_stay_in_float32():
    """Their own draws and constants do; the image decides about everything else."""
    key, image = jax.random.key(3), jnp.asarray(PHOTO)

    def made(image):
        index, father = di.ops.draw_father(key, (32, 32), (16, 16))
        hints = jnp.asarray([0.6, 0.3], jnp.float32)
        of_patches = {"allowed": image[::2, :, 0] > 0, "counts": image[..., 0]}
        return (
            *(index, di.ops.warp(image, father, (16, 16)), di.ops.rotation(0.1)),
            di.ops.degrade(key, image, di.ops.gaussian_kernel(7, 1.0), 2),
            *(di.ops.div2krk_kernel(key), di.ops.motion_kernel(key, 11, 4.0)),
            *(di.ops.line_kernel(9, 4.0, 0.3), di.ops.shear.homography(hints)),
            di.ops.guided_filter(image, image[..., 0], radius=3),
            *di.ops.patches.nearest(image, image[::2], patch=5, count=2, **of_patches),
            *(found := di.ops.patches.approximate(image, image[::2], key=key, **of_patches)),
            di.ops.patches.vote(found.place, image, median=True),
            di.ops.tiles.tiled(lambda x: x * 2, image, scale=(1.0, 1.0), tile=8, halo=4),
            di.estimators.jpeg.jpeg_blocking(image),
        )

    plain = _kinds(jax.eval_shape(made, image))
    assert {kind for _, kind in plain} == {"float32", "int32"}
    with jax.enable_x64(True):
        assert _kinds(jax.eval_shape(made, image)) == plain


FORKED = """
import multiprocessing
from deepinternal import numerics

@numerics.entry
def call():
    return "worked"

def child(queue):
    try:
        queue.put(call())
    except RuntimeError as error:
        queue.put(str(error))

def in_child():
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(queue.get(timeout=60))
    process.join()

in_child()
call()
in_child()
"""


def test_a_forked_process_works_or_raises_a_clear_error():
    printed = subprocess.check_output([sys.executable, "-c", FORKED], text=True)
    first, second = printed.splitlines()
    assert first == "worked"
    assert "forked" in second
    assert "spawn" in second


IMPORTED = """
import importlib, pkgutil, threading
import deepinternal
from jax._src import xla_bridge

for module in pkgutil.walk_packages(deepinternal.__path__, "deepinternal."):
    if ".cli" not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(threading.active_count(), xla_bridge.backends_are_initialized())
"""


def test_imports_cause_no_warnings_and_start_no_threads():
    """Else a process that is forked later could not use JAX."""
    command = [sys.executable, "-W", "error", "-c", IMPORTED]
    assert subprocess.check_output(command, text=True).strip() == "1 False"


def test_the_fixed_settings_end_with_the_block():
    before = _state_of_host()
    with hostile():
        with contextlib.suppress(ValueError), numerics.fixed():
            assert jnp.arange(3).dtype == np.int32
            assert np.geterr()["under"] == "ignore"
            raise ValueError
        assert jnp.arange(3).dtype == np.int64
        assert np.geterr()["under"] == "raise"
    assert _state_of_host() == before
