"""The client side of a WebSocket, sans-I/O: data frames are read here, everything rare by the `websockets` library."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.speedups import apply_mask
from websockets.uri import parse_uri

from bridge.lingma.errors import Broken, Refused

MAX_MESSAGE = 64 << 20
MAX_HEAD = 16 << 10
_SINGLE = (0x80 | Opcode.TEXT, 0x80 | Opcode.BINARY)
_BINARY = 0x80 | Opcode.BINARY
_SMALL = [bytes((_BINARY, 0x80 | length)) for length in range(126)]
"""The heads of short frames, by length."""
_MIDDLE, _LARGE = Struct("!BBH").pack, Struct("!BBQ").pack


class WebSocket:
    """One connection: `hello()`, then `feed()` and `message()`; `to_send()` after each feed.

    `mask` returns four fresh random bytes (RFC 6455, 5.3); this room makes none of its own.
    """

    def __init__(self, url: str, mask: Callable[[], bytes], headers: dict[str, str] | None = None) -> None:
        self.open = False
        self.broken: Broken | None = None
        """Why nothing comes after the messages that the last `feed` returned."""
        self.pongs = 0
        self._mask = mask
        # Used for the handshake, control frames and fragments only: most chunks of a reply are one whole frame, which
        # is read here without the library's objects for each. µs of CPU for a message with its LSP head, read: 6.1 with
        # the library, 1.7 here; written: 2.8 and 1.1 (`tests/bench/frames.py`).
        self._protocol = ClientProtocol(parse_uri(url), max_size=MAX_MESSAGE)
        self._headers = headers or {}
        self._tail: list[bytes] = []
        self._tail_length = 0
        self._needed = 2
        self._may_have_to_send = False
        self._in_fragments = False
        self._fragments: list[bytes] = []

    @property
    def is_between(self) -> bool:
        """It is open, and a frame begins that is the first of its message."""
        return self.open and not self._tail and not self._in_fragments

    def hello(self) -> bytes:
        request = self._protocol.connect()
        request.headers.update(self._headers)
        self._protocol.send_request(request)
        return b"".join(self._protocol.data_to_send())

    def to_send(self) -> bytes:
        """Answers to control frames, waiting to be written."""
        if not self._may_have_to_send:
            return b""
        self._may_have_to_send = False
        return b"".join(self._protocol.data_to_send())

    def message(self, *payloads: bytes) -> bytes:
        """Each payload as one masked binary message (PROTOCOL 17.1); all of them in one write."""
        return b"".join(map(self.frame, payloads))

    def frame(self, payload: bytes) -> bytes:
        """One such message."""
        mask, length = self._mask(), len(payload)
        if length < 126:
            head = _SMALL[length]
        elif length < 65536:
            head = _MIDDLE(_BINARY, 0x80 | 126, length)
        else:
            head = _LARGE(_BINARY, 0x80 | 127, length)
        # `apply_mask` is in C. A client has to mask (RFC 6455, 5.3), and in Python a large prompt would block the loop.
        return head + mask + apply_mask(payload, mask)

    def ping(self) -> bytes:
        return bytes((0x80 | Opcode.PING, 0x80)) + self._mask()

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived; return the payloads of the messages it completes. Raise Refused or Broken."""
        if self._tail:
            self._tail.append(data)
            self._tail_length += len(data)
            # Joining only when the frame is whole keeps a large message linear in its size.
            if self._tail_length < self._needed:
                return []
            data = b"".join(self._tail)
            self._tail = []
        if not self.open:
            return self._shake_hands(data)
        return self._take(data)

    def _shake_hands(self, data: bytes) -> list[bytes]:
        end = data.find(b"\r\n\r\n")
        if end < 0 and len(data) > MAX_HEAD:
            raise Refused(f"the answer's head exceeds {MAX_HEAD} bytes")
        if end < 0:
            self._store_rest(data, 0)
            return []
        # The status alone goes into the message: a body could be anything.
        if data.startswith(b"HTTP/1.1 ") and data[9:12] != b"101":  # the library would wait for the body
            raise Refused(f"HTTP {data[9:12].decode('latin-1')}")
        self._may_have_to_send = True
        self._protocol.receive_data(data[: end + 4])
        self._protocol.events_received()
        if (problem := self._protocol.handshake_exc) is not None:
            raise Refused(str(problem)) from None
        self.open = True
        # A server may send its first frames in the same packet as the head.
        return self._take(data[end + 4 :])

    def _take(self, data: bytes) -> list[bytes]:
        payloads: list[bytes] = []
        try:
            self._read_frames(data, payloads)
        except Broken as exc:
            if not payloads:
                raise
            self.broken = exc  # messages that came whole before it count, a last `chat/finish` for one
        return payloads

    def _read_frames(self, data: bytes, payloads: list[bytes]) -> None:
        position, size = 0, len(data)
        needed = 2
        while size - position >= 2:
            first, length = data[position], data[position + 1]
            start = position + 2
            if length == 126 and size - position >= 4:  # as most
                length = data[start] << 8 | data[start + 1]
                start += 2
            elif length > 125:
                width = 2 if length == 126 else 8
                # RFC 6455, 5.1: a server must not mask, and a client must close when it does.
                if length > 127:
                    raise Broken("the server masked a frame")
                needed = 2 + width
                if size - position < needed:
                    break
                length = int.from_bytes(data[start : start + width], "big")
                start += width
                # Before the bytes have come: they would have to be kept to find out.
                if length > MAX_MESSAGE:
                    raise Broken(f"a message exceeds {MAX_MESSAGE} bytes")
            end = start + length
            if end > size:
                needed = end - position
                break
            # Between fragments a data frame is an error, which the library reports.
            if first in _SINGLE and not self._in_fragments:
                payloads.append(data[start:end])
            else:
                self._read_rare(data[position:end], payloads)
            position, needed = end, 2
        if position < size:
            self._store_rest(data, position, needed)

    def _store_rest(self, data: bytes, position: int, needed: int = 2) -> None:
        """Keep what is left, at least a byte, until there are so many."""
        self._needed = needed
        self._tail_length = len(data) - position
        self._tail = [data[position:]]

    def _read_rare(self, frame: bytes, payloads: list[bytes]) -> None:
        """Control frames and fragments, one whole frame at a time."""
        self._may_have_to_send = True
        try:
            self._protocol.receive_data(frame)
        except WebSocketException as exc:
            raise Broken(str(exc)) from exc
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
                # Control frames may stand between fragments, so only data frames change this.
                self._in_fragments = not event.fin
                self._fragments.append(bytes(event.data))
                if event.fin:
                    payloads.append(b"".join(self._fragments))
                    self._fragments = []
            elif isinstance(event, Frame) and event.opcode is Opcode.PONG:
                self.pongs += 1
        if self._protocol.parser_exc is not None or self._protocol.close_expected():
            raise Broken(str(self._protocol.parser_exc or self._protocol.close_rcvd or "closed"))
