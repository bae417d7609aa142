"""daphne, stopped as the other server is: no new requests, time for those that run, then an error event for each."""

import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from daphne.server import Server
from twisted.internet import reactor
from twisted.internet.tcp import Port

from gateway_project.env import Environment
from gateway_project.server.bounds import LARGEST_MESSAGE
from gateway_project.server.daphne_bodies import Bodies, BoundedRequest, install
from gateway_project.server.uploads import UPLOADS

CHECK_SEC = 0.2


def serve(application: Any, listeners: list[socket.socket], env: Environment, started: Callable[[], None]) -> None:
    """Serve until SIGTERM, then let running streams go on for DRAIN_SEC."""
    loop: Any = reactor  # twisted types it as a module
    install(Bodies(env.request_buffer_bytes, UPLOADS, env.lingma_upload_max_bytes))
    server = Server(
        application,
        # detach: twisted owns the descriptor now; a socket object of ours would close it when collected.
        endpoints=[f"fd:fileno={listener.detach()}" for listener in listeners],
        signal_handlers=False,
        http_timeout=None,
        application_close_timeout=10,
        websocket_max_message_size=LARGEST_MESSAGE,
        websocket_max_frame_size=LARGEST_MESSAGE,
        ready_callable=lambda: loop.callLater(0, started),  # it is called before the loop runs
        verbosity=0,
        server_name="",
    )
    stopping = Stopping(server, loop, env.drain_sec)
    signal.signal(signal.SIGTERM, stopping.on_signal)
    signal.signal(signal.SIGQUIT, stopping.on_signal)
    server.run()


class Stopping:
    """What SIGTERM begins; a second one, or SIGQUIT, leaves the turns that run no more time."""

    def __init__(self, server: Any, loop: Any, drain_sec: float) -> None:
        self._server = server
        self._loop = loop
        self._drain_sec = drain_sec
        self._deadline: float | None = None

    def on_signal(self, number: int, _: object) -> None:
        begun = self._deadline is not None
        self._deadline = time.monotonic() + (0 if begun or number == signal.SIGQUIT else self._drain_sec)
        if not begun:
            # The only call of twisted that a signal handler may make.
            self._loop.callFromThread(self._drain)

    def _drain(self) -> None:
        """Accept no more, wait for the running requests until the deadline, end the turns, stop."""
        from bridge.runtime.process import END_SEC, begin_to_stop, end_turns, lends

        begin_to_stop()
        # The list is made first: stopping a port changes the readers.
        for port in [reader for reader in self._loop.getReaders() if isinstance(reader, Port)]:
            port.stopListening()  # type: ignore[no-untyped-call]  # twisted is typed in part
        # Requests alone: who watches the live page does so for hours, and comes back by itself.
        requests = [one for of, one in self._server.connections.items() if isinstance(of, BoundedRequest)]
        running = any(one.get("application_instance") for one in requests)
        late = time.monotonic() - (self._deadline or 0)
        if late >= 0:
            end_turns()
        if (running or lends()) and late < END_SEC:
            self._loop.callLater(CHECK_SEC, self._drain)
        else:
            self._loop.stop()
