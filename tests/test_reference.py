"""The API reference: it is made without warnings, and has every public name."""

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deepinternal import lazy

ROOT = Path(__file__).parent.parent
MODULES = ("losses", "types")  # all of them would take about 30 seconds


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A folder with the pages of a part of the package."""
    out = tmp_path_factory.mktemp("reference")
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "deepinternal.reference",
        f"--out={out}",
        *MODULES,
    ]
    made = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    assert made.stdout.strip() == f"wrote {out / 'deepinternal.html'}"
    return out


def entries(page):
    """The public names that a page documents, in its order, without the members of classes."""
    return re.findall(r'<section id="(\w+)">', page.read_text(encoding="utf-8"))


def words(page):
    """The text of a page."""
    text = re.sub(r"<(style|script|svg).*?</\1>|<[^>]*>", "", page.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(text))


@pytest.mark.slow
def test_every_public_function_is_on_the_first_page(pages):
    listed = lazy.listed(ROOT / "deepinternal/__init__.pyi")
    public = [name for name, module in listed.items() if module != "deepinternal"]
    found = entries(pages / "deepinternal.html")
    assert sorted(found) == sorted(public)
    assert found[-2:] == ["Result", "InputError"], "functions come first"


@pytest.mark.slow
def test_a_package_has_a_page_for_each_module(pages):
    listed = lazy.listed(ROOT / "deepinternal/losses/__init__.pyi")
    for name, module in listed.items():
        if module != "deepinternal.losses":
            assert name in entries(pages / f"{module.replace('.', '/')}.html")
    assert entries(pages / "deepinternal/losses.html") == [], "no function is documented twice"
    first = (pages / "deepinternal.html").read_text(encoding="utf-8")
    assert 'href="deepinternal/losses.html"' in first


@pytest.mark.slow
def test_docstrings_become_sections_and_lists(pages):
    text = (pages / "deepinternal.html").read_text(encoding="utf-8")
    entry = text.partition('<section id="denoise">')[2].partition("</section>")[0]
    for title in ("Arguments", "Returns", "Raises", "Example", "References"):
        assert re.search(rf"<h6[^>]*>{title}:</h6>", entry), title
    assert "<li><strong>noise_std:</strong>" in entry
    assert re.search(r'<pre>.*<span class="gp">&gt;&gt;&gt; </span>', entry)


@pytest.mark.slow
def test_names_are_public_ones(pages):
    text = words(pages / "deepinternal/losses/pixel.html")
    assert "jax.Array" in text
    assert "_jax" not in text
    assert not [name for page in pages.rglob("*.html") for name in entries(page) if name[0] == "_"]
    assert "Array" not in entries(pages / "deepinternal/types.html"), "which JAX documents"
