"""What calls begin and end with: the marks of this conversation, and what models write instead of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

FENCE = "```"
STARTS = (
    "<tool_call>",
    "<tool_calls>",
    "<function_calls>",
    "<｜DSML｜function_calls>",
    "<｜DSML｜tool_calls>",
    "<minimax:tool_call>",
    "<function=",
    "<invoke",
    "<｜DSML｜invoke",
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
)
"""What a line begins with that may be a call in a notation of the model's own; a code fence is the other one."""

UNMARKED = ("[User]", "[System]", "[Assistant]", "[Tools]", "[Result of tool call", "[Failed tool call")
"""Lines that look like headings of a prompt: behind a call, the model plays the others' part."""

MORE, NONE = -1, -2
# Some models close a marked call with the tag they were trained on, so it counts as an end too.
_NATIVE, _NATIVE_END = "<tool_call>", "</tool_call>"
# Shorter ends of a reply say nothing about the secret and are ordinary text.
_BARE = "</call:"
_LONGEST = 80
# The lookahead refuses four backticks: that is the service's own fence for reasoning (PROTOCOL 9.6).
_LINE = re.compile(rf"^(?:{FENCE}(?!`)|{'|'.join(map(re.escape, STARTS))}|\[)", re.MULTILINE)
_HEAD = re.compile(r"[A-Za-z_ \t]*\s*")
# Info strings of a fence that can hold a call, without blanks and underscores; a fence of code has the name of its
# language.
_INFOS = frozenset(("", "json", "jsonaction", "action", "tool", "toolcall", "toolcalls", "tooluse", "functioncall"))
_MOST_HEAD = 40

Sign = Literal["open", "close", "fence", "start", "heading"]


class Marks:
    """Finds marks and other delimiters in a text of which more may come."""

    def __init__(self, delimiter_id: str) -> None:
        self.opener = f"<call:{delimiter_id}>"
        self.closer = f"</call:{delimiter_id}>"
        # The mark is searched without its last character: one that goes on otherwise is still found, and its secret
        # removed.
        self._bare: tuple[tuple[str, Sign], ...] = ((self.opener[:-1], "open"), (self.closer[:-1], "close"))
        self._longest = len(self.closer)

    def first(self, text: str, at: int, *, new_line: bool) -> tuple[int, int, Sign | Literal[""]]:
        """Where the first of them stands from `at` on, where it ends, and what it is; "" for none.

        `new_line`: the text begins a line. A mark that goes on as something else than it should is one too: its secret
        is never sent.
        """
        found: list[tuple[int, int, Sign]] = []
        for bare, sign in self._bare:
            if (low := text.find(bare, at)) >= 0 and (high := low + len(bare)) < len(text):
                found.append((low, high + (text[high] == ">"), sign))
        line = _LINE.search(text, at)
        # ^ matches at the start of the text in any case; here the text goes on a line that began before.
        if line and not line.start() and not new_line:
            line = _LINE.search(text, 1)
        if line:
            found.append((line.start(), line.end(), _kind(line.group())))
        return min(found, default=(0, 0, ""))

    def possible(self, text: str, headings: Sequence[str], *, new_line: bool) -> int:
        """From where on the text may be the beginning of one; its length for nowhere."""
        # Only the last line can still become a mark of a line: earlier ones were decided by their next character.
        low = text.rfind("\n") + 1
        if (low or new_line) and text[low : low + 1] in ("<", "`", "["):
            tail = text[low : low + _LONGEST + 1]
            if any(each.startswith(tail) for each in (*STARTS, FENCE, *headings)):
                return low
        # Looked for no farther back than a mark is long: the cost does not grow with the text.
        low = text.rfind("<", max(0, len(text) - self._longest))
        if low >= 0 and (self.opener.startswith(text[low:]) or self.closer.startswith(text[low:])):
            return low
        return len(text)

    def sendable_end(self, tail: str, headings: Sequence[str]) -> str:
        """The unfinished end of a reply as it may be sent: without any part of the secret."""
        # An unfinished mark that already shows a part of the secret is dropped.
        secret = any(
            len(each) > len(tail) > len(_BARE) and each.startswith(tail) for each in (self.opener, self.closer)
        )
        return "" if secret or begins_heading(tail, headings) else tail

    def without(self, text: str) -> str:
        for mark in (self.opener, self.closer, *(bare for bare, _ in self._bare)):
            text = text.replace(mark, "")
        return text

    def ends(self, *, fenced: bool) -> tuple[str, ...]:
        """The texts that may end a call behind its object."""
        return (self.closer, _NATIVE_END, "</call>", *([FENCE] if fenced else []))

    def breaks(self, *, fenced: bool) -> tuple[str, ...]:
        """What shows that a call is over even if its braces are not closed."""
        return (*self.ends(fenced=fenced), self.opener, _NATIVE)

    def malformed_end(self, text: str) -> tuple[int, bool]:
        """How much of the text belongs to a block that cannot be read, and whether that is all of it."""
        # A new opener ends it too: a model that starts over has given the broken call up.
        marks = (self.closer, self.opener)
        at, mark = min(((at, mark) for mark in marks if (at := text.find(mark)) >= 0), default=(0, ""))
        if mark:
            return at + (len(mark) if mark == self.closer else 0), True
        at = max(text.rfind("<"), 0)
        return at if any(mark.startswith(text[at:]) for mark in marks) else len(text), False


def begins_heading(tail: str, headings: Sequence[str]) -> bool:
    """Whether the text is a heading as far as into its secret part."""
    return " " in tail and any(each.startswith(tail) for each in headings)


def _kind(found: str) -> Sign:
    return "heading" if found == "[" else "fence" if found == FENCE else "start"


def fence_body(text: str, at: int) -> int:
    """
    Behind three backticks: where the object or the tag begins that the fence holds. MORE: more must be seen; NONE: it
    holds something else.
    """
    found = _HEAD.match(text, at, at + _MOST_HEAD + 1)
    body = found.end() if found else at
    # A long info string is prose or code, so the fence need not be held.
    if body - at > _MOST_HEAD:
        return NONE
    if body == len(text):
        return MORE
    if text[body] == "<":
        return body
    return body if text[body] in "{[" and "".join(text[at:body].lower().replace("_", " ").split()) in _INFOS else NONE
