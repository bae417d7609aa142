"""Reasoning and tool cards that the service mixes into the text of a reply (PROTOCOL 9.6)."""

from __future__ import annotations

import re
from typing import Literal, Protocol

import msgspec

from bridge.chat.events import TextDelta, ThinkingDelta
from bridge.reply.code_lines import CodeLines
from bridge.reply.held_text import HeldText
from bridge.reply.thinking_marks import (
    BEGINNINGS,
    CARD,
    EDIT,
    MARK,
    OPENER,
    OPENERS,
    SENTENCE_ENDS,
    TAGS,
    THINK,
    ends_reasoning,
    fence_end,
    tag_begins,
    tag_end,
)

# White space before a reasoning block at the start is dropped; more of it is text of the answer.
_MOST_SPACE = 256
_MOST_ASIDE = 32 * 1024  # characters of reasoning behind text that are held until they are seen to end
_AT_ONCE = 4096
_QUOTES = frozenset("`\"'“”‘’«»")
_BLANKS = frozenset(" \t")
_FOLDER = re.compile(r"[/\\]")


class Unopened(msgspec.Struct, frozen=True, gc=False):
    """Reasoning ends here that nothing began: all the text before, which is this, was reasoning."""

    text: str


Piece = TextDelta | ThinkingDelta | Unopened


class TagUse(msgspec.Struct):
    """How this reply uses tags; made with the first one."""

    unopened: bool = False
    """A closing tag has made all before it reasoning, which happens once."""
    quoted: int = 0
    """Opening tags that were text and are not closed."""
    asides_end: bool = True
    """False: one did not end, so that others are text too."""


class Parts(Protocol):
    """Where the pieces go, each of them before the next marker is looked at."""

    def append(self, piece: Piece, /) -> None:
        """One more."""

    @property
    def in_data(self) -> bool:
        """What stands next belongs to the arguments of a call, or to JSON that was asked for."""


class ThinkingSplitter:
    """
    Feed the text of a reply, get text and reasoning apart; cards of the service's own tools are left out.

    Reasoning is what stands in a fence of four backticks headed `think::<word>`, or in `<think>` or `<thinking>`.
    Before text, what was begun and not ended is reasoning. Behind text, a tag counts at the beginning of a line or
    sentence, if it is closed: it is held until then. A closing tag alone makes all before it reasoning. Tags in code,
    in quotes and within a sentence are text; so is all that stands in the arguments of a call or in JSON. But for
    reasoning behind text, no more than a marker is held back.
    """

    # How every reply begins. Most replies leave nearly all of it so, and then it costs them nothing.
    _held = ""
    _thinking: Literal["", "tag", "fence", "aside"] = ""
    tag_end = ""
    _new_line = False
    _stripped = False
    _read_again = False
    _lines: CodeLines | None = None
    _aside: HeldText
    _tags: TagUse | None = None

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._last = "\n"
        self._visible = False
        self.is_quick = True
        """Nothing is held, and no reasoning is open."""

    def passes(self, text: str) -> bool:
        """Whether the text is nothing but text and can be sent as it is: then it need not be fed."""
        # Called with every chunk: the cheapest tests come first, and nothing is allocated.
        if not self.is_quick or not text or "`" in text:
            return False
        # Before text, a tag or white space may belong to reasoning that is left out.
        if not self._visible and (text[0] == "<" or text[0].isspace()):
            return False
        if "<" in text and ("think" in text or tag_begins(text) >= 0):
            return False
        self._texts.append(text)
        self._last = text
        self._visible = True
        return True

    def feed(self, text: str, pieces: Parts) -> None:
        """Pass on what is certain now; what may be a marker waits."""
        if self.passes(text):
            return pieces.append(TextDelta(text))
        for at in range(0, len(text), _AT_ONCE):  # what is left is copied at every marker
            self._go_on(text[at : at + _AT_ONCE], pieces, ended=False)
        return None

    def end(self, pieces: Parts) -> None:
        """What was held back, when the reply ends; nothing if `is_quick`."""
        self._go_on("", pieces, ended=True)

    def _go_on(self, text: str, pieces: Parts, *, ended: bool) -> None:
        text = self._held + text
        self._read_again = True
        while self._read_again:
            self._read_again = False
            # One reader for each state; each hands back what it has not read, and asks for another round if that can be
            # read now.
            if self._thinking == "aside":
                text = self._in_aside(text, pieces, ended=ended)
            elif self._thinking:
                text = self._in_thinking(text, pieces, ended=ended)
            else:
                text = self._in_text(text, pieces, ended=ended)
        self._held = "" if ended else text
        # Kept up to date for `passes`, which then needs a single test.
        self.is_quick = not text and not self._thinking

    # Reasoning

    def _in_thinking(self, text: str, pieces: Parts, *, ended: bool) -> str:
        if self._thinking == "tag":
            at, behind = tag_end(text, self._tag_end, ended=ended)
        else:
            at, behind = fence_end(text, ended=ended)
        # The line break behind the fence's heading belongs to the fence.
        start = 1 if self._new_line and at else 0
        self._new_line = self._new_line and not at
        if start < at:
            pieces.append(ThinkingDelta(text[start:at]))
        if behind < 0:
            return text[at:]
        self._thinking = ""
        self._last = "\n"
        self._read_again = True
        return text[behind:]

    def _begin(self, kind: Literal["tag", "fence"]) -> None:
        """Reasoning begins; in a fence, with the end of the line above it."""
        self._thinking = kind
        self._new_line = kind == "fence"
        self._stripped = self._read_again = True

    def _in_aside(self, text: str, pieces: Parts, *, ended: bool) -> str:
        """Reasoning behind text: held until it ends, for nothing but its end shows that it is some."""
        at = text.find(self._tag_end)
        behind = at + len(self._tag_end)
        begun = at if at >= 0 else tag_begins(text)
        self._put_aside(text[:begun] if begun >= 0 else text)
        # An answer may hold an opening tag as text; it must not be held back until its end.
        if self._aside.size > _MOST_ASIDE or (ended and at < 0):
            return self._aside_is_text(text[begun:] if begun >= 0 else "")
        if at < 0 or (behind == len(text) and not ended):  # what follows it decides
            return text[begun:] if begun >= 0 else ""
        self._read_again = True
        # In quotes the closing tag is talked about: the reasoning goes on.
        if self._is_quoted(text[behind : behind + 1]):
            self._put_aside(text[at:behind])
            return text[behind:]
        if thought := "".join(self._aside.pieces[1:]):
            pieces.append(ThinkingDelta(thought))
        self._thinking, self._last = "", "\n"
        return text[behind:]

    def _put_aside(self, text: str) -> None:
        if text:
            self._aside.pieces.append(text)
            self._aside.size += len(text)

    def _is_quoted(self, follows: str) -> bool:
        """Whether the tag that would end what is held stands in quotes or in a sentence."""
        before = self._aside.pieces[-1][-1]
        return before in _QUOTES or follows in _QUOTES or (before in _BLANKS and follows in _BLANKS)

    def _aside_is_text(self, rest: str) -> str:
        # One that did not end shows that this reply uses tags as text: no other is held.
        if self._tags is not None:
            self._tags.asides_end = False
        self._thinking, self._read_again = "", True
        return "".join(self._aside.pieces) + rest

    # Text

    def _in_text(self, text: str, pieces: Parts, *, ended: bool) -> str:
        """Pass on text up to the first marker, or up to what may be the beginning of one."""
        if not self._visible:
            bare = text.lstrip()
            if self._stripped:
                text = bare
            if len(text) - len(bare) <= _MOST_SPACE:
                if opener := OPENER.match(bare):
                    self._tag_end = f"</{opener.group()[1:]}"
                    self._begin("tag")
                    return bare[opener.end() :]
                # Empty `bare` matches too: white space at the start waits for what follows it.
                if any(tag.startswith(bare) for tag in TAGS) and not ended:
                    return text
        for found in MARK.finditer(text):
            at = found.start()
            if text[at] == "<":
                return self._at_tag(text, at, found.end(), pieces, ended=ended)
            if at or self._last[-1] == "\n":
                rest = self._at_ticks(text, at, pieces, ended=ended)
                if rest is not None:
                    return rest
        keep = -1 if ended else tag_begins(text)
        self._send(text[:keep] if keep >= 0 else text, pieces)
        return text[keep:] if keep >= 0 else ""

    def _at_tag(self, text: str, at: int, end: int, pieces: Parts, *, ended: bool) -> str:
        """A tag: what is left to read."""
        if end == len(text) and not ended:  # what follows it decides
            if not self._visible and not text[:at].strip():
                return text
            self._send(text[:at], pieces)
            return text[at:]
        self._read_again = True
        self._send_before(text[:at], pieces)
        tag, follows = text[at:end], text[end : end + 1]
        # Arguments and JSON are data: a tag in a file that is written is part of the file.
        if pieces.in_data:
            self._send(tag, pieces)
            return text[end:]
        # Whether a place is in code is only worked out when a tag comes: most replies have none.
        lines = self._lines_so_far()
        tags = self._tags = self._tags or TagUse()
        if lines.in_code or follows in _QUOTES or lines.line[-1:] in _QUOTES:
            self._send(tag, pieces)
        elif tag in OPENERS:
            self._open(tag, lines.line, tags, pieces)
        # Once for each reply, and not if an opening tag that was text is still to be closed.
        elif tags.unopened or tags.quoted or not ends_reasoning(lines.line):
            tags.quoted = max(0, tags.quoted - 1)
            self._send(tag, pieces)
        else:
            tags.unopened = True
            self._close(pieces)
        return text[end:]

    def _open(self, tag: str, line: str, tags: TagUse, pieces: Parts) -> None:
        """An opening tag behind text."""
        bare = line.rstrip()
        if tags.asides_end and (not bare or bare[-1] in SENTENCE_ENDS):
            self._thinking, self._tag_end = "aside", f"</{tag[1:]}"
            self._aside = HeldText([tag])
        else:
            tags.quoted += 1
            self._send(tag, pieces)

    def _lines_so_far(self) -> CodeLines:
        """The lines of the text so far, read up to its end."""
        lines = self._lines = self._lines or CodeLines()
        if lines.pieces_read < len(self._texts):
            lines.feed("".join(self._texts[lines.pieces_read :]))
            lines.pieces_read = len(self._texts)
        return lines

    def _close(self, pieces: Parts) -> None:
        """All the text so far was reasoning."""
        text = "".join(self._texts)
        if text:
            pieces.append(Unopened(text))
        # The reply begins anew behind the tag, as if nothing had come before.
        self._texts, self._lines = [], None
        self._visible, self._stripped, self._last = False, True, "\n"

    def _at_ticks(self, text: str, at: int, pieces: Parts, *, ended: bool) -> str | None:
        """A line that begins with a backtick: what is left to read if it is, or may be, a marker; else None."""
        fence, card, edit = (
            THINK.match(text, at),
            # At the end of a reply the last line break may be missing.
            CARD.match(f"{text}\n" if ended else text, at),
            EDIT.match(text, at),
        )
        if found := fence or card or edit:
            (self._send if edit else self._send_before)(text[:at], pieces)
            self._read_again = True
            if pieces.in_data:
                line = text[at:].partition("\n")[0]
                self._send(line, pieces)
                return text[at + len(line) :]
            if edit:
                self._send(f"{edit[1]}{_FOLDER.split(edit[2])[-1]}\n", pieces)
            elif fence:
                self._begin("fence")
                # From the line break on: an empty block ends with the same one that begins it.
                return text[fence.end() - 1 :]
            else:
                self._stripped, self._last = True, "\n"
            return text[found.end() :]
        if ended or not any(beginning.fullmatch(text, at) for beginning in BEGINNINGS):
            return None
        # White space before it waits as well: if a marker follows, it goes with the marker.
        if not self._visible and not text[:at].strip():
            return text
        self._send(text[:at], pieces)
        return text[at:]

    def _send_before(self, text: str, pieces: Parts) -> None:
        """What stands before something that is left out; nothing if the reply has only begun with white space."""
        if self._visible or text.strip() or len(text) > _MOST_SPACE:
            self._send(text, pieces)

    def _send(self, text: str, pieces: Parts) -> None:
        if text:
            pieces.append(TextDelta(text))
            self._texts.append(text)
            self._last = text
            self._visible = True
