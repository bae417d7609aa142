"""By which ids clients call themselves and their conversations, and which of those nobody can guess. Pure."""

from __future__ import annotations

import re
from itertools import pairwise

import msgspec

from bridge.chat.request import NOBODY, ClientIds

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9_-]{20,200}")
_SESSION = re.compile(r"_session_([0-9A-Za-z-]+)\Z")
_FEWEST_CHARACTERS, _FEWEST_CHANGES = 8, 6


class _UserId(msgspec.Struct):
    session_id: str | None = None


class _Metadata(msgspec.Struct):
    user_id: str | None = None


_METADATA = msgspec.json.Decoder(_Metadata)
_USER_ID = msgspec.json.Decoder(_UserId)


def of_fields(**fields: msgspec.Raw | str | None) -> ClientIds:
    """The ids in a body, by name. Applications put constants there, so none of them proves anything."""
    said = tuple(f"{name} {text}" for name, field in fields.items() if field and (text := _text(field)) != "null")
    return ClientIds(said) if said else NOBODY


def _text(field: msgspec.Raw | str) -> str:
    """Any value as the JSON it was, near enough."""
    return f'"{field}"' if isinstance(field, str) else bytes(field).decode("utf-8", "replace")


def of_metadata(metadata: msgspec.Raw) -> ClientIds:
    """The `user_id` of a Messages request, which may name the conversation in one of two spellings."""
    try:
        user_id = _METADATA.decode(metadata).user_id if len(metadata) else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return NOBODY  # it may hold anything
    if not user_id:
        return NOBODY
    return ClientIds((f"user_id {user_id}",), proven=is_random(_session_of(user_id)))


def _session_of(user_id: str) -> str:
    if found := _SESSION.search(user_id):
        return found[1]
    if not user_id.startswith("{"):
        return ""
    try:
        return _USER_ID.decode(user_id).session_id or ""
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""


def is_random(text: str) -> bool:
    """Whether it looks as if a machine had drawn it by lot: a UUID, or long and without any words."""
    if _UUID.fullmatch(text):
        return len(set(text.lower())) >= _FEWEST_CHARACTERS
    if not _WORD.fullmatch(text):
        return False
    kinds = ["digit" if each.isdigit() else each.isupper() for each in text if each not in "_-"]
    changes = sum(one != other for one, other in pairwise(kinds))
    return changes >= _FEWEST_CHANGES and len(set(text)) >= _FEWEST_CHARACTERS
