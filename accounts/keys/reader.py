"""Reads keys from the database in a thread; all keys requested while a query runs share the next query."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from itertools import islice

import msgspec
from django.db import connection
from django.db.models import F, QuerySet
from django.utils import timezone

from accounts.models import ApiKey, names_in
from gateway_project.lib import database_state as database
from gateway_project.lib.query_thread import QueryThread

# Digests of one query: one that grew with a flood of unknown secrets would miss its own deadline.
AT_ONCE = 256
USUAL = 2000
FIRST_TRY_SEC, SECOND_TRY_SEC = 0.6, 1.2
GIVE_UP_SEC = 2.5  # beyond both tries: whatever the thread waits for keeps no deadline


class Caller(msgspec.Struct, frozen=True):
    """Who holds a key and what it may do. `models` are patterns, None: all; a limit of 0: none."""

    key_id: int
    name: str
    hint: str
    team_id: int = 0
    """0 for a key without one."""
    models: frozenset[str] | None = None
    scopes: frozenset[str] = frozenset()
    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0
    digest: bytes = b""

    @property
    def is_limited(self) -> bool:
        """Whether a request must be counted before it begins."""
        return bool(self.rpm or self.tpm or self.concurrency)


class KeyRecord(msgspec.Struct, frozen=True):
    """A key as the database has it. `expires_at` is unix seconds, infinity for never."""

    caller: Caller
    expires_at: float = math.inf
    revoked: bool = False


class KeyReader:
    """Looks keys up by the hex of their digest. A reader has one thread, so a flood gets no more of the machine."""

    def __init__(self, thread: QueryThread) -> None:
        self._thread = thread
        self._requested: dict[str, asyncio.Future[KeyRecord | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def read(self, digest: str) -> KeyRecord | None:
        """The key of that digest, or None. Raise DatabaseError."""
        loop = asyncio.get_running_loop()
        # Whoever asks for the same digest before its query starts shares the Future; later ones get a query of their
        # own.
        answer = self._requested.get(digest)
        if answer is None:
            answer = self._requested[digest] = loop.create_future()
        if self._reading is None or self._reading.done():
            self._reading = loop.create_task(self._read_all())
        return await answer

    async def _read_all(self) -> None:
        while self._requested:
            # Taken out before the query runs: what is requested from now on must see rows as they are after this
            # moment.
            batch = {digest: self._requested.pop(digest) for digest in list(islice(self._requested, AT_ONCE))}
            batch = {digest: answer for digest, answer in batch.items() if not answer.done()}  # the others gave up
            if not batch:
                continue
            try:
                found = await self._thread.run(partial(_load, list(batch)), GIVE_UP_SEC)
            except Exception as exc:  # noqa: BLE001 - every waiting request gets it
                _answer(batch, exc)
            else:
                _answer(batch, found)


async def usual_keys() -> dict[str, KeyRecord]:
    """The keys that are likely to be needed soon, by digest: the latest in use, and new ones. Raise Error."""
    return await unknown_keys_thread.run(_load_usual, GIVE_UP_SEC)


def _load_usual() -> dict[str, KeyRecord]:
    # `ahead`: this thread must not wait behind the pages of the console for a connection.
    with database.within(GIVE_UP_SEC, ahead=True):
        return _read(
            ApiKey.objects.all().usable(timezone.now()).order_by(F("last_used_at").desc(nulls_first=True))[:USUAL]
        )


def _answer(batch: dict[str, asyncio.Future[KeyRecord | None]], found: dict[str, KeyRecord] | Exception) -> None:
    for digest, answer in batch.items():
        # set_result on a cancelled Future raises, and the others of the batch would get no answer.
        if answer.done():  # given up meanwhile
            continue
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found.get(digest))


def _load(digests: list[str]) -> dict[str, KeyRecord]:
    """Read them, at most twice: a reused connection may have died with its server."""
    # Without the table's order, which would sort for nothing.
    keys = ApiKey.objects.filter(digest__in=digests).order_by()
    try:
        with database.within(FIRST_TRY_SEC, ahead=True):
            return _read(keys)
    except database.AWAY:
        if connection.vendor != "postgresql":  # no connection is kept
            raise
    with database.within(SECOND_TRY_SEC, ahead=True):
        return _read(keys)


def _read(keys: QuerySet[ApiKey]) -> dict[str, KeyRecord]:
    try:
        return {key.digest: record_of(key) for key in keys.all()}
    finally:
        connection.close()  # kept for the next one where it is of use; nothing else ends this thread's use of it


def record_of(key: ApiKey) -> KeyRecord:
    caller = Caller(
        key_id=key.pk,
        name=key.name,
        hint=key.hint,
        team_id=key.team_id or 0,
        # An empty list in the console means every model, so it must not become an empty set, which allows none.
        models=frozenset(names_in(key.allowed_models)) or None,
        scopes=frozenset(names_in(key.scopes)),
        rpm=key.rpm,
        tpm=key.tpm,
        concurrency=key.concurrency,
        digest=bytes.fromhex(key.digest),
    )
    expires_at = key.expires_at.timestamp() if key.expires_at else math.inf
    return KeyRecord(caller, expires_at, revoked=key.revoked_at is not None)


# Known keys have a thread of their own, so that no number of unknown keys delays them.
known_keys_thread = QueryThread("known-keys")
unknown_keys_thread = QueryThread("unknown-keys")
