"""The agent's side of tool calls, in the spelling of the plugin: card, sync, approval, invocation, result."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from . import personality
from .wheel import Steps

if TYPE_CHECKING:
    from collections.abc import Generator

    from .turn import Turn

IDE_TOOLS = frozenset({
    "read_file", "save_file", "run_in_terminal", "get_terminal_output", "replace_text_by_path",
    "create_file_with_text", "delete_file_by_path", "get_problems",
})  # fmt: skip
CARD_CHUNK = 7
PHASES = {"PENDING": "pending", "RUNNING": "processing", "FINISHED": "results"}  # PROTOCOL 11.3, the other words seen


class ToolCall(msgspec.Struct):
    """What the client has said about one call so far, in whatever order it said it."""

    call_id: str
    name: str
    approved: bool | None = None
    outcome: dict[str, Any] | None = None
    told: bool = False
    """A push has named it together with the turn."""


def run(turn: Turn) -> Steps:
    """Call the scripted tools one after the other."""
    names = [name.strip() for name in turn.knobs.tools.split(",") if name.strip()]
    if turn.knobs.tool_forward and turn.ask.forced_tool:
        names.append(turn.ask.forced_tool)
    for name in names:
        call = ToolCall(f"call-{turn.service.chance.hex()[:12]}", name)
        turn.tool_calls.append(call)
        turn.service.tool_calls[call.call_id] = (turn, call)
        yield from _one(turn, call)
        del turn.service.tool_calls[call.call_id]


def _one(turn: Turn, call: ToolCall) -> Steps:
    if turn.knobs.tool_card:
        card = f"\n```toolCall::{call.name}::{call.call_id}::INIT\n```\n"
        for piece in personality.pieces(card, chunks=0, size=turn.knobs.size or CARD_CHUNK):
            turn.say(piece)
    match turn.knobs.tool_start:
        case "finished":
            sync(turn, call, "FINISHED", results=json.loads(turn.knobs.tool_results))
            return
        case "pending":
            sync(turn, call, "PENDING")
            if not (yield from _approved(turn, call)):
                return
    sync(turn, call, "RUNNING")
    if call.name in IDE_TOOLS:
        yield from _invoke(turn, call)
    else:
        sync(turn, call, "FINISHED", results=json.loads(turn.knobs.tool_results))


def _approved(turn: Turn, call: ToolCall) -> Generator[float, None, bool]:
    """Whether the tool may go on; if not, that has been told."""
    if turn.knobs.tool_approval and call.approved is None and call.outcome is None:
        yield from _until(turn, lambda: call.approved is not None or call.outcome is not None)
        if call.approved is None and call.outcome is None:
            sync(turn, call, "ERROR", message="approval timed out")
            return False
    if call.approved is False:
        sync(turn, call, "CANCELLED", message="rejected")
    return call.approved is not False


def _until(turn: Turn, done: Callable[[], bool]) -> Steps:
    """Rest until it is done or the time is up."""
    end = turn.service.loop.time() + turn.knobs.tool_timeout_ms / 1000
    while not done() and (left := end - turn.service.loop.time()) > 0:
        yield left


def _invoke(turn: Turn, call: ToolCall) -> Steps:
    """An IDE tool: the client runs it and tells the outcome, now or later."""
    _push_invoke(turn, call)
    yield from _until(turn, lambda: call.outcome is not None)
    if call.outcome is None:
        sync(turn, call, "ERROR", message="no tool result")
    elif call.outcome.get("success") is False:
        sync(turn, call, "ERROR", message=str(call.outcome.get("errorMessage") or "tool failed"))
    else:
        sync(turn, call, "FINISHED", results=[call.outcome.get("result") or {}])


def _push_invoke(turn: Turn, call: ToolCall) -> None:
    params = _ids(turn, call) | {
        "toolCallId": call.call_id, "name": call.name, "parameters": json.loads(turn.knobs.tool_args),
        "async": turn.knobs.tool_async,
    }  # fmt: skip
    if turn.knobs.tool_done:
        params["result"] = json.loads(turn.knobs.tool_results)[0]

    def answered(result: Any) -> None:
        if not turn.knobs.tool_async and isinstance(result, dict):
            settle(turn, call, outcome=result)

    turn.peer.push(b"tool/invoke", msgspec.json.encode(params), turn.quirks, answered)


def settle(turn: Turn, call: ToolCall, *, approved: bool | None = None, outcome: dict[str, Any] | None = None) -> None:
    """The client has spoken; duplicates change nothing."""
    if approved is not None and call.approved is None:
        call.approved = approved
        _echo(turn, call, "tool/call/approve", {"type": "tool_call", "approval": approved})
    elif outcome is not None and call.outcome is None:
        call.outcome = outcome
        _echo(turn, call, "tool/invokeResult", outcome)
    else:
        return
    turn.service.wheel.wake(turn.job)


def _echo(turn: Turn, call: ToolCall, method: str, said: dict[str, Any]) -> None:
    if turn.knobs.tool_echo:
        turn.push_raw(method, msgspec.json.encode(said | _ids(turn, call) | {"toolCallId": call.call_id}))


def _ids(turn: Turn, call: ToolCall) -> dict[str, str]:
    """Whose call it is, as far as events tell."""
    ids = {"sessionId": turn.session.session_id, "requestId": turn.ask.request_id}
    if turn.knobs.tool_ids == "request":
        del ids["sessionId"]
    if turn.knobs.tool_ids == "first" and call.told:
        del ids["requestId"]
    call.told = True
    return ids


def sync(turn: Turn, call: ToolCall, status: str, *, results: list[Any] | None = None, message: str = "") -> None:
    """Push the state of a call."""
    fields: dict[str, Any] = _ids(turn, call) | {
        "projectPath": "/workspace", "toolCallId": call.call_id, "toolCallStatus": _word(turn, status),
        "parameters": json.loads(turn.knobs.tool_args), "results": results or [],
        "errorCode": "TOOL_ERROR" if message else "", "errorMsg": message,
    }  # fmt: skip
    params = msgspec.json.encode(_spelled(turn, call, fields))
    for _ in range(2 if turn.knobs.tool_twice else 1):
        turn.push_raw("tool/call/sync", params)


def _word(turn: Turn, status: str) -> str:
    if turn.knobs.tool_words == "phases":
        status = PHASES.get(status, status)
    return status.lower() if turn.knobs.tool_lower else status


def _spelled(turn: Turn, call: ToolCall, fields: dict[str, Any]) -> dict[str, Any]:
    match turn.knobs.tool_shape:
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
    turn.push_raw("tool/call/sync", msgspec.json.encode(fields))
