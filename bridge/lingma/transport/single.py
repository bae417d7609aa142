"""A read that is one frame with one message, and nothing else: nearly all are, where chunks do not come in step."""

from __future__ import annotations

from functools import lru_cache

BLANK_LINE = b"\r\n\r\n"
LONGEST = 60_000
"""Bytes of a message that is looked at here: the length of its frame takes two bytes at most."""


@lru_cache(maxsize=1024)
def _heads_of(size: int) -> tuple[bytes, ...]:
    """All that may stand before a body of that size: a text or a binary frame's head, and LSP's with a length alone."""
    lsp = b"Content-Length: %d" % size
    length = len(lsp) + len(BLANK_LINE) + size
    if size > LONGEST:
        return ()
    head = bytes((length,)) if length < 126 else b"\x7e" + length.to_bytes(2, "big")
    return (b"\x81" + head + lsp, b"\x82" + head + lsp)


def single_message(data: bytes) -> bytes | None:
    """The body, if the read is such a one. To be asked only where a frame and a message begin.

    None for all else, which is read step by step (`WebSocket`, `Framer`). Both heads are compared at once with those
    that they have to be: to read the lengths out of them takes four times as long.
    """
    head, _, body = data.partition(BLANK_LINE)
    return body if head in _heads_of(len(body)) else None
