"""Writes the API reference as HTML pages; needs the extra `docs`.

    python -m deepinternal.reference [MODULE ...] [--out=build/reference]

pdoc makes the pages from the docstrings. It looks names up in the dictionary of a module, where those
of a package that imports lazily are missing; this program puts them there first. A function is on the
page of the module that defines it. The functions of `deepinternal` itself are on the first page.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import jax
import pdoc
import pdoc.render

import deepinternal as di
from deepinternal import lazy

OUT = Path("build/reference")
# The modules in the order of the first page, which stands for `api` itself.
MODULES = ["ops", "losses", "nets", "estimators", "methods", "types", "config", "recipe"]
MODULES += ["retargeter", "loading", "codecs", "engine", "report", "runs"]
_LAST = ["Result", "InputError"]  # among the names of `deepinternal`


def main() -> None:
    """Writes the pages that the command line names."""
    parser = argparse.ArgumentParser(description="Writes the API reference as HTML pages.")
    parser.add_argument("modules", nargs="*", help="such as ops; default: all of deepinternal")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of the pages")
    given = parser.parse_args()
    write(given.out, given.modules or MODULES)
    print(f"wrote {given.out / 'deepinternal.html'}")


def write(out: Path, modules: Sequence[str]) -> None:
    """Writes the page of `deepinternal` and those of some of its modules.

    Args:
        out: The folder of the pages.
        modules: Names of modules or packages in `deepinternal`, in the order of the first page.
    """
    for name in modules:
        _expose_package(getattr(di, name))
    functions = [name for name in _listed(di) if name not in (*MODULES, *_LAST, "api")]
    _expose(di, [*functions, *_LAST, *modules])
    _add_contents(di, "Functions", [(f"deepinternal.{n}", getattr(di, n)) for n in functions])
    _add_contents(di, "Modules", [(f"deepinternal.{n}", getattr(di, n)) for n in modules])
    jax.Array.__qualname__ = "Array"  # else signatures have the name of a private module of JAX
    pdoc.render.configure(docformat="google", footer_text=f"deepinternal {di.__version__}")
    pdoc.doc.Module.from_name("deepinternal.types").members.pop("Array")  # JAX documents it
    pdoc.pdoc("deepinternal", output_directory=out)
    for page in out.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace("<li>**<strong>", "<li><strong>**"), encoding="utf-8")


def _expose_package(package: ModuleType) -> None:
    """Lets pdoc see the modules of a package that imports lazily, and the names of no listed module."""
    names = _listed(package)
    if not names:
        return
    modules = [name for name in names if isinstance(getattr(package, name), ModuleType)]
    pages = {f"{package.__name__}.{name}" for name in modules}
    own = [name for name in names if name not in modules and names[name] not in pages]
    _expose(package, [*own, *modules])
    for name in modules:
        _expose_package(getattr(package, name))
    entries = [(f"{package.__name__}.{name}", getattr(package, name)) for name in modules]
    _add_contents(package, "Modules", entries)


def _listed(package: ModuleType) -> dict[str, str]:
    """Returns the names in the stub of a package; none for a module without a stub."""
    stub = Path(package.__file__ or "").with_suffix(".pyi")
    return lazy.listed(stub) if stub.exists() else {}


def _expose(module: ModuleType, names: Sequence[str]) -> None:
    """Puts names into the dictionary of a module, and makes them all of its public names."""
    vars(module).update({name: getattr(module, name) for name in names}, __all__=list(names))


def _add_contents(module: ModuleType, title: str, entries: Iterable[tuple[str, object]]) -> None:
    """Adds a list of names, each with the first line of its docstring, to the docstring of a module."""
    lines = [f"* `{name}`: {(x.__doc__ or '').partition(chr(10))[0]}" for name, x in entries]
    module.__doc__ = "\n".join([module.__doc__ or "", f"## {title}", "", *lines, ""])


if __name__ == "__main__":
    main()
