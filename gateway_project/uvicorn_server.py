"""uvicorn with our protocol, a look at all connections once a second, and streams that end in words when it stops."""

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from gateway_project.connections import Connections, most_of, raise_descriptor_limit
from gateway_project.env import Environment
from gateway_project.forwarded import TrustedProxies
from gateway_project.http_protocol import BoundedHttpProtocol

LOOK_EVERY = 10  # of uvicorn's ticks, which are tenths of a second


class Server(uvicorn.Server):
    """Serves until SIGTERM, then lets running streams go on for DRAIN_SEC."""

    def __init__(self, application: str, env: Environment, started: Callable[[], None]) -> None:
        self._connections = Connections(most_of(raise_descriptor_limit()), TrustedProxies(env.trusted_proxies))
        self._drain_sec = env.drain_sec
        self._started = started
        super().__init__(_config(application, env, self._connections))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        self._connections.look()
        await super().startup(sockets)
        self._started()

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop."""
        if counter % LOOK_EVERY == 0:
            self._connections.look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        from bridge.runtime import end_turns

        # Turns that are still running just before the time is up get an ending; the rest uvicorn only cuts.
        asyncio.get_running_loop().call_later(self._drain_sec * 0.95, end_turns)
        await super().shutdown(sockets)


def _config(application: str, env: Environment, connections: Connections) -> uvicorn.Config:
    class Protocol(BoundedHttpProtocol):
        peers = connections

    return uvicorn.Config(
        application,
        interface="asgi3",
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # `Forwarded` believes them, under either server
        backlog=2048,
        timeout_graceful_shutdown=env.drain_sec,  # type: ignore[arg-type]  # it is only given to wait_for
    )
