"""Who is calling: secrets to callers, without I/O for those seen lately, and never later than a second behind."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import redis
import redis.asyncio
from django.db import DatabaseError, connection

from accounts.announce import CHANNEL
from accounts.models import ApiKey, names_in
from accounts.redis_link import RedisLink

log = logging.getLogger(__name__)

TRUST = 0.9  # seconds after which what was read must be confirmed: by the subscription, or by reading again
READ_AGAIN = 30.0  # even while the subscription lives: an announcer may die between its commit and its message
BEAT = 0.25  # how often the subscription is asked whether it lives
SILENCE = 0.4  # how long its answer may take
MAX_UNKNOWN = 4096
MAX_KNOWN = 100_000


class Caller(msgspec.Struct, frozen=True):
    """Who holds a key and what it may do. `models` are patterns, None: all; a limit of 0: none."""

    key_id: int
    name: str
    hint: str
    team: str = ""
    models: frozenset[str] | None = None
    scopes: frozenset[str] = frozenset()
    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0


class KeyRecord(msgspec.Struct, frozen=True):
    """A live key as the database has it. `expires_at` is unix seconds, infinity for never."""

    caller: Caller
    expires_at: float = math.inf


class _Entry:
    __slots__ = ("caller", "expires_at", "read_at")

    def __init__(self, record: KeyRecord | None, read_at: float) -> None:
        self.caller = record.caller if record else None
        self.expires_at = record.expires_at if record else math.inf
        self.read_at = read_at


_readers = ThreadPoolExecutor(2, thread_name_prefix="keys")  # a flood of unknown keys gets no more of the machine


async def load_from_database(digest: str) -> KeyRecord | None:
    """Look a key up by the hex of its digest, off the loop. None when there is none or it is revoked."""
    return await asyncio.get_running_loop().run_in_executor(_readers, _load, digest)


def _load(digest: str) -> KeyRecord | None:
    try:
        key = ApiKey.objects.select_related("team").filter(digest=digest, revoked_at=None).first()
    finally:
        connection.close()  # to the pool, where there is one; nothing else ends this thread's use of it
    return record_of(key) if key else None


def record_of(key: ApiKey) -> KeyRecord:
    """What a KeyRing needs of a key."""
    caller = Caller(
        key_id=key.pk,
        name=key.name,
        hint=key.hint,
        team=key.team.name if key.team else "",
        models=frozenset(names_in(key.allowed_models)) or None,
        scopes=frozenset(names_in(key.scopes)),
        rpm=key.rpm,
        tpm=key.tpm,
        concurrency=key.concurrency,
    )
    return KeyRecord(caller, key.expires_at.timestamp() if key.expires_at else math.inf)


class KeyRing:
    """
    The keys one process has seen.

    What was read from the database is trusted for TRUST seconds from the last moment it was known to be right: when
    it was read, or when the living subscription, which would have told of a change, last answered. So a subscription
    that is down, however it broke, means reading again each second, and nothing else has to be decided.
    """

    def __init__(
        self,
        pepper: bytes,
        link: RedisLink,
        load: Callable[[str], Awaitable[KeyRecord | None]] = load_from_database,
    ) -> None:
        self._pepper = pepper
        self._url = link.url
        self._load = load
        self._known: dict[bytes, _Entry] = {}
        self._unknown: dict[bytes, _Entry] = {}
        self._reading: dict[bytes, asyncio.Task[_Entry]] = {}
        self._changes = 0
        self._confirmed_at = -math.inf

    async def authenticate(self, secret: str) -> Caller | None:
        """
        The caller, or None for a secret that is unknown, expired or revoked, all by the same path.

        The lookup is by digest, so its time tells nothing of the secret. Raise DatabaseError when it must be read and
        cannot be.
        """
        digest = hmac.digest(self._pepper, secret.encode(errors="surrogateescape"), "sha256")
        entry = self._known.get(digest) or self._unknown.get(digest)
        if entry is None or not self._trusted(entry):
            entry = await self._read(digest)
        return entry.caller if entry.expires_at > time.time() else None

    @property
    def listening(self) -> bool:
        """Whether changes are heard at once."""
        return time.monotonic() - self._confirmed_at <= TRUST

    def _trusted(self, entry: _Entry) -> bool:
        now, read_at = time.monotonic(), entry.read_at
        return now - max(read_at, self._confirmed_at) <= TRUST and now - read_at <= READ_AGAIN

    async def _read(self, digest: bytes) -> _Entry:
        reading = self._reading.get(digest)
        if reading is None:
            reading = self._reading[digest] = asyncio.create_task(self._fetch(digest))
            reading.add_done_callback(lambda _: self._reading.pop(digest, None))
        return await asyncio.shield(reading)  # others wait for it too

    async def _fetch(self, digest: bytes) -> _Entry:
        while True:
            changes, read_at = self._changes, time.monotonic()
            try:
                record = await self._load(digest.hex())
            except DatabaseError:
                if (entry := self._known.get(digest)) and self.listening:
                    return entry  # nothing says that it changed
                raise
            if changes == self._changes:  # else it may have been read before the change
                return self._keep(digest, _Entry(record, read_at))

    def _keep(self, digest: bytes, entry: _Entry) -> _Entry:
        self._known.pop(digest, None)
        self._unknown.pop(digest, None)
        kept, most = (self._known, MAX_KNOWN) if entry.caller else (self._unknown, MAX_UNKNOWN)
        if len(kept) >= most:
            del kept[next(iter(kept))]
        kept[digest] = entry
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
                    log.warning("changes of keys are not heard, keys are read each second: %s", exc)
            heard = self.listening
            await asyncio.sleep(BEAT)

    async def _follow(self) -> None:
        async with (
            redis.asyncio.Redis.from_url(self._url, socket_timeout=SILENCE, socket_connect_timeout=SILENCE) as client,
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
