"""Reasoning and tool cards that the service mixes into the text of a reply (lingma-protocol 9.6)."""

from __future__ import annotations

import re
from typing import Literal

from bridge.chat.events import TextDelta, ThinkingDelta

_TAG, _TAG_END = "<think>", "</think>"
_MOST_SPACE = 256
_AT_ONCE = 4096

_LINE_OF_TICKS = re.compile(r"(?:\A|(?<=\n))`")


def _beginning(word: str, rest: str) -> re.Pattern[str]:
    """Matches the word cut off anywhere, or all of it and then `rest`."""
    pattern = rest
    for char in reversed(word):
        pattern = f"(?:{re.escape(char)}{pattern})?"
    return re.compile(pattern)


_THINK = re.compile(r"````think::[^\n`]{0,100}\n")
_FENCE_END = re.compile(r"\n````\r?\n")
_FENCE_END_BEGINNING = re.compile(r"\n(?:`{0,3}|````\r?)\Z")
_CARD = re.compile(r"```toolCall::[^\n`]{0,400}\n```[ \t\r]{0,8}\n")
_EDIT = re.compile(r"(```[^\n`|]{0,40}\|CODE_EDIT_BLOCK\|)(?:/|[A-Za-z]:[\\/])([^\n`]{0,400})\n")
_EDIT_HEAD = _beginning("|CODE_EDIT_BLOCK|", r"[^\n`]{0,402}")
_BEGINNINGS = (
    _beginning("````think::", r"[^\n`]{0,100}"),
    _beginning("```toolCall::", r"[^\n`]{0,400}(?:\n(?:`{0,2}|```[ \t\r]{0,8}))?"),
    re.compile(rf"```[^\n`|]{{0,40}}{_EDIT_HEAD.pattern}"),
)
_FOLDER = re.compile(r"[/\\]")

Piece = TextDelta | ThinkingDelta


class ThinkingSplitter:
    """
    Feed the text of a reply, get text and reasoning apart; cards of the service's own tools are left out.

    Reasoning is what stands in a fence of four backticks headed `think::<word>`, or in `<think>` before any text.
    What was begun and not ended is reasoning. Never more than a marker's length is held back.
    """

    def __init__(self) -> None:
        self._held = ""
        self._last = "\n"
        self._thinking: Literal["", "tag", "fence"] = ""
        self._new_line = False
        self._stripped = False
        self._visible = False
        self._again = False
        self._quick = True  # nothing is held, and no reasoning is open

    def passes(self, text: str) -> bool:
        """Whether the text is nothing but text and can be told as it is: then it need not be fed."""
        if not self._quick or not text or "`" in text:
            return False
        if not self._visible and (text[0] == "<" or text[0].isspace()):
            return False
        self._last = text
        self._visible = True
        return True

    def feed(self, text: str) -> list[Piece]:
        """What can be told now."""
        if self.passes(text):
            return [TextDelta(text)]
        pieces: list[Piece] = []
        for at in range(0, len(text), _AT_ONCE):  # what is left is copied at every marker
            self._go_on(text[at : at + _AT_ONCE], pieces, ended=False)
        return pieces

    def end(self) -> list[Piece]:
        """What was held back, when the reply ends."""
        pieces: list[Piece] = []
        if not self._quick:
            self._go_on("", pieces, ended=True)
        return pieces

    def _go_on(self, text: str, pieces: list[Piece], *, ended: bool) -> None:
        text = self._held + text
        self._again = True
        while self._again:
            self._again = False
            read = self._in_thinking if self._thinking else self._in_text
            text = read(text, pieces, ended=ended)
        self._held = "" if ended else text
        self._quick = not text and not self._thinking

    # Reasoning

    def _in_thinking(self, text: str, pieces: list[Piece], *, ended: bool) -> str:
        """Everything up to the marker is reasoning."""
        find = _tag_end if self._thinking == "tag" else _fence_end
        at, behind = find(text, ended=ended)
        start = 1 if self._new_line and at else 0
        self._new_line = self._new_line and not at
        if start < at:
            pieces.append(ThinkingDelta(text[start:at]))
        if behind < 0:
            return text[at:]
        self._thinking = ""
        self._last = "\n"
        self._again = True
        return text[behind:]

    def _begin(self, kind: Literal["tag", "fence"]) -> None:
        """Reasoning begins; in a fence, with the end of the line above it."""
        self._thinking = kind
        self._new_line = kind == "fence"
        self._stripped = self._again = True

    # Text

    def _in_text(self, text: str, pieces: list[Piece], *, ended: bool) -> str:
        """Tell text up to the first marker, or up to what may be the beginning of one."""
        if not self._visible:
            bare = text.lstrip()
            if self._stripped:
                text = bare
            if len(text) - len(bare) <= _MOST_SPACE:
                if bare.startswith(_TAG):
                    self._begin("tag")
                    return bare[len(_TAG) :]
                if _TAG.startswith(bare) and not ended:
                    return text
        for found in _LINE_OF_TICKS.finditer(text):
            at = found.start()
            if at or self._last[-1] == "\n":
                rest = self._at_ticks(text, at, pieces, ended=ended)
                if rest is not None:
                    return rest
        self._say(text, pieces)
        return ""

    def _at_ticks(self, text: str, at: int, pieces: list[Piece], *, ended: bool) -> str | None:
        """A line that begins with a backtick: what is left to read if it is, or may be, a marker; else None."""
        if found := _THINK.match(text, at):
            self._say_before(text[:at], pieces)
            self._begin("fence")
            return text[found.end() - 1 :]
        if found := _CARD.match(f"{text}\n" if ended else text, at):
            self._say_before(text[:at], pieces)
            self._stripped = self._again = True
            self._last = "\n"
            return text[found.end() :]
        if found := _EDIT.match(text, at):
            self._say(f"{text[:at]}{found[1]}{_FOLDER.split(found[2])[-1]}\n", pieces)
            self._again = True
            return text[found.end() :]
        if ended or not any(beginning.fullmatch(text, at) for beginning in _BEGINNINGS):
            return None
        if not self._visible and not text[:at].strip():
            return text
        self._say(text[:at], pieces)
        return text[at:]

    def _say_before(self, text: str, pieces: list[Piece]) -> None:
        """What stands before something that is left out; nothing if the reply has only begun with white space."""
        if self._visible or text.strip():
            self._say(text, pieces)

    def _say(self, text: str, pieces: list[Piece]) -> None:
        if text:
            pieces.append(TextDelta(text))
            self._last = text
            self._visible = True


def _tag_end(text: str, *, ended: bool) -> tuple[int, int]:
    """Where reasoning ends and what follows begins; else how much surely is reasoning, and -1."""
    at = text.find(_TAG_END)
    if at >= 0:
        return at, at + len(_TAG_END)
    at = text.rfind("<")
    possible = at >= 0 and not ended and _TAG_END.startswith(text[at:])
    return at if possible else len(text), -1


def _fence_end(text: str, *, ended: bool) -> tuple[int, int]:
    """The same for a closing fence, a line of its own."""
    found = _FENCE_END.search(f"{text}\n" if ended else text)
    if found:
        return found.start(), found.end()
    possible = None if ended else _FENCE_END_BEGINNING.search(text)
    return possible.start() if possible else len(text), -1
