"""Sockets: WebSocket connections and the raw stream of the unix socket, both ending in a `Peer`."""

from __future__ import annotations

import asyncio
from typing import cast

from websockets.http11 import Request
from websockets.server import ServerProtocol

from bridge.simulator.protocol.clients import Clients
from bridge.simulator.protocol.frames import CLOSE, PING, PONG, FrameError, FrameReader, frame
from bridge.simulator.protocol.peer import Peer

PATHS = {"/", "/ws"}
MAX_HEAD = 65536


class SocketEnd(asyncio.Protocol):
    """What both kinds share: one peer, from the connection to its loss."""

    transport: asyncio.Transport
    peer: Peer
    websocket = False

    def __init__(self, clients: Clients) -> None:
        self.clients = clients

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.peer = self.clients.join(websocket=self.websocket)
        # Bound once: the outlet knows neither sockets nor frames.
        self.peer.outlet.write = self.transport.write
        self.peer.outlet.close = self.shut

    def data_received(self, data: bytes) -> None:
        self.peer.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.clients.leave(self.peer)

    def shut(self, hard: bool) -> None:
        """Close after what is queued; `hard` leaves the closing handshake out."""
        self.peer.outlet.flush()
        self.transport.close()


class StreamEnd(SocketEnd):
    """A connection on the unix socket: framed messages without WebSocket around them."""


class WebSocketEnd(SocketEnd):
    """The handshake is the websockets library's; the frames after it are read by our own lean reader."""

    websocket = True

    def __init__(self, clients: Clients) -> None:
        super().__init__(clients)
        self._head: bytes | None = b""
        self._reader = FrameReader(self._control)

    def data_received(self, data: bytes) -> None:
        # None after the handshake; until then the bytes are HTTP.
        if self._head is not None:
            data = self._handshake(data)
        if not data:
            return
        try:
            received = self._reader.feed(data)
        except FrameError as exc:
            self._send_close(1002, str(exc))
            return
        if received:
            self.peer.receive(received)

    def _handshake(self, data: bytes) -> bytes:
        """Answer the upgrade when its head is complete; what follows the head is returned."""
        head, blank, rest = ((self._head or b"") + data).partition(b"\r\n\r\n")
        if not blank:
            self._head = head
            if len(head) > MAX_HEAD:
                self.transport.abort()
            return b""
        # The library checks key and version of the upgrade. Its frames would cost several objects per chunk.
        protocol = ServerProtocol()
        protocol.receive_data(head + blank)
        accepted = any(self._welcome(protocol, event) for event in protocol.events_received())
        self.transport.write(b"".join(protocol.data_to_send()))
        if not accepted:
            self.transport.close()
            return b""
        self._head = None
        return rest

    def _welcome(self, protocol: ServerProtocol, event: object) -> bool:
        if not isinstance(event, Request):
            return False
        is_served = event.path.partition("?")[0] in PATHS
        response = protocol.accept(event) if is_served else protocol.reject(404, "not found\n")
        protocol.send_response(response)
        return response.status_code == 101

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            # A ping keeps the connection alive, though it brings no message.
            self.peer.received_at = self.clients.context.loop.time()
            if self.clients.context.controls.service.pings in {"all", "frames"}:
                self.peer.outlet.send(frame(payload, PONG))
        elif opcode == CLOSE:
            self.peer.outlet.flush()
            # The same code back, without the reason, as RFC 6455 5.5.1 advises.
            self.transport.write(frame(payload[:2], CLOSE))
            self.transport.close()

    def _send_close(self, code: int, reason: str) -> None:
        self.peer.outlet.flush()
        self.transport.write(frame(code.to_bytes(2, "big") + reason.encode(), CLOSE))
        self.transport.close()

    def shut(self, hard: bool) -> None:
        """Close after what is queued; `hard` leaves the closing handshake out."""
        if hard or self._head is not None:
            super().shut(hard)
        else:
            self._send_close(1001, "service stops")
