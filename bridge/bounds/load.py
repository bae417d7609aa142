"""The bytes of request bodies in work: bounded for the process and for each key, and large ones take turns."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from bridge.chat.errors import RateLimited, Unavailable
from gateway_project.lib.fair_line import FairLine

LARGE = 1 << 20
RETRY_SEC = 1


class BodyLoad:
    """A body counts from its first byte to the last one of the answer: as long as anything made of it is there.

    One key may hold half of what all may.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._share = most // 2
        self._held = 0
        self._by_key: defaultdict[int, int] = defaultdict(int)
        self._large = FairLine()

    def hold(self, key: int) -> HeldBody:
        """A body of this key, with nothing counted yet."""
        return HeldBody(self, key)

    def take(self, key: int, size: int) -> None:
        """Count more. Raise RateLimited or Unavailable, and count nothing."""
        # Both bounds are checked before anything changes, so a refusal leaves the counts as they were.
        if self._held + size > self._most:
            words = "The gateway holds as many bytes of requests as it may; try again."
            raise Unavailable(words, retry_after=RETRY_SEC)
        if self._by_key[key] + size > self._share:
            words = f"The requests of this API key that are in work exceed {self._share >> 20} MiB together; try again."
            raise RateLimited(words, retry_after=RETRY_SEC)
        self._held += size
        self._by_key[key] += size

    def give_back(self, key: int, size: int) -> None:
        self._held -= size
        self._by_key[key] -= size
        if not self._by_key[key]:
            # Keys come and go; an entry for each that ever was would be a leak.
            del self._by_key[key]

    async def turn_of_large(self, key: int) -> None:
        """Wait until a large body may be worked on, which nobody can interrupt: others get as much time between two.

        Between keys it goes round.
        """
        await self._large.enter(key)
        loop = asyncio.get_running_loop()
        began = loop.time()
        # `call_soon` runs after the work that follows this wait, so the difference is the time that the work took.
        loop.call_soon(lambda: loop.call_later(loop.time() - began, self._large.leave, key))


class HeldBody:
    """The bytes that one request holds. Give them back with `release`, whatever happens."""

    __slots__ = ("_key", "_load", "size")

    def __init__(self, load: BodyLoad, key: int) -> None:
        self._load = load
        self._key = key
        self.size = 0

    def grow(self, size: int) -> None:
        """More has come, or was made of it. Raise RateLimited or Unavailable."""
        self._load.take(self._key, size)
        self.size += size

    def release(self, keep: int = 0) -> None:
        """Give back all but `keep` bytes; safe to call again."""
        if self.size > keep:
            self._load.give_back(self._key, self.size - keep)
            self.size = keep
