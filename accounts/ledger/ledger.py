"""The rows of one process on their way: ahead to Redis or to a spool file, where `filing` finds them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from pathlib import Path

import msgspec
import redis

from accounts.ledger.row import UsageRow
from accounts.ledger.spool import SPOOL, append, unwritten, waiting
from gateway_project.lib import redis_keys
from gateway_project.lib.redis_link import RedisLink, RedisUnavailable

BATCH = 500
COUNT_SEC = 1.0
UNCONFIRMED_SEC = 5.0
"""How long a row that Redis took may be in its memory only: it puts a write off for 2 s while the disk is busy."""
MOST_TAKEN = 20_000

_encode = msgspec.json.Encoder().encode


class Ledger:
    """
    Takes the rows of one process. When `write` has returned, a kill -9 of the process loses nothing.

    Nor does a kill -9 of Redis: it answers before a row is in its file, so the latest rows are put into the spool when
    Redis is lost. Rows that it had stored after all are recognised by their request ids.
    """

    def __init__(self, link: RedisLink, spool: Path) -> None:
        self._link = link
        self._spool = spool
        self._taken: deque[tuple[float, bytes]] = deque(maxlen=MOST_TAKEN)
        self._counting: asyncio.Future[int] | None = None
        # The link has one listener, and this is it: nothing else would lose data with the server.
        link.on_loss = self._redis_lost

    async def write(self, row: UsageRow) -> None:
        """Put the row where `flush` finds it. Never raises but for a cancellation, and the row is kept then too."""
        line = _encode(row)
        try:
            await self._link.execute("XADD", redis_keys.USAGE, "*", "row", line)
        except asyncio.CancelledError:
            append(self._spool, [line])  # whether it was sent is unknown; twice is once, by its request id
            raise
        # ResponseError: a full Redis refuses XADD with OOM, and the file has to take it as well.
        except (RedisUnavailable, redis.ResponseError):
            append(self._spool, [line])
        else:
            now, taken = time.monotonic(), self._taken
            taken.append((now, line))
            # Never empty: the row just added is young.
            while taken[0][0] < now - UNCONFIRMED_SEC:
                taken.popleft()

    def _redis_lost(self) -> None:
        since = time.monotonic() - UNCONFIRMED_SEC
        # Rows that Redis had stored are written a second time here; `filing` drops them by their request id.
        if unconfirmed := [line for at, line in self._taken if at >= since]:
            append(self._spool, unconfirmed)
        self._taken.clear()

    async def backlog(self) -> int:
        """Rows that wait for `flush`. Those in memory go to Redis, should it be there again before the disk is."""
        try:
            await self._send_unwritten()
            ahead = int(await self._link.execute("XLEN", redis_keys.USAGE))
        except (RedisUnavailable, redis.ResponseError, TimeoutError):
            ahead = 0
        # One count at a time: on a disk that hangs each heartbeat would else leave one more stuck thread.
        if self._counting is None or self._counting.done():
            self._counting = asyncio.ensure_future(asyncio.to_thread(waiting, self._spool))
        await asyncio.wait({self._counting}, timeout=COUNT_SEC)  # a disk that hangs must not stop the heartbeat
        if not self._counting.done() or self._counting.exception():  # or no descriptor is left, or no thread
            return ahead + len(unwritten)
        return ahead + self._counting.result()

    async def _send_unwritten(self) -> None:
        while self._link.available and (lines := unwritten.take(SPOOL, BATCH)):
            try:
                async with asyncio.timeout(COUNT_SEC):
                    sent = [self._link.execute("XADD", redis_keys.USAGE, "*", "row", line) for line in lines]
                    await asyncio.gather(*sent)
            # Also on cancellation: `take` made these rows ours, and nobody else has them.
            except BaseException:
                append(self._spool, lines)  # what was sent all the same is recognised by its request id
                raise
