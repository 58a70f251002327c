"""Pages and charts of what a run has written."""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
