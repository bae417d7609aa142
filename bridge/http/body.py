"""The body of a request, whole and bounded, plain or gzipped."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from bridge.chat.errors import InvalidRequest, TooLarge

MAX_BODY = 32 << 20

Receive = Callable[[], Awaitable[dict[str, Any]]]


class HungUp(Exception):
    """The client left before its request was whole."""


async def read_body(receive: Receive, headers: dict[bytes, bytes]) -> bytes:
    """The body, decoded. Raise TooLarge, InvalidRequest or HungUp."""
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > MAX_BODY:
        raise _too_large()
    message = await receive()
    if message["type"] == "http.disconnect":
        raise HungUp
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body = await _read_rest(receive, body)
    if len(body) > MAX_BODY:
        raise _too_large()
    return decoded(body, headers.get(b"content-encoding", b"").strip().lower())


async def _read_rest(receive: Receive, first: bytes) -> bytes:
    parts, size, more = [first], len(first), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HungUp
        part = message.get("body", b"")
        more = message.get("more_body", False)
        parts.append(part)
        size += len(part)
        if size > MAX_BODY:
            raise _too_large()
    return b"".join(parts)


def decoded(body: bytes, encoding: bytes) -> bytes:
    """Undo `Content-Encoding: gzip`, bounded as well; refuse any other."""
    if encoding in {b"", b"identity"}:
        return body
    if encoding not in {b"gzip", b"x-gzip"}:
        raise InvalidRequest("This Content-Encoding is not supported; send plain or gzipped JSON.")
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, MAX_BODY + 1)
    except zlib.error:
        raise InvalidRequest("The body is not the gzip its Content-Encoding says.") from None
    if len(plain) > MAX_BODY:
        raise _too_large()
    return plain


def _too_large() -> TooLarge:
    return TooLarge(f"The request body exceeds {MAX_BODY >> 20} MiB; send less, for example a shorter history.")
