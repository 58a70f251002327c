"""Deep internal learning in JAX: networks trained at test time, on one image alone.

    import deepinternal as di
    out = di.super_resolve(image, scale=2)

Modules are imported when they are first used, so that importing the package costs nothing.
"""

from deepinternal import lazy

__version__ = "0.2.0"
__getattr__, __dir__ = lazy.attach(__name__, __file__)
