"""Those whom the gateway does not know are told so at a bounded pace, or a flood of them would take all its time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

RATE = 200.0  # refusals a second
BURST_SEC = 1.0  # as many as a second allows may come at once
LONGEST_SEC = 10.0


class Pace:
    """Who comes faster than RATE gets a time of its own, one after the other, none later than LONGEST_SEC."""

    def __init__(self) -> None:
        self._next = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until the answer may go out, 0 unless there is a flood."""
        # One number is the whole state: the time of the next answer, never further back than the burst allows.
        self._next = max(self._next, now - BURST_SEC) + 1 / RATE
        self._next = min(self._next, now + LONGEST_SEC)
        return max(0.0, self._next - now)


async def wait_or_gone(receive: Callable[[], Awaitable[dict[str, Any]]], seconds: float) -> None:
    """Wait, but for nobody who has left: what waits is as little as there are connections."""
    try:
        async with asyncio.timeout(seconds):
            await _gone(receive)
    except TimeoutError:
        pass


async def _gone(receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
    message = await receive()
    while message["type"] != "http.disconnect":
        if message.get("more_body"):  # nobody asked for a body, and this one is not read
            # Never set: the timeout of the caller ends the wait. Reading on would take the body of a stranger into
            # memory.
            await asyncio.Event().wait()
        message = await receive()
