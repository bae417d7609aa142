"""The bytes of request bodies in work: bounded for the process and for each key, and large ones take turns."""

from __future__ import annotations

import asyncio

from bridge.chat.errors import RateLimited, Unavailable
from gateway_project.lib.fair_line import FairLine

LARGE = 1 << 20
RETRY_SEC = 1


class BodyLoad:
    """A body counts from its first byte to the last one of the answer: as long as anything made of it is there.

    One key may hold half of what all may.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.share = most // 2
        self.held = 0
        self.by_key: dict[int, int] = {}
        self._large = FairLine()

    def hold(self, key: int) -> HeldBody:
        """A body of this key, with nothing counted yet."""
        return HeldBody(self, key)

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
        """More has come, or was made of it. Raise RateLimited or Unavailable, and count nothing."""
        load, key = self._load, self._key
        by_key = load.by_key.get(key, 0) + size
        # Both bounds are checked before anything changes, so a refusal leaves the counts as they were.
        if load.held + size > load.most:
            words = "The gateway holds as many bytes of requests as it may; try again."
            raise Unavailable(words, retry_after=RETRY_SEC)
        if by_key > load.share:
            words = f"The requests of this API key that are in work exceed {load.share >> 20} MiB together; try again."
            raise RateLimited(words, retry_after=RETRY_SEC)
        load.held += size
        load.by_key[key] = by_key
        self.size += size

    def release(self, keep: int = 0) -> None:
        """Give back all but `keep` bytes; safe to call again."""
        freed = self.size - keep
        if freed > 0:
            load, key = self._load, self._key
            load.held -= freed
            by_key = load.by_key[key] - freed
            if by_key:
                load.by_key[key] = by_key
            else:
                # Keys come and go; an entry for each that ever was would be a leak.
                del load.by_key[key]
            self.size = keep
