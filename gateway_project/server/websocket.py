"""WebSockets: a connection of ours that goes on as one, at the paths that have them. All else ignores the wish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway_project.server import refusals
from gateway_project.server.bounds import LARGEST_MESSAGE
from gateway_project.server.refusals import rendered

if TYPE_CHECKING:
    from gateway_project.server.protocol import BoundedHttpProtocol

PATHS: Final = frozenset({"/admin/live/socket/"})
PING_SEC: Final = 20.0
MOST_AT_ONCE: Final = 2 * LARGEST_MESSAGE
MOST_IN_ALL: Final = 256 << 10
"""Bytes of a client, of one read and ever. All that comes is the answers to our pings, for six days. Each frame is read
in Python, and of empty ones a megabyte takes seconds."""
OPTIONS: Final[dict[str, Any]] = {
    "ws_max_size": LARGEST_MESSAGE, "ws_ping_interval": PING_SEC, "ws_ping_timeout": PING_SEC,
    "ws_per_message_deflate": False,
}  # fmt: skip


def is_wanted(scope: Any) -> bool:
    """Whether a request for an upgrade is a handshake at one of our paths."""
    if scope["path"] not in PATHS or scope["method"] != "GET":
        return False
    return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in scope["headers"])


class WebSocket(WebSocketsSansIOProtocol):
    """Reads and writes for the connection, whose bounds and deadlines go on."""

    received = 0

    def handshake(self, head: bytes) -> None:
        """Read the head, whose size is bounded already."""
        super().data_received(head)

    def data_received(self, data: bytes) -> None:
        """Read frames, and end a connection that sends more of them than anybody needs."""
        if self.transport.is_closing():
            return
        self.received += len(data)
        # Whoever has not been answered yet has nothing to say (RFC 6455 4.1), and may be a stranger.
        if self.handshake_complete:
            super().data_received(data[:MOST_AT_ONCE])
        if not self.handshake_complete or len(data) > MOST_AT_ONCE or self.received > MOST_IN_ALL:
            self.transport.close()


def begin(connection: BoundedHttpProtocol, rest: bytes) -> WebSocket:
    """Answer the handshake that the parser has stopped behind. `rest` came after it."""
    socket = WebSocket(connection.config, connection.server_state, connection.app_state)
    connection.connections.discard(connection)
    socket.connection_made(connection.raw)
    scope = connection.scope
    head = [scope["method"].encode("ascii"), b" ", connection.url, b" HTTP/1.1\r\n"]
    for name, value in scope["headers"]:
        head += (name, b": ", value, b"\r\n")
    socket.handshake(b"".join([*head, b"\r\n"]))
    # The library says nothing to a handshake with a body, or with more than it reads, and would wait for ever.
    if not socket.handshake_initiated:
        connection.peers.count_refusal(refusals.BAD_REQUEST)
        connection.raw.write(rendered(refusals.BAD_REQUEST, connection.url, connection.server_state.default_headers))
        connection.raw.close()
    elif rest:
        socket.data_received(rest)
    return socket
