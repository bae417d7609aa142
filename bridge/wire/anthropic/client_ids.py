"""By which ids clients of Messages name themselves and their conversations."""

from __future__ import annotations

import re

import msgspec

from bridge.chat.request import NOBODY, ClientIds
from bridge.wire.client_ids import is_random_uuid
from gateway_project.lib.json_errors import UNREADABLE

_SESSION = re.compile(r"user_[0-9a-f]+_account_[0-9a-f-]*_session_([0-9a-f-]+)")
AGENT = "claude-code"
"""As usage rows call it; Qwen Code, which calls itself the same, sends the same."""


class _UserId(msgspec.Struct):
    session_id: str | None = None


class _Metadata(msgspec.Struct):
    user_id: str | None = None


_METADATA = msgspec.json.Decoder(_Metadata)
_USER_ID = msgspec.json.Decoder(_UserId)


def of_metadata(metadata: msgspec.Raw) -> ClientIds:
    """The `user_id` of a Messages request, by which Claude Code names its conversation, in one of two notations."""
    try:
        user_id = _METADATA.decode(metadata).user_id if len(metadata) else None
    except UNREADABLE:
        return NOBODY  # it may hold anything
    if not user_id:
        return NOBODY
    return ClientIds((f"user_id {user_id}",), proven_by=AGENT if is_random_uuid(_session_of(user_id)) else "")


def _session_of(user_id: str) -> str:
    if found := _SESSION.fullmatch(user_id):
        # The older notation of Claude Code, one string of three parts; the newer one is JSON.
        return found[1]
    if not user_id.startswith("{"):
        return ""
    try:
        return _USER_ID.decode(user_id).session_id or ""
    except UNREADABLE:
        return ""
