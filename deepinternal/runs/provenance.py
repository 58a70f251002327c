"""What a result was made with: the version of this package, its state in git, and other packages."""

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

import deepinternal
from deepinternal.report.report import environment

_WAIT = 5.0  # seconds for git


@functools.cache
def provenance() -> dict[str, Any]:
    """`version`; `git`, see `git_state`; `packages`: the versions of Python and of other packages."""
    packages = environment()
    for name in ("deepinternal", "platform"):
        del packages[name]
    git = git_state(Path(deepinternal.__file__).parent)
    return {"version": deepinternal.__version__, "git": git, "packages": packages}


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit of a folder of Python files, and whether they differ from it.

    Args:
        folder: a package.

    Returns:
        `commit`, in hex, and `dirty`; None where the folder is not in a checkout that tracks it, or
        git does not answer.
    """
    if not any((parent / ".git").exists() for parent in folder.absolute().parents):
        return None
    command = ["git", "status", "--porcelain=v2", "--branch", "--ignored=matching", "--", "."]
    # The checkout is found from the folder alone, and nothing in it is written.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environ |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        said = subprocess.run(
            command, capture_output=True, check=True, cwd=folder, env=environ, timeout=_WAIT
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError):
        return None
    lines = [line.split(" ", 1) for line in said.splitlines()]
    commit = next((text.split()[-1] for kind, text in lines if "branch.oid" in text), "(initial)")
    # Of paths that are no part of the commit only the topmost is listed, relative to the folder.
    foreign = any(kind in "?!" and text.startswith(("./", "../")) for kind, text in lines)
    if commit == "(initial)" or foreign:
        return None
    return {"commit": commit, "dirty": any(kind not in "#!" for kind, _ in lines)}
