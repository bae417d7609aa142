"""Watches the keys of running turns, and ends the turns when the key is revoked, expires or is deleted."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from django.db import Error

from accounts.keys.keyring import Caller, KeyRing, KeyStatus
from gateway_project.lib.background import pause

log = logging.getLogger(__name__)

# Turns of a revoked key end within two seconds: a second until the ring knows of it, half a second until this looks,
# and the rest for the ending itself.
EVERY_SEC = 0.5


class Holder(Protocol):
    """Something that goes on for as long as its key is good."""

    def key_closed(self, status: KeyStatus) -> None:
        """Called when the key is revoked, expired or deleted; called again until the holder has been removed."""


class KeysInUse:
    """
    What runs for each key of one process.

    Keys are checked twice a second as for a new request: in memory while the subscription to changes works, else read
    again. A key that cannot be read ends no turn.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._holders: dict[bytes, set[Holder]] = {}

    def add(self, caller: Caller, holder: Holder) -> None:
        """Watch the key for this holder, until it is removed."""
        self._holders.setdefault(caller.digest, set()).add(holder)

    def remove(self, caller: Caller, holder: Holder) -> None:
        """Forget the holder; nothing happens when it was never added."""
        holders = self._holders.get(caller.digest)
        if holders is not None:
            holders.discard(holder)
            if not holders:
                # No empty set stays behind: each digest here costs a check twice a second.
                del self._holders[caller.digest]

    async def follow(self) -> None:
        """Check the keys until it is cancelled. Never raises."""
        while True:
            await pause(EVERY_SEC)
            try:
                await self.check()
            except Exception:  # an edge: whatever one check met, the next may succeed
                # Not the end of the loop: without it revoked keys would keep their turns until the process restarts.
                log.exception("keys in use could not be looked at")

    async def check(self) -> None:
        # Together: those that must be read share one query (KeyReader), one after the other would be a query each.
        await asyncio.gather(*[self._check_key(digest) for digest in self._holders])

    async def _check_key(self, digest: bytes) -> None:
        try:
            status = await self._keys.status(digest)
        # The database is away and nothing is known of the key: running turns are not ended on a suspicion.
        except Error:
            return
        if status != "open":
            # A copy: a holder that ends removes itself from the set while we walk.
            for holder in tuple(self._holders.get(digest, ())):
                holder.key_closed(status)
