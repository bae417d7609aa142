"""Bytes on their way to one client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Outlet:
    """The socket sets `write`, and `close`; the argument of that is whether it leaves the closing handshake out."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.closed = False
        self.write: Callable[[bytes], None] = lambda data: None
        self.close: Callable[[bool], None] = lambda hard: None
        self._queued: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Queue bytes; what is queued in one turn of the loop leaves in one write."""
        if self.closed or not data:
            return
        if not self._queued:
            # One write for all chunks of a pass: a system call per chunk would limit load tests.
            self.loop.call_soon(self.flush)
        self._queued.append(data)

    def flush(self) -> None:
        if self._queued:
            data = self._queued[0] if len(self._queued) == 1 else b"".join(self._queued)
            self._queued.clear()
            self.write(data)

    def drop(self) -> None:
        """Cut the connection after what has been sent so far, without a closing handshake."""
        self.flush()
        self.close(True)

    def lost(self) -> None:
        """The connection is gone; what is sent later is discarded."""
        # A turn goes on without its client, and its pushes must not pile up here.
        self.closed = True
        self._queued.clear()
