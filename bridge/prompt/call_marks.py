"""What calls begin and end with: the delimiters of this conversation, and what models write instead of them."""

from __future__ import annotations

import re

NATIVE, _NATIVE_END = "<tool_call>", "</tool_call>"
FENCE = "```"
_THREE_TICKS = re.compile(r"(?<!`)```(?!`)")
_HEAD = re.compile(r"[A-Za-z_ \t]*\s*")
_INFOS = frozenset(("", "json", "jsonaction", "action", "tool", "toolcall", "toolcalls", "tooluse", "functioncall"))
_MOST_HEAD = 40


class Marks:
    """Where they are in a text of which more may come. `ticked`: a backtick was the last thing before the text."""

    def __init__(self, nonce: str) -> None:
        self.opener = f"<call:{nonce}>"
        self.closer = f"</call:{nonce}>"

    def first(self, text: str, *, ticked: bool) -> tuple[int, str]:
        """The first of those that begin a call; an empty one for none."""
        found = [(at, each) for each in (self.opener, NATIVE) if (at := text.find(each)) >= 0]
        if (at := _fence(text, ticked)) >= 0:
            found.append((at, FENCE))
        return min(found, default=(0, ""))

    def possible(self, text: str, *, ticked: bool) -> int:
        """How many characters at the end may be the beginning of one."""
        at = text.rfind("<", max(0, len(text) - max(len(self.opener), len(NATIVE))))
        if at >= 0 and (self.opener.startswith(text[at:]) or NATIVE.startswith(text[at:])):
            return len(text) - at
        if text[-1:] != "`":
            return 0
        ticks = len(text) - len(text.rstrip("`"))
        return ticks if ticks <= len(FENCE) and not (ticked and ticks == len(text)) else 0

    def in_fence(self, text: str) -> tuple[str, int]:
        """
        What follows three backticks: a marker of a call (empty for a bare object) and how much of the text goes before
        the object. Length -1: more must be seen; 0: it is no call.
        """
        found = _HEAD.match(text)
        length = found.end() if found else 0
        rest = text[length:]
        if length > _MOST_HEAD:
            return "", 0
        if not rest:
            return "", -1
        if rest[0] == "<":
            return self._delimiter(rest, length)
        if rest[0] in "{[" and "".join(text[:length].lower().replace("_", " ").split()) in _INFOS:
            return "", length
        return "", 0

    def _delimiter(self, rest: str, length: int) -> tuple[str, int]:
        """Some put a call in its delimiters into a fence: then the fence is no text."""
        for marker in (self.opener, NATIVE):
            if rest.startswith(marker):
                return marker, length + len(marker)
            if marker.startswith(rest):
                return "", -1
        return "", 0

    def ends(self, *, fenced: bool) -> tuple[str, ...]:
        """What stands behind a call's object."""
        return (self.closer, _NATIVE_END, "</call>", *([FENCE] if fenced else []))

    def breaks(self, *, fenced: bool) -> tuple[str, ...]:
        """What shows that a call is over even if its braces are not closed."""
        return (*self.ends(fenced=fenced), self.opener, NATIVE)

    def flawed_end(self, text: str) -> tuple[int, bool]:
        """How much of the text belongs to a block that cannot be read, and whether that is all of it."""
        marks = (self.closer, self.opener)
        at, mark = min(((at, mark) for mark in marks if (at := text.find(mark)) >= 0), default=(0, ""))
        if mark:
            return at + (len(mark) if mark == self.closer else 0), True
        at = max(text.rfind("<"), 0)
        return at if any(mark.startswith(text[at:]) for mark in marks) else len(text), False


def _fence(text: str, ticked: bool) -> int:
    """Where exactly three backticks stand, with something behind them; -1 for nowhere."""
    if FENCE not in text:
        return -1
    start = len(text) - len(text.lstrip("`")) if ticked else 0
    found = _THREE_TICKS.search(text, start)
    return found.start() if found and found.end() < len(text) else -1
