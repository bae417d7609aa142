"""The connection between two web processes: messages, written together, and what has not been taken yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec

from bridge.siblings.messages import MOST_BYTES

BUFFER_BYTES = 64 << 20
"""What the other side may leave unread before nothing more is asked of it."""
ROOM_BYTES = 1 << 20
"""What it may leave unread before pieces of turns wait."""
HEAD = 4  # bytes that hold the length of a message


class Link(asyncio.Protocol):
    """`receive` is called with every message; `lost` resolves when the connection is gone."""

    def __init__(self, kinds: Any, receive: Callable[[Any], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.received_at = self._loop.time()
        self._receive = receive
        self._decode = msgspec.msgpack.Decoder(kinds).decode
        self._encode = msgspec.msgpack.Encoder(enc_hook=str).encode
        self._transport: asyncio.Transport | None = None
        self._read = bytearray()
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        # Only pieces of turns wait for it. Questions and grants are small or bounded elsewhere, and must not be late.
        self._room = asyncio.Event()
        self._room.set()

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, message: msgspec.Struct) -> bool:
        """Send it with all else that is sent in this turn of the loop; whether it could be."""
        if not self.open:
            return False
        body = self._encode(message)
        unsent = self._transport.get_write_buffer_size() if self._transport is not None else 0
        # Refused and not waited for: whoever sends has another way, such as an own instance or another process.
        if len(body) > MOST_BYTES or unsent + self._outgoing_bytes + len(body) > BUFFER_BYTES + MOST_BYTES:
            return False
        # All that is sent in one turn of the loop goes out in one system call.
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing += (len(body).to_bytes(HEAD, "big"), body)
        self._outgoing_bytes += len(body)
        return True

    @property
    def is_behind(self) -> bool:
        """The other side has much to read."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Wait until the other side has read most of what it was sent, or the connection is gone."""
        await self._room.wait()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by behaviour only
        # Above it asyncio calls `pause_writing`, and `resume_writing` at a quarter of it.
        self._transport.set_write_buffer_limits(high=ROOM_BYTES)

    def data_received(self, data: bytes) -> None:
        """Act on every message that is complete. What cannot be read ends the connection."""
        # Any byte is a sign of life: a large message may take longer than the interval of the signs.
        self.received_at = self._loop.time()
        read, position = self._read, 0
        read += data
        while len(read) - position >= HEAD:
            start = position + HEAD
            end = start + int.from_bytes(read[position:start], "big")
            # Both ends are of one version, so this is no message of ours: the stream cannot be followed further.
            if end - start > MOST_BYTES:
                return self.close()
            if len(read) < end:
                break
            try:
                message = self._decode(bytes(read[start:end]))
            except msgspec.MsgspecError:
                return self.close()
            position = end
            # After `position` has moved on: whatever the message causes, it is not read twice.
            self._receive(message)
        del read[:position]
        return None

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        # Who waits for room must not wait for a connection that is gone.
        self._room.set()
        if not self.lost.done():
            self.lost.set_result(None)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        self._outgoing_bytes = 0
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(outgoing))
