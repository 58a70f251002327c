"""Deep internal learning in JAX: networks trained at test time, on one image alone.

    import deepinternal as di
    out = di.super_resolve(image, scale=2)

Everything is imported when it is first used; importing the package costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
_FUNCTIONS = (
    "super_resolve",
    "estimate_kernel",
    "denoise",
    "inpaint",
    "segment",
    "dehaze",
    "separate",
    "remove_watermark",
    "fit",
    "run",
    "presets",
    "fields",
)
_RETARGETING = ("train_retargeter", "retarget")
_MODULES = ("api", "codecs", "config", "engine", "estimators", "losses", "methods", "nets", "ops")
_MODULES += ("recipe", "report", "retargeter", "runs", "types")
__all__ = [  # noqa: PLE0604  (all strings)
    *_FUNCTIONS,
    *_RETARGETING,
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"deepinternal.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module("deepinternal.api"), name)
    if name in _RETARGETING:
        return getattr(importlib.import_module("deepinternal.retargeter"), name)
    raise AttributeError(f"module 'deepinternal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
