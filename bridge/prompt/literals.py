"""Values and descriptions that a client sends, as bounded text. Pure."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

_MAX_LITERAL = 200  # characters
_MAX_INSIDE = 20  # items of a literal, at each of two levels

_encode = json.JSONEncoder(ensure_ascii=False).encode


def literal(value: Any) -> tuple[str, bool]:
    """A value in JSON, or its beginning; and whether it is all of it."""
    # Cut before it is encoded: a default may be a megabyte.
    shown = _beginning(value)
    text = _encode(shown)
    if len(text) > _MAX_LITERAL:
        return text[:_MAX_LITERAL] + "...", False
    return text, shown == value


def _beginning(value: Any, depth: int = 2) -> Any:
    """As much of a value as can be shown, whatever its size."""
    if isinstance(value, str):
        return value[: _MAX_LITERAL + 1]
    if not isinstance(value, (list, dict)):
        return value
    if not depth:
        return "..."
    if isinstance(value, list):
        shown = [_beginning(each, depth - 1) for each in value[:_MAX_INSIDE]]
        return shown if len(value) <= _MAX_INSIDE else [*shown, "..."]
    members = islice(value.items(), _MAX_INSIDE)
    return {name[:_MAX_LITERAL]: _beginning(each, depth - 1) for name, each in members}


def shortened(text: str, limit: int) -> str:
    """The text on one line, at most `limit` characters, cut between words and marked as cut."""
    # Enough raw text for the limit even where much of it is white space; the rest is never looked at.
    line = " ".join(text[: 4 * limit + 200].split())
    if len(line) <= limit:
        return line
    return line[: max(limit - 3, 0)].rsplit(" ", 1)[0].rstrip(",;:") + "..."
