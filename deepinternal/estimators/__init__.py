"""Estimators: functions that measure properties of a single image, on the host."""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
