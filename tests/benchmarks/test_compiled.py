"""Counts of a program's text agree with counts by hand, and mistakes are one line."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import compiled, hlo, programs
from deepinternal.types import InputError
from tests import tiny_methods
from tests.benchmarks import program

# Three steps, each with a product, a fusion with a dot, a copy, an asynchronous copy, a loop of two
# iterations of a fusion, and a choice of one kernel of 512 or one of 8 bytes.
TEXT = """HloModule jit_many, is_scheduled=true

%fused (a: f32[4,8]) -> bf16[4,8] {
  %a = f32[4,8]{1,0} parameter(0)
  ROOT %c = bf16[4,8]{1,0} convert(%a)
}

%with_dot (a: bf16[4,8], b: bf16[8,2]) -> f32[4,2] {
  %a = bf16[4,8]{1,0} parameter(0)
  %b = bf16[8,2]{1,0} parameter(1)
  ROOT %d = f32[4,2]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%large (p: (f32[4,8])) -> f32[] {
  %p = (f32[4,8]{1,0}) parameter(0)
  %g = f32[4,8]{1,0} get-tuple-element(%p), index=0
  ROOT %r = f32[] reduce-window(%g, %g, %g, %g), to_apply=%sum
}

%small (p: f32[]) -> f32[] {
  %p = f32[] parameter(0)
  ROOT %r = f32[] copy(%p)
}

%twice (s: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %s = (s32[], f32[4,8]{1,0}) parameter(0)
  %g = f32[4,8]{1,0} get-tuple-element(%s), index=1
  %i = s32[] get-tuple-element(%s), index=0
  %f = bf16[4,8]{1,0} fusion(%g), kind=kLoop, calls=%fused
  ROOT %t = (s32[], f32[4,8]{1,0}) tuple(%i, %g)
}

%ends (s: (s32[], f32[4,8])) -> pred[] {
  %s = (s32[], f32[4,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  ROOT %l = pred[] compare(%i, %i), direction=LT
}

%step (s: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %s = (s32[], f32[4,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %x = f32[4,8]{1,0:T(8,128)} get-tuple-element(%s), index=1
  %w = f32[8,8]{1,0} constant({...})
  %gemm = (f32[4,8]{1,0}, s8[4096]{0}) custom-call(%x, %w), custom_call_target="__cublas$gemm"
  %y = f32[4,8]{1,0} get-tuple-element(%gemm), index=0
  %half = bf16[4,8]{1,0} fusion(%y), kind=kLoop, calls=%fused, metadata={op_name="f(g)/h"}
  %v = bf16[8,2]{1,0} constant({...})
  %dot = f32[4,2]{1,0} fusion(%half, %v), kind=kInput, calls=%with_dot
  %start = (f32[4,8]{1,0}, f32[4,8]{1,0}, u32[]) copy-start(%y)
  %z = f32[4,8]{1,0} copy-done(%start)
  %t = (s32[], f32[4,8]{1,0}) tuple(%i, %z)
  %inner = (s32[], f32[4,8]{1,0}) while(%t), condition=%ends, body=%twice, TRIPS(2)
  %pair = (f32[4,8]{1,0}) tuple(%z)
  %one = f32[] constant(1)
  %chosen = f32[] conditional(%i, %pair, %one), branch_computations={%large, %small}
  ROOT %out = (s32[], f32[4,8]{1,0}) tuple(%i, %z)
}

ENTRY %main.1 (x: f32[4,8]) -> (s32[], f32[4,8]) {
  %x = f32[4,8]{1,0} parameter(0)
  %n = s32[] constant(0)
  %k = f32[4,8]{1,0} copy(%x)
  %t = (s32[], f32[4,8]{1,0}) tuple(%n, %k)
  ROOT %w = (s32[], f32[4,8]{1,0}) while(%t), condition=%ends, body=%step, TRIPS(3)
}
"""
TEXT = re.sub(r"TRIPS\((.)\)", r'backend_config={"known_trip_count":{"n":"\1"}}', TEXT)
GEMM, HALF, DOT, START = 128 + 256 + 128, 128 + 64, 64 + 32 + 32, 2 * 128 + 4
BRANCH, INNER = 4 * 128 + 4, 2 * (128 + 64)


def test_a_step_is_counted():
    step = hlo.Module(TEXT).per_step(3)
    kinds = {"cublas": 1, "fusion": 3, "product": 1, "copy": 1, "other": 1}
    assert step.kernels == kinds
    assert step.bytes == GEMM + HALF + DOT + START + BRANCH + INNER


def test_a_loop_of_steps_within_another_loop_is_counted_as_often():
    step = hlo.Module(TEXT).per_step(2)
    assert step.kernels == {"fusion": 3}
    assert step.bytes == 3 * (4 * 8 * 4 + 4 * 8 * 2)


def test_without_a_loop_of_steps_the_whole_program_is_counted():
    module = hlo.Module(TEXT)
    whole, step = module.per_step(), module.per_step(3)
    assert whole.kernels == {k: 3 * n + (k == "copy") for k, n in step.kernels.items()}
    assert whole.bytes == 3 * step.bytes + 2 * 128
    assert module.per_step(7).bytes == whole.bytes


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ('{"kind":"__triton_gemm"}', "triton"),
        ('{"kind":"__triton_nested_gemm_fusion"}', "triton"),
        ('{"kind":"__triton"}', "fusion"),
        ('{"kind":"__cudnn$fusion"}', "cudnn"),
    ],
)
def test_kinds_of_fusions(config, kind):
    text = TEXT.replace('metadata={op_name="f(g)/h"}', f"backend_config={config}")
    assert hlo.Module(text).per_step(3).kernels[kind] == {"fusion": 3}.get(kind, 1)


def test_the_text_of_this_version_of_jax_is_understood():
    def many(x):
        return jax.lax.scan(lambda x, _: (jnp.sin(x) @ x, None), x, None, 5)[0]

    text = jax.jit(many).lower(jnp.ones((32, 32))).compile().as_text()
    step = hlo.Module(text).per_step(5)
    assert 0 < sum(step.kernels.values()) < sum(hlo.Module(text).per_step().kernels.values())
    assert step.bytes >= 2 * 32 * 32 * 4


def test_all_programs_of_a_method_with_stages_replicas_and_variants():
    """Traced alike for one lane and for several."""
    image = {"image": np.zeros((16, 16, 3), np.float32)}
    method = tiny_methods.decomposition(steps=4)
    assert [p.name for p in programs.all_programs(method, image)] == [
        *("init", "steps of coarse", "done of coarse", "advance of coarse"),
        *("steps of fine", "done of fine", "outputs"),
    ]
    several = programs.all_programs(tiny_methods.gan(), image, lanes=2, most_variants=2)
    assert [p.kind for p in several] == ["steps", "steps", "evaluate", "put", "pick"]
    assert set(programs.KINDS) > {p.kind for p in several}
    state = several[0].traced.out_info[0]
    assert state.params["generator"].shape == (2, 3, 3, 3, 3)


def test_choices_for_another_backend_end_with_the_block():
    own = jax.default_backend()
    with programs.traced_for("tpu"):
        assert jax.default_backend() == "tpu"
    assert jax.default_backend() == own


def test_figures_of_a_program_that_does_not_compile():
    row = {"method": "zssr", "images": 16, "program": "steps of 1", "steps": 50}
    fine = {"error": "", "compile_seconds": 1.0, "kernels": {"cublas": 3, "copy": 1}}
    fine |= {"moved_mb": 2.5, "temporary_mb": 7.0}
    table = compiled.report([row | fine, row | {"error": "no tiles"}]).splitlines()
    assert table[0].split("|")[4:9] == [" compile s ", " kernels ", " cublas ", " copy ", "  MB "]
    assert [cell.strip() for cell in table[2].split("|")[4:9]] == ["1.0", "4", "3", "1", "2.5"]
    assert "failed" in table[3]
    assert table[-1] == "zssr, 16 images, steps of 1: no tiles"


@pytest.mark.parametrize("text", ["256", "0x3", "256x", "axb", "1x2x3"])
def test_sizes_are_checked(text):
    with pytest.raises(InputError, match="--size"):
        compiled.parse_size(text)


def test_a_mistake_is_one_line(tmp_path):
    done = program.run("compiled", f"--wheels={tmp_path}", "--method=zssr:fast")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: --wheels={tmp_path}: holds no compiler for an accelerator; --help says how to get "
        "one\n"
    )


def test_a_compiler_of_another_version_is_refused(tmp_path):
    for folder in ("jax_plugins/xla_cuda12", "jax_cuda12_plugin-0.1.0.dist-info"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "jax_plugins/xla_cuda12/xla_cuda_plugin.so").touch()
    with pytest.raises(InputError, match=rf"of jax 0.1.0, but jax {jax.__version__} is installed"):
        compiled.target(tmp_path)
