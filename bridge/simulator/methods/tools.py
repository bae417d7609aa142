"""What clients say about tool calls: approvals and results."""

from __future__ import annotations

from typing import Any

from bridge.simulator.methods.base import Method, Params
from bridge.simulator.model import agent_tools
from bridge.simulator.protocol.peer import Peer
from bridge.simulator.state.service_state import ServiceState


def _approve(state: ServiceState, peer: Peer, params: Params) -> Any:
    if found := state.turns.tool_calls.get(str(params.get("toolCallId") or "")):
        agent_tools.settle(state, *found, approved=params.get("approval") is True)
    return {}


def _result(state: ServiceState, peer: Peer, params: Params) -> Any:
    if found := state.turns.tool_calls.get(str(params.get("toolCallId") or "")):
        agent_tools.settle(state, *found, outcome=params)
    return {"errorCode": None, "errorMessage": None}


def _results(state: ServiceState, peer: Peer, params: Params) -> Any:
    session_id = params.get("sessionId")
    # Of a session, as the request names no turn.
    calls = [call for turn, call in state.turns.tool_calls.values() if turn.session.session_id == session_id]
    shown = [
        {"toolCallId": call.call_id, "toolCallStatus": "RUNNING", "parameters": {}, "results": []} for call in calls
    ]
    return {"successful": True, "errorMessage": "", "toolResults": shown}


METHODS: dict[str, Method] = {
    "tool/call/approve": _approve,
    "tool/invokeResult": _result,
    "tool/call/results": _results,
}
