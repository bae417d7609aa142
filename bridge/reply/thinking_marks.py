"""Markers of reasoning and of tool cards in the text of a reply (PROTOCOL 9.6). Pure."""

from __future__ import annotations

import re

# The tags that models are trained to think in; the service passes them on as text (PROTOCOL 9.6).
OPENERS = ("<think>", "<thinking>")
TAGS = (*OPENERS, "</think>", "</thinking>")
_LONGEST_TAG = max(map(len, TAGS))

# Every marker that can change what is text: a line that begins with a backtick, or a tag.
MARK = re.compile(r"(?:\A|(?<=\n))`|</?think(?:ing)?>")
# Anchored at the end: it is what may still become a tag with the next piece.
_PART_OF_TAG = re.compile(r"</?(?:t(?:h(?:i(?:n(?:k(?:i(?:ng?)?)?)?)?)?)?)?\Z")
OPENER = re.compile(r"<think(?:ing)?>")
SENTENCE_ENDS = frozenset(".!?…。！？")


def _beginning(word: str, rest: str) -> re.Pattern[str]:
    """Matches the word cut off anywhere, or all of it and then `rest`."""
    pattern = rest
    for char in reversed(word):
        pattern = f"(?:{re.escape(char)}{pattern})?"
    return re.compile(pattern)


THINK = re.compile(r"````think::[^\n`]{0,100}\n")
_FENCE_END = re.compile(r"\n````\r?\n")
_FENCE_END_BEGINNING = re.compile(r"\n(?:`{0,3}|````\r?)\Z")
# Bounded everywhere: the pattern runs at each line that begins with a backtick.
CARD = re.compile(r"```toolCall::[^\n`]{0,400}\n```[ \t\r]{0,8}\n")
# An absolute path, which would show the client where the service runs: only the file's name is passed on.
EDIT = re.compile(r"(```[^\n`|]{0,40}\|CODE_EDIT_BLOCK\|)(?:/|[A-Za-z]:[\\/])([^\n`]{0,400})\n")
_EDIT_HEAD = _beginning("|CODE_EDIT_BLOCK|", r"[^\n`]{0,402}")
BEGINNINGS = (
    _beginning("````think::", r"[^\n`]{0,100}"),
    _beginning("```toolCall::", r"[^\n`]{0,400}(?:\n(?:`{0,2}|```[ \t\r]{0,8}))?"),
    re.compile(rf"```[^\n`|]{{0,40}}{_EDIT_HEAD.pattern}"),
)


def ends_reasoning(line: str) -> bool:
    """Whether a closing tag behind this line is one: within a sentence it has white space before it."""
    bare = line.rstrip()
    return not bare or bare == line or bare[-1] in SENTENCE_ENDS


def tag_begins(text: str) -> int:
    """Where at the end of the text a tag may have begun; -1 for nowhere."""
    at = text.rfind("<", -_LONGEST_TAG)
    return at if at >= 0 and _PART_OF_TAG.match(text, at) else -1


def tag_end(text: str, tag: str, *, ended: bool) -> tuple[int, int]:
    """Where reasoning ends and what follows begins; else how much surely is reasoning, and -1."""
    at = text.find(tag)
    if at >= 0:
        return at, at + len(tag)
    at = text.rfind("<")
    possible = at >= 0 and not ended and tag.startswith(text[at:])
    return at if possible else len(text), -1


def fence_end(text: str, *, ended: bool) -> tuple[int, int]:
    found = _FENCE_END.search(f"{text}\n" if ended else text)
    if found:
        return found.start(), found.end()
    # A fence closes only on a line of its own, so what follows the backticks decides.
    possible = None if ended else _FENCE_END_BEGINNING.search(text)
    return possible.start() if possible else len(text), -1
