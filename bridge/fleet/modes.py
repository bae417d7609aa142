"""The modes of all processes of this gateway: each writes its own to Redis and reads those of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from redis import ResponseError

from gateway_project.lib import degraded
from gateway_project.lib.background import pause
from gateway_project.lib.degraded import BEAT, LIFETIME_SEC, WORKER, Mode
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable
from gateway_project.lib.texts import gettext_noop

EVERY_SEC = 2.0
START_SEC = 30.0
"""How long worker and beat may take to report. An earlier report may be the last one of those before them."""
MISSED_SEC = 5.0
"""How long one is missed before it counts: after Redis was away, its next sign may take that long."""
BACKGROUND = (WORKER, BEAT)
ALONE_SEC = 12.0
"""So long the worker lives on beside a scheduler that is missed: it is the scheduler alone, and not both of them."""
SILENT = gettext_noop("no sign of life")
NONE_READY = gettext_noop("none is ready")
"""Why a mode is on, in the language of the log; pages show it translated."""

_elsewhere: list[Mode] = []


def active() -> list[Mode]:
    """All modes that are on in any process, each once and since the first that met it, in one order everywhere."""
    found: dict[str, Mode] = {}
    for each in sorted([*degraded.active(), *_elsewhere], key=lambda facts: facts.since):
        found.setdefault(each.name, each)
    return [found[name] for name in degraded.STILL_WORKS if name in found]


class Modes:
    """The view of one web process; the first of them also notices that worker, beat or every instance is away."""

    def __init__(self, link: RedisLink, process: int, names: Sequence[str], ready: Callable[[], bool]) -> None:
        """`names`: those of all web processes of this machine, in order; `process` counts from 1."""
        self._link = link
        self._own = redis_keys.MODES + names[process - 1]
        # One judge: with several, each process would begin and end the same mode by its own clock.
        self._judges = process == 1
        self._names = [*BACKGROUND, *(name for number, name in enumerate(names, 1) if number != process)]
        self._ready = ready
        self._clock = asyncio.get_running_loop().time
        self._grace_until = self._clock() + START_SEC
        self._exchanged_at = self._was_ready_at = self._clock()
        self._reported_at = dict.fromkeys(BACKGROUND, self._clock())
        self._is_one_process = False
        """The scheduler is a thread of the worker."""

    async def follow(self) -> None:
        while True:
            await self.exchange()
            await pause(EVERY_SEC)

    async def exchange(self) -> None:
        before, self._exchanged_at = self._exchanged_at, self._clock()
        if self._exchanged_at - before > 3 * EVERY_SEC:  # then it was this process that hung, and maybe all did
            self._was_ready_at = self._exchanged_at
            self._reported_at = dict.fromkeys(BACKGROUND, self._exchanged_at)
        self._check_instances()
        reports = await self._exchange_reports()
        # In place, as `active` reads the module's list. Empty while Redis is away, when only the own modes are known.
        _elsewhere[:] = [each for modes in reports if modes for each in modes]

    async def _exchange_reports(self) -> list[list[Mode] | None]:
        try:
            names = (redis_keys.SCHEDULER, *(redis_keys.MODES + name for name in self._names))
            said = self._link.execute("SET", self._own, degraded.published(), "EX", LIFETIME_SEC)
            _, (scheduler, *values) = await asyncio.gather(said, self._link.execute("MGET", *names))
        except (RedisUnavailable, ResponseError):
            self._reported_at = dict.fromkeys(BACKGROUND, self._clock())  # no report can arrive now, so none is missed
            return []
        self._is_one_process = scheduler == WORKER.encode()
        reports = [degraded.read(value) for value in values]
        if self._judges:
            self._find_missing(zip(self._names, reports, strict=True))
        return reports

    def _find_missing(self, reports: Iterable[tuple[str, list[Mode] | None]]) -> None:
        now = self._clock()
        for name, modes in reports:
            # Other web processes are not missed here: the supervisor restarts them.
            if name not in BACKGROUND:
                continue
            if modes is not None:
                self._reported_at[name] = now
                degraded.end(name)
            elif now > max(self._grace_until, self._reported_at[name] + MISSED_SEC) and not self._is_of_worker(name):
                degraded.begin(name, SILENT)

    def _is_of_worker(self, name: str) -> bool:
        """One process is missed once, as the worker; its scheduler only where the worker goes on without it."""
        if name != BEAT or not self._is_one_process:
            return False
        return self._reported_at[WORKER] < self._reported_at[BEAT] + ALONE_SEC

    def _check_instances(self) -> None:
        """One that starts or is dialled anew is back in a moment; a mode is what lasts."""
        now = self._clock()
        if self._ready():
            self._was_ready_at = now
            degraded.end("instances")
        elif now - self._was_ready_at > MISSED_SEC:
            degraded.begin("instances", NONE_READY)
