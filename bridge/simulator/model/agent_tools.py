"""The agent's tool calls, in the order of the plugin: card, sync, approval, invocation, result."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from bridge.simulator.model.chunks import pieces_of
from bridge.simulator.model.tool_events import ids_of, sync
from bridge.simulator.process.timer_wheel import Steps
from bridge.simulator.state.service_state import ServiceState
from bridge.simulator.state.turn import ToolCall, Turn

IDE_TOOLS = frozenset({
    "read_file", "save_file", "run_in_terminal", "get_terminal_output", "replace_text_by_path",
    "create_file_with_text", "delete_file_by_path", "get_problems",
})  # fmt: skip
CARD_CHUNK = 7


def run(state: ServiceState, turn: Turn) -> Steps:
    """Call the scripted tools one after the other."""
    names = [name.strip() for name in turn.options.tools.split(",") if name.strip()]
    if turn.options.tool_forward and turn.ask.forced_tool:
        names.append(turn.ask.forced_tool)
    for name in names:
        call = ToolCall(f"call-{state.context.ids.hex()[:12]}", name)
        turn.tool_calls.append(call)
        # Before the first push of the call: a fast client may answer before the next step of this generator.
        state.turns.tool_calls[call.call_id] = (turn, call)
        try:
            yield from _one(state, turn, call)
        finally:
            # What a client sends after this is late, and changes nothing. Also where the turn is stopped meanwhile.
            del state.turns.tool_calls[call.call_id]


def _one(state: ServiceState, turn: Turn, call: ToolCall) -> Steps:
    if turn.options.tool_card:
        # The card is part of the text, cut like any other, so that clients have to find it across chunks.
        card = f"\n```toolCall::{call.name}::{call.call_id}::INIT\n```\n"
        for piece in pieces_of(card, chunks=0, size=turn.options.size or CARD_CHUNK):
            turn.pushes.delta(piece)
    match turn.options.tool_start:
        case "finished":
            sync(turn, call, "FINISHED", results=json.loads(turn.options.tool_results))
            return
        case "pending":
            sync(turn, call, "PENDING")
            if not (yield from _approved(state, turn, call)):
                return
    sync(turn, call, "RUNNING")
    # The plugin runs these; all others the service runs itself (PROTOCOL 11.1).
    if call.name in IDE_TOOLS:
        yield from _invoke(state, turn, call)
    else:
        sync(turn, call, "FINISHED", results=json.loads(turn.options.tool_results))


def _approved(state: ServiceState, turn: Turn, call: ToolCall) -> Generator[float, None, bool]:
    """Whether the tool may go on; if not, that has been pushed."""
    # An outcome without an approval counts as one.
    if turn.options.tool_approval and call.approved is None and call.outcome is None:
        yield from _until(state, turn, lambda: call.approved is not None or call.outcome is not None)
        if call.approved is None and call.outcome is None:
            sync(turn, call, "ERROR", message="approval timed out")
            return False
    if call.approved is False:
        sync(turn, call, "CANCELLED", message="rejected")
    return call.approved is not False


def _until(state: ServiceState, turn: Turn, done: Callable[[], bool]) -> Steps:
    """Rest until it is done or the time is up."""
    end = state.context.loop.time() + turn.options.tool_timeout_ms / 1000
    # In a loop, because the wheel wakes the turn for any change of its calls.
    while not done() and (left := end - state.context.loop.time()) > 0:
        yield left


def _invoke(state: ServiceState, turn: Turn, call: ToolCall) -> Steps:
    """An IDE tool: the client runs it and reports the outcome, now or later."""
    _push_invoke(state, turn, call)
    yield from _until(state, turn, lambda: call.outcome is not None)
    if call.outcome is None:
        sync(turn, call, "ERROR", message="no tool result")
    elif call.outcome.get("success") is False:
        sync(turn, call, "ERROR", message=str(call.outcome.get("errorMessage") or "tool failed"))
    else:
        sync(turn, call, "FINISHED", results=[call.outcome.get("result") or {}])


def _push_invoke(state: ServiceState, turn: Turn, call: ToolCall) -> None:
    params = ids_of(turn, call) | {
        "toolCallId": call.call_id, "name": call.name, "parameters": json.loads(turn.options.tool_args),
        "async": turn.options.tool_async,
    }  # fmt: skip
    if turn.options.tool_done:
        params["result"] = json.loads(turn.options.tool_results)[0]

    def answered(result: Any) -> None:
        # The answer to the push is the outcome, unless it has announced a later one (PROTOCOL 11.4).
        if not turn.options.tool_async and isinstance(result, dict):
            settle(state, turn, call, outcome=result)

    turn.pushes.peer.push(b"tool/invoke", msgspec.json.encode(params), turn.pushes.framing, answered)


def settle(
    state: ServiceState,
    turn: Turn,
    call: ToolCall,
    *,
    approved: bool | None = None,
    outcome: dict[str, Any] | None = None,
) -> None:
    """Take over what a client has sent about a call, and wake its turn. Only the first approval and the first outcome
    count.
    """
    if approved is not None and call.approved is None:
        call.approved = approved
        _echo(turn, call, "tool/call/approve", {"type": "tool_call", "approval": approved})
    elif outcome is not None and call.outcome is None:
        call.outcome = outcome
        _echo(turn, call, "tool/invokeResult", outcome)
    else:
        return
    state.context.wheel.wake(turn.job)


def _echo(turn: Turn, call: ToolCall, method: str, fields: dict[str, Any]) -> None:
    if turn.options.tool_echo:
        turn.pushes.push_raw(method, msgspec.json.encode(fields | ids_of(turn, call) | {"toolCallId": call.call_id}))
