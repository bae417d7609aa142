"""The ports and the unix socket, and the file that names them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from bridge.simulator.methods.login_pages import PageEnd
from bridge.simulator.process import work_dir
from bridge.simulator.protocol.sockets import StreamEnd, WebSocketEnd
from bridge.simulator.state.service_state import ServiceState

DEAD_PORT, DEAD_PID = 1, 4_194_303  # nobody listens on the first, the second is the largest possible pid
HOST = "127.0.0.1"


class Listeners:
    """The ports are known once it is open."""

    def __init__(self, state: ServiceState) -> None:
        self.state = state
        self.port = 0
        self._servers: list[asyncio.Server] = []

    @property
    def ipc(self) -> Path:
        return self.state.context.root / "lingma.sock"

    async def open(self, port: int, http_port: int) -> None:
        """Listen, and name the ports. Raise OSError when a port is taken."""
        loop, state = self.state.context.loop, self.state
        # A long backlog: load tests connect hundreds of clients at once.
        web = await loop.create_server(lambda: WebSocketEnd(state.clients), HOST, port, backlog=1024)
        pages = await loop.create_server(lambda: PageEnd(state), HOST, http_port)
        self._servers = [web, pages]
        # Read back from the sockets, as a port of 0 takes a free one.
        self.port, state.http_port = (server.sockets[0].getsockname()[1] for server in self._servers)
        if state.context.controls.service.ipc:
            self.ipc.unlink(missing_ok=True)
            self._servers.append(await loop.create_unix_server(lambda: StreamEnd(state.clients), str(self.ipc)))
        # Last: the file is how clients find the ports, so nothing may be missing behind it (PROTOCOL 2.3).
        self.write_info()

    def write_info(self) -> None:
        """Write `.info.json`, with the ports or with what is asked for in their place."""
        options = self.state.context.controls.service
        port = DEAD_PORT if options.info_stale else options.info_port or self.port
        pid = DEAD_PID if options.info_stale else os.getpid()
        work_dir.write_info(self.state.context.root, port=port, pid=pid, ipc=self.ipc if options.ipc else None)

    def log_ready(self) -> None:
        """The lines that the service writes when it is ready."""
        write, http_port = self.state.context.log.write, self.state.http_port
        write(f"Using http server: {http_port}")
        # Only the line: nothing listens on that port here.
        write(f"Using profile websocket channel: {http_port + 1000}")
        write(f"Communication servers ready - WebSocket: {self.port}, HTTP: {http_port}, IPC: {self.ipc}")

    def close(self) -> None:
        """Close the listeners; connections that are open stay."""
        for server in self._servers:
            server.close()

    def remove_socket(self) -> None:
        self.ipc.unlink(missing_ok=True)
