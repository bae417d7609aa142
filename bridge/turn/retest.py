"""One turn that asks a prompt in doubt: alone in the whole fleet, until it is known what becomes of it."""

from __future__ import annotations

import asyncio

from bridge.pool.crashes import RetestLocks
from bridge.turn.attempt import Attempt

LOOK_SEC = 0.2
"""Between two looks whether another turn is through with the prompt."""
KEEP_SEC = 20.0
"""Between two renewals: the lock is one of a process that may die, and a turn may wait and be silent for longer."""
BEGUN_SEC = 0.1
CHECK_SEC = 10.0
HARMLESS_SEC = 2.0
"""So long the service goes on after the first of the reply, and the prompt is none that it exits over."""


class Retest:
    """`begin()` until it is true; `end()` however the turn ended."""

    def __init__(self, locks: RetestLocks, name: str, turn: str) -> None:
        self._locks = locks
        self._name = name
        self._turn = turn
        self._is_on = False
        self._is_asked = False
        """The lock may have been taken, and nobody has heard the answer."""
        self._keeping: asyncio.Task[None] | None = None

    async def begin(self) -> bool:
        if not self._is_on:
            # Whoever is cancelled here may hold it without knowing: `end` gives it back all the same.
            self._is_asked = True
            self._is_on = await self._locks.begin(self._name, self._turn)
            self._is_asked = False
            if self._is_on:
                self._keeping = asyncio.get_running_loop().create_task(self._keep())
        return self._is_on

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_SEC)
            await self._locks.begin(self._name, self._turn)

    async def end_when_harmless(self, attempt: Attempt) -> None:
        """A long reply keeps nobody waiting who asks the same."""
        # Looked at: an event for the first piece of a reply would cost every turn. Cancelled when the attempt is over.
        while attempt.stream is None or not attempt.stream.has_begun:  # noqa: ASYNC110
            await asyncio.sleep(BEGUN_SEC)
        await asyncio.sleep(HARMLESS_SEC)
        await self.end()

    async def end(self, after: float = 0.0, check: asyncio.Task[bool] | None = None) -> None:
        """`after`: seconds in which something may still be learnt of it; `check`: who learns it."""
        if self._is_on or self._is_asked:
            try:
                await asyncio.sleep(after)
                if check is not None:
                    await asyncio.wait({check}, timeout=CHECK_SEC)
            finally:
                if self._keeping is not None:
                    self._keeping.cancel()
            await self._locks.end(self._name, self._turn)
            # Behind it: who is cancelled meanwhile has to do it again.
            self._is_on = self._is_asked = False
