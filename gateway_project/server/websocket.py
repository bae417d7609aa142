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


def begin(connection: BoundedHttpProtocol, rest: bytes) -> WebSocket:
    """Answer the handshake that the parser has stopped behind. `rest` came after it."""
    socket = WebSocket(connection.config, connection.server_state, connection.app_state)
    connection.connections.discard(connection)
    socket.connection_made(connection.raw)
    scope = connection.scope
    head = [scope["method"].encode("ascii"), b" ", connection.url, b" HTTP/1.1\r\n"]
    for name, value in scope["headers"]:
        head += (name, b": ", value, b"\r\n")
    socket.data_received(b"".join([*head, b"\r\n", rest]))
    # The library says nothing to a handshake with a body, or with more than it reads, and would wait for ever.
    if not socket.handshake_initiated:
        connection.peers.count_refusal(refusals.BAD_REQUEST)
        connection.raw.write(rendered(refusals.BAD_REQUEST, connection.url, connection.server_state.default_headers))
        connection.raw.close()
    return socket
