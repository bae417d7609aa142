"""One timer for all turns: jobs that are due in the same two milliseconds are stepped together."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Generator

TICK = 0.002
FAR = 1e9
Steps = Generator[float, None, None]
logger = logging.getLogger(__name__)


class Job:
    """A generator that yields how many seconds it wants to rest."""

    __slots__ = ("due", "slot", "steps")

    def __init__(self, steps: Steps, due: float) -> None:
        self.steps = steps
        self.due = due
        self.slot = 0  # the tick it is booked for; 0: ready or over


class TimerWheel:
    """A task sleeping between chunks costs tens of microseconds per chunk; a bucket per tick costs next to nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.now = loop.time()
        self._buckets: dict[int, list[Job]] = {}
        # A heap of the ticks that have a bucket: most ticks have none.
        self._ticks: list[int] = []
        self._ready: list[Job] = []
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0

    def start(self, steps: Steps) -> Job:
        """Run a new job from the next turn of the loop on."""
        job = Job(steps, self.loop.time())
        self._make_ready(job)
        return job

    def wake(self, job: Job) -> None:
        """End the rest of a job early; no effect on one that is over or about to run."""
        if job.slot:
            job.slot = 0
            job.due = self.loop.time()
            self._make_ready(job)

    def replace(self, job: Job, steps: Steps) -> None:
        """Drop what a resting job was doing and let it do something else now."""
        # Not in the middle of a step: a job is replaced only while it rests, so the generator is not running.
        job.steps.close()
        job.steps = steps
        self.wake(job)

    def _make_ready(self, job: Job) -> None:
        if not self._ready:
            self.loop.call_soon(self._run_ready)
        self._ready.append(job)

    def _run_ready(self) -> None:
        self.now = self.loop.time()
        # Swapped first: a job that yields 0 is ready for the next pass, not for this one, or one turn could keep the
        # loop.
        jobs, self._ready = self._ready, []
        for job in jobs:
            self._step(job)
        self._arm()

    def _run_ticks(self) -> None:
        self._timer = None
        self.now = now = self.loop.time()
        last = int(now / TICK)
        while self._ticks and self._ticks[0] <= last:
            tick = heapq.heappop(self._ticks)
            for job in self._buckets.pop(tick):
                # A job that was woken early stays in its bucket, as taking it out would be a search; its slot shows
                # that it has gone.
                if job.slot == tick:
                    self._step(job)
        self._arm()

    def _step(self, job: Job) -> None:
        job.slot = 0
        try:
            delay = next(job.steps)
        except StopIteration:
            return
        except Exception:  # an edge: a broken turn must not stop the others
            logger.exception("A turn of the simulator broke")
            return
        if delay <= 0:
            self._make_ready(job)
            return
        job.due = max(job.due, self.now - 1.0) + delay  # after a stall a turn catches up, but not for ever
        # Rounded up, and never the present tick, whose bucket may be on its way already.
        job.slot = tick = max(int(job.due / TICK) + 1, int(self.now / TICK) + 1)
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = [job]
            heapq.heappush(self._ticks, tick)
        else:
            bucket.append(job)

    def _arm(self) -> None:
        if not self._ticks:
            return
        if self._timer is not None:
            # The timer already rings early enough; it is set anew at every run.
            if self._armed <= self._ticks[0]:
                return
            self._timer.cancel()
        self._armed = self._ticks[0]
        self._timer = self.loop.call_at(self._armed * TICK, self._run_ticks)
