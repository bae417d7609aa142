"""How a push leaves when nothing is asked for: a rising id, and a text frame of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from bridge.simulator.protocol.frames import TEXT, frame

Ids = Literal["int", "string", "none"]


class Framing:
    """`wrap(message)` gives the bytes that go out now, which may be none; `release()` those that were held back."""

    def __init__(self, ids: Ids = "int", opcode: int = TEXT) -> None:
        self.ids = ids
        self.opcode = opcode
        self.wrap: Callable[[bytes], bytes] = self._wrap

    def _wrap(self, message: bytes) -> bytes:
        size = len(message)
        # The size of nearly all pushes: this spares a call per chunk.
        if 125 < size < 65536:
            return b"%c\x7e%b%b" % (0x80 | self.opcode, size.to_bytes(2, "big"), message)
        return frame(message, self.opcode)

    def release(self) -> bytes:
        return b""


class StreamFraming(Framing):
    """A unix socket has no frames; only ids can be odd there."""

    def __init__(self, ids: Ids = "int") -> None:
        super().__init__(ids)
        # `bytes` of bytes gives back the same object: no wrapping and no copy.
        self.wrap = bytes
