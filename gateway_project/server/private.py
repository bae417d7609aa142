"""The private listener: requests of other web processes, under the bounds of the public one and beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import uvicorn
from uvicorn.server import ServerState

from bridge.peers.listeners import Listener
from gateway_project.server.connections import Connections
from gateway_project.server.forwarded import TrustedProxies
from gateway_project.server.handshakes import Handshakes
from gateway_project.server.protocol import BoundedHttpProtocol

MOST: Final = 2048
"""Connections: each carries one turn, or none."""
CHECK_SEC: Final = 1.0
HANDSHAKE_SEC: Final = 5.0
MOST_HANDSHAKES: Final = 64
"""For that of TLS, and how many may be under way: before it nobody has shown who he is."""


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

    servers, handshakes = [], []
    for each in listeners:
        begin: Callable[[], asyncio.Protocol] = connected
        if each.tls is not None:
            handshakes.append(Handshakes(each.tls, connected, MOST_HANDSHAKES, HANDSHAKE_SEC))
            begin = handshakes[-1].connected
        servers.append(await loop.create_server(begin, sock=each.socket))
    try:
        while True:
            connections.check()
            await asyncio.sleep(CHECK_SEC)
    finally:
        for server in servers:
            server.close()
        for unfinished in handshakes:
            unfinished.close()
        for connection in list(state.connections):
            connection.transport.abort()
