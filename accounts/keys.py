"""Who is calling: secrets to callers, without I/O for those seen lately, and never later than a second behind."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import redis
import redis.asyncio
from django.db import DatabaseError

from accounts.announce import CHANNEL
from accounts.key_reader import Caller, KeyReader, KeyRecord, known_keys, unknown_keys
from accounts.minting import is_mistyped
from accounts.redis_client import connect_async
from accounts.redis_link import RedisLink

__all__ = ["Caller", "KeyRecord", "KeyRing", "Standing", "TooManyUnknown"]

log = logging.getLogger(__name__)

TRUST = 0.9  # seconds after which what was read must be confirmed: by the subscription, or by reading again
RENEW = 0.45  # a known key is read again from then on, while it is still trusted
READ_AGAIN = 30.0  # even while the subscription lives: an announcer may die between its commit and its message
READ_WITHIN = 5.0
BEAT = 0.25  # how often the subscription is asked whether it lives
SILENCE = 0.4  # how long its answer may take
MAX_UNKNOWN = 4096
MAX_KNOWN = 100_000
MAX_WAITING = 256  # look-ups of unknown secrets at once

Load = Callable[[str], Awaitable[KeyRecord | None]]
Standing = Literal["open", "unknown", "expired", "revoked"]


class TooManyUnknown(Exception):
    """So many unknown secrets are being looked up that one more has to come back later."""


class _Entry:
    __slots__ = ("caller", "expires_at", "read_at", "revoked", "tried_at")

    def __init__(self, record: KeyRecord | None, read_at: float) -> None:
        self.caller = record.caller if record else None
        self.revoked = record is not None and record.revoked
        self.expires_at = -math.inf if record is None or record.revoked else record.expires_at
        self.read_at = read_at
        self.tried_at = read_at

    @property
    def standing(self) -> Standing:
        if self.caller is None:
            return "unknown"
        if self.revoked:
            return "revoked"
        return "open" if self.expires_at > time.time() else "expired"


class KeyRing:
    """
    The keys one process has seen.

    What was read from the database is trusted for TRUST seconds from the last moment it was known to be right: when
    it was read, or when the living subscription, which would have told of a change, last answered. So a subscription
    that is down, however it broke, means reading again each second, and nothing else has to be decided.

    A known key is read again in the background before its trust ends, and apart from unknown secrets, which wait for
    each other and not without bound.
    """

    def __init__(self, pepper: bytes, link: RedisLink, load: Load | None = None) -> None:
        self._pepper = pepper
        self._url = link.url
        self._load_known = load or KeyReader(known_keys).read
        self._load_unknown = load or KeyReader(unknown_keys).read
        self._known: dict[bytes, _Entry] = {}
        self._unknown: dict[bytes, _Entry] = {}
        self._seen: dict[bytes, None] = {}
        self._reading: dict[bytes, asyncio.Task[_Entry]] = {}
        self._waiting = 0
        self._changes = 0
        self._confirmed_at = -math.inf

    async def authenticate(self, secret: str) -> Caller | None:
        """
        The caller, or None for a secret that is unknown, expired or revoked, all by the same path.

        The lookup is by digest, so its time tells nothing of the secret. Raise DatabaseError when it must be read and
        cannot be, and TooManyUnknown.
        """
        digest = self._digest(secret)
        entry = self._known.get(digest) or self._unknown.get(digest)
        if entry is None or not self._trusted(digest, entry):
            if entry is None and is_mistyped(secret):
                return None
            entry = await self._read(digest)
        return entry.caller if entry.expires_at > time.time() else None

    def refused(self, secret: str) -> tuple[Caller | None, Standing]:
        """Whose secret it was that has just been refused, and why."""
        entry = self._known.get(self._digest(secret))
        return (entry.caller, entry.standing) if entry else (None, "unknown")

    async def standing(self, digest: bytes) -> Standing:
        """How the key of that digest stands now. Raise DatabaseError."""
        entry = self._known.get(digest)
        if entry is None or not self._trusted(digest, entry):
            entry = await self._read(digest)
        return entry.standing

    @property
    def listening(self) -> bool:
        """Whether changes are heard at once."""
        return time.monotonic() - self._confirmed_at <= TRUST

    def _digest(self, secret: str) -> bytes:
        return hmac.digest(self._pepper, secret.encode(errors="surrogateescape"), "sha256")

    def _trusted(self, digest: bytes, entry: _Entry) -> bool:
        """Whether what was read may be used. A known key is read again before that ends, an unknown one after it."""
        now, read_at = time.monotonic(), entry.read_at
        age = now - max(read_at, self._confirmed_at)
        if age <= RENEW and now - read_at <= READ_AGAIN:
            return True
        if entry.caller is None:
            return age <= TRUST and now - read_at <= READ_AGAIN
        if age <= TRUST and now - entry.tried_at >= RENEW:
            entry.tried_at = now
            self._begin_to_read(digest)
        return age <= TRUST

    async def _read(self, digest: bytes) -> _Entry:
        reading = self._reading.get(digest)
        if reading is None:
            if digest not in self._seen and self._waiting >= MAX_WAITING:
                raise TooManyUnknown
            reading = self._begin_to_read(digest)
        return await asyncio.shield(reading)  # others wait for it too

    def _begin_to_read(self, digest: bytes) -> asyncio.Task[_Entry]:
        reading = self._reading.get(digest)
        if reading is None:
            reading = self._reading[digest] = asyncio.create_task(self._fetch(digest))
            reading.add_done_callback(lambda task: self._read_ended(digest, task))
        return reading

    def _read_ended(self, digest: bytes, task: asyncio.Task[_Entry]) -> None:
        del self._reading[digest]
        if not task.cancelled():
            task.exception()  # one in the background has nobody who would hear of it

    async def _fetch(self, digest: bytes) -> _Entry:
        while True:
            changes, read_at = self._changes, time.monotonic()
            try:
                record = await self._load(digest)
            except DatabaseError:
                if (entry := self._known.get(digest)) and self.listening:
                    return entry  # nothing says that it changed
                raise
            if changes == self._changes:  # else it may have been read before the change
                return self._keep(digest, _Entry(record, read_at))

    async def _load(self, digest: bytes) -> KeyRecord | None:
        is_known = digest in self._seen
        self._waiting += not is_known
        try:
            async with asyncio.timeout(READ_WITHIN):
                return await (self._load_known if is_known else self._load_unknown)(digest.hex())
        except TimeoutError:
            raise DatabaseError("no answer in time") from None
        finally:
            self._waiting -= not is_known

    def _keep(self, digest: bytes, entry: _Entry) -> _Entry:
        self._known.pop(digest, None)
        self._unknown.pop(digest, None)
        kept, most = (self._known, MAX_KNOWN) if entry.caller else (self._unknown, MAX_UNKNOWN)
        if len(kept) >= most:
            del kept[next(iter(kept))]
        kept[digest] = entry
        if entry.caller:
            self._seen[digest] = None
            if len(self._seen) > MAX_KNOWN:
                del self._seen[next(iter(self._seen))]
        return entry

    def forget(self) -> None:
        """Read every key again before it is next trusted."""
        self._changes += 1
        self._known.clear()
        self._unknown.clear()

    async def listen(self) -> None:
        """Follow the announcements until cancelled."""
        heard = True
        while True:
            try:
                await self._follow()
            except (redis.RedisError, OSError, TimeoutError) as exc:
                if heard:
                    log.warning(
                        "changes of keys are not heard, keys are read each second: %s", str(exc) or "no answer in time"
                    )
            heard = self.listening
            await asyncio.sleep(BEAT)

    async def _follow(self) -> None:
        async with (
            connect_async(self._url, SILENCE) as client,
            client.pubsub() as subscription,
        ):
            await subscription.subscribe(CHANNEL)
            self.forget()  # what changed while nobody listened was missed
            while True:
                asked = time.monotonic()
                await subscription.ping()
                await asyncio.wait_for(self._hear_until_pong(subscription), SILENCE)
                self._confirmed_at = asked
                await self._hear_for(subscription, BEAT)

    async def _hear_until_pong(self, subscription: Any) -> None:
        while (message := await subscription.get_message(timeout=SILENCE)) is None or message["type"] != "pong":
            self._take(message)

    async def _hear_for(self, subscription: Any, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._take(await subscription.get_message(timeout=left))

    def _take(self, message: Any) -> None:
        if message is not None and message["type"] == "message":
            self.forget()
