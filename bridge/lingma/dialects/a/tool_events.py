"""Tool events in every spelling of dialect A (PROTOCOL 11, 17.5). Whatever JSON comes, nothing here raises."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from bridge.lingma.dialects.a import messages
from bridge.lingma.tools.events import (
    ERROR_CHARS,
    ID_CHARS,
    NAME_CHARS,
    VALUE_BYTES,
    Kind,
    State,
    ToolEvent,
    ToolMessage,
    too_large_note,
)
from gateway_project.lib.json_errors import UNREADABLE
from gateway_project.lib.tool_approval import UNNAMED

_KINDS: dict[str, Kind] = {messages.TOOL_SYNC: "status", messages.TOOL_INVOKE: "invocation"}
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
_UNWRITABLE = (*UNREADABLE, TypeError, ValueError, OverflowError)


def read(method: str, params: bytes | msgspec.Raw) -> ToolMessage | None:
    """The tool events in a message, and the turn it names; None if its params are no object. Raises nothing."""
    try:
        outer = msgspec.json.decode(params)
    except UNREADABLE:
        return None
    if not isinstance(outer, dict):
        return None
    data = _object(outer, "data")
    objects = _found(outer, data)
    events = [_event(method, found, outer, data) for found in objects]
    asynchronous = any(each.get("async") is True for each in (outer, *objects))
    request_id = _text((outer, data), ("requestId",))
    with_id = [event for event in events if 0 < len(event.tool_id) <= ID_CHARS]
    return ToolMessage(_KINDS.get(method, "echo"), with_id, request_id, asynchronous)


def name_on_card(text: str, tool_id: str) -> str:
    """The name on the card that announced the call (PROTOCOL 9.6), or "": also if another card names another."""
    # The cheap test first: the text may be megabytes, and most events have no card.
    if f"::{tool_id}" not in text:
        return ""
    cards = re.findall(rf"toolCall::([^\n`]{{1,{NAME_CHARS}}}?)::{re.escape(tool_id)}(?=::|[\s`]|$)", text)
    # The model can write cards as well. Two names for one id mean that one of them is forged.
    return str(cards[0]) if len(set(cards)) == 1 else ""


def _found(outer: dict[str, Any], data: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects that are events (PROTOCOL 17.5). An item of `results` is one if it speaks of a call, else output."""
    for holder in (outer, data):
        for key in _NESTED:
            if isinstance(holder.get(key), dict):
                return [holder[key]]
    results = outer.get("results")
    items = results if isinstance(results, list) else []
    return [_whole(item) for item in items if isinstance(item, dict) and _is_about_a_call(item, outer)] or [outer]


def _is_about_a_call(item: dict[str, Any], outer: dict[str, Any]) -> bool:
    if _text((item,), _OUTER_IDS) or "result" in item:
        return True
    return bool(_text((item,), ("id",))) and (bool(_text((item,), _NAMES)) or not _text((outer,), _OUTER_IDS))


def _whole(item: dict[str, Any]) -> dict[str, Any]:
    """With its output as its result, where that stands beside id and name."""
    return {"result": {key: value for key, value in item.items() if key not in _ABOUT_A_CALL}} | item


def _event(method: str, found: dict[str, Any], outer: dict[str, Any], data: dict[str, Any]) -> ToolEvent:
    outer_id = _text((outer,), _OUTER_IDS)
    tool_id = _text((found,), _IDS) or outer_id
    # A list of results has one outer id. Name and input beside it belong to that call and to none of the others.
    if outer_id not in ("", tool_id):  # the rest is about another call
        outer, data = {key: value for key, value in outer.items() if key in _ABOUT_ALL}, {}
    result = _result(found, outer, data)
    error = _error((found, outer))
    status = _text((found, outer, data), _STATUSES).strip().upper().replace("-", "_").replace(" ", "_")
    return ToolEvent(
        tool_id=tool_id,
        request_id=_text((outer, found, data), ("requestId",)),
        session_id=_text((outer, found, data), ("sessionId",)),
        name=_name(found, outer),
        input=_input(found, outer),
        state=_state(method, status, outer, result, error),
        undecided=_STATES.get(status) == "pending",
        result=result,
        error=error,
    )


_ABOUT_A_CALL = frozenset({*_IDS, *_NAMES, *_INPUTS, *_STATUSES, *_ERRORS, "requestId", "sessionId", "results"})
_ABOUT_ALL = frozenset({"requestId", "sessionId", *_STATUSES})


def _state(method: str, status: str, outer: dict[str, Any], result: bytes, error: str) -> State:
    # What the method itself says is surer than a status word, whose spellings differ (PROTOCOL 11.3).
    if method == messages.TOOL_INVOKE_RESULT and isinstance(outer.get("success"), bool):
        return "finished" if outer["success"] else "failed"
    if method == messages.TOOL_APPROVE and outer.get("approval") is False:
        return "cancelled"
    if status:
        return _STATES.get(status, "running")
    if error:
        return "failed"
    return "finished" if result else "pending"


def _name(found: dict[str, Any], outer: dict[str, Any]) -> str:
    name = _text((found,), _NAMES) or _text((outer,), ("name",))
    return "" if name == UNNAMED else name[:NAME_CHARS]


def _input(found: dict[str, Any], outer: dict[str, Any]) -> bytes:
    for given in (*(found.get(key) for key in _INPUTS), outer.get("parameters")):
        # Arguments are sometimes JSON in a string.
        value = _decoded(given) if isinstance(given, str) else given
        if value in (None, "", {}, []) or isinstance(value, bool):
            continue
        written = _written(value if isinstance(value, dict) else {"input": value})
        # Half an input would be another call than the one that was made, so a large one counts as unknown.
        return written if len(written) <= VALUE_BYTES else b""
    return b""


def _result(found: dict[str, Any], outer: dict[str, Any], data: dict[str, Any]) -> bytes:
    listed = found.get("results")
    output = listed if isinstance(listed, list) else None
    for value in (found.get("result"), outer.get("result"), data.get("result"), output):
        if value not in (None, "", {}, []):
            written = _written(value)
            return written if len(written) <= VALUE_BYTES else too_large_note(written)
    return b""


def _error(objects: Iterable[dict[str, Any]]) -> str:
    for each in objects:
        for key in _ERRORS:
            value = each.get(key)
            if isinstance(value, dict):
                value = value.get("message")
            if isinstance(value, str) and value:
                return value[:ERROR_CHARS]
    return ""


def _object(outer: dict[str, Any], key: str) -> dict[str, Any]:
    value = outer.get(key)
    return value if isinstance(value, dict) else {}


def _text(objects: Iterable[dict[str, Any]], keys: Iterable[str]) -> str:
    """The first of the keys that holds a text which is not empty; a number counts as its digits."""
    keys = tuple(keys)
    for each in objects:
        for key in keys:
            value = each.get(key)
            if isinstance(value, str) and value:
                return value
            # Not `isinstance`: a bool is an int to Python, and `true` is no id.
            if type(value) is int:
                return str(value)
    return ""


def _decoded(text: str) -> Any:
    """Arguments are sometimes JSON in a string."""
    try:
        return msgspec.json.decode(text)
    except UNREADABLE:
        return text


def _written(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except _UNWRITABLE:
        return b""
