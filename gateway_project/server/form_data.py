"""A `multipart/form-data` body, read as it comes (RFC 7578). Bytes in, values out: no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

LONGEST_HEAD: Final = 8 << 10
LONGEST_BOUNDARY: Final = 70  # RFC 2046 5.1.1
_BOUNDARY: Final = re.compile(rb'multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]+)"|([^\s;"]+))', re.IGNORECASE)
_NAME: Final = re.compile(rb'^content-disposition:\s*form-data;(?:.*;)?\s*name="([^"]*)"', re.IGNORECASE | re.MULTILINE)
_FILE: Final = re.compile(rb"^content-disposition:.*;\s*filename\*?=", re.IGNORECASE | re.MULTILINE)


class BadForm(Exception):
    """It is no form that can be read."""


class Begins(msgspec.Struct, frozen=True):
    """A part begins; its bytes follow, and `Ends`."""

    name: str
    is_file: bool


class Ends(msgspec.Struct, frozen=True):
    """The part has ended."""


Event = Begins | bytes | Ends


def boundary_of(content_type: bytes) -> bytes | None:
    """None: it is no form of this kind. Raise BadForm for a boundary that makes no sense."""
    if not content_type.strip().lower().startswith(b"multipart/form-data"):
        return None
    found = _BOUNDARY.match(content_type.strip())
    boundary = (found[1] or found[2]) if found else b""
    if not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise BadForm
    return boundary


class FormData:
    """`feed` the body in pieces of any size; `is_done` when its last boundary has come."""

    def __init__(self, boundary: bytes) -> None:
        self.is_done = False
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")  # the first delimiter may stand at the very beginning
        self._state = self._skip

    def feed(self, data: bytes) -> list[Event]:
        """What has come. Raise BadForm."""
        self._buffer += data
        found: list[Event] = []
        while not self.is_done:
            state = self._state
            found.extend(state())
            if self._state == state:
                break
        if self.is_done:
            self._buffer.clear()  # whatever stands behind the last boundary is nobody's
        return found

    def _skip(self) -> Iterator[Event]:
        """What stands before the first part."""
        if self._take_delimiter() is not None:
            self._state = self._separate
        elif len(self._buffer) > LONGEST_HEAD:
            raise BadForm
        yield from ()

    def _separate(self) -> Iterator[Event]:
        """Behind a delimiter: another part, or the end."""
        if len(self._buffer) >= 2:
            sign = bytes(self._buffer[:2])
            del self._buffer[:2]
            if sign not in (b"--", b"\r\n"):
                raise BadForm
            self.is_done = sign == b"--"
            self._state = self._head
        yield from ()

    def _head(self) -> Iterator[Event]:
        end = self._buffer.find(b"\r\n\r\n")
        if end > LONGEST_HEAD or (end < 0 and len(self._buffer) > LONGEST_HEAD):
            raise BadForm
        if end >= 0:
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._state = self._body
            if (name := _NAME.search(head)) is None:
                raise BadForm
            yield Begins(name[1].decode("utf-8", "replace"), _FILE.search(head) is not None)

    def _body(self) -> Iterator[Event]:
        before = self._take_delimiter()
        if before is None:
            # A delimiter may be half there.
            whole = len(self._buffer) - len(self._delimiter) + 1
            before = bytes(self._buffer[: max(whole, 0)])
            del self._buffer[: len(before)]
            if before:
                yield before
            return
        self._state = self._separate
        if before:
            yield before
        yield Ends()

    def _take_delimiter(self) -> bytes | None:
        """Take it out of the buffer, with what stands before it; None: it is not there yet."""
        at = self._buffer.find(self._delimiter)
        if at < 0:
            return None
        before = bytes(self._buffer[:at])
        del self._buffer[: at + len(self._delimiter)]
        return before
