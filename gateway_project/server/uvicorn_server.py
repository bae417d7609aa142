"""uvicorn with our protocol: checks all connections once a second; at the end streams get an error event."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from gateway_project.env import Environment
from gateway_project.lib.background import until_next
from gateway_project.server import websocket
from gateway_project.server.collector import Collector
from gateway_project.server.connections import Connections, most_of, raise_descriptor_limit
from gateway_project.server.forwarded import TrustedProxies
from gateway_project.server.protocol import BoundedHttpProtocol

TICK_SEC = 1.0
CHECK_SEC = 0.1


class Server(uvicorn.Server):
    """Serves until SIGTERM, then lets running streams go on for DRAIN_SEC."""

    def __init__(self, application: str, env: Environment, started: Callable[[], None]) -> None:
        self._connections = Connections(most_of(raise_descriptor_limit()), TrustedProxies(env.trusted_proxies))
        self._collector = Collector()
        self._drain_sec = env.drain_sec
        self._started = started
        self._told = asyncio.Event()
        self._hurried = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(_config(application, env, self._connections))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGQUIT, self._hurry)
        # Once before the first connection, which takes its times from the last check.
        self._connections.check()
        await super().startup(sockets)
        self._started()

    async def main_loop(self) -> None:
        """Until it is told to end. uvicorn's own wakes up ten times a second to look whether it is."""
        while not await self.on_tick(0):  # what uvicorn does each tenth time, which is once a second, too
            with suppress(TimeoutError):
                async with asyncio.timeout(until_next(TICK_SEC)):
                    await self._told.wait()

    async def on_tick(self, counter: int) -> bool:
        # uvicorn's own tick: a task of ours could end unnoticed, and with it every deadline.
        self._connections.check()
        self._collector.check(self._connections.now)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As the signals' handler: a second one, or SIGQUIT, leaves the turns that run no more time."""
        if self._loop is not None:
            # A signal handler may run between any two steps of the loop; an asyncio.Event is not made for that.
            self._loop.call_soon_threadsafe(self._hurry if self.should_exit else self._told.set)
        super().handle_exit(sig, frame)

    def _hurry(self) -> None:
        self.should_exit = True
        self._told.set()
        self._hurried.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        from bridge.runtime.process import begin_to_stop

        # First: other processes must borrow no places while the running turns end.
        begin_to_stop()
        ending = asyncio.get_running_loop().create_task(self._end_turns())
        await super().shutdown(sockets)
        ending.cancel()

    async def _end_turns(self) -> None:
        """Turns that are still running just before the time is up get an ending; the rest is only cut."""
        from bridge.runtime.process import END_SEC, end_turns

        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_sec * 0.95):
                await self._hurried.wait()
        for _ in range(round(END_SEC / CHECK_SEC)):  # a turn that was about to begin is ended the next time
            end_turns()
            await asyncio.sleep(CHECK_SEC)
        for connection in list(self.server_state.connections):
            # Not close: that would wait for clients that do not read.
            connection.transport.abort()
        for task in self.server_state.tasks:
            task.cancel()


def _config(application: str, env: Environment, connections: Connections) -> uvicorn.Config:
    # uvicorn makes the protocols itself and passes nothing of ours along, so the class carries it.
    class Protocol(BoundedHttpProtocol):
        peers = connections

    return uvicorn.Config(
        application,
        interface="asgi3",
        loop="uvloop",
        http=Protocol,
        ws="none",  # our protocol begins them itself
        **websocket.OPTIONS,
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # `Forwarded` believes them, under either server
        backlog=2048,
        timeout_graceful_shutdown=env.drain_sec,  # type: ignore[arg-type]  # it is only given to wait_for
    )
