"""The provenance of results: the versions of this package and others, and the git state."""

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

import deepinternal
from deepinternal.report.report import environment

_WAIT = 5.0  # timeout for git in seconds


@functools.cache
def provenance() -> dict[str, Any]:
    """Returns `version`, `git` (see `git_state`), and the versions of Python and `packages`."""
    packages = environment()
    for name in ("deepinternal", "platform"):
        del packages[name]
    git = git_state(Path(deepinternal.__file__).parent)
    return {"version": deepinternal.__version__, "git": git, "packages": packages}


def git_state(folder: Path) -> dict[str, Any] | None:
    """Returns the commit of a folder of Python files, and whether they differ from it.

    Args:
        folder: A package.

    Returns:
        `commit`, in hex, and `dirty`; None if the folder is not in a checkout that tracks it, or if
        git does not answer.
    """
    if not any((parent / ".git").exists() for parent in folder.absolute().parents):
        return None
    command = ["git", "status", "--porcelain=v2", "--branch", "--ignored=matching", "--", "."]
    # git finds the checkout from the folder alone, and writes nothing to it.
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
    # For untracked and ignored paths, only the topmost is listed, relative to the folder.
    foreign = any(kind in "?!" and text.startswith(("./", "../")) for kind, text in lines)
    if commit == "(initial)" or foreign:
        return None
    return {"commit": commit, "dirty": any(kind not in "#!" for kind, _ in lines)}
