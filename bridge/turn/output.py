"""What is sent to the client of a turn, and how long the turn has taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from bridge.chat.events import ChatEvent, KeepAlive, Started, TextDelta
from gateway_project.lib.asgi_extensions import Flow

Batch = list[ChatEvent]
Emit = Callable[[Batch], Awaitable[None]]


class Direct(NamedTuple):
    """A way to the client of a stream that has begun, on which nothing is awaited: not for much, nor for the end."""

    flow: Flow
    """Of the client."""
    write: Callable[[bytes], None]
    encode: Callable[[Batch], bytes]
    encode_text: Callable[[str], bytes]
    """The same for a text alone."""


FindDirect = Callable[[], Direct | None]
"""None where there is no such way, or not yet."""


def no_direct() -> Direct | None:
    return None


UNCOMMITTED = (Started, KeepAlive)
"""Events that commit to nothing: after them another attempt may still take over."""


class Stopwatch:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop's clock never jumps, and it is the one that timers use.
        self.began = loop.time()
        # Bound once: it is read with every batch.
        self._now = loop.time

    def ms(self) -> int:
        return round((self._now() - self.began) * 1000)


class TurnOutput:
    """Sends events to the client: at once, or all in one batch when it does not stream."""

    def __init__(self, emit: Emit, *, stream: bool, direct: FindDirect) -> None:
        self.committed = False
        """Something of the reply was sent: from here on nothing can be taken back."""
        self.open = False
        """Bytes were sent, if only a sign of life: from here on errors are sent as events."""
        self.signs = 0
        """Of life, which the client of a stream has had before anything of the reply."""
        self.quiet = False
        """Nothing is sent before something of the reply: another process has the client, and may still take over."""
        self._held: Batch = []
        self._started = False
        self._emit = emit
        self._find_direct = direct
        self._stream = stream
        self._pending: Batch = []

    async def send(self, batch: Batch) -> None:
        """Send it now, or hold it until the end, so that nothing of a lost attempt is sent."""
        # No coroutine where nothing is sent: most batches of a whole reply are only held.
        if sending := self.start_sending(batch):
            await sending

    def start_sending(self, batch: Batch) -> Awaitable[None] | None:
        """The same, without a coroutine of its own; None when there is nothing to wait for."""
        if not self._stream:
            # The client of a whole reply has seen nothing, so a lost attempt can be asked again up to its last byte.
            self._pending += batch
            return None
        # Only at the start of a stream; afterwards a batch goes out with two tests.
        if not self.committed:
            batch = self._opening(batch)
        return self._emit(batch) if batch else None

    def direct(self) -> Direct | None:
        """The writer that sends batches without waiting; None: nothing of the reply was sent yet, or there is none."""
        return self._find_direct() if self.committed and self._stream else None

    def _opening(self, batch: Batch) -> Batch:
        """What is sent while nothing of the reply was: of several attempts only the first opens the stream."""
        if self.quiet and not (batch := self._hold(batch)):
            return batch
        if batch and type(batch[0]) is Started:
            # A second attempt begins with its own `Started`; a stream has one.
            if self._started:
                batch = batch[1:]
            self._started = True
        for event in batch:
            # Set before the emit: if it fails, the headers may be out, and an error must be an event.
            self.open = True
            if type(event) not in UNCOMMITTED:
                self.committed = True
                break
            self.signs += type(event) is KeepAlive
        return batch

    def _hold(self, batch: Batch) -> Batch:
        """The batch, with what was held before it; nothing as long as it commits to nothing."""
        batch = [*self._held, *(event for event in batch if type(event) is not KeepAlive)]
        self._held = [] if any(type(event) not in UNCOMMITTED for event in batch) else batch
        return [] if self._held else batch

    def discard_text(self) -> None:
        """Text of a reply that is sent whole is void; what was streamed cannot be taken back."""
        self._pending = [event for event in self._pending if type(event) is not TextDelta]

    def end(self, batch: Batch) -> Awaitable[None]:
        """Send what is left, with the ending."""
        # One batch: the encoder of a whole reply folds it into one body.
        batch = [*self._pending, *batch]
        return self._emit(batch if self.committed else self._opening(batch))

    def discard(self) -> None:
        """The attempt is lost: drop what is held of it."""
        self._pending, self._held = [], []
