"""WebSocket frames, the server's side: a lean reader of masked frames and a writer."""

from __future__ import annotations

import struct
from collections.abc import Callable

try:
    # The compiled one: masking byte by byte in Python would be most of the work of reading.
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part
    from websockets.utils import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN = 0x80


class FrameError(Exception):
    """The client breaks the rules of RFC 6455."""


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True) -> bytes:
    """One frame, unmasked as a server sends it."""
    size = len(payload)
    first = opcode | (FIN if final else 0)
    if size < 126:
        return b"%c%c%b" % (first, size, payload)
    if size < 65536:
        return b"%c\x7e%b%b" % (first, size.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (first, size.to_bytes(8, "big"), payload)


class FrameReader:
    """Bytes in, application bytes out; messages are not kept apart, because the framing inside does that."""

    def __init__(self, control: Callable[[int, bytes], None]) -> None:
        self._control = control
        self._held = bytearray()
        self._need = 0

    def feed(self, data: bytes) -> bytes:
        """All application bytes of the frames that are complete now."""
        if self._held:
            self._held += data
            # Known from the frame's head: a large frame in many reads is not parsed again at each.
            if len(self._held) < self._need:
                return b""
            data = bytes(self._held)
            self._held.clear()
        parts: list[bytes] = []
        at = self._frames(data, parts)
        if at < len(data):
            self._held += data[at:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _frames(self, data: bytes, parts: list[bytes]) -> int:
        at, end = 0, len(data)
        # Two bytes of head and four of mask: no frame of a client is shorter.
        while end - at >= 6:
            if (size := data[at + 1] - 128) < 0:
                raise FrameError("a client must mask its frames")
            start = at + 6
            if size > 125:
                start, size = self._long(data, at, size)
            stop = start + size
            if stop > end:
                self._need = stop - at
                return at
            payload = apply_mask(data[start:stop], data[start - 4 : start])
            opcode = data[at] & 0x0F
            # Continuations too: whatever the frames were, the bytes are one stream.
            if opcode <= BINARY:
                parts.append(payload)
            else:
                self._control(opcode, payload)
            at = stop
        self._need = 6
        return at

    def _long(self, data: bytes, at: int, size: int) -> tuple[int, int]:
        """(start, size) of a payload beyond 125 bytes; a head that is cut off asks for more by an endless size."""
        start = at + (8 if size == 126 else 14)
        if len(data) < start:
            # `start` lies beyond the data, so the caller waits for more.
            return start, 0
        return start, struct.unpack_from(">H" if size == 126 else ">Q", data, at + 2)[0]
