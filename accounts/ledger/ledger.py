"""One row per turn that is not lost: ahead to Redis or to a spool file, and from there in batches to the database."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import redis
from django.db import DataError, IntegrityError

from accounts.ledger.row import UsageRow
from accounts.ledger.spool import REJECTED, SPOOL, append, lines_of, take, unwritten, waiting
from accounts.models import ApiKey, Usage
from gateway_project.lib import redis_keys
from gateway_project.lib.redis_link import RedisLink, RedisUnavailable

log = logging.getLogger(__name__)

BATCH = 500
MOST = 2**31 - 1  # what the database's integers hold
COUNT_SEC = 1.0
UNCONFIRMED_SEC = 5.0
"""How long a row that Redis took may be in its memory only: it puts a write off for 2 s while the disk is busy."""
MOST_TAKEN = 20_000
CLOSED = ("revoked", "expired")  # of a key that opens nothing
WIDTHS = {field.name: getattr(field, "max_length", None) for field in Usage._meta.get_fields()}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(UsageRow).decode


class Ledger:
    """
    Takes the rows of one process. When `write` has returned, a kill -9 of the process loses nothing.

    Nor does a kill -9 of Redis: it answers before a row is in its file, so the latest rows are put into the spool when
    Redis is lost. Rows that it had stored after all are recognised by their request ids.
    """

    def __init__(self, link: RedisLink, spool: Path) -> None:
        self._link = link
        self._spool = spool
        self._taken: deque[tuple[float, bytes]] = deque(maxlen=MOST_TAKEN)
        self._counting: asyncio.Future[int] | None = None
        # The link has one listener, and this is it: nothing else would lose data with the server.
        link.on_loss = self._redis_lost

    async def write(self, row: UsageRow) -> None:
        """Put the row where `flush` finds it. Never raises but for a cancellation, and the row is kept then too."""
        line = _encode(row)
        try:
            await self._link.execute("XADD", redis_keys.USAGE, "*", "row", line)
        except asyncio.CancelledError:
            append(self._spool, [line])  # whether it was sent is unknown; twice is once, by its request id
            raise
        # ResponseError: a full Redis refuses XADD with OOM, and the file has to take it as well.
        except (RedisUnavailable, redis.ResponseError):
            append(self._spool, [line])
        else:
            now, taken = time.monotonic(), self._taken
            taken.append((now, line))
            # Never empty: the row just added is young.
            while taken[0][0] < now - UNCONFIRMED_SEC:
                taken.popleft()

    def _redis_lost(self) -> None:
        since = time.monotonic() - UNCONFIRMED_SEC
        # Rows that Redis had stored are written a second time here; `file_rows` drops them by their request id.
        if unconfirmed := [line for at, line in self._taken if at >= since]:
            append(self._spool, unconfirmed)
        self._taken.clear()

    async def backlog(self) -> int:
        """Rows that wait for `flush`. Those in memory go to Redis, should it be there again before the disk is."""
        try:
            await self._send_unwritten()
            ahead = int(await self._link.execute("XLEN", redis_keys.USAGE))
        except (RedisUnavailable, redis.ResponseError, TimeoutError):
            ahead = 0
        # One count at a time: on a disk that hangs each heartbeat would else leave one more stuck thread.
        if self._counting is None or self._counting.done():
            self._counting = asyncio.ensure_future(asyncio.to_thread(waiting, self._spool))
        await asyncio.wait({self._counting}, timeout=COUNT_SEC)  # a disk that hangs must not stop the heartbeat
        if not self._counting.done() or self._counting.exception():  # or no descriptor is left, or no thread
            return ahead + len(unwritten)
        return ahead + self._counting.result()

    async def _send_unwritten(self) -> None:
        while self._link.available and (lines := unwritten.take(SPOOL, BATCH)):
            try:
                async with asyncio.timeout(COUNT_SEC):
                    sent = [self._link.execute("XADD", redis_keys.USAGE, "*", "row", line) for line in lines]
                    await asyncio.gather(*sent)
            # Also on cancellation: `take` made these rows ours, and nobody else has them.
            except BaseException:
                append(self._spool, lines)  # what was sent all the same is recognised by its request id
                raise


def flush(client: redis.Redis, spool: Path) -> int:
    """
    File what waits in the stream and in the spool; how many rows were filed now.

    Safe to run twice and at the same time: a row is recognised by its request id, and leaves its place only when it is
    in the database. Rows that cannot be filed at all are set aside in the spool's `rejected.jsonl`. Raise when Redis or
    the database is away; nothing is lost then.
    """
    filed = 0
    # A file is deleted only after all its rows are in the database: a crash in between files them twice, which is
    # harmless.
    for path in take(spool):
        lines = lines_of(path)
        for start in range(0, len(lines), BATCH):
            filed += file_rows(lines[start : start + BATCH], spool)
        path.unlink(missing_ok=True)
    entries: Any = client.xrange(redis_keys.USAGE, count=BATCH)
    while entries:
        filed += file_rows([fields.get(b"row", b"") for _, fields in entries], spool)
        # By id and after the insert: a crash in between files the rows again, which changes nothing.
        client.xdel(redis_keys.USAGE, *[entry for entry, _ in entries])
        entries = client.xrange(redis_keys.USAGE, count=BATCH)
    return filed


def try_to_write() -> None:
    """Write to the database as filing a row would, but change nothing. Raise when it is away, or takes no writes."""
    Usage.objects.filter(pk=0).update(count=1)


def oldest_waiting(client: redis.Redis) -> float | None:
    """Unix seconds since when the oldest row in the stream waits; None when none does."""
    oldest: Any = client.xrange(redis_keys.USAGE, count=1)
    return int(oldest[0][0].partition(b"-")[0]) / 1000 if oldest else None


def file_rows(lines: list[bytes], spool: Path) -> int:
    """Put a batch of encoded rows into the database; return how many were new."""
    rows, rejected = _decoded(lines)
    # Keys deleted since the turn: their rows are filed without one instead of failing on the foreign key.
    existing_keys = set(ApiKey.objects.filter(pk__in={row.api_key_id for row in rows}).values_list("pk", flat=True))
    # Queried before the insert, so that a row is counted as new, and marks its key as used, once.
    before = _filed(rows)
    # The same refusal may wait with several counts: the highest is last, and wins in the dict below.
    rows.sort(key=lambda row: row.count)
    new = {row.request_id: row for row in rows if row.request_id not in before}
    rejected += _insert(list(new.values()), existing_keys)
    _raise_counts(rows)
    if rejected:
        log.error("%d usage rows cannot be filed and were set aside in %s", len(rejected), spool / REJECTED)
        append(spool, rejected, REJECTED)
    _mark_used(row for row in new.values() if row.api_key_id in existing_keys and row.reason not in CLOSED)
    return len(new)


def _decoded(lines: list[bytes]) -> tuple[list[UsageRow], list[bytes]]:
    rows, rejected = [], []
    for line in lines:
        try:
            rows.append(_cleaned(_decode(line)))
        except (msgspec.DecodeError, ValueError, OverflowError):
            rejected.append(line)
    return rows, rejected


def _cleaned(row: UsageRow) -> UsageRow:
    """The row as the columns can hold it. Raise ValueError when no cutting helps."""
    # Checked here and not by the database: its constraint would refuse the whole batch.
    if row.status not in Usage.Status.values:
        raise ValueError(row.status)
    datetime.fromtimestamp(row.started_at, UTC)  # raises when it is no time
    for name in UsageRow.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, str):
            # PostgreSQL takes no NUL in text, and refuses what is too long; a shorter text is better than no row.
            setattr(row, name, value.replace("\0", "")[: WIDTHS[name]])
        # bool is an int to Python, and must stay a bool.
        elif isinstance(value, int) and not isinstance(value, bool):
            setattr(row, name, min(max(value, 0), MOST))
    return row


def _filed(rows: Iterable[UsageRow]) -> set[str]:
    filed = Usage.objects.filter(request_id__in=[row.request_id for row in rows]).order_by()
    return set(filed.values_list("request_id", flat=True))


def _raise_counts(rows: list[UsageRow]) -> None:
    """Raise the count of refusals whose row was filed before the last of them came."""
    for row in rows:
        if row.count > 1:
            # `count__lt` makes it safe in any order: an older count that arrives late changes nothing.
            Usage.objects.filter(request_id=row.request_id, count__lt=row.count).update(
                count=row.count, value=row.value
            )


def _insert(rows: list[UsageRow], existing_keys: set[int]) -> list[bytes]:
    """Insert these rows; return, encoded, those that the database refuses."""
    try:
        Usage.objects.bulk_create([_turn(row, existing_keys) for row in rows], ignore_conflicts=True)
    except (DataError, IntegrityError):
        log.exception("a batch of usage rows was refused; filing them one by one")
    # Queried again instead of trusted: what is not there is inserted alone, to find the row that is refused.
    stored = _filed(rows)  # SQLite ignores more than conflicts
    return [_encode(row) for row in rows if row.request_id not in stored and not _insert_one(row, existing_keys)]


def _insert_one(row: UsageRow, existing_keys: set[int]) -> bool:
    for keys in (existing_keys, set[int]()):  # the key may have gone since
        try:
            Usage.objects.bulk_create([_turn(row, keys)], ignore_conflicts=True)
        except (DataError, IntegrityError):
            continue
        return bool(_filed([row]))
    return False


def _turn(row: UsageRow, existing_keys: set[int]) -> Usage:
    fields = msgspec.structs.asdict(row)
    fields["started_at"] = datetime.fromtimestamp(row.started_at, UTC)
    if row.api_key_id not in existing_keys:
        fields["api_key_id"] = None
    return Usage(**fields)


def _mark_used(rows: Iterable[UsageRow]) -> None:
    last: dict[int, UsageRow] = {}
    for row in rows:
        if row.api_key_id not in last or row.started_at > last[row.api_key_id].started_at:
            last[row.api_key_id] = row
    for key_id, row in last.items():
        # One update for each key and batch, not for each row.
        ApiKey.objects.filter(pk=key_id).mark_used(datetime.fromtimestamp(row.started_at, UTC), row.client)
