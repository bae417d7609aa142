"""The turns of other processes that this one runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Guests:
    """Counts them; a process that stops waits for them as for its own."""

    def __init__(self) -> None:
        self.count = 0
        self._left = asyncio.Event()

    @contextmanager
    def one(self) -> Iterator[None]:
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
            self._left.set()

    async def gone(self) -> None:
        """Until there are none. Whoever calls has a deadline."""
        while self.count:
            # No `await` between the look and this line, so nobody can leave in between.
            self._left.clear()
            await self._left.wait()
