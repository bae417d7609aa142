"""The connection and the process: from `initialize` to `exit`."""

from __future__ import annotations

from typing import Any

from bridge.simulator.methods.base import SILENCE, Method, Params, constant
from bridge.simulator.protocol.peer import Peer
from bridge.simulator.state.service_state import ServiceState

CAPABILITIES = {
    "textDocumentSync": {"openClose": True, "change": 1},
    "completionProvider": {"resolveProvider": False, "triggerCharacters": ["."]},
}


def _initialize(state: ServiceState, peer: Peer, params: Params) -> Any:
    options = state.context.controls.service
    if options.initialize_silent:
        return SILENCE
    # Per connection: another client of the same service has to do it too.
    peer.initialized = True
    if not params.get("workspaceFolders") and not params.get("rootUri"):
        state.context.log.write("get mtree failed: workspacePath is empty")
    info = {"name": options.server_name, "version": options.version_string}
    return {"capabilities": CAPABILITIES, "serverInfo": info}


def _ping(state: ServiceState, peer: Peer, params: Params) -> Any:
    return {"success": True} if state.context.controls.service.pings in {"all", "requests"} else SILENCE


def _exit(state: ServiceState, peer: Peer, params: Params) -> Any:
    state.stop()
    return SILENCE


def _report(state: ServiceState, peer: Peer, params: Params) -> Any:
    return state.report()


METHODS: dict[str, Method] = {
    "initialize": _initialize,
    "ping": _ping,
    "shutdown": constant(None),
    "exit": _exit,
    "simulator/report": _report,
}
