"""One turn's part in exits of the service: whether it may be asked at all, how carefully, and whether once more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from time import time
from typing import Any

from bridge.chat.errors import ConnectionLost, CrashingKey, CrashingPrompt
from bridge.chat.request import Message
from bridge.pool.crashes import Care, Crashes, Seen, care_of, name_of
from bridge.pool.lease import AnyInstance
from bridge.telemetry import metrics

MOST_EXITS = 2
"""A turn that was there so often is not tried again, whoever is to blame."""
GIVEN_UP_SEC = 1.0
"""So long the service may still exit over a question that nobody wants answered any more."""


class Doubt:
    """What is known against one turn; only made when there may be something."""

    def __init__(self, crashes: Crashes, key: int, messages: tuple[Message, ...]) -> None:
        self.care: Care = 0
        self._crashes = crashes
        self._key = key
        self._messages = messages
        self._exits = 0

    def recall(self) -> None:
        """What is remembered. Raise CrashingPrompt or CrashingKey when the service exits over it, or too often."""
        if not self._crashes.concern(self._key):
            return
        now = time()
        seen = self._crashes.of(name_of(self._key, self._messages), now)
        if seen is not None and seen.proven:
            metrics.CRASHES.labels("refused").inc()
            raise CrashingPrompt
        if self._crashes.is_spent(self._key, now):
            metrics.CRASHES.labels("refused").inc()
            raise CrashingKey
        self.care = care_of(seen)

    @property
    def may_try(self) -> bool:
        """It was not there at two exits."""
        return self._exits < MOST_EXITS

    async def lost(self, instance: AnyInstance, generation: int, error: ConnectionLost) -> bool:
        """The turn was lost; maybe with more than its connection. Whether the service has exited over its prompt."""
        if not await instance.crashed(generation):
            return False
        self._exits += 1
        seen = _note(self._crashes, name_of(self._key, self._messages), alone=error.alone)
        self.care = care_of(seen)
        return seen.proven

    def given_up(self, instance: AnyInstance, generation: int) -> Coroutine[Any, Any, None]:
        """Its client has gone. Who hangs up in time leaves no less behind than who waits; the prompt is let go of."""
        return _watch(self._crashes, name_of(self._key, self._messages), instance, generation)

    def answered(self) -> None:
        """It is harmless."""
        if self.care:
            self._crashes.answered(name_of(self._key, self._messages))


async def _watch(crashes: Crashes, name: str, instance: AnyInstance, generation: int) -> None:
    await asyncio.sleep(GIVEN_UP_SEC)
    if await instance.crashed(generation):
        _note(crashes, name, alone=False, left=True)


def _note(crashes: Crashes, name: str, *, alone: bool, left: bool = False) -> Seen:
    seen = crashes.exited(name, alone=alone, left=left, now=time())
    metrics.CRASHES.labels("proven" if seen.proven else "suspected").inc()
    return seen
