"""One WebSocket to a service: bytes to messages, and all that is sent in one turn of the loop to one write."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import cast
from urllib.parse import urlsplit

from bridge.chat.errors import ConnectionLost, ContextFull, Overloaded
from bridge.lingma.errors import Broken, DialFailed, FramingError, NotJson, Refused
from bridge.lingma.transport import rpc
from bridge.lingma.transport.framing import Framer
from bridge.lingma.transport.rpc import Incoming
from bridge.lingma.transport.urls import shown
from bridge.lingma.transport.websocket import WebSocket
from bridge.lingma.transport.whole import whole_messages
from gateway_project.lib.secrets.random_bytes import random_bytes

SEND_BUFFER_LIMIT = (
    32 << 20
)  # bytes the service may leave unread before it counts as dead; `require_room` keeps below it
ROOM_SEC = 1  # until a question may be tried again that found no room

Receive = Callable[[list[bytes], list[Incoming]], None]
"""Takes the raw bodies of one read and the messages parsed from them, both of the same length."""


class Channel(asyncio.Protocol):
    """Make it, set `receive`, then `open()` it; `lost` resolves to the reason when the connection is gone.

    Raise DialFailed for a URL that cannot be one.
    """

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self._address = _address(url)
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        # Set by the handshake, which is after TCP and TLS: a program may accept and never answer.
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.receive: Receive = lambda _bodies, _messages: None
        self.on_lost: Callable[[], None] = lambda: None
        """Called once, as soon as nothing more can be expected of it."""
        self.on_closed: Callable[[], None] = lambda: None
        """Called once, when the last byte has been read."""
        self.reads = 0
        """How often bytes have arrived: a sign of life of the service."""
        self._socket = WebSocket(url, random_bytes(4), headers)
        self._framer = Framer()
        self._is_between = False  # a frame and a message begin with the next read
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0

    async def open(self, within: float) -> None:
        """Connect and shake hands within that many seconds. Raise OSError, TimeoutError, Refused or Broken."""
        host, port, tls = self._address
        async with asyncio.timeout(within):
            await self._loop.create_connection(lambda: self, host, port, ssl=tls)
            try:
                await self.opened
            # A timeout cancels this wait. Without `close`, the half-open transport would live on with nobody to end
            # it.
            except BaseException:
                self.close()
                raise

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def pongs(self) -> int:
        """Answers to `ping`."""
        return self._socket.pongs

    @property
    def unsent(self) -> int:
        """Bytes that the service has not read yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def send(self, message: bytes) -> None:
        """Send a message with all else that is sent in this turn of the loop. Raise ConnectionLost."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionLost("The connection to the Lingma service was lost.")
        # Several turns often send in the same turn of the loop: one `send` system call for all of them.
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(message)
        self._outgoing_bytes += len(message)

    def answer(self, messages: list[bytes]) -> None:
        """Send them, behind what waits, before anything else happens. Only out of `receive`: then it is open."""
        # The order of messages must hold, so what waits for `_flush` goes out first.
        if self._outgoing:
            self._outgoing += messages
            self._flush()
        elif self._transport is not None:
            self._transport.write(self._socket.message(*messages))

    def require_room(self, size: int) -> None:
        """Raise ContextFull or Overloaded for a message that would cost all others the connection."""
        if size > SEND_BUFFER_LIMIT:  # twice the text, and more tokens than any model takes
            raise ContextFull()
        # Above the limit asyncio calls `pause_writing`, which ends the connection and every turn on it. So one large
        # question is refused before it gets there.
        if self.unsent + self._outgoing_bytes + size > SEND_BUFFER_LIMIT:
            raise Overloaded("The Lingma service has not read the questions before this one yet.", retry_after=ROOM_SEC)

    def ping(self) -> None:
        """Send a frame that the other side has to answer."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._socket.ping())

    def give_up(self, reason: str) -> None:
        self._mark_lost(reason)
        self.close()

    def close(self) -> None:
        if self._transport is not None:
            # Not `close()`: that waits until the buffer is written, which a service that does not read never allows.
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by behaviour only
        # What is large asks for room first (`require_room`), so reaching it means a service that does not read.
        self._transport.set_write_buffer_limits(high=SEND_BUFFER_LIMIT)
        self._transport.write(self._socket.hello())

    def pause_writing(self) -> None:
        self.give_up("the service does not read any more")

    def data_received(self, data: bytes) -> None:
        """Read what came, and hand on the messages that it completes."""
        # Counted before parsing: even bytes that make no message yet prove that the service lives.
        self.reads += 1
        bodies = whole_messages(data) if self._is_between else None
        if bodies is None:
            return self._read_by_steps(data)
        try:
            messages = list(map(rpc.parse, bodies))
        except NotJson as exc:
            return self.give_up(f"unreadable message: {exc}")
        # It was given up meanwhile: its turns may be asked elsewhere already, and nothing of them counts any more.
        if self._transport is not None and not self._transport.is_closing():
            self.receive(bodies, messages)
        return None

    def _read_by_steps(self, data: bytes) -> None:
        """The same for what may be anything: handshake, control frames, pieces."""
        try:
            bodies = self._read(data)
            messages = [rpc.parse(body) for body in bodies]
        except (Refused, Broken) as exc:
            return self._refused(exc)
        except (FramingError, NotJson) as exc:
            return self.give_up(f"unreadable message: {exc}")
        if self._transport is None or self._transport.is_closing():
            return None
        # A pong or a close must not wait behind what the handlers do.
        if control := self._socket.to_send():
            self._transport.write(control)
        if self._socket.open and not self.opened.done():
            self.opened.set_result(None)
        # After the handshake is reported, and before a close that came in the same read: messages that were sent
        # whole before it count, such as the last `chat/finish`.
        if messages:
            self.receive(bodies, messages)
        if self._socket.broken is not None:
            self.give_up(str(self._socket.broken))
        return None

    def _read(self, data: bytes) -> list[bytes]:
        """The bodies that the data complete, step by step. Raise Refused, Broken or FramingError."""
        bodies: list[bytes] = []
        for payload in self._socket.feed(data):
            bodies += self._framer.feed(payload)
        self._is_between = self._socket.is_between and self._framer.is_between
        return bodies

    def connection_lost(self, exc: Exception | None) -> None:
        """End everything that was under way (PROTOCOL 17.1). asyncio calls it once, also after `abort`."""
        reason = str(exc) if exc else "the connection was closed"
        if not self.opened.done():
            self.opened.set_exception(Broken(reason))
        # The instance learns first, and takes itself out of the choice; only then do turns fail and look for another
        # one.
        self._mark_lost(reason)
        self.on_closed()

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        self._outgoing_bytes = 0
        if outgoing and self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._socket.message(*outgoing))

    def _refused(self, exc: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc)
            self.close()
        else:
            self.give_up(str(exc))

    def _mark_lost(self, reason: str) -> None:
        # `give_up` marks it with the true reason; `connection_lost` follows with a general one, which is dropped
        # here.
        if not self.lost.done():
            self.lost.set_result(reason)
            self.on_lost()


def _address(url: str) -> tuple[str, int, ssl.SSLContext | None]:
    parts = urlsplit(url)
    with suppress(ValueError):  # a port beyond 65535
        if parts.hostname is not None and parts.scheme in {"ws", "wss"}:
            is_secure = parts.scheme == "wss"
            return parts.hostname, parts.port or (443 if is_secure else 80), _trust() if is_secure else None
    raise DialFailed(f"{shown(url)}: neither a ws:// nor a wss:// URL")


# Reading the system's authorities blocks the loop (about 30 ms), so all connections share one context.
@cache
def _trust() -> ssl.SSLContext:
    """The system's authorities, or those in SSL_CERT_FILE and SSL_CERT_DIR: what OpenSSL takes."""
    return ssl.create_default_context()
