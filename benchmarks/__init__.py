"""Benchmarks of speed and quality; see benchmarks/README.md."""
