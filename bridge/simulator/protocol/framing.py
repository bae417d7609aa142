"""`Content-Length` framing, as the service reads and writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator

HEADER = re.compile(rb"\s*(?:[A-Za-z-]+:[^\r\n]*\r?\n)+\r?\n")
LENGTH = re.compile(rb"content-length:\s*(\d+)\s*?\r?\n", re.IGNORECASE)
LOOKS_LIKE_HEADER = re.compile(rb"\s*[A-Za-z-]*(?::|\Z)")
NEXT_HEADER = re.compile(rb"content-length:", re.IGNORECASE)


def framed(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class BodyReader:
    """Bytes in, bodies out, however the bytes are sliced. None stands for skipped garbage."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._need = 0

    @property
    def idle(self) -> bool:
        """Whether no part of a message is held."""
        return not self._held

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Yield every body that is complete now, and None for each piece of garbage that was skipped."""
        self._held += data
        # `_need` is known once a header was read: until so many bytes are there, nothing is parsed again.
        while len(self._held) >= self._need > 0 or (not self._need and self._held):
            found, body = self._take()
            if not found:
                return
            yield body

    def _take(self) -> tuple[bool, bytes | None]:
        head = HEADER.match(self._held)
        if head is None:
            return self._incomplete_or_garbage()
        length = LENGTH.search(head[0])
        if length is None:
            # A header without a length: nobody knows where its body ends, so the next header is looked for.
            del self._held[: head.end()]
            return True, None
        end = head.end() + int(length[1])
        if len(self._held) < end:
            self._need = end
            return False, None
        body = bytes(self._held[head.end() : end])
        self._drop(end)
        return True, body

    def _drop(self, count: int) -> None:
        self._need = 0
        del self._held[:count]

    def _incomplete_or_garbage(self) -> tuple[bool, bytes | None]:
        if LOOKS_LIKE_HEADER.match(self._held):
            return False, None
        # Bare JSON, as some clients send: it is skipped up to the next header.
        following = NEXT_HEADER.search(self._held)
        self._drop(following.start() if following else len(self._held))
        return True, None
