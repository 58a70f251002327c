"""Files: one-line refusals, atomic writes, checksums."""

import errno
import os

import pytest

from deepinternal import files
from deepinternal.types import InputError


def test_refuses_what_is_not_a_readable_file(tmp_path, refuse, monkeypatch):
    read = files.sha256_file
    refuse(read, tmp_path / "none.png", "no such file")
    refuse(read, tmp_path, "folder")
    (tmp_path / "empty.png").touch()
    refuse(read, tmp_path / "empty.png", "empty")
    os.symlink(tmp_path / "loop.png", tmp_path / "loop.png")
    refuse(read, tmp_path / "loop.png", "cannot be opened")
    os.mkfifo(tmp_path / "pipe.png")
    refuse(read, tmp_path / "pipe.png", "not a regular file")
    (tmp_path / "secret.png").write_bytes(b"1")

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "open", denied, raising=False)
    refuse(read, tmp_path / "secret.png", "permission denied")


@pytest.mark.parametrize("path", ["new\nline.png", "zero\0byte.png"])
def test_odd_names_stay_one_line(tmp_path, path):
    with pytest.raises(InputError) as caught:
        files.sha256_file(os.path.join(tmp_path, path))
    assert str(caught.value).isprintable()


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert files.sha256_file(tmp_path / "a") == expected


def test_atomic_write_replaces_and_respects_the_umask(tmp_path):
    path = tmp_path / "a.txt"
    files.atomic_write_text(path, "old")
    files.atomic_write_text(path, "néw\n")
    assert path.read_bytes() == "néw\n".encode()
    (tmp_path / "plain").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert {p.name for p in tmp_path.iterdir()} == {"a.txt", "plain"}


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failed_write_changes_nothing(tmp_path, monkeypatch, step, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(*args):
        assert path.read_bytes() == b"old", "the target is untouched until it is replaced"
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        files.atomic_write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_data_is_on_disk_before_the_rename(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))

    def renamed(source, target):
        calls.append((os.path.dirname(source), open(source, "rb").read()))  # noqa: SIM115
        replace(source, target)

    monkeypatch.setattr(os, "replace", renamed)
    files.atomic_write_bytes(tmp_path / "a.bin", b"data")
    assert calls == ["fsync", (str(tmp_path), b"data")]


def test_relative_path_and_missing_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.atomic_write_bytes("a.bin", b"1")
    assert (tmp_path / "a.bin").read_bytes() == b"1"
    with pytest.raises(FileNotFoundError):
        files.atomic_write_bytes(tmp_path / "none" / "a.bin", b"1")


def test_unfinished_files_of_a_killed_process_are_removed(tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: None)
        for path in (tmp_path / "a", tmp_path / "below/b"):
            files.atomic_write_bytes(path, b"1")
        with files.new_folder(tmp_path / "below/frames") as folder:
            (folder / "c").touch()
    kept = [".keep.tmp", "a.tmp", ".0123456789abcdef.tmp.png"]
    for name in kept:
        (tmp_path / name).touch()
    names = lambda: [p.name for p in tmp_path.rglob("*") if p.name != "below"]
    assert len(names()) == len(kept) + 4
    files.remove_unfinished(tmp_path, older=60)
    assert len(names()) == len(kept) + 4
    files.remove_unfinished(tmp_path, deep=False)
    assert len(names()) == len(kept) + 3
    files.remove_unfinished(tmp_path)
    assert sorted(names()) == sorted(kept)


def test_a_full_disk_is_named_with_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        files.atomic_write_bytes(tmp_path / "a", b"new")
    assert files.reason(caught.value) == f"{tmp_path / 'a'}: No space left on device"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_new_folder_is_complete_or_missing(tmp_path):
    target = tmp_path / "deep/made"

    def fail(folder):
        (folder / "a").touch()
        assert not target.exists()
        raise RuntimeError

    with pytest.raises(RuntimeError), files.new_folder(target) as folder:
        fail(folder)
    assert not list((tmp_path / "deep").iterdir())
    for _ in ("new", "empty"):
        with files.new_folder(target) as folder:
            (folder / "a").touch()
        assert [p.name for p in target.iterdir()] == ["a"]
        assert [p.name for p in target.parent.iterdir()] == ["made"]
        (target / "a").unlink()


def test_a_new_folder_replaces_nothing(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").touch()
    for name, word in (("full", "not empty"), ("full/a", "is a file")):
        with pytest.raises(InputError, match=word), files.new_folder(tmp_path / name):
            pytest.fail("was given")
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
