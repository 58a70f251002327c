"""Compiling, batching and dispatching methods; the training loop, checkpoints and telemetry."""
