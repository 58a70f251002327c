"""All measurements of one accelerator in one call; see `benchmarks.accelerator.__main__`."""
