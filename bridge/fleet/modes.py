"""What is away, as all processes of this gateway see it: each tells its own modes in Redis and hears the others'."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from redis import ResponseError

from gateway_project.lib import degraded, redis_keys
from gateway_project.lib.degraded import LIFETIME_SEC, Facts
from gateway_project.lib.redis_link import RedisLink, RedisUnavailable

EVERY_SEC = 2.0
START_SEC = 30.0
"""How long worker and beat may take to report. An earlier report may be the last one of those before them."""
MISSED_SEC = 5.0
"""How long one is missed before it counts: after Redis was away, its next sign may take that long."""
BACKGROUND = ("worker", "beat")

_elsewhere: list[Facts] = []


def active() -> list[Facts]:
    """All modes that are on in any process, each once and since the first that met it, in one order everywhere."""
    found: dict[str, Facts] = {}
    for each in sorted([*degraded.active(), *_elsewhere], key=lambda facts: facts.since):
        found.setdefault(each.name, each)
    return [found[name] for name in degraded.STILL_WORKS if name in found]


class Modes:
    """The view of one web process; the first of them also misses worker and beat, and instances that are ready."""

    def __init__(self, link: RedisLink, process: int, processes: int, ready: Callable[[], bool]) -> None:
        self._link = link
        self._own = f"{redis_keys.MODES}web-{process}"
        # One judge: with several, each process would begin and end the same mode by its own clock.
        self._judges = process == 1
        others = (f"web-{number}" for number in range(1, processes + 1) if number != process)
        self._names = [*BACKGROUND, *others]
        self._ready = ready
        self._clock = asyncio.get_running_loop().time
        self._patient_until = self._clock() + START_SEC
        self._heard_at = dict.fromkeys(BACKGROUND, self._clock())
        self._was_ready_at = self._clock()

    async def follow(self) -> None:
        while True:
            await self.exchange()
            await asyncio.sleep(EVERY_SEC)

    async def exchange(self) -> None:
        self._look_at_instances()
        heard = await self._hear()
        # In place, as `active` reads the module's list. Empty while Redis is away, when only the own modes are known.
        _elsewhere[:] = [each for modes in heard if modes for each in modes]

    async def _hear(self) -> list[list[Facts] | None]:
        try:
            await self._link.execute("SET", self._own, degraded.published(), "EX", LIFETIME_SEC)
            values = await self._link.execute("MGET", *(redis_keys.MODES + name for name in self._names))
        except (RedisUnavailable, ResponseError):
            self._heard_at = dict.fromkeys(BACKGROUND, self._clock())  # no report can arrive now, so none is missed
            return []
        heard = [degraded.read(value) for value in values]
        if self._judges:
            self._miss(zip(self._names, heard, strict=True))
        return heard

    def _miss(self, heard: Iterable[tuple[str, list[Facts] | None]]) -> None:
        now = self._clock()
        for name, modes in heard:
            # Other web processes are not missed here: the supervisor restarts them.
            if name not in BACKGROUND:
                continue
            if modes is not None:
                self._heard_at[name] = now
                degraded.end(name)
            elif now > max(self._patient_until, self._heard_at[name] + MISSED_SEC):
                degraded.begin(name, "no sign of life")

    def _look_at_instances(self) -> None:
        """One that starts or is dialled anew is back in a moment; a mode is what lasts."""
        now = self._clock()
        if self._ready():
            self._was_ready_at = now
            degraded.end("instances")
        elif now - self._was_ready_at > MISSED_SEC:
            degraded.begin("instances", "none is ready")
