"""Campaigns of faults, run by hand; see tests/README.md."""
