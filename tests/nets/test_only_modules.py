"""nets/ holds linen modules and nothing else."""

import importlib
import inspect
import pkgutil

import pytest
from flax import linen as nn

from deepinternal import nets

MODULES = [module.name for module in pkgutil.walk_packages(nets.__path__, "deepinternal.nets.")]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_or_class_is_a_linen_module(name):
    module = importlib.import_module(name)
    own = {
        key: value
        for key, value in vars(module).items()
        if not key.startswith("_") and callable(value) and value.__module__ == name
    }
    assert own, "an empty module"
    others = [k for k, v in own.items() if not (inspect.isclass(v) and issubclass(v, nn.Module))]
    assert others == []
