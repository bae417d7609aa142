"""Work of some turns that would stop all the others: done in slices, of one turn at a time, and of keys in turn."""

from __future__ import annotations

import asyncio

from bridge.reply.calls.pauses import Result, Steps
from gateway_project.lib.fair_line import FairLine

# No other turn waits longer than about this for the loop.
SLICE_SEC = 0.005


class LongWork:
    """Whoever has such work gets a slice in turn. Between two slices the loop is others' for as long."""

    def __init__(self) -> None:
        self._line = FairLine()

    async def run(self, key: int, steps: Steps[Result]) -> Result:
        """Go through the steps, for a turn of this key; what comes of them."""
        loop = asyncio.get_running_loop()
        while True:
            # One key with many such turns gets no more than its share.
            await self._line.enter(key)
            try:
                began = loop.time()
                # By the clock and not by a number of steps: their cost differs widely.
                while loop.time() - began < SLICE_SEC:
                    next(steps)
                # At most half of the loop's time goes to long work. The line is kept meanwhile, so all long work
                # together has this half.
                await asyncio.sleep(loop.time() - began)
            except StopIteration as end:
                result: Result = end.value
                return result
            # Left after each slice, so that the next key's turn comes.
            finally:
                self._line.leave(key)
