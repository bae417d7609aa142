"""`Content-Encoding` of requests, undone in slices: bounded in size and growth, checked, and never long at a time."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from bridge.chat.errors import InvalidRequest, TooLarge, UnsupportedEncoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

OFFERED: Final = "gzip, deflate, zstd"
SLICE: Final = 1 << 18
"""Bytes that go in and come out at once: about a millisecond of gzip, in which nobody else is served."""

FIRST_SLICE: Final = 1 << 12
MOST_MEMBERS: Final = 4096
FREE: Final = 1 << 20
MOST_GROWTH: Final = 200
"""Bytes out for one byte in, beyond the first FREE bytes. Conversations shrink to a fifth or a tenth."""

WINDOW: Final = 23
"""The power of two that RFC 9659 lets a body in zstd ask of its reader: 8 MiB."""


def slices(body: bytes, encoding: bytes, most: int) -> Iterator[bytes]:
    """The plain text, piece by piece, some of them empty. Raise UnsupportedEncoding, InvalidRequest or TooLarge."""
    # A list of two encodings is not found here either, and is refused.
    start = _STARTS.get(encoding)
    if start is None:
        raise UnsupportedEncoding(f"This Content-Encoding is not supported here; send plain JSON, or one of {OFFERED}.")
    # Two bounds: `most` for memory, the growth for a small body that costs much work.
    size, grown = 0, FREE + MOST_GROWTH * len(body)
    try:
        for part in _members(body, start(body)):
            size += len(part)
            if size > most:
                raise TooLarge(f"The request body exceeds {most >> 20} MiB; send less, for example a shorter history.")
            if size > grown:
                raise TooLarge(
                    f"The request body grows more than {MOST_GROWTH} times when it is decoded; send it plain."
                )
            yield part
    except (zlib.error, zstd.ZstdError, EOFError):
        raise InvalidRequest(f"The body is not the {encoding.decode()} its Content-Encoding says.") from None


class _Member:
    """One gzip member, zlib stream or zstd frame. What is left behind its end is `unused`."""

    def __init__(self, wbits: int) -> None:
        self._inflater = zlib.decompressobj(wbits)

    @property
    def ended(self) -> bool:
        return self._inflater.eof

    @property
    def unused(self) -> int:
        return len(self._inflater.unused_data)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """All that comes out of the data; zlib checks the sum at the end."""
        while not self._inflater.eof:
            # The second argument bounds what comes out: a kilobyte may hold a megabyte.
            part = self._inflater.decompress(data, SLICE)
            data = self._inflater.unconsumed_tail
            yield part
            # A full slice may have more behind it, though all input was taken.
            if not data and len(part) < SLICE:
                return


class _Frame(_Member):
    def __init__(self) -> None:
        self._unpacker = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW})

    @property
    def ended(self) -> bool:
        return self._unpacker.eof

    @property
    def unused(self) -> int:
        return len(self._unpacker.unused_data)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while not self._unpacker.eof:
            yield self._unpacker.decompress(data, SLICE)
            # The decompressor keeps what it has not used; the empty calls below fetch the rest of its output.
            data = b""
            if self._unpacker.needs_input:
                return


def _members(body: bytes, start: Callable[[], _Member]) -> Iterator[bytes]:
    """One after the other, as RFC 1952 2.2 and RFC 8878 3 allow; zeros at the end are padding."""
    at = members = 0
    while True:
        members += 1
        member, step = start(), FIRST_SLICE
        while not member.ended:
            if at >= len(body) or members > MOST_MEMBERS:
                # An input that ends in the middle, or one that is cut into more members than any client makes.
                raise EOFError
            data, step = body[at : at + step], min(2 * step, SLICE)
            at += len(data)
            yield from member.feed(data)
        # The step may have reached into the next member.
        at -= member.unused
        if at == len(body) or (body[at] == 0 and body.count(0, at) == len(body) - at):
            return


def _deflate(body: bytes) -> Callable[[], _Member]:
    """In zlib's frame, as RFC 9110 8.4.1.2 has it, or bare as some send it."""
    # The two bytes of a zlib header: method 8 in the low bits, and divisible by 31 together.
    framed = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return lambda: _Member(zlib.MAX_WBITS if framed else -zlib.MAX_WBITS)


def _gzip(_body: bytes) -> Callable[[], _Member]:
    return lambda: _Member(16 + zlib.MAX_WBITS)


_STARTS: dict[bytes, Callable[[bytes], Callable[[], _Member]]] = {
    b"gzip": _gzip,
    b"x-gzip": _gzip,
    b"deflate": _deflate,
    b"zstd": lambda _body: _Frame,
}
