"""The comparison of retargeting: exact sizes, kept results, tables."""

import functools
import json
import types

import numpy as np
import pytest

from benchmarks import retargeting, retargeting_rows
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.types import InputError
from tests.benchmarks import program
from tests.brute_patches import photo


@pytest.fixture
def alike(monkeypatch):
    """Measures that need no search."""
    names = ("coherence", "completeness", "sifid", "layout", "copied", "share", "evenness")
    figures = dict.fromkeys(names, 0.5)
    monkeypatch.setattr(retargeting, "measure", lambda *images, **options: dict(figures))


@pytest.mark.parametrize("size", [(24, 60), (31, 11)])
@pytest.mark.parametrize("make", [retargeting_rows.stretched, retargeting_rows.tiled])
def test_sizes_are_exact(make, size):
    made = make(photo(24, 30), size)
    assert made.shape == (*size, 3)
    assert made.min() >= 0
    assert made.max() <= 1
    np.testing.assert_array_equal(make(photo(24, 30), (24, 30)), photo(24, 30))


@pytest.mark.slow
@pytest.mark.usefixtures("quick_programs")
@pytest.mark.parametrize("row", ["gpnn", "stretched+patches"])
def test_rows_of_the_library_make_the_size(row, monkeypatch):
    few = functools.partial(retargeting_rows.by_patches, preset="smoke,gpnn")
    monkeypatch.setitem(retargeting_rows.ROWS, "gpnn", few)
    case = retargeting_rows.Case("photo", photo(48, 60))
    made = case.make(row, case.size((1, 1.25)))
    assert made.shape == (48, 75, 3)
    assert np.abs(made - retargeting_rows.stretched(photo(48, 60), (48, 75))).max() > 0.05


def test_rows_of_a_net_are_of_its_own_image():
    trained = types.SimpleNamespace(image=types.SimpleNamespace(pixels=photo()))
    assert retargeting_rows.Case("a", photo(), [trained]).has("net")
    assert not retargeting_rows.Case("b", photo(at=(60, 200)), [trained]).has("net+patches")
    assert retargeting_rows.Case("b", photo()).has("gpnn")


@pytest.mark.parametrize(("text", "scale"), [("1,2", (1, 2)), ("0.5", (0.5, 0.5))])
def test_scales(text, scale):
    assert retargeting.parse_scale(text) == scale


@pytest.mark.parametrize("text", ["", "a", "1,2,3", "0,1", "-1,1", "inf"])
def test_scales_are_checked(text):
    with pytest.raises(InputError, match="--scale"):
        retargeting.parse_scale(text)


def test_rows_and_sizes_are_checked():
    assert retargeting.parse_rows("tiled, net") == ["tiled", "net"]
    with pytest.raises(InputError, match="'tile' is no row; choose of stretched, tiled"):
        retargeting.parse_rows("stretched,tile")
    with pytest.raises(InputError, match="coins would be 10x96"):
        retargeting_rows.Case("coins", photo()).size((0.25, 2))


def test_kept_results_are_not_made_again(tmp_path, alike, monkeypatch):
    made = []
    monkeypatch.setitem(
        retargeting_rows.ROWS,
        "gpnn",
        lambda image, size: made.append(size) or retargeting_rows.tiled(image, size),
    )
    cases = [retargeting_rows.Case("a", photo()), retargeting_rows.Case("b", photo(32, 40))]
    go = lambda: retargeting.run(cases, [(1, 2), (1, 0.75)], ["tiled", "gpnn"], tmp_path)
    figures = go()
    assert made == [(40, 96), (40, 36), (32, 80), (32, 30)]
    assert list(figures) == ["a", "b"]
    assert list(figures["b"]) == ["1x2", "1x0.75"]
    assert json.loads((tmp_path / "figures.json").read_text()) == figures
    (tmp_path / "b" / "1x2" / "gpnn.png").unlink()
    assert go().keys() == figures.keys()
    assert made[4:] == [(32, 80)]
    again = read_image(tmp_path / "b" / "1x2" / "gpnn.png").pixels
    np.testing.assert_allclose(again, np.tile(photo(32, 40), (1, 2, 1)), atol=1e-6)


def test_means_are_over_the_images_of_a_row():
    one = dict.fromkeys(retargeting.COLUMNS, 0.25)
    figures = {
        "a": {"1x2": {"tiled": one, "stretched": one}},
        "b": {"1x2": {"tiled": dict.fromkeys(one, 0.75)}},
    }
    each, means = (
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
        for table in retargeting.report(figures).split("\n\n")
    )
    assert [row[:3] for row in each] == [
        ["a", "1x2", "stretched"],
        ["a", "1x2", "tiled"],
        ["b", "1x2", "tiled"],
    ]
    assert [row[:3] for row in means] == [["1x2", "stretched", "1"], ["1x2", "tiled", "2"]]
    assert means[1][3:5] == ["5000.0", "5000.0"]
    assert means[0][3:5] == ["2500.0", "2500.0"]


@pytest.mark.slow
def test_command(tmp_path):
    write_image(tmp_path / "small.png", photo(28, 30))
    out = tmp_path / "figures.json"
    flags = [f"--input={tmp_path / 'small.png'}", "--scale=1,1.5", f"--json={out}"]
    done = program.run(
        "retargeting", *flags, "--rows=stretched,tiled", f"--out={tmp_path / 'made'}"
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["figures"]["small"]["1x1.5"]
    assert list(rows) == ["stretched", "tiled"]
    assert rows["tiled"]["copied"] > 0.5 > rows["stretched"]["copied"]
    assert rows["stretched"]["layout"] > 0.98 > rows["tiled"]["layout"]
    for row in rows:
        assert f" {row} |" in done.stdout
        assert read_image(tmp_path / "made/small/1x1.5" / f"{row}.png").pixels.shape[1] == 45
