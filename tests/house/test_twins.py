"""Each document in Chinese has what its English twin has: a change of one without the other fails here."""

import re
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import NamedTuple

import pytest

from tests.house.tree import files, text

ELSEWHERE = {
    "docs/zh/README.md": "README.md",
    "docs/zh/security.md": "SECURITY.md",
    "docs/zh/contributing.md": "CONTRIBUTING.md",
}
CHINESE = [str(path) for path in files() if path.parts[:2] == ("docs", "zh")]
TWINS = {page: ELSEWHERE.get(page, page.replace("/zh/", "/")) for page in CHINESE}
"""The Chinese page, and its English one."""
IN_CHINESE = {english: chinese for chinese, english in TWINS.items()}
FIGURES = {"docs/performance.md", "docs/reliability.md"}
"""They stay English."""
# Commands, and what `make bench` writes: the same letter by letter.
VERBATIM = re.compile(r"^```.*?^```$|^<!-- (\w+): begin -->$.*?^<!-- \1: end -->$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`]+`")
NUMBER = re.compile(r"(?<![\w.])\d(?:[\d,.]*\d)?")
LINK = re.compile(r"\]\(([^)\s]+)\)")
WRONG = {
    "no blank between Chinese and other letters": r"[一-鿿][A-Za-z0-9]|[A-Za-z0-9][一-鿿]",
    "half-width punctuation": r"[一-鿿」”][,;:!?.)(]|[,;:!?(][一-鿿]|[)][一-鿿]",
    "a blank beside full-width punctuation": r"[，。；：？！、）] (?!\*\*|\|)|(?<!\|)(?<!^-) [，。；：？！、（]",
    "quotes of another language": r"[一-鿿]\"|\"[一-鿿]",
}


class Section(NamedTuple):
    """What stands below one heading."""

    level: int
    heading: str
    verbatim: list[str]
    rows: int
    words: set[str]
    numbers: set[str]
    links: set[str]


def sections(page):
    """All of a page, the first from its title on."""
    kept = []

    def put_away(match):
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    parts = re.split(r"^(#+) (.*)$", VERBATIM.sub(put_away, text(Path(page))), flags=re.MULTILINE)
    for marks, heading, body in zip(*(parts[at::3] for at in (1, 2, 3)), strict=True):
        verbatim = [kept[int(at)] for at in re.findall("\0(\\d+)\0", body)]
        rows = len(re.findall(r"^\|", body, re.MULTILINE))
        words = {" ".join(word.split()) for word in CODE.findall(body)}
        numbers = set(NUMBER.findall(LINK.sub("", CODE.sub("", body))))
        yield Section(len(marks), heading, verbatim, rows, words, numbers, leading(page, body))


def leading(page, body):
    """The files to which links of this text lead; the page itself and its twin are left out."""
    here = PurePosixPath(page).parent
    found = {link.partition("#")[0] for link in LINK.findall(body) if "://" not in link}
    there = {normpath(str(here / link)) for link in found if link}
    return there - {page, TWINS.get(page), IN_CHINESE.get(page)}


def differences(page):
    """A line for each thing that only one of the two has."""
    for english, chinese in zip_longest(sections(TWINS[page]), sections(page)):
        if english is None or chinese is None or english.level != chinese.level:
            yield f"headings: {english and english.heading!r} and {chinese and chinese.heading!r} do not match"
            return
        place = f"{english.heading} | {chinese.heading}"
        if english.verbatim != chinese.verbatim:
            yield f"{place}: code blocks differ"
        if english.rows != chinese.rows:
            yield f"{place}: {english.rows} and {chinese.rows} rows of tables"
        links = {IN_CHINESE.get(link, link) for link in english.links}
        for one, other in ((english.words, chinese.words), (links, chinese.links)):
            if one != other:
                yield f"{place}: only in English {sorted(one - other)}, only in Chinese {sorted(other - one)}"
        if gone := english.numbers - chinese.numbers:
            yield f"{place}: not in Chinese {sorted(gone)}"


def prose(page):
    """Its lines without code, addresses and marks; a piece of code is a letter."""
    whole = LINK.sub("]", CODE.sub("x", VERBATIM.sub("", text(Path(page)))))
    return re.sub(r"!?\[([^]]*)\]", r"\1", whole).splitlines()


def unseen_bold(line):
    """Bold that Markdown shows as stars: between punctuation within and a letter outside."""
    parts = line.split("**")
    for before, inside, after in zip(parts[::2], parts[1::2], parts[2::2], strict=False):
        begins, ends = re.search(r"\w\0\W", f"{before}\0{inside}"), re.search(r"\W\0\w", f"{inside}\0{after}")
        if begins or ends:
            yield inside


def test_documents_of_readers_have_a_chinese_twin():
    english = {str(path) for path in files() if path.parent == Path("docs") and path.suffix == ".md"}
    assert english - FIGURES | set(ELSEWHERE.values()) == set(TWINS.values())


@pytest.mark.parametrize("page", CHINESE)
def test_twins_have_the_same_facts(page):
    assert list(differences(page)) == []


@pytest.mark.parametrize("page", CHINESE)
def test_twins_lead_to_each_other(page):
    heads = {name: text(Path(name)).partition("\n## ")[0] for name in (page, TWINS[page])}
    for name, other in ((page, TWINS[page]), (TWINS[page], page)):
        there = {normpath(str(PurePosixPath(name).parent / link)) for link in LINK.findall(heads[name])}
        assert other in there, f"{name} has no link to {other} before its first section"


@pytest.mark.parametrize("page", CHINESE)
def test_chinese_is_set_as_chinese(page):
    lines = enumerate(prose(page), 1)
    faults = [(at, why, line) for at, line in lines for why, mark in WRONG.items() if re.search(mark, line)]
    assert faults == []
    assert [bold for line in prose(page) for bold in unseen_bold(line)] == []
