"""Pushes about tool calls, in every spelling that was seen."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from bridge.simulator.state.turn import ToolCall, Turn

PHASES = {"PENDING": "pending", "RUNNING": "processing", "FINISHED": "results"}  # PROTOCOL 11.3, the other words seen


def ids_of(turn: Turn, call: ToolCall) -> dict[str, str]:
    """Whose call it is, as far as events say so."""
    ids = {"sessionId": turn.session.session_id, "requestId": turn.ask.request_id}
    if turn.options.tool_ids == "request":
        del ids["sessionId"]
    # Without the request id a client has to know the turn by the call's id.
    if turn.options.tool_ids == "first" and call.announced:
        del ids["requestId"]
    call.announced = True
    return ids


def sync(turn: Turn, call: ToolCall, status: str, *, results: list[Any] | None = None, message: str = "") -> None:
    """Push the state of a call in the spelling that the options ask for."""
    fields: dict[str, Any] = ids_of(turn, call) | {
        "projectPath": "/workspace", "toolCallId": call.call_id, "toolCallStatus": _status_word(turn, status),
        "parameters": json.loads(turn.options.tool_args), "results": results or [],
        "errorCode": "TOOL_ERROR" if message else "", "errorMsg": message,
    }  # fmt: skip
    # Encoded once, so that a push sent twice is the same to the byte.
    params = msgspec.json.encode(_spelled(turn, call, fields))
    for _ in range(2 if turn.options.tool_twice else 1):
        turn.pushes.push_raw("tool/call/sync", params)


def _status_word(turn: Turn, status: str) -> str:
    if turn.options.tool_words == "phases":
        status = PHASES.get(status, status)
    return status.lower() if turn.options.tool_lower else status


def _spelled(turn: Turn, call: ToolCall, fields: dict[str, Any]) -> dict[str, Any]:
    match turn.options.tool_shape:
        case "named":
            return fields | {"name": call.name}
        case "nested":
            return fields | {"toolCall": _moved(fields) | {"name": call.name}}
        case "data":
            return fields | {"data": {"toolCall": _moved(fields) | {"toolName": call.name}}}
        case "snake":
            inner = _moved(fields)
            arguments = json.dumps(inner["parameters"])
            snake = {"tool_call_id": call.call_id, "tool_name": call.name, "arguments": arguments}
            return fields | {"tool_call": snake | {"status": inner["toolCallStatus"], "result": inner["results"]}}
        case "items":
            # Several results in one event, each with the id of its call.
            items = [{"toolCallId": call.call_id, "name": call.name, "result": item} for item in fields["results"]]
            return fields | {"results": items}
        case _:
            return fields


def _moved(fields: dict[str, Any]) -> dict[str, Any]:
    """What concerns the call alone, taken out of the fields."""
    return {key: fields.pop(key) for key in ("toolCallId", "toolCallStatus", "parameters", "results")}


def all_finished(turn: Turn) -> None:
    """The push that ends the tool part of a turn."""
    fields = {
        "sessionId": turn.session.session_id, "requestId": turn.ask.request_id, "projectPath": "/workspace",
        "toolCallId": "", "toolCallStatus": "REQUEST_FINISHED", "parameters": {}, "results": [], "errorCode": "",
        "errorMsg": "",
    }  # fmt: skip
    turn.pushes.push_raw("tool/call/sync", msgspec.json.encode(fields))
