"""What a client is told of its turn, and how long the turn has taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bridge.chat.events import ChatEvent, KeepAlive, Started, TextDelta

Batch = list[ChatEvent]
Emit = Callable[[Batch], Awaitable[None]]

EMPTY = (Started, KeepAlive)
"""They commit to nothing: another attempt may still take over."""


class Stopwatch:
    """How long a turn has taken so far."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.began = loop.time()
        self._now = loop.time

    def ms(self) -> int:
        """Whole milliseconds."""
        return round((self._now() - self.began) * 1000)


class Teller:
    """What is told to the client: at once, or whole in one batch when it does not stream."""

    def __init__(self, emit: Emit, *, stream: bool) -> None:
        self.begun = False
        """Something of the reply has been told: from here on nothing can be taken back."""
        self.open = False
        """The client has heard something, if only a sign of life: from here on errors are told as events."""
        self._started = False
        self._emit = emit
        self._stream = stream
        self._whole: Batch = []

    async def tell(self, batch: Batch) -> None:
        """Tell it now, or keep it for the end, so that nothing of a lost attempt is told."""
        if told := self.telling(batch):
            await told

    def telling(self, batch: Batch) -> Awaitable[None] | None:
        """The same, without a coroutine of its own; None when there is nothing to wait for."""
        if not self._stream:
            self._whole += batch
            return None
        if not self.begun:
            batch = self._opening(batch)
        return self._emit(batch) if batch else None

    def _opening(self, batch: Batch) -> Batch:
        """What is told while nothing of the reply has been: of several attempts only the first opens the stream."""
        if batch and type(batch[0]) is Started:
            if self._started:
                batch = batch[1:]
            self._started = True
        for event in batch:
            self.open = True
            if type(event) not in EMPTY:
                self.begun = True
                break
        return batch

    def take_back(self) -> None:
        """Text of a reply that is told whole is void; what was streamed cannot be taken back."""
        self._whole = [event for event in self._whole if type(event) is not TextDelta]

    def end(self, batch: Batch) -> Awaitable[None]:
        """Tell what is left, with the ending."""
        batch = [*self._whole, *batch]
        return self._emit(batch if self.begun else self._opening(batch))

    def forget(self) -> None:
        """The attempt is lost: what was kept of it is not told."""
        self._whole = []
