"""The documents: links lead somewhere, commands can be given, and configs/README.md is generated."""

import re
from collections import Counter

import pytest

from benchmarks import gallery
from deepinternal import methods
from deepinternal.cli import show
from deepinternal.field_info import describe
from deepinternal.runs.settings import RunConfig
from deepinternal.types import InputError
from tests.documented import ROOT, check, commands, without_code

NAMES = ["README.md", *(f"{room}/README.md" for room in ("configs", "launch", "deepinternal"))]
NAMES += [
    "launch/scaling.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
    ".github/RELEASING.md",
    "benchmarks/README.md",
    "benchmarks/accelerators.md",
    "benchmarks/retargeting.md",
    "benchmarks/decomposition.md",
    "benchmarks/denoising.md",
    "benchmarks/speed.md",
    "benchmarks/super_resolution.md",
    "CHANGELOG.md",
]
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
COMMANDS = sorted({command for text in TEXTS.values() for command in commands(text)})
FIRST = (
    "python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/python -m launch.main "
    "--config=configs/zssr.py:fast --workdir=runs/first"
)
TESTS = (
    "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest "
    "-q -n 2 --dist loadfile"
)


def anchors(text):
    """The anchors that GitHub gives to the headings of a document."""
    seen, found = Counter(), set()
    for title in re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def test_the_tables_of_fields_are_those_of_the_code():
    """If it fails: deepinternal show --markdown > configs/README.md."""
    assert TEXTS["configs/README.md"] == show.markdown() + "\n"


def test_the_first_document_is_short_and_has_the_two_commands():
    text = TEXTS["README.md"]
    assert len(text.split()) <= 1200
    assert FIRST in text.splitlines()
    assert re.findall(r"^python3 -m venv .*pytest.*$", text, re.MULTILINE) == [TESTS]


def test_the_first_document_begins_with_the_gallery():
    """If it fails: python -m benchmarks.gallery --markdown."""
    records = gallery.read(ROOT / "benchmarks/pictures")
    assert list(records) == list(gallery.TASKS)
    assert gallery.markdown(records, "benchmarks/pictures") in TEXTS["README.md"]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    folder = (ROOT / name).parent
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(TEXTS[name])):
        path, _, anchor = link.partition("#")
        if path.startswith(("https://", "http://")):
            continue
        target = (folder / path).resolve() if path else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_a_table_have_as_many_cells(name):
    for table in re.findall(r"(?:^\|.*\n)+", without_code(TEXTS[name]), re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(counts) == 1, table


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_what_there_is(command):
    check(command)


def test_commands_are_found():
    programs = Counter(" ".join(command.split()[:2]) for command in COMMANDS)
    wanted = ("cli sr", "cli segment", "cli train", "launch main", "launch sweep", "cli degrade")
    assert set(wanted) <= set(programs)
    text = "```\na/python -m launch.main --config=x:y \\\n    --config.input=a.png  # so\n```\n"
    assert list(commands(text)) == ["launch main --config=x:y --config.input=a.png"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("cli sr a.png --out=b.png --preset=fats", "no preset 'fats'"),
        ("cli sr a.png --out=b.png --scal=2", "--scal"),
        ("cli sr a.png --out=b.png --scale=99", "config.scale"),
        ("cli sr a.png --out=b.xyz", "cannot be written"),
        ("cli retarget a.png --out=b.png", "nothing to make"),
        ("cli tarin --config=zssr", "no such program"),
        ("launch main --config=configs/zsr.py --workdir=w", "no such file"),
        ("launch main --config=configs/dip.py:quick --workdir=w", "no preset 'quick'"),
        ("launch main --config=zssr --workdir=w --config.featurs=3", "config.featurs"),
        ("launch main --config=zssr --workdr=w", "no such flag"),
        ("launch sweep --config=zssr --workdir=w --sweep=features=-1|8", "features"),
        ("launch degrade --out=b --kernel=square", "config.kernel"),
        ("benchmarks quality --data=d --config=zssr:fast --config.scale=0", "config.scale"),
        ("benchmarks qualty --data=d", "no such module"),
    ],
)
def test_a_command_with_a_mistake_is_noticed(command, words):
    with pytest.raises(InputError, match=re.escape(words)):
        check(command)


def test_extras_exist():
    known = re.search(
        r"extras_require=\{(.*?)\n    \}", (ROOT / "setup.py").read_text(), re.DOTALL
    )[1]
    given = re.findall(r"\.\[([\w,]+)\]", "".join(TEXTS.values()))
    assert (
        {"test"}
        <= {extra for text in given for extra in text.split(",")}
        <= {*re.findall(r'^ +"(\w+)": \[', known, re.MULTILINE)}
    )


def test_fields_in_the_text_exist():
    fields = {"seed", "method", "name", *describe(RunConfig())}
    for name in methods.names():
        fields |= set(describe(methods.find(name).config()))
    rooms = {field.partition(".")[0] for field in fields}
    for name, text in TEXTS.items():
        for field in re.findall(r"`(?:--)?config\.([a-z_.]+)(?:=[^`]*)?`", without_code(text)):
            known = field in fields | rooms or field in ("py", "json", "build")
            assert known, f"{name}: config.{field}"
