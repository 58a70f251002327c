"""Command-line programs."""

from launch.huge_pages import restart_with_huge_pages

restart_with_huge_pages("launch")
