"""Configs of the command-line programs: one file per method or task."""
