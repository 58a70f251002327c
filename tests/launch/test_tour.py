"""The notebook launch/tour.ipynb: its cells run, and reach what its text promises."""

import itertools
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

NOTEBOOK = Path(__file__).parent.parent.parent / "launch/tour.ipynb"
STEPS = {"super_resolve": 100, "fill_in": 2, "own": 60}  # fewer than in the notebook
pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(scope="module")
def notebook():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cells(notebook):
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]


@pytest.fixture(scope="module")
def names(cells, quick_programs):
    """The variables after all cells have run in one namespace, with fewer steps and no window."""
    found = {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        pyplot.switch_backend("agg")
        patch.setattr(pyplot, "show", lambda: pyplot.close("all"))
        for number, cell in enumerate(cells):
            exec(compile(cell, f"tour.ipynb, code cell {number}", "exec"), found)
            assert "STEPS" in found, "the first cell sets the numbers of steps"
            found["STEPS"] = STEPS
    return found


def test_the_stored_outputs_are_pictures_without_errors(notebook):
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    kinds = [output.get("name", output["output_type"]) for output in outputs]
    assert set(kinds) <= {"stdout", "display_data"}, "no errors, nothing on stderr"
    pictures = [output["data"] for output in outputs if output["output_type"] == "display_data"]
    assert all("image/jpeg" in data or "image/png" in data for data in pictures)
    shown = [cell for cell in code if any("data" in output for output in cell["outputs"])]
    assert shown == code[1:], "every cell after the first shows a picture"
    assert NOTEBOOK.stat().st_size < 1.5e6


def test_every_section_has_text_and_code(notebook):
    kinds = [cell["cell_type"] for cell in notebook["cells"]]
    texts = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]
    assert not [pair for pair in itertools.pairwise(kinds) if pair == ("code", "code")]
    assert "pip install '.[docs]'" in texts[0]
    links = re.findall(r"\]\(([^)]+)\)", "".join(texts))
    assert len(links) > 3
    assert not [link for link in links if not (NOTEBOOK.parent / link).exists()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("sr_gain", 0.5),
        ("blind_gain", 0.8),
        ("denoise_gain", 8),
        ("dehaze_gain", 3),
        ("mark_gain", 5),
    ],
)
def test_results_are_better_than_their_inputs(names, name, least):
    assert names[name] > least  # dB


@pytest.mark.slow
def test_curves_fall(names):
    seen = np.array(names["seen"])
    assert seen[-1, 0] == STEPS["super_resolve"]
    assert np.allclose(seen[:, 1], names["history"]["loss"])
    losses = names["losses"]
    assert losses.shape == (STEPS["own"], 4)
    assert np.all(losses[-10:].mean(0) < 0.75 * losses[0])


@pytest.mark.slow
def test_four_seeds_differ(names):
    seeds = names["seeds"]
    assert len({seed.tobytes() for seed in seeds}) == 4
    assert 1e-4 < names["spread"].mean() < 0.1
    scores = [names["psnr"](image, names["truth"]) for image in seeds]
    assert names["psnr"](names["mean"], names["truth"]) > np.median(scores)


@pytest.mark.slow
def test_errors_are_larger_where_the_result_is_less_certain(names):
    uncertainty = names["clean"].outputs["uncertainty"]
    low, high = np.quantile(uncertainty, [0.25, 0.75])
    errors = names["errors"]
    assert errors[uncertainty > high].mean() > 1.1 * errors[uncertainty < low].mean()


@pytest.mark.slow
def test_holes_are_filled_in(names):
    pixels, filled, truth = ~names["known_wall"], names["whole"], names["wall"]
    assert np.array_equal(filled[~pixels], truth[~pixels])
    error = np.mean((filled - truth)[pixels] ** 2)
    assert error < 0.5 * truth[pixels].var()


@pytest.mark.slow
def test_a_background_is_more_like_the_truth_than_any_frame(names):
    alike = [np.corrcoef(x.ravel(), names["behind"].ravel())[0, 1] for x in names["frames"]]
    result = np.corrcoef(names["background_found"].ravel(), names["behind"].ravel())[0, 1]
    assert result > max(alike)


@pytest.mark.slow
def test_a_mask_separates_the_cup_from_the_table(names):
    mask, (height, width) = names["parts"]["mask"], names["scene"].shape[:2]
    assert mask[height // 4, width // 2] == 1
    assert mask[-5:, :10].max() == mask[:5, -10:].max() == 0
    assert 0.2 < mask.mean() < 0.7


@pytest.mark.slow
def test_images_of_other_sizes_and_samples(names):
    height, width = names["coins"].shape[:2]
    assert names["wide"].shape[:2] == (height, 3 * width // 2)
    assert len({image.tobytes() for image in names["made"]["samples"].values()}) == 3
    assert names["made"]["diversity"] > 0.05
