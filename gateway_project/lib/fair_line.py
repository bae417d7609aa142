"""A few places, or threads, that API keys or addresses take in turn: one with many requests delays only its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class LineFull(Exception):
    """Too many wait already."""


class FairLine:
    """
    At most `places` are taken at once, and `per_key` of them by one key. First come, first served within a key.

    At most `most_waiting` wait, half of them of one key; None: no bound. Beyond, the last of the longest line has to go
    for a key that has fewer.
    """

    def __init__(self, places: int = 1, per_key: int = 1, most_waiting: int | None = None) -> None:
        self._free = places
        self._per_key = per_key
        self._most_waiting = most_waiting
        self._taken: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}
        """By key; the key that was served last is the last."""

    def waiting(self, key: Hashable) -> int:
        return len(self._waiting.get(key, ()))

    async def enter(self, key: Hashable) -> None:
        """Wait for a place; `leave` gives it back. May be cancelled at any time. Raise LineFull."""
        if self._free and self._may_have(key):  # then nobody waits who might have it
            self._take(key)
            return
        if not self._make_room(key):
            raise LineFull
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            # Cancelled while it waited, or in the moment after it got a place: that one must be given back.
            if place.cancelled():
                self._forget(key, place)
            elif place.exception() is None:  # else it had to make room
                self.leave(key)
            raise

    def leave(self, key: Hashable) -> None:
        """Give the place to whoever is next. This key goes behind all others."""
        self._free += 1
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]
        if key in self._waiting:
            # Taken out and put back at the end: the dict's order is the order of turns.
            self._waiting[key] = self._waiting.pop(key)
        self._serve()

    def _serve(self) -> None:
        while self._free and (key := next(filter(self._may_have, self._waiting), None)) is not None:
            # Popped and put back behind the other keys, so that one with a long line gets one place at a time.
            line = self._waiting.pop(key)
            place = line.popleft()
            if line:
                self._waiting[key] = line
            # A waiter that was cancelled has not run yet to remove itself; its place goes to the next one.
            if not place.done():
                self._take(key)
                place.set_result(None)

    def _make_room(self, key: Hashable) -> bool:
        """Whether one more of this key may wait."""
        most = self._most_waiting
        if most is None:
            return True
        if self.waiting(key) >= most // 2:
            return False
        if sum(map(len, self._waiting.values())) < most:
            return True
        # Two keys together would else keep everybody out.
        longest = max(self._waiting, key=self.waiting)
        if self.waiting(longest) <= self.waiting(key) + 1:
            return False
        last = self._waiting[longest].pop()
        if not last.done():
            last.set_exception(LineFull)
        return True

    def _may_have(self, key: Hashable) -> bool:
        return self._taken.get(key, 0) < self._per_key

    def _take(self, key: Hashable) -> None:
        self._free -= 1
        self._taken[key] = self._taken.get(key, 0) + 1

    def _forget(self, key: Hashable, place: asyncio.Future[None]) -> None:
        line = self._waiting.get(key)
        if line is not None and place in line:
            line.remove(place)
            if not line:
                del self._waiting[key]


class FairThreads:
    """Threads in a fair line. A thread is busy until its work has ended, also when nobody waits for that any more."""

    def __init__(self, name: str, threads: int = 1, per_key: int = 1) -> None:
        self._line = FairLine(threads, per_key)
        self._threads = ThreadPoolExecutor(threads, name)

    def waiting(self, key: Hashable) -> int:
        return self._line.waiting(key)

    async def run(self, key: Hashable, work: Callable[[], T], within: float) -> T:
        """Return or raise what the work does. Raise TimeoutError when it has not begun within so many seconds."""
        async with asyncio.timeout(within):
            await self._line.enter(key)
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except BaseException:
            self._line.leave(key)
            raise
        # Not after the await: a caller that is cancelled leaves, and the thread is still busy.
        running.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(running)

    def _ended(self, key: Hashable, done: asyncio.Future[T]) -> None:
        self._line.leave(key)
        if not done.cancelled():
            done.exception()  # whoever still waits gets it; else asyncio would log it as never retrieved
