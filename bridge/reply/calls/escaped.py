"""
A text without its escapes, its white space, its kind of quotes, capitals and what tools put before lines: two spellings
of one text are one.

The work is linear in the length of the text, whatever stands in it, and done in steps.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import unquote

from bridge.reply.calls.json_string import QUOTES
from bridge.reply.calls.pauses import STEP, Steps

# Ordinary text needs one or two rounds; what is nested more deeply than this was made to be.
_MOST_NESTED = 12  # times that something is unescaped
_FARTHEST_CUT = 4096

# Any number of backslashes counts as one escape: JSON within JSON doubles them at each level.
_ESCAPE = re.compile(r"\\+(?:(u[0-9a-fA-F]{4}(?:\\+u[0-9a-fA-F]{4})*)|x([0-9a-fA-F]{2})|[bfnrt])?")
_CODE = re.compile(r"u([0-9a-fA-F]{4})")
# html.unescape makes one int of the digits: quadratic time for many decimal ones, and an error beyond 4300.
_ENDLESS_NUMBER = re.compile(r"&#[xX]?[0-9a-fA-F]{40,}")
# Characters with which an escape may begin, or that no escape holds: before them a cut is safe.
_CUT = re.compile(r"""(?<!\\)\\|[&\s"'{}()\[\]<>,:=/_.~*|!?+-]|%[0-7]|[^\x00-\x7f]""")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Soft hyphen, zero-width and direction signs, byte order mark: a stranger could hide a call from the comparison with
# them.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]+")
# Calls are read with any of these around their strings.
_QUOTES = re.compile(f"[{QUOTES}]")
# Line numbers of `cat -n` and grep, quote signs, diff and comment signs: what tools put before a line they print.
_BEFORE_LINE = re.compile(r"^(?:[ \t]*(?:(?:[^\s:]{1,100}[:-])?\d{1,9}[:→|\t-]|[>+#*|-]|//)){1,40}", re.MULTILINE)
_NO_LINE = ":"
"""Put before what begins in the middle of a line."""

_SPACES = {"n": "\n", "t": "\t"}


class Forms(NamedTuple):
    """What a text looks like without white space, with one kind of quotes and no capitals; without escapes too; and
    without what may stand before lines.
    """

    bare: str
    plain: str
    lines: str


def forms(text: str, *, begins_line: bool = True) -> Steps[Forms]:
    """All that two spellings of one text have in common."""
    plain = text
    for _ in range(_MOST_NESTED):
        before = plain
        # Entities and percent signs go first, until nothing changes: they may stand for a backslash.
        plain = yield from _each(_without_entities, _parts(plain))
        if plain == before:
            plain = yield from _each(_without_backslashes, _parts(plain))
            if _SURROGATE.search(plain):
                # Halves of a pair may come from two escapes; joined they are one character.
                plain = plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            if plain == before:
                break
    return Forms(
        (yield from _each(_without_space, _parts(text))),
        (yield from _each(_without_space, _parts(plain))),
        (yield from _each(_without_space, _lines(plain, begins_line=begins_line))),
    )


def _each(change: Callable[[str], str], parts: Iterator[str]) -> Steps[str]:
    changed = []
    for part in parts:
        changed.append(change(part))
        # One step of work: whoever runs it may let others go on here.
        yield
    return "".join(changed)


def _parts(text: str) -> Iterator[str]:
    """The text, cut where no escape is: none goes on with what stands behind a cut."""
    at = 0
    while at < len(text):
        # Bounded: a text without any such character is cut anyway, or one step could take all of it.
        found = _CUT.search(text, at + STEP, at + STEP + _FARTHEST_CUT)
        end = found.start() if found else at + STEP + _FARTHEST_CUT
        yield text[at:end]
        at = end


def _lines(text: str, *, begins_line: bool) -> Iterator[str]:
    """The text without what tools put before lines, in parts."""
    at = 0
    while at < len(text):
        end = text.rfind("\n", at, at + STEP) + 1 or at + STEP
        part = text[at:end]
        # The pattern is anchored to line starts; a colon in front keeps it from matching in the middle of a line.
        yield _BEFORE_LINE.sub("", part) if begins_line else _BEFORE_LINE.sub("", _NO_LINE + part)[1:]
        begins_line = part[-1] == "\n"
        at = end


def _without_space(text: str) -> str:
    # casefold and not lower: what that makes of a letter depends on its neighbours, and a text is read in parts.
    bare = "".join(text.split()).casefold().replace("'", '"')
    return bare if bare.isascii() else _QUOTES.sub('"', _UNSEEN.sub("", bare))


def _without_entities(text: str) -> str:
    """One level less of escapes that may stand for any character, so also for a part of another escape."""
    if "%" in text:
        text = unquote(text)
    return html.unescape(_ENDLESS_NUMBER.sub("&", text)) if "&" in text else text


def _without_backslashes(text: str) -> str:
    return _ESCAPE.sub(_meant, text) if "\\" in text else text


def _meant(escape: re.Match[str]) -> str:
    """What it stands for, whatever the number of its backslashes: how deep it was nested is not known.

    A space where it is nothing: words on either side are two words.
    """
    if escape[1]:
        # A row of \u escapes is decoded as UTF-16 together, so that pairs become one character.
        units = b"".join(int(code, 16).to_bytes(2, "big") for code in _CODE.findall(escape[1]))
        return units.decode("utf-16-be", "surrogatepass")
    if escape[2]:
        return chr(int(escape[2], 16))
    # Other letters behind a backslash stand for control characters, which are white space here.
    return _SPACES.get(escape.group()[-1], " ")
