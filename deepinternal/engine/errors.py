"""Errors that end one run, but not the runs beside it."""

REMEDY = "a smaller learning rate may help"


class RunError(RuntimeError):
    """An error that ends one run, but not the runs beside it."""


class NonFiniteError(RunError):
    """The loss or a parameter became NaN or infinite."""


class LostError(RunError):
    """Another process has taken over this image."""
