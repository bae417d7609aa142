"""Which run of its service an instance holds, and which runs have ended by themselves."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress

from bridge.lingma.process.endpoint import Identity

FATE_SEC = 3.0  # until one knows of a lost connection whether the run went with it


class Runs:
    """Runs are numbered by generations, which only grow: a session belongs to one of them."""

    def __init__(self) -> None:
        self.generation = 0
        self.started_at = 0.0
        """Unix seconds."""
        self._identity: Identity | None = None
        self._crashes: deque[int] = deque(maxlen=8)
        self._settled = asyncio.Event()  # it is known whether a lost connection was all that was lost

    def begin(self) -> None:
        """Another run. Wall-clock milliseconds: no two share one, not even across restarts of the gateway."""
        self.started_at = time.time()
        self.generation = max(self.generation + 1, int(self.started_at * 1000))

    def is_same(self, identity: Identity | None) -> bool:
        """Whether the service that was connected to proves to be the process from before; else another run begins."""
        was, self._identity = self._identity, identity
        if identity is not None and identity == was:
            return True
        if was is not None:
            self.crash()
        self.begin()
        return False

    def crash(self) -> None:
        """The present one has ended by itself, or had to be ended."""
        if self.generation not in self._crashes:
            self._crashes.append(self.generation)
        self.settle()

    def doubt(self) -> None:
        """A connection was lost, and nobody knows yet what went with it."""
        self._settled.clear()

    def settle(self) -> None:
        """Now it is known."""
        self._settled.set()

    async def crashed(self, generation: int) -> bool:
        """Whether that run ended by itself, and not only a connection to it. Told as soon as it is known."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), FATE_SEC)
        return generation in self._crashes
