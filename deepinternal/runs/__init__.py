"""Runs methods on lists of input files, and writes the results to a work folder."""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
