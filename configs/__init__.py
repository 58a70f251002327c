"""Configs of the command-line programs, one file for each method."""
