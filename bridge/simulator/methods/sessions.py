"""The sessions that are kept: listed, read, deleted."""

from __future__ import annotations

from typing import Any

from bridge.simulator.methods.base import Method, Params
from bridge.simulator.protocol.errors import RpcError
from bridge.simulator.protocol.peer import Peer
from bridge.simulator.state.service_state import ServiceState
from bridge.simulator.state.sessions import Session


def _existing(state: ServiceState, params: Params) -> Session:
    session = state.sessions.by_id.get(str(params.get("sessionId") or ""))
    if session is None:
        raise RpcError(-32603, "session not found")
    return session


def _list(state: ServiceState, peer: Peer, params: Params) -> Any:
    return [session.shown(full=False) for session in state.sessions.by_id.values()]


def _get(state: ServiceState, peer: Peer, params: Params) -> Any:
    return _existing(state, params).shown(full=True)


def _delete(state: ServiceState, peer: Peer, params: Params) -> Any:
    state.sessions.forget(str(params.get("sessionId") or params.get("id") or ""))


def _delete_record(state: ServiceState, peer: Peer, params: Params) -> Any:
    state.sessions.forget(str(params.get("sessionId") or ""), str(params.get("requestId") or ""))


def _clear(state: ServiceState, peer: Peer, params: Params) -> Any:
    state.sessions.by_id.clear()
    state.sessions.save()


def _current(state: ServiceState, peer: Peer, params: Params) -> Any:
    running = sorted({turn.session.session_id for turn in state.turns.by_request.values()})
    return {"errorCode": None, "errorMessage": None, "currentSessionIds": running}


METHODS: dict[str, Method] = {
    "chat/listAllSessions": _list,
    "chat/getSessionById": _get,
    "chat/deleteSessionById": _delete,
    "chat/deleteChatById": _delete_record,
    "chat/clearAllSessions": _clear,
    "session/getCurrent": _current,
}
