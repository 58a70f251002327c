"""The runtime: compiles, batches, checkpoints and reports any method; knows none by name."""
