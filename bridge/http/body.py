"""The body of a request, whole and bounded, plain or encoded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from bridge.bounds.load import HeldBody
from bridge.chat.errors import TooLarge
from bridge.http import encodings

MAX_BODY = 32 << 20
DIGITS_OF_MAX = len(str(MAX_BODY))
"""A length of fewer digits needs no closer look."""
LONGEST_LENGTH = 20
"""Digits of a length that fits into 64 bits."""
MOST_CALLS = 32
"""Steps of decoding without a pause; some bring nothing and cost all the same."""

Receive = Callable[[], Awaitable[dict[str, Any]]]


class HungUp(Exception):
    """The client left before its request was whole."""


async def read_body(
    receive: Receive, headers: dict[bytes, bytes], raw: Iterable[tuple[bytes, bytes]], held: HeldBody
) -> bytes:
    """The body, decoded. `raw` are the headers as they came.

    Raise TooLarge, InvalidRequest or HungUp, or what `held` says to more bytes.
    """
    # Refused before a byte is read, if the client is honest about the length; counted below if it is not.
    if len(headers.get(b"content-length", b"")) >= DIGITS_OF_MAX and announces_more(headers, MAX_BODY):
        raise _too_large()
    message = await receive()
    if message["type"] == "http.disconnect":
        raise HungUp
    body: bytes = message.get("body", b"")
    # Counted as it arrives: the bound is on what is in memory, not on what was announced.
    held.grow(len(body))
    if message.get("more_body"):
        body = await _read_rest(receive, body, held)
    if len(body) > MAX_BODY:
        raise _too_large()
    if b"content-encoding" not in headers:
        return body
    # Several headers of this name mean one list, and `headers` has only the last of them.
    listed = b",".join(value for name, value in raw if name == b"content-encoding")
    plain = await decoded(body, listed.strip().lower(), held)
    # From here on only the plain text exists.
    held.release(keep=len(plain))
    return plain


def announces_more(headers: Mapping[bytes, bytes], most: int) -> bool:
    """Whether Content-Length announces more; it may have thousands of zeros in front, which Python would not read."""
    announced = headers.get(b"content-length", b"").lstrip(b"0")
    return announced.isdigit() and (len(announced) > LONGEST_LENGTH or int(announced) > most)


async def _read_rest(receive: Receive, first: bytes, held: HeldBody) -> bytes:
    parts, size, more = [first], len(first), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HungUp
        part = message.get("body", b"")
        more = message.get("more_body", False)
        held.grow(len(part))
        parts.append(part)
        size += len(part)
        if size > MAX_BODY:
            raise _too_large()
    return b"".join(parts)


async def decoded(body: bytes, encoding: bytes, held: HeldBody | None = None) -> bytes:
    """Undo the encoding, bounded as well; others are served between two slices of it."""
    if encoding in {b"", b"identity"}:
        return body
    parts, since, calls = [], 0, 0
    for part in encodings.slices(body, encoding, MAX_BODY):
        # A small body may decode to a large one, so that the bound has to see the plain bytes too.
        if held is not None:
            held.grow(len(part))
        parts.append(part)
        since, calls = since + len(part), calls + 1
        if since >= encodings.SLICE or calls >= MOST_CALLS:
            # One pass of the event loop for the others: decoding never waits for anything by itself.
            since = calls = 0
            await asyncio.sleep(0)
    return b"".join(parts)


def _too_large() -> TooLarge:
    return TooLarge(f"The request body exceeds {MAX_BODY >> 20} MiB; send less, for example a shorter history.")
