"""Where the time goes: names sorted by what they do, times added up, and a real trace."""

import jax.numpy as jnp
import pytest

from benchmarks import breakdown
from tests.benchmarks.test_benchmarks import photo, tiny_config

TEXT = """
%body (p: f32[2]) -> f32[2] {
  %p = f32[2]{0} parameter(0)
  ROOT %multiply_add_fusion.3 = f32[2]{0} fusion(%p), kind=kLoop, calls=%fused
}

ENTRY %main (a: f32[2]) -> f32[2] {
  %a = f32[2]{0} parameter(0)
  %while.1 = (f32[2]{0}, s32[]) while(%a), condition=%c, body=%body
  ROOT %copy.2 = f32[2]{0} copy(%a)
}
"""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ynn_fusion.12", "contractions"),
        ("convolution.3", "contractions"),
        ("dot_general", "contractions"),
        ("slice_concatenate_fusion.1", "moving"),
        ("copy.77", "moving"),
        ("dynamic-update-slice.1", "moving"),
        ("multiply_add_fusion.9", "arithmetic"),
        ("broadcast_subtract_fusion", "arithmetic"),
    ],
)
def test_kinds(name, kind):
    assert breakdown.kind_of(name) == kind


def test_only_operations_count_and_loops_by_what_is_in_them():
    names = breakdown.leaves(TEXT)
    assert {"multiply_add_fusion.3", "copy.2"} <= names
    assert "while.1" not in names
    events = [
        {"ph": "X", "name": "copy.2", "dur": 1500},
        {"ph": "X", "name": "copy.2", "dur": 500},
        {"ph": "X", "name": "multiply_add_fusion.3", "dur": 250},
        {"ph": "X", "name": "while.1", "dur": 9000},
        {"ph": "M", "name": "copy.2"},
        {"ph": "X", "name": "ThunkExecutor::Execute", "dur": 9000},
    ]
    assert breakdown.sums(events, names) == pytest.approx(
        {"copy": 2e-3, "multiply_add_fusion": 2.5e-4}
    )


def test_a_step_of_zssr():
    found = breakdown.measure("zssr", tiny_config(), photo=jnp.asarray(photo(64)), steps=2)
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert found["shares"]["contractions"] > 0, "its convolutions"
    assert sum(found["seconds"].values()) > 0
    text = breakdown.report([found], top=2)
    assert text.splitlines()[-1].startswith("| zssr ")
