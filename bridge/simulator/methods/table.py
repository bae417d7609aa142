"""The table of methods, applied to one message at a time."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.simulator.methods import chat, images, lifecycle, login, sessions, settings, tools
from bridge.simulator.methods.base import SILENCE, Method, Params
from bridge.simulator.protocol.errors import RpcError
from bridge.simulator.protocol.messages import Message
from bridge.simulator.protocol.peer import Peer
from bridge.simulator.state.service_state import ServiceState

EMPTY_REQUEST = "json: cannot unmarshal array into Go value of type definition.EmptyRequest"
BEFORE_INITIALIZE = {"initialize", "exit", "shutdown", "simulator/report"}
METHODS: dict[str, Method] = {
    **lifecycle.METHODS,
    **login.METHODS,
    **settings.METHODS,
    **images.METHODS,
    **chat.METHODS,
    **sessions.METHODS,
    **tools.METHODS,
}


def call(state: ServiceState, peer: Peer, message: Message) -> None:
    """Do one request or notification; a notification never gets an answer, not even an error."""
    is_request = message.id is not msgspec.UNSET
    request_id = message.id if not isinstance(message.id, msgspec.UnsetType) else None
    name = message.method or ""
    # Apart from the others: its answer has to be queued before the turn begins.
    if name == "chat/ask":
        chat.ask(state, peer, _object(message.params), request_id, is_request=is_request)
        return
    try:
        result = _run(state, peer, name, message, is_request=is_request)
    except RpcError as exc:
        if is_request:
            peer.refuse(request_id, exc.code, exc.message)
        return
    if is_request and result is not SILENCE:
        peer.answer(request_id, result)


def _run(state: ServiceState, peer: Peer, name: str, message: Message, *, is_request: bool) -> Any:
    method = METHODS.get(name)
    if method is None:
        kind = str(is_request).lower()
        state.context.log.write(f"err occur in {name}, isReq: {kind}, err: unknown method: {name}")
        raise RpcError(-32601, f"unknown method: {name}")
    if state.context.controls.service.need_initialize and not peer.initialized and name not in BEFORE_INITIALIZE:
        raise RpcError(-32002, "server not initialized")
    params = _object(message.params)
    if params is None:
        # The words of the real service, a program in Go, for a list (PROTOCOL 5.1).
        raise RpcError(-32602, EMPTY_REQUEST)
    return method(state, peer, params)


def _object(params: msgspec.Raw | msgspec.UnsetType) -> Params | None:
    value = msgspec.json.decode(params) if isinstance(params, msgspec.Raw) else None
    return value if isinstance(value, dict) else None
