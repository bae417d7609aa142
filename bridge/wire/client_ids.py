"""By which ids clients call themselves and their conversations, and which of those nobody can guess. Pure."""

from __future__ import annotations

import re
from itertools import pairwise

import msgspec

from bridge.chat.request import NOBODY, ClientIds

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9_-]{20,200}")
_FEWEST_CHARACTERS, _FEWEST_CHANGES = 8, 6


def of_fields(**fields: msgspec.Raw | str | None) -> ClientIds:
    """The ids in a body, by name. Applications put constants there, so none of them proves anything."""
    values = tuple(f"{name} {text}" for name, field in fields.items() if field and (text := _text(field)) != "null")
    return ClientIds(values) if values else NOBODY


def _text(field: msgspec.Raw | str) -> str:
    """Any value as the JSON it was, near enough."""
    return f'"{field}"' if isinstance(field, str) else bytes(field).decode("utf-8", "replace")


def is_random(text: str) -> bool:
    """Whether it looks as if a machine had drawn it by lot: a UUID, or long and without any words."""
    if _UUID.fullmatch(text):
        return len(set(text.lower())) >= _FEWEST_CHARACTERS
    if not _WORD.fullmatch(text):
        return False
    kinds = ["digit" if each.isdigit() else each.isupper() for each in text if each not in "_-"]
    changes = sum(one != other for one, other in pairwise(kinds))
    return changes >= _FEWEST_CHANGES and len(set(text)) >= _FEWEST_CHARACTERS
