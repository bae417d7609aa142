"""
Maps secrets to callers, without I/O for keys seen lately.

A change takes effect within a second. While the database is away, known keys stay valid: as long as the subscription to
changes works, or else for TRUST_UNCONFIRMED seconds.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis
import redis.asyncio
from django.db import DatabaseError, Error

from accounts.keys.reader import (
    Caller,
    KeyReader,
    KeyRecord,
    KeyStatus,
    known_keys_thread,
    unknown_keys_thread,
    usual_keys,
    write_first_use,
)
from accounts.models import Closing, first_that_closes
from accounts.models.changes import changed_in
from gateway_project.lib.background import until_next
from gateway_project.lib.database import database_state as database
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_client import connect_async
from gateway_project.lib.redis.redis_link import RedisLink
from gateway_project.lib.secrets.key_secret import Digester, is_mistyped

__all__ = ["Caller", "KeyRecord", "KeyRing", "KeyStatus", "TooManyUnknown"]

log = logging.getLogger(__name__)

TRUST = 0.9  # seconds after which what was read must be confirmed: by the subscription, or by reading again
# Half of TRUST: a busy key is read again before its trust ends, so none of its requests waits for a query.
RENEW = 0.45  # a known key is read again from then on, while it is still trusted
READ_AGAIN = 30.0  # even while the subscription lives: an announcer may die between its commit and its message
# Both tries of the reader (0.6 and 1.2 s), and a little to wait for its thread.
READ_WITHIN = 2.0
TRUST_UNCONFIRMED = 900.0  # seconds a known key counts that neither the database nor the subscription can confirm
PING_EVERY = 0.25  # seconds between two pings of the subscription
MOST_PINGS = 12  # pings to wait for the subscription at the start, at most
SILENCE = 0.4  # seconds the pong may take
# Far fewer than MAX_KNOWN: strangers choose what lies here, so it is only what spares a repeated wrong key its query.
MAX_UNKNOWN = 4096
MAX_KNOWN = 100_000
MAX_WAITING = 256  # look-ups of unknown secrets at once

Load = Callable[[str], Awaitable[KeyRecord | None]]
Write = Callable[[int, float], Awaitable[None]]
DAY = 86_400.0


class TooManyUnknown(Exception):
    """So many unknown secrets are being looked up that one more has to come back later."""


class _Entry:
    __slots__ = ("at_end", "caller", "closed", "ends_at", "expires_at", "read_at", "tried_at", "unused", "verified_at")

    def __init__(self, record: KeyRecord | None, read_at: float) -> None:
        # Also of a closed key: its refusals are counted and logged under its name.
        self.caller = record.caller if record else None
        self.closed: Closing = record.closed if record else ""
        self.ends_at = record.expires_at if record else math.inf
        self.at_end: KeyStatus = record.at_end if record else "unknown"
        self.unused = record if record is not None and record.unused_days and not record.closed else None
        """Set until the first use, which decides when the key expires."""
        # No time at all for a key that is closed or unused, so that for all others one comparison is enough.
        self.expires_at = -math.inf if record is None or record.closed or self.unused else record.expires_at
        self.read_at = read_at
        self.tried_at = read_at
        self.verified_at = read_at  # the last moment it was right for certain, but for the subscription that lives

    def begin(self, first_use: float) -> None:
        """The key has been used: from now on it has an end."""
        if (record := self.unused) is not None:
            self.unused = None
            self.expires_at = self.ends_at = min(record.expires_at, first_use + record.unused_days * DAY)

    @property
    def status(self) -> KeyStatus:
        if self.caller is None:
            return "unknown"
        ended: Closing = "expired" if self.ends_at <= time.time() else ""
        told = first_that_closes((self.closed, ended))
        return self.at_end if told == "expired" else told or "open"


class KeyRing:
    """
    The keys one process has seen.

    What was read from the database is trusted for TRUST seconds from the last moment it was certainly right: when it
    was read, or when the subscription, which would have announced a change, last answered a ping. So while the
    subscription is down, keys are read again each second. What cannot be read again, because the database is away, is
    trusted for TRUST_UNCONFIRMED seconds from that moment on, and is read again in the background.

    A known key is read again in the background before its trust ends, and apart from unknown secrets, which wait for
    each other and not without bound.
    """

    def __init__(
        self, pepper: bytes, link: RedisLink, load: Load | None = None, write: Write = write_first_use
    ) -> None:
        self._digest = Digester(pepper)
        self._url = link.url
        self._load_known = load or KeyReader(known_keys_thread).read
        self._load_unknown = load or KeyReader(unknown_keys_thread).read
        self._known_keys: dict[bytes, _Entry] = {}
        self._unknown_keys: dict[bytes, _Entry] = {}
        # Digests that once belonged to a key. They outlive `_known_keys`, so that a forgotten key is still read apart
        # from unknown ones.
        self._seen: dict[bytes, None] = {}
        self._reading: dict[bytes, asyncio.Task[_Entry]] = {}
        self._waiting = 0
        # When keys were first used, as long as the database does not know it: it may be away.
        self._first_uses: dict[int, float] = {}
        self._write_first_use = write
        self._writing: set[asyncio.Task[None]] = set()
        # Counts announcements. A read that began before one may have seen the old row, so both ends compare it.
        self._changes = 0
        # The loop's times: when the last ping that got its pong was sent, and since when this subscription listens.
        self._confirmed_at = -math.inf
        self._listening_since = math.inf

    def digest_of(self, secret: str) -> bytes:
        """By which a secret is known here."""
        return self._digest(secret)

    def open_caller(self, digest: bytes) -> Caller | None:
        """The caller of a key that is known to be open; None for all that takes a closer look."""
        entry = self._known_keys.get(digest)
        return entry.caller if entry and self._trusted(digest, entry) and entry.expires_at > time.time() else None

    async def authenticate(self, secret: str) -> Caller | None:
        """
        The caller, or None for a secret that opens nothing (`refused` says why), all by the same path.

        The lookup is by digest, so its time reveals nothing about the secret. Raise Error when the database is needed
        and away, and TooManyUnknown.
        """
        digest = self._digest(secret)
        entry = self._known_keys.get(digest) or self._unknown_keys.get(digest)
        if entry is None or not self._trusted(digest, entry):
            # Only after the look into memory: an imported key may look like a mistyped one and still be good.
            if entry is None and is_mistyped(secret):
                return None
            entry = await self._read(digest)
        # Expiry is looked at for each request by the wall clock: no announcement is made when it comes.
        if entry.expires_at > time.time():
            return entry.caller
        return entry.caller if entry.unused is not None and self._begin(entry) else None

    def _begin(self, entry: _Entry) -> bool:
        """The first use of a key whose days are counted from it; whether it may be used at all."""
        if (caller := entry.caller) is None or entry.status != "open":
            return False
        first_use = self._first_uses.setdefault(caller.key_id, time.time())
        entry.begin(first_use)
        task = asyncio.get_running_loop().create_task(self._write(caller.key_id, first_use))
        # The set holds the task: the loop itself keeps only a weak reference.
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return True

    async def _write(self, key_id: int, first_use: float) -> None:
        """Once it is in the database, all processes learn of it. If it cannot be written, the next reading tries."""
        try:
            await self._write_first_use(key_id, first_use)
        except (Error, TimeoutError) as exc:
            log.warning("the first use of key %d cannot be written yet: %s", key_id, str(exc) or "no answer in time")
        else:
            self._first_uses.pop(key_id, None)

    def refused(self, secret: str) -> tuple[Caller | None, KeyStatus]:
        """The owner of a secret that was just refused, if it is known, and why it was refused."""
        entry = self._known_keys.get(self._digest(secret))
        return (entry.caller, entry.status) if entry else (None, "unknown")

    async def status(self, digest: bytes) -> KeyStatus:
        """What the secret of that digest is now. Raise Error."""
        entry = self._known_keys.get(digest)
        if entry is None or not self._trusted(digest, entry):
            entry = await self._read(digest)
        return entry.status

    @property
    def listening(self) -> bool:
        """True while the subscription has answered within TRUST seconds: changes of keys arrive at once."""
        return time.monotonic() - self._confirmed_at <= TRUST

    def _trusted(self, digest: bytes, entry: _Entry) -> bool:
        """Whether what was read may be used. A known key is read again before that ends, an unknown one after it."""
        now, read_at = time.monotonic(), entry.read_at
        age = now - self._verified_at(entry)
        # The usual way: two comparisons and no query.
        if age <= RENEW and now - read_at <= READ_AGAIN:
            return True
        # An unknown secret is never renewed in the background: a flood of them would be a flood of queries.
        if entry.caller is None:
            return age <= TRUST and now - read_at <= READ_AGAIN
        if database.away():
            self._retry(digest)
            # Longer than usual: to refuse keys that were good a moment ago would make an outage of the database one of
            # the gateway.
            return age <= TRUST_UNCONFIRMED
        # Set before the task begins, so that a key with many requests starts one read and not one for each.
        if age <= TRUST and now - entry.tried_at >= RENEW:
            entry.tried_at = now
            self._start_reading(digest)
        return age <= TRUST

    def _verified_at(self, entry: _Entry) -> float:
        # Only what was read under this subscription is covered by it: an earlier change may have been missed.
        if entry.read_at >= self._listening_since and self._confirmed_at > entry.verified_at:
            return self._confirmed_at
        return entry.verified_at

    async def _read(self, digest: bytes) -> _Entry:
        if database.away():
            self._retry(digest)
            raise DatabaseError("the database is away")
        reading = self._reading.get(digest)
        # Only unknown keys are refused when there are too many; a known key is always read.
        if reading is None:
            if digest not in self._seen and self._waiting >= MAX_WAITING:
                raise TooManyUnknown
            reading = self._start_reading(digest)
        # The shield keeps one caller that hangs up from cancelling the read of all others.
        return await asyncio.shield(reading)  # others wait for it too

    def _retry(self, digest: bytes) -> None:
        """Start one read to see whether the database is back; at most one a second, and nobody waits for it."""
        if database.may_try():
            self._start_reading(digest)

    def _start_reading(self, digest: bytes) -> asyncio.Task[_Entry]:
        reading = self._reading.get(digest)
        if reading is None:
            reading = self._reading[digest] = asyncio.create_task(self._fetch(digest))
            reading.add_done_callback(lambda task: self._read_ended(digest, task))
        return reading

    def _read_ended(self, digest: bytes, task: asyncio.Task[_Entry]) -> None:
        del self._reading[digest]
        if not task.cancelled():
            task.exception()  # nobody awaits one in the background; asyncio would log it as never retrieved

    async def _fetch(self, digest: bytes) -> _Entry:
        # Each round has a deadline of its own (`_load`), and only an announcement in the middle of it leads to another.
        while True:
            # Both before the query: what it finds is as old as its beginning.
            changes, read_at = self._changes, time.monotonic()
            try:
                record = await self._load(digest)
            except Error:
                entry = self._known_keys.get(digest)
                if entry and time.monotonic() - self._verified_at(entry) <= TRUST_UNCONFIRMED:
                    return entry  # nothing says that it changed
                raise
            if changes == self._changes:  # else it may have been read before the change
                return self._store(digest, _Entry(record, read_at))

    async def _load(self, digest: bytes) -> KeyRecord | None:
        is_known = digest in self._seen
        self._waiting += not is_known
        try:
            async with asyncio.timeout(READ_WITHIN):
                record = await (self._load_known if is_known else self._load_unknown)(digest.hex())
        except (TimeoutError, Error) as exc:
            trouble = exc if isinstance(exc, Error) else DatabaseError("no answer in time")
            # A timeout counts as the database being away, so that the next request does not wait too.
            database.failed(trouble)
            raise trouble from None
        finally:
            self._waiting -= not is_known
        database.works()
        return record

    def _store(self, digest: bytes, entry: _Entry) -> _Entry:
        # Out of both first: a key may have come into being, or gone. It also makes the entry the youngest of its dict.
        self._known_keys.pop(digest, None)
        self._unknown_keys.pop(digest, None)
        entries, most = (self._known_keys, MAX_KNOWN) if entry.caller else (self._unknown_keys, MAX_UNKNOWN)
        if len(entries) >= most:
            # The one read longest ago; a dict keeps the order of insertion.
            del entries[next(iter(entries))]
        entries[digest] = entry
        if entry.caller:
            self._seen[digest] = None
            if len(self._seen) > MAX_KNOWN:
                del self._seen[next(iter(self._seen))]
        return entry

    def forget(self) -> None:
        """Read every key again before it is next trusted."""
        self._changes += 1
        self._known_keys.clear()
        self._unknown_keys.clear()

    def _forget_keys(self, digests: list[bytes]) -> None:
        """Read these keys again before they are next trusted."""
        self._changes += 1
        for digest in digests:
            self._known_keys.pop(digest, None)
            self._unknown_keys.pop(digest, None)
            # Not only forgotten: if the database went away now, a key that just changed could not be read for its next
            # request.
            self._start_reading(digest)  # before the database may go

    def _start_listening(self) -> None:
        """Changes before this moment may have been missed, so what was read until now has to be confirmed."""
        for entry in self._known_keys.values():
            entry.verified_at = self._verified_at(entry)
        # The old trust is written down first: `_verified_at` reads `_listening_since`.
        self._listening_since = time.monotonic()
        self._changes += 1
        self._unknown_keys.clear()

    async def preload(self) -> None:
        """Read the usual keys ahead, so that keys which this process has not met yet survive an outage too."""
        for _ in range(MOST_PINGS):  # what is read while changes arrive is trusted for longer
            if not self.listening:
                await asyncio.sleep(PING_EVERY)
        while True:
            # Until it has worked once; after that, announcements and requests keep keys fresh.
            if await self._read_usual():
                return
            await asyncio.sleep(database.RETRY_SEC)

    async def _read_usual(self) -> bool:
        changes, read_at = self._changes, time.monotonic()
        try:
            records = await usual_keys()
        except Error as exc:
            database.failed(exc)
            return False
        database.works()
        if changes != self._changes:  # they may have been read before the change
            return False
        for digest, record in records.items():
            # What a request has read meanwhile is newer, and stays.
            if (digest_bytes := bytes.fromhex(digest)) not in self._known_keys:
                self._store(digest_bytes, _Entry(record, read_at))
        return True

    async def listen(self) -> None:
        """Follow changes until it is cancelled; a Redis that is away is tried again, and never raises."""
        failing = False
        while True:
            before = self._confirmed_at
            try:
                await self._follow()
            except (redis.RedisError, OSError, TimeoutError) as exc:
                # Once for each outage: a Redis that stays away would otherwise fill the log four times a second.
                if not failing or self._confirmed_at > before:
                    log.warning(
                        "changes of keys are not heard, keys are read each second: %s", str(exc) or "no answer in time"
                    )
                failing = True
            await asyncio.sleep(PING_EVERY)

    async def _follow(self) -> None:
        async with (
            connect_async(self._url, SILENCE) as client,
            client.pubsub() as subscription,
        ):
            await subscription.subscribe(redis_keys.KEYS_CHANGED)
            # After the subscription, not before: a change between the two would be missed.
            self._start_listening()
            while True:
                pinged_at = time.monotonic()
                await subscription.ping()
                async with asyncio.timeout(SILENCE):
                    await self._receive_until_pong(subscription)
                # When the ping was sent, not when it was answered: a change after that may not have come yet.
                self._confirmed_at = pinged_at
                await self._receive_for(subscription, until_next(PING_EVERY))

    async def _receive_until_pong(self, subscription: Any) -> None:
        while (message := await subscription.get_message(timeout=SILENCE)) is None or message["type"] != "pong":
            self._receive(message)

    async def _receive_for(self, subscription: Any, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._receive(await subscription.get_message(timeout=left))

    def _receive(self, message: Any) -> None:
        if message is None or message["type"] != "message":
            return
        # None means that the sender did not know which keys changed, or wrote what this version cannot read.
        digests = changed_in(message["data"])
        if digests is None:
            self.forget()
        else:
            self._forget_keys(digests)
