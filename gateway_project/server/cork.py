"""The head of an answer and the first part of its body in one write.

uvicorn writes them by themselves, and uvloop makes a system call of each write: the dearest single step of a short
answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway_project.server.protocol import BoundedHttpProtocol

HEAD = b"HTTP/1.1 "


class Corked:
    """A transport that keeps a head until the loop comes round, or the body comes; the rest is the transport's own."""

    __slots__ = ("_head", "_loop", "_protocol", "_transport")

    def __init__(self, transport: asyncio.Transport, protocol: BoundedHttpProtocol) -> None:
        self._transport = transport
        self._protocol: BoundedHttpProtocol | None = protocol
        self._head = b""
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        """Write at once, unless it is a head."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(HEAD):
            self._head = data
            # Not later than this: a body may come much later than its head, and the client must see the head by then.
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def write_on(self, data: bytes) -> None:
        """Write at once what is no head."""
        if self._head:
            data, self._head = self._head + data, b""
        self._transport.write(data)

    def hold(self, head: bytes) -> None:
        """Keep a head until its body comes, however long that takes: nobody can use it before."""
        self._head = head

    def close(self) -> None:
        """Close, once everything is written; while the client still sends, it would lose the answer by that."""
        self._flush()
        # Closing with bytes unread makes the kernel send RST, which may take the answer away from the client.
        if self._protocol is None or not self._protocol.linger():
            self._transport.close()

    def is_closing(self) -> bool:
        return self._protocol is None or self._protocol.lingers or self._transport.is_closing()

    def let_go(self) -> None:
        """The connection has ended. Else it and its protocol would hold each other until the collector comes."""
        self._head, self._protocol = b"", None

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)

    # One by one, all that uvicorn and we use: with a `__getattr__` each look at an attribute takes four times as long.
    def abort(self) -> None:
        self._transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)
