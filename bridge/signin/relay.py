"""One GET to the HTTP port of the service that logs in: a pasted callback, and nothing else (PROTOCOL 7.3)."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Final

from bridge.logins.callback import PATHS

WITHIN_SEC: Final = 10.0
LARGEST: Final = 64 << 10
"""Bytes of the answer that are read."""


async def relay(port: int, target: str) -> str:
    """The page that the service answers, "" if it has none. `target`: path and query, as `callback.target_of` has it.

    Raise OSError or TimeoutError.
    """
    if not port or target.partition("?")[0] not in PATHS or not target.isascii() or not target.isprintable():
        raise OSError("this is no callback")
    async with asyncio.timeout(WITHIN_SEC):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with closing(writer):
            head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
            writer.write(head.encode("ascii"))
            answer = await _read(reader)
    return answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")


async def _read(reader: asyncio.StreamReader) -> bytes:
    found = b""
    while len(found) < LARGEST and (data := await reader.read(LARGEST - len(found))):
        found += data
    return found
