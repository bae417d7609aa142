"""What a web process reports to the live page: nothing while nobody looks, else once a second, through Redis."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from redis import ResponseError

from bridge.fleet.live_view import REPORT_SEC, WATCHED_SEC, decoded, encode, live_instance
from bridge.fleet.log_tails import LogTails
from bridge.fleet.place_exchange import others_since
from bridge.pool.pool import Pool
from bridge.status.live import LiveReport
from bridge.telemetry.rates import RATES
from bridge.telemetry.running import RunningTurns
from gateway_project.lib.background import pause
from gateway_project.lib.processes.memory import resident
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable, Script

IDLE_SEC: Final = 0.5
"""So often each process asks whether somebody looks: as long as a page that is loaded may have to wait."""
EVERY_SEC: Final = 1.0

# KEYS: the reports (hash), whether somebody looks. ARGV: this process, its report, "1" if it looks itself.
# Reply: the reports of the others, to who looks.
EXCHANGE = Script(f"""
local now = tonumber(redis.call('TIME')[1])
redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2])
redis.call('EXPIRE', KEYS[1], {10 * REPORT_SEC})
if ARGV[3] ~= '1' then return {{}} end
redis.call('SET', KEYS[2], 1, 'EX', {WATCHED_SEC})
{others_since(REPORT_SEC)}""")


class LiveReports:
    """`follow()` reports while others look; who looks in this process calls `look()`."""

    def __init__(
        self, link: RedisLink, pool: Pool, running: RunningTurns, who: tuple[str, int, str], backlog: Callable[[], int]
    ) -> None:
        """`who`: the name and the number of the process, and a name that no other start of any has."""
        self._link = link
        self._pool = pool
        self._running = running
        self._name, self._process, self._run = who
        self._backlog = backlog
        self._tails = LogTails(link, pool)
        self._started_at = time.time()
        self._looked_at = float("-inf")

    async def follow(self) -> None:
        while True:
            try:
                is_watched = await self._link.execute("EXISTS", redis_keys.WATCHED)
                if is_watched:
                    # What is seen here is reported by `look` itself.
                    if time.monotonic() - self._looked_at > 2 * EVERY_SEC:
                        await self._exchange(looks=False)
                    await self._tails.publish()
            except (RedisUnavailable, ResponseError):
                is_watched = False
            await pause(EVERY_SEC if is_watched else IDLE_SEC)

    async def look(self) -> list[LiveReport]:
        """The report of this process, now, and those of the others as far as Redis has them."""
        self._looked_at = time.monotonic()
        try:
            return await self._exchange(looks=True)
        except (RedisUnavailable, ResponseError):
            return [self.report()]

    async def _exchange(self, *, looks: bool) -> list[LiveReport]:
        own = self.report()
        names = [redis_keys.LIVE, redis_keys.WATCHED]
        others = await self._link.run(EXCHANGE, names, [self._run, encode(own), "1" if looks else ""])
        return [own, *decoded(others)]

    def report(self) -> LiveReport:
        """How this process is now."""
        pool = self._pool
        turns, queue = self._running.look()
        return LiveReport(
            name=self._name,
            process=self._process,
            at=time.time(),
            instances=list(map(live_instance, pool.statuses())),
            in_flight=pool.in_flight,
            waiting=pool.waiting,
            pid=os.getpid(),
            started_at=self._started_at,
            memory=resident(os.getpid()),
            backlog=self._backlog(),
            rates=RATES.last_minute(time.monotonic()),
            turns=turns,
            queue=queue,
        )
