"""Compiles, batches and dispatches methods: the training loop, checkpoints and telemetry."""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
