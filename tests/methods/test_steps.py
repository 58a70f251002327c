"""The field `steps`, which each method reads itself."""

import pytest

from benchmarks import timing
from deepinternal import methods
from deepinternal.types import input_spec


@pytest.mark.parametrize("name", methods.names())
def test_steps_replace_or_limit_those_of_every_stage(name):
    recipe = methods.find(name)
    sample = recipe.example(recipe.build("smoke"), timing.bundled_photo())
    config = recipe.build("smoke", **recipe.given(sample.sides), steps=3)
    inputs = recipe.prepare(config, sample.image, **sample.sides)
    stages = recipe.method(config, input_spec(inputs)).stages
    assert stages
    assert all(stage.steps == 3 for stage in stages)
