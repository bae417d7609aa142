"""The private listener: requests of other web processes, under the bounds of the public one and beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import uvicorn
from uvicorn.server import ServerState

from bridge.peers.listeners import Listener
from gateway_project.server.connections import Connections
from gateway_project.server.forwarded import TrustedProxies
from gateway_project.server.protocol import BoundedHttpProtocol

MOST: Final = 2048
"""Connections: each carries one turn, or none."""
CHECK_SEC: Final = 1.0


async def serve(application: Any, listeners: Sequence[Listener]) -> None:
    """Serve the application there, under either server, until cancelled."""
    loop, state = asyncio.get_running_loop(), ServerState()
    # Of one address all may be: another machine is one.
    connections = Connections(MOST, TrustedProxies(["*"]))
    config = uvicorn.Config(application, ws="none", lifespan="off", access_log=False, log_config=None)
    config.load()

    class Protocol(BoundedHttpProtocol):
        peers = connections

        def linger(self) -> bool:
            # TLS cannot end one direction alone.
            return self.raw.can_write_eof() and super().linger()

    def connected() -> Protocol:
        return Protocol(config, state, {}, loop)

    servers = [await loop.create_server(connected, sock=each.socket, ssl=each.tls) for each in listeners]
    try:
        while True:
            connections.check()
            await asyncio.sleep(CHECK_SEC)
    finally:
        for server in servers:
            server.close()
        for connection in list(state.connections):
            connection.transport.abort()
