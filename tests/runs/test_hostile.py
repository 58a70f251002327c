"""Work folders that somebody has tampered with: nothing outside changes, nothing is executed."""

import json
import sys

import pytest

import deepinternal as di
from deepinternal.runs import contents
from deepinternal.runs.workdir import Noted, RefusedError
from deepinternal.types import InputError
from deepinternal.writers import JsonlLog, json_object, read_jsonl, read_object
from tests.runs.test_workdir import at

WRONG = ["", "[]", "3", "null", '"a"', "{", "[" * 100_000, '{"a": "' + "x" * 100_000, "\0"]


@pytest.fixture
def outside(tmp_path):
    """A folder with files of the names that a run writes or removes."""
    (tmp_path / "outside/5").mkdir(parents=True)
    for name in (*contents.FILES, "5/data"):
        (tmp_path / "outside" / name).write_text("the user's own")
    return tmp_path / "outside"


def unchanged(outside):
    files = {str(p.relative_to(outside)): p.read_text() for p in outside.rglob("*") if p.is_file()}
    return files == dict.fromkeys([*contents.FILES, "5/data"], "the user's own")


@pytest.mark.parametrize("place", ["a", "a/b", "a/b/checkpoints", "a/b/progress"])
def test_nothing_is_written_or_removed_through_a_link(tmp_path, outside, place):
    link = tmp_path / "out" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    opened = at(tmp_path / "out", overwrite=True)
    for refused in (lambda: opened.check("a/b", Noted({})), lambda: opened.folder("a/b")):
        with pytest.raises(InputError, match="is a link, through which nothing is written"):
            refused()
    contents.discard(tmp_path / "out", "a/b", ["result.png", "5/data"])
    assert link.is_symlink()
    assert unchanged(outside)


def test_a_work_folder_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert at(tmp_path / "out").folder("a").is_dir()
    assert (tmp_path / "disk/a").is_dir()


@pytest.mark.parametrize("is_link", [True, False])
def test_claims_that_are_not_a_folder(tmp_path, outside, is_link):
    (tmp_path / "out").mkdir()
    claims = tmp_path / "out/.claims"
    claims.symlink_to(outside) if is_link else claims.write_text("the user's own")
    with pytest.raises(RefusedError, match=r"\.claims: is not a folder"):
        at(tmp_path / "out", overwrite=True).begin()
    assert unchanged(outside)


def test_outputs_that_lie_elsewhere_are_not_removed(tmp_path, outside):
    (tmp_path / "out/a").mkdir(parents=True)
    contents.discard(tmp_path / "out", "a", ["../../outside/result.png", str(outside / "5/data")])
    assert unchanged(outside)


def test_a_log_replaces_a_link(tmp_path, outside):
    (tmp_path / "train.jsonl").symlink_to(outside / "train.jsonl")
    log = JsonlLog(tmp_path / "train.jsonl", upto=0)
    log.write([{"step": 1}])
    log.close()
    assert read_jsonl(tmp_path / "train.jsonl") == [{"step": 1}]
    assert unchanged(outside)


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:8])
def test_json_that_is_not_an_object(tmp_path, text):
    assert json_object(text) == {}
    workdir = at(tmp_path)
    for name in ("config.json", "metrics.json", "input.json", "stems.json"):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / name).write_text(text)
    assert read_object(tmp_path / "a/metrics.json") == {}
    assert read_object(tmp_path / "missing.json") == {}
    (tmp_path / "train.jsonl").write_text('{"step": 1}\n' + text)
    assert read_jsonl(tmp_path / "train.jsonl") == [{"step": 1}]
    assert workdir.metrics("a") is None
    assert workdir.noted("a") is None
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RefusedError, match="is not a config that this program wrote"):
        at(tmp_path)


def test_a_folder_does_not_decide_what_is_imported(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\nRECIPE = 1\n")
    (tmp_path / "config.json").write_text(json.dumps({"config": {"method": "evil:RECIPE"}}))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="was made by evil:RECIPE; import that module first"):
        di.load(tmp_path)
    assert not (tmp_path / "trace").exists()
    assert "evil" not in sys.modules
