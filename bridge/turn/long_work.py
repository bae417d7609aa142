"""Work of some turns that would stop all the others: done in slices, of one turn at a time."""

from __future__ import annotations

import asyncio

from bridge.reply.calls.pauses import Result, Steps

SLICE_SEC = 0.005


class LongWork:
    """Whoever has such work gets a slice in turn. Between two slices the loop is others' for as long."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def run(self, steps: Steps[Result]) -> Result:
        """Go through the steps; what comes of them."""
        loop = asyncio.get_running_loop()
        while True:
            async with self._lock:
                began = loop.time()
                try:
                    while loop.time() - began < SLICE_SEC:
                        next(steps)
                except StopIteration as end:
                    result: Result = end.value
                    return result
                await asyncio.sleep(loop.time() - began)
