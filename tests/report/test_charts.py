"""The coordinates of curves, and the numbers that are not drawn."""

import numpy as np
import pytest

from deepinternal.report import charts


def test_what_does_not_change_is_a_figure():
    log = [
        {"step": s, "a": v, "late": 0.5 if s == 1 else 3.0, "same": 7.0, "programs": s}
        for s, v in ((1, -1.0), (2, 5.0), (3, 5.0), (4, None))
    ]
    log[2]["once"] = 1.25
    log[0]["lost"], log[1]["lost"], log[2]["lost"] = 2.5, None, None
    metrics = {"programs": 9, "same": 8}
    assert [c["label"] for c in charts.charts(log)] == ["a", "lost"]
    found = {f["title"]: f["value"] for f in charts.figures(log, metrics)}
    assert found == {"late": 3.0, "same": 7.0, "programs": 9, "once": 1.25}
    pair = [{"step": 1, "x": 1.0, "psnr_y": 2.0}, {"step": 2, "x": 2.0, "psnr_y": 2.0}]
    assert [c["label"] for c in charts.charts(pair)] == ["x"], "two values are a curve"
    (figure,) = charts.figures(pair, {})
    assert (figure["title"], figure["unit"]) == ("PSNR y", "dB")


@pytest.mark.parametrize("log", [[], [{"step": 1, "a": None}] * 2, [{"step": 1, "a": "text"}] * 2])
def test_too_little_for_a_figure(log):
    assert charts.charts(log) == charts.figures(log, {}) == []


def test_linear_curves():
    log = [{"step": s, "a": v, "psnr": p} for s, v, p in ((1, -1.0, 1), (5, 2.0, 20))]
    for chart in charts.charts(log):
        assert not chart["log"], "neither what is negative nor what is in decibels"
        heights = [y for *_, y in chart["points"]]
        assert all(charts.FRAME[2] <= y <= charts.FRAME[3] for y in heights)
        for place, text in chart["y"]:
            assert charts.FRAME[2] <= place <= charts.FRAME[3]
            assert np.isfinite(float(text))
        assert 2 <= len(chart["y"]) <= 6
    assert [c["label"] for c in charts.charts(log)] == ["a", "PSNR (dB)"]


@pytest.mark.parametrize("low", [-3.0, 0.0, 35.2841, 1e-7])
@pytest.mark.parametrize("span", [1e-6, 0.37, 1.0, 99.0, 3e5])
def test_ticks_are_few_and_distinct(low, span):
    ticks = charts.ticks(low, low + span)
    assert 2 <= len(ticks) <= 6
    assert all(low - 1e-9 * span <= t <= low + span * (1 + 1e-9) for t in ticks)
    assert len({f"{t:.10g}" for t in ticks}) == len(ticks)
    if low > 0 and span > 10 * low:
        ticks = charts.log_ticks(low, low + span)
        assert 2 <= len(ticks) <= 8
        assert all(low <= t <= low + span for t in ticks)


def test_long_curves_keep_their_extremes():
    values = np.random.default_rng(0).normal(size=50_000)
    points = [(i, float(v)) for i, v in enumerate(values)]
    points[777] = (777, None)
    thin = charts.thin(points)
    assert len(thin) <= 1.1 * charts.POINTS
    assert [s for s, _ in thin] == sorted({s for s, _ in thin})
    assert set(thin) <= set(points)
    assert (777, None) in thin
    known = [v for _, v in thin if v is not None]
    assert (min(known), max(known)) == (values.min(), values.max())
    assert charts.thin(points[:100]) == points[:100]
