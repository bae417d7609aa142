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
HANDSHAKE_SEC: Final = 5.0
"""For that of TLS, before which a connection is counted nowhere."""


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

    servers = []
    for each in listeners:
        sec = HANDSHAKE_SEC if each.tls is not None else None
        servers.append(
            await loop.create_server(
                connected, sock=each.socket, ssl=each.tls, ssl_handshake_timeout=sec, ssl_shutdown_timeout=sec
            )
        )
    try:
        while True:
            connections.check()
            await asyncio.sleep(CHECK_SEC)
    finally:
        for server in servers:
            server.close()
        for connection in list(state.connections):
            connection.transport.abort()
