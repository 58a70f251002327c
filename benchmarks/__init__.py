"""Measurements of speed and quality, as command-line programs."""
