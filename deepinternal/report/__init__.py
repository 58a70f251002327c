"""Renders pages and charts from the files of a run."""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
