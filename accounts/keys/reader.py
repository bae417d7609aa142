"""Reads keys from the database in a thread; all keys requested while a query runs share the next query."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Literal

import msgspec
from django.db import connection
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from accounts.apps import accounts_config
from accounts.audit.context import by_first_use
from accounts.keys.limit_set import LimitSet, limit_set
from accounts.keys.networks import Network, networks_in
from accounts.models import ApiKey, Closing, first_that_closes, names_in
from gateway_project.lib.database import database_state as database
from gateway_project.lib.database.query_thread import QueryThread
from gateway_project.lib.tool_approval import DENY, Approval, ToolPolicy

# Digests of one query: one that grew with a flood of unknown secrets would miss its own deadline.
AT_ONCE = 256
# Read at every start of a process, in one query within GIVE_UP_SEC.
USUAL = 2000
# The first is short: mostly it fails because its connection had died, and then the second one has time to make another.
FIRST_TRY_SEC, SECOND_TRY_SEC = 0.6, 1.2
GIVE_UP_SEC = 2.5  # beyond both tries: whatever the thread waits for keeps no deadline


log = logging.getLogger(__name__)

KeyStatus = Literal["open", "unknown", "expired", "revoked", "paused", "quarantined", "rotated"]
"""`rotated`: an older secret of a key, whose grace is over."""
ToolMode = Literal["", "emulate", "bridge", "forward"]
# A text of the database becomes a `ToolMode` by looking it up; what an older or newer version wrote there is none.
TOOL_MODES: dict[str, ToolMode] = {"emulate": "emulate", "bridge": "bridge", "forward": "forward"}


class Caller(msgspec.Struct, frozen=True):
    """Who holds a key and what it may do: the key's policy, and its team's where the key has none.

    `models` are patterns, None: all. `networks` are those it may come from, None: any.
    """

    key_id: int
    name: str
    hint: str
    team_id: int = 0
    """0 for a key without one."""
    models: frozenset[str] | None = None
    networks: tuple[Network, ...] | None = None
    scopes: frozenset[str] = frozenset()
    tools: ToolPolicy | None = None
    """None: as the gateway is set up."""
    limits: tuple[LimitSet, ...] = ()
    """The key's and its team's, as far as there are any: then a request must be counted before it begins."""
    content_logging: bool = False
    """What it sends and receives is kept."""
    digest: bytes = b""
    """Of the secret it came with, which may be the one before the last rotation."""

    counts_tokens: bool = False
    """Whether a limit is one of tokens; by the limits, whatever is given."""

    def __post_init__(self) -> None:
        # Once for a key, as each of its requests asks for it.
        msgspec.structs.force_setattr(self, "counts_tokens", any(limits.counts_tokens for limits in self.limits))


class KeyRecord(msgspec.Struct, frozen=True):
    """One secret of a key as the database has it. `expires_at` is unix seconds, infinity for never."""

    caller: Caller
    expires_at: float = math.inf
    closed: Closing = ""
    """What people have done to the key, so that it opens nothing; "" for nothing."""
    at_end: Literal["expired", "rotated"] = "expired"
    """What the secret is when `expires_at` has come."""
    unused_days: int = 0
    """The key has not been used yet, and expires so many days after its first use; 0 for all other keys."""


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
        # One that was given up behind a query that hangs stays here until that query is given up, too.
        if answer is None or answer.done():
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
    # Not on the thread of known keys: requests begin while this runs, and theirs would wait behind it.
    return await unknown_keys_thread.run(_load_usual, GIVE_UP_SEC)


def _load_usual() -> dict[str, KeyRecord]:
    # `ahead`: this thread must not wait behind the pages of the console for a connection.
    with database.within(GIVE_UP_SEC, ahead=True):
        # A key that was never used may have been made for today, so it comes before those used lately.
        usable = ApiKey.objects.all().usable(timezone.now())
        return _read(usable.order_by(F("last_used_at").desc(nulls_first=True))[:USUAL])


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
    keys = ApiKey.objects.filter(Q(digest__in=digests) | Q(previous_digest__in=digests)).order_by()
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
        # With the team: what is empty at the key is taken from there.
        return {digest: record for key in keys.select_related("team") for digest, record in records_of(key)}
    finally:
        connection.close()  # kept for the next one where it is of use; nothing else ends this thread's use of it


def records_of(key: ApiKey) -> Iterator[tuple[str, KeyRecord]]:
    """A record for each of the key's secrets, by digest: the one before the last rotation has another end."""
    caller = caller_of(key)
    expires_at = key.expires_at.timestamp() if key.expires_at else math.inf
    unused_days = (key.expires_after_days or 0) if key.first_used_at is None else 0
    # Its end is looked at for each request.
    closed = first_that_closes(key.closed_by(timezone.now()) - {"expired"})
    yield key.digest, KeyRecord(caller, expires_at, closed, unused_days=unused_days)
    if key.previous_digest:
        # No end in the row: it would open the old secret for ever.
        until = key.previous_until.timestamp() if key.previous_until else -math.inf
        # Of its own digest, so that a turn which began with the older secret is ended when that one's grace is over.
        older = msgspec.structs.replace(caller, digest=bytes.fromhex(key.previous_digest))
        at_end: Literal["expired", "rotated"] = "rotated" if until <= expires_at else "expired"
        yield key.previous_digest, KeyRecord(older, min(until, expires_at), closed, at_end, unused_days)


def caller_of(key: ApiKey) -> Caller:
    """The holder of the key's newest secret."""
    return Caller(
        key_id=key.pk,
        name=key.name,
        hint=key.hint,
        team_id=key.team_id or 0,
        # An empty list in the console means every model, so it must not become an empty set, which allows none.
        models=frozenset(names_in(key.policy("allowed_models"))) or None,
        networks=_networks(key),
        scopes=frozenset(names_in(key.policy("scopes"))),
        tools=_tools(key),
        limits=_limits_of(key),
        # The setting wins: with nothing kept, a request must not pay for gathering its content.
        content_logging=key.content_logging and accounts_config().content_days > 0,
        digest=bytes.fromhex(key.digest),
    )


def _networks(key: ApiKey) -> tuple[Network, ...] | None:
    try:
        return networks_in(names_in(key.policy("allowed_networks"))) or None
    # Forms refuse it. A row that was written past them must neither open the key nor break the reading of others.
    except ValueError:
        log.warning("key %s has networks that cannot be read, and is refused from everywhere", key)
        return ()


def _tools(key: ApiKey) -> ToolPolicy | None:
    mode, approval = TOOL_MODES.get(key.policy("tool_mode"), ""), key.policy("tool_approval")
    if not mode and not approval:
        return None
    try:
        return ToolPolicy(mode, Approval.read(approval) if approval else None)
    except ValueError:
        log.warning("key %s has a tool approval that cannot be read, and may have no tool run", key)
        return ToolPolicy(mode, DENY)


async def write_first_use(key_id: int, at: float) -> None:
    """Write down when a key was first used, which sets its end. Raise Error."""
    await first_uses_thread.run(partial(_write_first_use, key_id, datetime.fromtimestamp(at, UTC)), GIVE_UP_SEC)


def _write_first_use(key_id: int, at: datetime) -> None:
    with database.within(SECOND_TRY_SEC), by_first_use():
        try:
            ApiKey.objects.all().mark_first_used({key_id: at})
        finally:
            connection.close()


def _limits_of(key: ApiKey) -> tuple[LimitSet, ...]:
    zone = key.team.time_zone if key.team else ""
    found = limit_set("key", key, zone), limit_set("team", key.team, zone) if key.team else None
    return tuple(limits for limits in found if limits is not None)


# Known keys have a thread of their own, so that no number of unknown keys delays them.
known_keys_thread = QueryThread("known-keys")
unknown_keys_thread = QueryThread("unknown-keys")
# A row that is locked must not keep keys from being read.
first_uses_thread = QueryThread("first-uses")
