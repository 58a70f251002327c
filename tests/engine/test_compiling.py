"""The options with which XLA compiles programs."""

import jax
import numpy as np
import pytest

from deepinternal.engine import compiling
from deepinternal.engine.compiling import compiler_options
from deepinternal.engine.parallel import Programs
from deepinternal.types import InputError
from tests import tiny_methods

IMAGE = tiny_methods.photo()


def test_on_cpu_what_runs_once_is_not_optimised(monkeypatch):
    """Nor is anything left to XLA's default level; on GPUs, only Triton is switched off."""
    levels = {n: compiler_options(n)["xla_backend_optimization_level"] for n in ("init", "steps")}
    assert levels == {"init": 0, "steps": 1}
    used = []
    compiled = jax.stages.Lowered.compile
    monkeypatch.setattr(
        jax.stages.Lowered, "compile", lambda self, o: used.append(o) or compiled(self, o)
    )
    Programs(tiny_methods.gan()).init(jax.random.key(0), {"image": IMAGE})
    assert used == [compiler_options("init")]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiler_options("steps") == {"xla_gpu_enable_triton_gemm": False}
    given = compiler_options("steps", "xla_gpu_enable_triton_gemm=true")
    assert given == {"xla_gpu_enable_triton_gemm": True}
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert compiler_options("steps") is None


def test_convolutions_are_not_left_to_another_library():
    """By default XLA would give this one to YNNPACK, which is slow for it."""
    conv = jax.jit(
        lambda x, w: jax.lax.conv_general_dilated(
            x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    )
    lowered = conv.lower(np.ones((1, 64, 64, 32), np.float32), np.ones((3, 3, 32, 32), np.float32))
    assert "ynn" not in lowered.compile(compiler_options("steps")).as_text()


def test_options_of_the_user():
    given = "xla_gpu_enable_command_buffer=FUSION,CUDNN,xla_gpu_enable_triton_gemm=false"
    assert compiling.parse_options(given) == {
        "xla_gpu_enable_command_buffer": "FUSION,CUDNN",
        "xla_gpu_enable_triton_gemm": False,
    }
    compiling.check_options(given)
    compiling.check_options("")
    assert compiler_options("steps", "xla_backend_optimization_level=3").items() >= {
        ("xla_backend_optimization_level", "3")
    }
    for wrong in (
        "xla_no_such_option=1",
        "xla_gpu_enable_triton_gemm=7x",
        "level",
        "=1",
        "a=1,,b=2",
    ):
        with pytest.raises(InputError, match=r"^config\.parallel\.compiler_options: [^\n]+$"):
            compiling.check_options(wrong)


def test_options_reach_the_compiler(monkeypatch):
    used = []
    compiled = jax.stages.Lowered.compile
    monkeypatch.setattr(
        jax.stages.Lowered, "compile", lambda self, o: used.append(o) or compiled(self, o)
    )
    given = "xla_gpu_enable_triton_gemm=false"
    programs = Programs(tiny_methods.gan(), compiler_options=given)
    programs.init(jax.random.key(0), {"image": IMAGE})
    assert used == [compiler_options("init") | {"xla_gpu_enable_triton_gemm": False}]


def test_a_compiler_that_does_not_know_an_option(monkeypatch):
    monkeypatch.setattr(compiling, "_LIBRARY", {"xla_no_such_option": "YES"})
    assert list(compiler_options("steps")) == ["xla_backend_optimization_level"]
