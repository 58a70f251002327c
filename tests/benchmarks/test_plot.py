"""Plots hold the lines, marks and labels they were given, the same each time."""

from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib")
from benchmarks import plot

PANEL = plot.Panel(
    "seconds", "dB", {"ours": [(1, 20.0), (10, 30.0)]}, {"theirs": (5, 25.0)}, log_x=True
)


def texts(path):
    return {
        "".join(e.itertext()).strip() for e in ElementTree.parse(path).iter() if "text" in e.tag
    }


def test_a_plot_names_its_axes_and_lines(tmp_path):
    plot.draw(tmp_path / "a.svg", [PANEL])
    assert {"seconds", "dB", "ours", "theirs"} <= texts(tmp_path / "a.svg")


def test_the_same_figures_give_the_same_file(tmp_path):
    for name in "ab":
        plot.draw(tmp_path / f"{name}.svg", [PANEL, PANEL])
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
