"""The programs of several images and replicas lower, too; a file of its own, for another worker."""

import pytest

from benchmarks import programs
from deepinternal import methods
from deepinternal.config import NetConfig
from tests import traced
from tests.test_lowering import NAMES, products_of, programs_of


@pytest.fixture(scope="module", autouse=True)
def _tpu():
    """For all tests of this file: what one of them has traced, the next ones need not trace again."""
    with programs.traced_for("tpu"):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NAMES if n != "segmentation"])  # a video's steps
def test_lanes_and_replicas_lower(name):
    """In bfloat16, of which only the nets' products are."""
    recipe = methods.find(name)
    fields = {"replicas": 2} if "replicas" in recipe.config.model_fields else {}
    has_nets = issubclass(recipe.config, NetConfig)
    fields |= {"precision": "bfloat16"} if has_nets else {}
    listed = programs_of(name, next(iter(recipe.presets)), "tpu", lanes=2, **fields)
    assert {"steps", "put", "pick"} <= {program.kind for program in listed}
    products = products_of(listed)
    assert {p for p in products if p[1] != "bfloat16" and p[1:] != traced.EXACT} == set()
    assert ("bfloat16" in {p[1] for p in products}) == has_nets
