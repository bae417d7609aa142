"""What comments and docstrings point at in the pages on the protocols is there, and is spelt in one way.

`PROTOCOL 9.6` is a section of bridge/lingma/PROTOCOL.md, `FORMATS 6.5` one of bridge/wire/FORMATS.md, `F14` a fault of
the first and `pitfall 9` one of the second. Numbers may follow: `PROTOCOL 6 to 9, 17.3`, `PROTOCOL 20, no. 1`.
"""

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

from tests.house.tree import files, text, tree

PAGES = {"PROTOCOL": Path("bridge/lingma/PROTOCOL.md"), "FORMATS": Path("bridge/wire/FORMATS.md")}
SECTION = r"\d{1,2}(?:\.\d{1,2})?"
POINTER = re.compile(rf"\b(PROTOCOL|FORMATS) ({SECTION}(?:(?:, no\. |, (?:and )?| and | to ){SECTION})*)")
FAULT = re.compile(r"(?<![\w.%-])(F\d{1,2})\b(?![.%\w])")
PITFALL = re.compile(r"pitfall[ _](\d+)")
STRAY = re.compile(
    rf"lingma-protocol|api-wire-formats|§ ?\d|\bchapter \d|\((?:\d{{1,2}}\.\d{{1,2}}|1\d)(?:, {SECTION})*\)"
)
HERE = Path("tests/house/test_pointers.py")
SOURCES = [path for path in files() if path.suffix == ".py" and "migrations" not in path.parts and path != HERE]


@cache
def places(page: str) -> frozenset[str]:
    """The numbers of its headings, and those of lists and tables under one, as `20/1` or `18.5/F14`."""
    found, section = set(), ""
    for line in text(PAGES[page]).splitlines():
        if heading := re.match(rf"#{{2,4}} ({SECTION})\.? ", line):
            section = heading[1]
            found.add(section)
        elif entry := re.match(r"(?:\| )?(F?\d+)(?:\.| \|)", line):
            found.add(f"{section}/{entry[1]}")
    return frozenset(found)


@cache
def words(path: Path) -> str:
    """A module's comments and docstrings: what stands in code and in data points at nothing."""
    # Most modules hold nothing of the kind, and the tokenizer takes a hundred times as long as these.
    if not any(pattern.search(text(path)) for pattern in (POINTER, FAULT, STRAY)):
        return ""
    comments = [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(text(path)).readline)
        if token.type == tokenize.COMMENT
    ]
    strings = [
        node.value.value
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    return "\n".join([*comments, *strings])


def pointed_at(page: str, numbers: str) -> list[str]:
    """`6 to 9, 17.3` as the places it means."""
    whole, _, entry = numbers.partition(", no. ")
    if entry:
        return [whole, f"{whole}/{entry}"]
    return re.findall(SECTION, numbers)


def lost(path: Path) -> list[str]:
    """The pointers of a module that lead nowhere."""
    said = words(path)
    leads = [(page, place) for page, numbers in POINTER.findall(said) for place in pointed_at(page, numbers)]
    leads += [
        ("PROTOCOL", f"18.5/{fault}") for fault in FAULT.findall(text(path) if path.parts[0] == "bridge" else said)
    ]
    leads += [("FORMATS", f"10/{number}") for number in PITFALL.findall(text(path))]
    return [f"{page} {place}" for page, place in leads if place not in places(page)]


def test_every_pointer_has_its_place():
    assert {str(path): leads for path in SOURCES if (leads := lost(path))} == {}


def test_every_pointer_names_its_page():
    strays = {str(path): STRAY.findall(words(path)) for path in SOURCES}
    assert {path: found for path, found in strays.items() if found} == {}


def test_the_documents_point_at_what_is_there():
    documents = [path for path in files() if path.suffix == ".md"]
    leads = {
        (str(path), page, place)
        for path in documents
        for page, numbers in POINTER.findall(text(path))
        for place in pointed_at(page, numbers)
    }
    assert {lead for lead in leads if lead[2] not in places(lead[1])} == set()


@pytest.mark.parametrize("page", PAGES)
def test_sections_are_numbered_in_order(page):
    numbers = re.findall(rf"^#{{2,3}} ({SECTION})\.? ", text(PAGES[page]), re.MULTILINE)
    assert numbers == sorted(set(numbers), key=lambda number: [int(part) for part in number.split(".")])


@pytest.mark.parametrize("page", PAGES)
def test_page_explains_how_code_points_at_it(page):
    head = text(PAGES[page]).partition("\n## ")[0]
    assert f"`{page} " in head
    assert "tests/house/test_pointers.py" in head


def test_pointer_that_leads_nowhere_is_found():
    assert pointed_at("PROTOCOL", "6 to 9, 17.3") == ["6", "9", "17.3"]
    assert {"20/1", "18.5/F14", "9.6", "13"} <= places("PROTOCOL")
    assert {"10/9", "6.5"} <= places("FORMATS")
    assert "99.9" not in places("PROTOCOL")
