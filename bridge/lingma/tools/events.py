"""Tool events of the service's own agent (PROTOCOL 11, 17.5): every spelling to one, and calls put together.

Whatever JSON comes, nothing here raises. Kept of a turn are at most MOST_CALLS calls and MOST_BYTES of their inputs and
results, VALUE_BYTES of each: a larger input counts as unknown, a larger result is replaced by a word that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from bridge.chat.events import ServiceCall
from bridge.lingma.dialects import dialect_a
from gateway_project.lib.tool_approval import UNNAMED

MOST_CALLS: Final = 256
MOST_BYTES: Final = 8 << 20
VALUE_BYTES: Final = 1 << 20
ID_CHARS: Final = 256
NAME_CHARS: Final = 128
ERROR_CHARS: Final = 2000

State = Literal["pending", "running", "finished", "failed", "cancelled"]

_NESTED = ("toolCall", "tool_call", "tool")
_OUTER_IDS = ("toolCallId", "tool_call_id")
_IDS = (*_OUTER_IDS, "id")
_NAMES = ("name", "toolName", "tool_name")
_INPUTS = ("input", "arguments", "args", "parameters")
_STATUSES = ("toolCallStatus", "tool_call_status", "status", "state")
_ERRORS = ("errorMsg", "errorMessage", "error_message", "error", "errorCode")
_SPELLINGS: dict[State, tuple[str, ...]] = {
    "pending": ("", "INIT", "PENDING", "PROCESSING"),
    "finished": ("FINISHED", "REQUEST_FINISHED", "RESULTS", "RESULT", "DONE", "COMPLETED", "SUCCESS", "SUCCEEDED"),
    "failed": ("ERROR", "FAILED", "FAILURE", "TIMEOUT"),
    "cancelled": ("CANCELLED", "CANCELED", "REJECTED"),
}
_STATES = {word: state for state, words in _SPELLINGS.items() for word in words}  # PROTOCOL 11.3; else `running`
_RANKS: dict[State, int] = {"pending": 0, "running": 1, "finished": 2, "failed": 2, "cancelled": 2}
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
_UNWRITABLE = (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, ValueError, OverflowError)


class ToolEvent(msgspec.Struct, frozen=True):
    """One event about one call. Empty fields: it does not say."""

    tool_id: str
    request_id: str = ""
    session_id: str = ""
    name: str = ""
    input: bytes = b""
    """A JSON object that is not empty."""
    state: State = "pending"
    undecided: bool = True
    """By its status the call still waits for a word of the client (PROTOCOL 11.3)."""
    result: bytes = b""
    """JSON, never `{}`, `[]`, `""` or `null`."""
    error: str = ""


class Heard(msgspec.Struct, frozen=True):
    """One message; it may tell of several calls, or of none."""

    events: list[ToolEvent]
    request_id: str = ""
    asynchronous: bool = False
    """`async` of `tool/invoke` (PROTOCOL 11.4)."""


def read(method: str, params: bytes | msgspec.Raw) -> Heard | None:
    """What a message says; None if its params are no object."""
    try:
        told = msgspec.json.decode(params)
    except _UNREADABLE:
        return None
    if not isinstance(told, dict):
        return None
    data = _object(told, "data")
    objects = _found(told, data)
    events = [_event(method, found, told, data) for found in objects]
    asynchronous = any(each.get("async") is True for each in (told, *objects))
    request_id = _text((told, data), ("requestId",))
    return Heard([event for event in events if 0 < len(event.tool_id) <= ID_CHARS], request_id, asynchronous)


def name_on_card(text: str, tool_id: str) -> str:
    """The name on the card that announced the call (PROTOCOL 9.6), or "": also if another card names another."""
    if f"::{tool_id}" not in text:
        return ""
    cards = re.findall(rf"toolCall::([^\n`]{{1,{NAME_CHARS}}}?)::{re.escape(tool_id)}(?=::|[\s`]|$)", text)
    return str(cards[0]) if len(set(cards)) == 1 else ""


def complete(call: ServiceCall | None, event: ToolEvent) -> ServiceCall:
    """What is known of the call after one more event; its equal if nothing is new."""
    if call is None:
        name = event.name or UNNAMED
        return ServiceCall(event.tool_id, name, event.input or b"{}", event.state, event.result, event.error)
    return msgspec.structs.replace(
        call,
        name=event.name if call.name == UNNAMED and event.name else call.name,
        input=event.input or call.input,
        state=event.state if _RANKS[event.state] >= _RANKS[call.state] else call.state,
        result=event.result or call.result,
        error=event.error or call.error,
    )


class Budget:
    """How much of the calls of one turn may be kept."""

    def __init__(self) -> None:
        self._calls = 0
        self._bytes = 0

    def fit(self, before: ServiceCall | None, after: ServiceCall) -> ServiceCall | None:
        """The call as it may be kept; None if there are too many already."""
        if before is None:
            if self._calls >= MOST_CALLS:
                return None
            self._calls += 1
            before = ServiceCall(after.id, after.name)
        growth = _weight(after) - _weight(before)
        if self._bytes + growth > MOST_BYTES:
            result = before.result or (_not_kept(after.result) if after.result else b"")
            after = msgspec.structs.replace(after, input=before.input, result=result)
            growth = _weight(after) - _weight(before)
        self._bytes += growth
        return after


def _weight(call: ServiceCall) -> int:
    return len(call.input) + len(call.result)


def _found(told: dict[str, Any], data: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects that are events (PROTOCOL 17.5). An item of `results` is one if it speaks of a call, else output."""
    for holder in (told, data):
        for key in _NESTED:
            if isinstance(holder.get(key), dict):
                return [holder[key]]
    results = told.get("results")
    items = results if isinstance(results, list) else []
    return [_whole(item) for item in items if isinstance(item, dict) and _speaks_of_a_call(item, told)] or [told]


def _speaks_of_a_call(item: dict[str, Any], told: dict[str, Any]) -> bool:
    if _text((item,), _OUTER_IDS) or "result" in item:
        return True
    return bool(_text((item,), ("id",))) and (bool(_text((item,), _NAMES)) or not _text((told,), _OUTER_IDS))


def _whole(item: dict[str, Any]) -> dict[str, Any]:
    """With its output as its result, where that stands beside id and name."""
    return {"result": {key: value for key, value in item.items() if key not in _ABOUT_A_CALL}} | item


def _event(method: str, found: dict[str, Any], told: dict[str, Any], data: dict[str, Any]) -> ToolEvent:
    outer_id = _text((told,), _OUTER_IDS)
    tool_id = _text((found,), _IDS) or outer_id
    if outer_id not in ("", tool_id):  # the rest is about another call
        told, data = {key: value for key, value in told.items() if key in _ABOUT_ALL}, {}
    result = _result(found, told, data)
    error = _error((found, told))
    status = _text((found, told, data), _STATUSES).strip().upper().replace("-", "_").replace(" ", "_")
    return ToolEvent(
        tool_id=tool_id,
        request_id=_text((told, found, data), ("requestId",)),
        session_id=_text((told, found, data), ("sessionId",)),
        name=_name(found, told),
        input=_input(found, told),
        state=_state(method, status, told, result, error),
        undecided=_STATES.get(status) == "pending",
        result=result,
        error=error,
    )


_ABOUT_A_CALL = frozenset({*_IDS, *_NAMES, *_INPUTS, *_STATUSES, *_ERRORS, "requestId", "sessionId", "results"})
_ABOUT_ALL = frozenset({"requestId", "sessionId", *_STATUSES})


def _state(method: str, status: str, told: dict[str, Any], result: bytes, error: str) -> State:
    if method == dialect_a.TOOL_INVOKE_RESULT and isinstance(told.get("success"), bool):
        return "finished" if told["success"] else "failed"
    if method == dialect_a.TOOL_APPROVE and told.get("approval") is False:
        return "cancelled"
    if status:
        return _STATES.get(status, "running")
    if error:
        return "failed"
    return "finished" if result else "pending"


def _name(found: dict[str, Any], told: dict[str, Any]) -> str:
    name = _text((found,), _NAMES) or _text((told,), ("name",))
    return "" if name == UNNAMED else name[:NAME_CHARS]


def _input(found: dict[str, Any], told: dict[str, Any]) -> bytes:
    for given in (*(found.get(key) for key in _INPUTS), told.get("parameters")):
        value = _decoded(given) if isinstance(given, str) else given
        if value in (None, "", {}, []) or isinstance(value, bool):
            continue
        written = _written(value if isinstance(value, dict) else {"input": value})
        return written if len(written) <= VALUE_BYTES else b""
    return b""


def _result(found: dict[str, Any], told: dict[str, Any], data: dict[str, Any]) -> bytes:
    listed = found.get("results")
    output = listed if isinstance(listed, list) else None
    for value in (found.get("result"), told.get("result"), data.get("result"), output):
        if value not in (None, "", {}, []):
            written = _written(value)
            return written if len(written) <= VALUE_BYTES else _not_kept(written)
    return b""


def _not_kept(written: bytes) -> bytes:
    return b'"(a result of %d bytes, not kept)"' % len(written)


def _error(objects: Iterable[dict[str, Any]]) -> str:
    for each in objects:
        for key in _ERRORS:
            value = each.get(key)
            if isinstance(value, dict):
                value = value.get("message")
            if isinstance(value, str) and value:
                return value[:ERROR_CHARS]
    return ""


def _object(told: dict[str, Any], key: str) -> dict[str, Any]:
    value = told.get(key)
    return value if isinstance(value, dict) else {}


def _text(objects: Iterable[dict[str, Any]], keys: Iterable[str]) -> str:
    """The first of the keys that holds a text which is not empty; a number counts as its digits."""
    keys = tuple(keys)
    for each in objects:
        for key in keys:
            value = each.get(key)
            if isinstance(value, str) and value:
                return value
            if type(value) is int:
                return str(value)
    return ""


def _decoded(text: str) -> Any:
    """Arguments are sometimes JSON in a string."""
    try:
        return msgspec.json.decode(text)
    except _UNREADABLE:
        return text


def _written(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except _UNWRITABLE:
        return b""
