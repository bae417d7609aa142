"""The rows of one process on their way: ahead to Redis or to a spool file, where `filing` finds them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import redis

from accounts.ledger import shared_rows
from accounts.ledger.row import OPENED, OPENING, Amendment, UsageRow
from accounts.ledger.spool import SPOOL, append, unwritten, waiting
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable

BATCH = 500
COUNT_SEC = 1.0
UNCONFIRMED_SEC = 5.0
"""How long a row that Redis took may be in its memory only: it puts a write off for 2 s while the disk is busy."""
OPENING_SEC = 0.015
"""Until the opening of a turn is sent. No client has seen anything of a turn that is lost before."""
# Of UNCONFIRMED_SEC: 8,000 rows a second, far more than a process writes.
MOST_TAKEN = 40_000
RUN_SEC = 10
"""How long a process counts as alive after its last sign of life."""

_encode = msgspec.json.Encoder().encode


class OpeningOnItsWay:
    """The reply of Redis to the opening of a turn, cheaper than a Future: mostly nobody waits for it."""

    __slots__ = ("_ledger", "_line", "_waiter", "row")

    def __init__(self, ledger: Ledger, row: UsageRow) -> None:
        self.row = row
        self._ledger = ledger
        # Empty until it is sent, None once it is there.
        self._line: bytes | None = b""
        self._waiter: asyncio.Event | None = None

    def send(self, link: RedisLink, line: bytes) -> None:
        """Begin to put it where a kill of this process does not lose it."""
        self._line = line
        try:
            link.issue_later(self, "XADD", redis_keys.USAGE, "*", "row", line)
        except RedisUnavailable as exc:
            self.set_exception(exc)

    def done(self) -> bool:
        """The opening lies where a kill of this process does not lose it."""
        return self._line is None

    def set_result(self, result: Any, /) -> None:
        # First, for the usual case: nobody waits, and it comes once.
        line, self._line = self._line, None
        if line is not None:
            self._ledger.taken(line)
        if self._waiter is not None:
            self._waiter.set()

    def set_exception(self, problem: Any, /) -> None:
        line, self._line = self._line, None
        if line is not None:
            self._ledger.refused(line)
        if self._waiter is not None:
            self._waiter.set()

    async def wait(self) -> None:
        """Until `done`: as long as Redis may take to answer."""
        if self._line is not None:
            self._ledger.hurry()
        if self._line is not None:
            self._waiter = asyncio.Event()
            await self._waiter.wait()


class Ledger:
    """
    Takes the rows of one process. When `write` has returned, a kill -9 of the process loses nothing.

    Nor does a kill -9 of Redis: it answers before a row is in its file, so the latest rows are put into the spool when
    Redis is lost. Rows that it had stored after all are recognised by their request ids.
    """

    def __init__(self, link: RedisLink, spool: Path, run: str = "", *, sends_spool: bool = False) -> None:
        """`run` names this process and its start, among all that ever write to this ledger.

        `sends_spool`: no worker files this spool, so a `SpoolSender` sends it on.
        """
        self._link = link
        self._spool = spool
        self._run = run
        self._sends_spool = sends_spool
        self.spooled = 0
        """How often rows were put into files that are still to be sent on."""
        # What all openings of this process begin with.
        self._opening = b"%b%b," % (OPENING, msgspec.json.encode(run)) + b'"row":'
        self._open: dict[str, float] = {}
        """Turns that were opened here and not closed yet: when they started, unix seconds."""
        self._unsent: dict[str, OpeningOnItsWay] = {}
        self._sends_soon = False
        self._taken: deque[tuple[float, bytes]] = deque(maxlen=MOST_TAKEN)
        self._counting: asyncio.Future[int] | None = None
        # The link has one listener, and this is it: nothing else would lose data with the server.
        link.on_loss = self._redis_lost

    def open(self, row: UsageRow) -> OpeningOnItsWay:
        """Say that a turn begins, with what is known of it; nobody waits. Never raises. `write` closes it.

        Should this process die, the worker writes this row. It is sent after OPENING_SEC, or when the first byte of a
        stream waits for it; a turn that has its end by then needs none.
        """
        self._open[row.request_id] = row.started_at
        opening = OpeningOnItsWay(self, row)
        self._unsent[row.request_id] = opening
        if not self._sends_soon:
            self._sends_soon = True
            asyncio.get_running_loop().call_later(OPENING_SEC, self._send_openings)
        return opening

    def _send_openings(self) -> None:
        self._sends_soon = False
        unsent, self._unsent = self._unsent, {}
        for opening in unsent.values():
            opening.send(self._link, self._opening + _encode(opening.row) + b"}")

    def write(self, row: UsageRow) -> Coroutine[Any, Any, None]:
        """Put the row where `flush` finds it: issued at once, there when it has been awaited.

        Never raises but for a cancellation, and the row is kept then too.
        """
        line = _encode(row)
        if self._unsent.pop(row.request_id, None) is not None:
            # In the place of the first brace: then the line is that of the opening, too.
            line = OPENED + line[1:]
        return self._send(line, row.request_id)

    def amend(self, amendment: Amendment) -> Coroutine[Any, Any, None]:
        """Say what the service has counted of a turn whose row says less; as `write`."""
        return self._send(_encode(amendment))

    async def share(self, rows: Mapping[str, str]) -> None:
        """These refusals are in rows that have the ids of others, should somebody ask. Never raises."""
        await shared_rows.note(self._link, rows)

    def _send(self, line: bytes, closes: str = "") -> Coroutine[Any, Any, None]:
        sent: asyncio.Future[Any] | None = None
        with suppress(RedisUnavailable):
            sent = self._link.execute("XADD", redis_keys.USAGE, "*", "row", line)
        return self._sent(line, sent, closes)

    async def _sent(self, line: bytes, sent: asyncio.Future[Any] | None, closes: str) -> None:
        try:
            if sent is None:
                self._keep([line])
                return
            await sent
        except asyncio.CancelledError:
            self._keep([line])  # whether it was sent is unknown; twice is once, by its request id
            raise
        # ResponseError: a full Redis refuses XADD with OOM, and the file has to take it as well.
        except (RedisUnavailable, redis.ResponseError):
            self._keep([line])
        else:
            self.taken(line)
        finally:
            # Only now: until then a worker that asks must be told that the turn is open.
            self._open.pop(closes, None)

    def forget(self, request_id: str) -> None:
        """A turn that was opened here is closed by another process, which has written its row."""
        self._open.pop(request_id, None)
        self._unsent.pop(request_id, None)

    def taken(self, line: bytes) -> None:
        """Redis has taken the line, perhaps in its memory only."""
        now, taken = time.monotonic(), self._taken
        taken.append((now, line))
        # Never empty: the line just added is young.
        while taken[0][0] < now - UNCONFIRMED_SEC:
            taken.popleft()

    def hurry(self) -> None:
        """Send the openings that wait."""
        self._send_openings()
        self._link.hurry()

    def refused(self, line: bytes) -> None:
        """Redis has not taken the line."""
        self._keep([line])

    def _keep(self, lines: list[bytes]) -> None:
        append(self._spool, lines)
        self.spooled += self._sends_spool

    async def sign_of_life(self) -> None:
        """Say that this process lives, and since when its oldest open turn runs. Redis may be away."""
        # A row in memory alone, or in a file that no worker reads, is not filed yet, whatever the worker sees: no turn
        # of ours may count as lost.
        oldest = 0.0 if unwritten or self.spooled else min(self._open.values(), default=time.time())
        with suppress(RedisUnavailable, redis.ResponseError):
            await self._link.execute("SET", redis_keys.RUN + self._run, oldest, "EX", RUN_SEC)

    def _redis_lost(self) -> None:
        since = time.monotonic() - UNCONFIRMED_SEC
        # Rows that Redis had stored are written a second time here; `filing` drops them by their request id.
        if unconfirmed := [line for at, line in self._taken if at >= since]:
            self._keep(unconfirmed)
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
                self._keep(lines)  # what was sent all the same is recognised by its request id
                raise
