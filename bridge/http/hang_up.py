"""Work that ends when the client leaves, or when somebody here ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from bridge.chat.errors import GatewayError
from bridge.http.api import ApiConsumer
from bridge.http.body import HungUp
from bridge.wire.format import WireFormat


class ListeningConsumer(ApiConsumer):
    """A request whose answer takes its time: it listens for the hang-up meanwhile."""

    __slots__ = ("_ended_by", "_listener", "_task", "hung_up")

    def __init__(self, wire_format: WireFormat | None = None) -> None:
        super().__init__(wire_format)
        self.hung_up = False
        self._listener: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._ended_by: GatewayError | None = None

    async def until_hang_up(self, work: Awaitable[None]) -> None:
        """Do the work, but not a moment longer than the client listens. Raise HungUp when it left."""
        ticker = self.runtime.ticker
        task = asyncio.current_task(ticker.loop)
        if task is None:
            raise RuntimeError("a consumer runs in a task")
        self._task = task
        # The ticker calls `tick` after a while; a task per request, which listens from the start, would cost every
        # short turn.
        ticker.add(self)
        try:
            await work
        except asyncio.CancelledError:
            ended_by = self._ended_by
            # Somebody else has cancelled the task, the server at its end for example: that is not ours to swallow.
            if not self.hung_up and not self.is_too_slow and ended_by is None:
                raise
            # The cancellation is dealt with here, so the task must not go on counting it.
            task.uncancel()
            raise (ended_by or HungUp) from None
        finally:
            ticker.remove(self)
            # Both hold us, in what they raise too: a cycle would let bodies pile up.
            listener, self._listener, self._task = self._listener, None, None
            if listener is not None:
                listener.cancel()

    @property
    def is_too_slow(self) -> bool:
        """The client was given up because it does not read; nothing can be sent to it any more."""
        return False

    def tick(self, now: float) -> None:
        """Start the listener for a hang-up. Short answers end before it would have paid for itself."""
        self.runtime.ticker.remove(self)
        if self._task is not None:
            self._listener = asyncio.get_running_loop().create_task(self._cancel_on_hang_up(self._task))

    async def _cancel_on_hang_up(self, task: asyncio.Task[Any]) -> None:
        # The body has been read: whatever else may come says nothing.
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.hang_up(task)

    def hang_up(self, task: asyncio.Task[Any]) -> None:
        """End the work: the client has left, or is as good as gone."""
        if not self.hung_up and self._ended_by is None:
            self.hung_up = True
            task.cancel()

    def end_with(self, error: GatewayError) -> None:
        """End the work; the client gets the error."""
        if self._task is not None and not self.hung_up and self._ended_by is None:
            # Set before the cancel: `until_hang_up` reads it to know why.
            self._ended_by = error
            self._task.cancel()
