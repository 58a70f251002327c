"""Measurements of speed and quality: see benchmarks/README.md."""

from launch.huge_pages import restart_with_huge_pages

restart_with_huge_pages("benchmarks")
