"""LSP framing (PROTOCOL 4.3): `Content-Length` heads, UTF-8 JSON bodies. Bounded, indifferent to slicing."""

from __future__ import annotations

from bridge.lingma.errors import FramingError

MAX_HEADER = 4096
MAX_BODY = 64 << 20


def frame(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Framer:
    """Bytes in, bodies out. A message may come in pieces, several may come at once."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = 0  # bytes without which another look is pointless

    @property
    def is_between(self) -> bool:
        """A message begins."""
        return not self._buffer

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived; return the bodies it completes. Raise FramingError."""
        # The usual case costs no copy into a buffer: one frame, one message (PROTOCOL 4.1).
        if not self._buffer and (body := whole_message(data)) is not None:
            return [body]
        self._buffer += data
        bodies: list[bytes] = []
        # Without `_needed`, a large body in many small reads would have its head searched again at every read.
        while len(self._buffer) >= self._needed and (body := self._take_body()) is not None:
            bodies.append(body)
        return bodies

    def _take_body(self) -> bytes | None:
        # Bounded: a stream without any blank line must not be searched to its end each time.
        end_of_head = self._buffer.find(b"\r\n\r\n", 0, MAX_HEADER + 4)
        if end_of_head < 0:
            if len(self._buffer) > MAX_HEADER:
                raise FramingError(f"header exceeds {MAX_HEADER} bytes")
            return None
        start = end_of_head + 4
        end = start + content_length(bytes(self._buffer[:end_of_head]))
        if len(self._buffer) < end:
            self._needed = end
            return None
        body = bytes(self._buffer[start:end])
        del self._buffer[:end]
        self._needed = 0
        return body


def whole_message(data: bytes) -> bytes | None:
    """The body, when `data` is exactly one message with nothing but a length in its head: nearly always."""
    head, blank_line, body = data.partition(b"\r\n\r\n")
    # Everything else, other headers and pieces included, takes the general way.
    return body if head == b"Content-Length: %d" % len(body) and blank_line else None


def content_length(head: bytes) -> int:
    """The length a head announces. Names in any case, blanks and other headers allowed (PROTOCOL 4.3)."""
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"content-length":
            digits = value.strip()
            # `int()` alone would take signs, blanks and underscores.
            if not digits.isdigit() or int(digits) > MAX_BODY:
                raise FramingError("Content-Length is not a length, or is too large")
            return int(digits)
    raise FramingError("no Content-Length in the header")
