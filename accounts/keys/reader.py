"""Reading keys from the database, off the loop: all that are asked for while a query runs share the next one."""

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
        self._asked: dict[str, asyncio.Future[KeyRecord | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def read(self, digest: str) -> KeyRecord | None:
        """The key of that digest, or None. Raise DatabaseError."""
        loop = asyncio.get_running_loop()
        # Whoever asks for the same digest before its query starts shares the Future; later ones get a query of their
        # own.
        answer = self._asked.get(digest)
        if answer is None:
            answer = self._asked[digest] = loop.create_future()
        if self._reading is None or self._reading.done():
            self._reading = loop.create_task(self._read_all())
        return await answer

    async def _read_all(self) -> None:
        while self._asked:
            # Taken out before the query runs: what is asked for from now on must see rows as they are after this
            # moment.
            asked = {digest: self._asked.pop(digest) for digest in list(islice(self._asked, AT_ONCE))}
            asked = {digest: answer for digest, answer in asked.items() if not answer.done()}  # the others gave up
            if not asked:
                continue
            try:
                found = await self._thread.run(partial(_load, list(asked)), GIVE_UP_SEC)
            except Exception as exc:  # noqa: BLE001 - whoever asked gets it
                _answer(asked, exc)
            else:
                _answer(asked, found)


async def usual_keys() -> dict[str, KeyRecord]:
    """Keys that a process may be asked for soon, by digest: the latest in use, and new ones. Raise Error."""
    return await unknown_keys.run(_load_usual, GIVE_UP_SEC)


def _load_usual() -> dict[str, KeyRecord]:
    # `ahead`: this thread must not wait behind the pages of the console for a connection.
    with database.within(GIVE_UP_SEC, ahead=True):
        return _read(
            ApiKey.objects.all().usable(timezone.now()).order_by(F("last_used_at").desc(nulls_first=True))[:USUAL]
        )


def _answer(asked: dict[str, asyncio.Future[KeyRecord | None]], found: dict[str, KeyRecord] | Exception) -> None:
    for digest, answer in asked.items():
        # set_result on a cancelled Future raises, and the others of the batch would get no answer.
        if answer.done():  # given up meanwhile
            continue
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found.get(digest))


def _load(digests: list[str]) -> dict[str, KeyRecord]:
    """Read them; a connection that was kept may have died with its server, so once more on another."""
    # Without the table's order, which would sort for nothing.
    asked = ApiKey.objects.filter(digest__in=digests).order_by()
    try:
        with database.within(FIRST_TRY_SEC, ahead=True):
            return _read(asked)
    except database.AWAY:
        if connection.vendor != "postgresql":  # no connection is kept
            raise
    with database.within(SECOND_TRY_SEC, ahead=True):
        return _read(asked)


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


# Known keys are read apart: no number of strangers may delay them.
known_keys = QueryThread("known-keys")
unknown_keys = QueryThread("unknown-keys")
