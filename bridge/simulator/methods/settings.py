"""Models, settings, plans: what clients ask beside chats."""

from __future__ import annotations

from typing import Any

from bridge.simulator.methods.base import Method, Params, constant
from bridge.simulator.protocol.errors import RpcError
from bridge.simulator.protocol.peer import Peer
from bridge.simulator.state.service_state import ServiceState

SETTINGS = {
    "proxyMode": "system", "commandDenyList": [], "mcpAutoRun": False, "terminalRunMode": "ask",
    "webToolsExecutionMode": "ask", "askModeUseTools": False, "browserRunMode": "ask", "browserToolsRunMode": "ask",
}  # fmt: skip


def _query_models(state: ServiceState, peer: Peer, params: Params) -> Any:
    if state.context.controls.service.models_empty or state.login.refused():
        # Logged out, the service answers an empty object and no error (PROTOCOL 8.3).
        return {}
    return state.models.listed()


def _update_endpoint(state: ServiceState, peer: Peer, params: Params) -> Any:
    state.login.endpoint = str(params.get("endpoint") or "")
    state.clients.broadcast("config/changeEndpoint", {"endpoint": state.login.endpoint})
    return {"success": True}


def _plan(state: ServiceState, peer: Peer, params: Params) -> Any:
    if plan := state.context.controls.service.user_plan:
        return {"plan": plan}
    raise RpcError(-32603, "failed to get user plan info: HTTP status 404")


def _credit(state: ServiceState, peer: Peer, params: Params) -> Any:
    raise RpcError(-32603, "get user credit info error: HTTP status 400")


def _classes(state: ServiceState, peer: Peer, params: Params) -> Any:
    raise RpcError(-32603, f"no model config for scene: {params.get('scene') or ''}")


METHODS: dict[str, Method] = {
    "dataPolicy/query": constant({"agreed": True}),
    "user/plan": _plan,
    "credit/usage": _credit,
    "config/queryModels": _query_models,
    "config/getEndpoint": lambda state, peer, params: {"endpoint": state.login.endpoint},
    "config/updateEndpoint": _update_endpoint,
    "config/getGlobal": constant(SETTINGS),
    "feature/getFeatureFlags": constant({}),
    "model/queryClasses": _classes,
    "model/getByokConfig": constant({}),
}
