"""From Redis and the spool into the database, in batches: a row is filed once, and its hour's sums with it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Set
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import redis
from django.db import DataError, IntegrityError, connection, transaction

from accounts.alerts import networks
from accounts.alerts.networks import Use
from accounts.audit.context import by_first_use
from accounts.ledger import admissions, amendments, hours
from accounts.ledger.inserts import insert
from accounts.ledger.lines import read
from accounts.ledger.row import Amendment, Opening, UsageRow
from accounts.ledger.spool import REJECTED, append, each_line_of, take
from accounts.models import CLOSED, ApiKey, Usage
from gateway_project.lib.database.many_values import select
from gateway_project.lib.redis import redis_keys

log = logging.getLogger(__name__)

BATCH = 2000
"""Rows of one transaction. All that is done once for each costs as much as a hundred rows."""
REDIS_WAIT_SEC: Final = 5.0
"""Longer than pages wait: an answer with 2,000 rows takes its time, and nobody waits here."""
ORPHANED = "orphaned"
"""The reason of a row whose turn was open when its process died."""
COLUMNS = [field.attname for field in Usage._meta.concrete_fields if not field.primary_key]
_encode = msgspec.json.Encoder().encode

Filed = dict[str, tuple[int, str, bool, str]]
"""Rows that are in the database, by request id: their count, their reason, whether of an admitted turn, their instance.
"""


def flush(client: redis.Redis, spool: Path) -> int:
    """
    File what waits in the stream and in the spool; how many rows were filed now.

    Safe to run twice and at the same time: a row is recognised by its request id, and leaves its place only when it is
    in the database. Rows that cannot be filed at all are set aside in the spool's `rejected.jsonl`. Raise when Redis or
    the database is away; nothing is lost then.
    """
    filed = file_spool(spool)
    is_last = False
    while not is_last and (entries := _oldest(client)):
        # What comes meanwhile is for the next flush: at rest the second look would take as long as the first.
        is_last = len(entries) < BATCH
        filed += file_rows([_line(fields) for _, fields in entries], spool)
        # After the insert: a crash in between files the rows again, which changes nothing.
        _drop(client, [entry for entry, _ in entries])
    return filed


def file_spool(spool: Path) -> int:
    """File what waits in the spool, for which no Redis is needed; how many rows were filed now."""
    filed = 0
    # A file is deleted only after all its rows are in the database: a crash in between files them twice, which is
    # harmless.
    for path in take(spool):
        lines = each_line_of(path)
        while some := list(islice(lines, BATCH)):
            filed += file_rows(some, spool)
        path.unlink(missing_ok=True)
    return filed


def _drop(client: redis.Redis, entries: list[bytes]) -> None:
    """Take the oldest entries out of the stream."""
    # By the last id and not by each, which takes Redis and us a tenth of the time of a row: nothing comes in before an
    # entry that is there. But a server that has lost its last second meanwhile may have given ids before these.
    oldest: Any = client.xrange(redis_keys.USAGE, count=1)
    if oldest and oldest[0][0] == entries[0]:
        client.xtrim(redis_keys.USAGE, minid=_behind(entries[-1]), approximate=False)
    else:
        client.xdel(redis_keys.USAGE, *entries)


def _oldest(client: redis.Redis) -> list[tuple[bytes, list[bytes]]]:
    """Some entries of the stream as Redis gives them: their ids, and names and values by turns."""
    # With the key in its name the library knows no such command, so it makes no dictionaries: they take as long as to
    # read the reply. What it sends are the same words.
    entries: Any = client.execute_command(f"XRANGE {redis_keys.USAGE}", "-", "+", "COUNT", BATCH)  # type: ignore[no-untyped-call]
    return entries or []


def _line(fields: list[bytes]) -> bytes:
    """An entry without a row is an empty line, which is set aside as one that cannot be read: else it would stay."""
    return fields[1] if fields[0] == b"row" else b""


def _behind(entry: bytes) -> str:
    """The first id behind this one."""
    ms, _, number = entry.decode().partition("-")
    return f"{ms}-{int(number) + 1}"


def try_to_write() -> None:
    """Write to the database as filing a row would, but change nothing. Raise when it is away, or takes no writes."""
    Usage.objects.filter(pk=0).update(count=1)


def oldest_waiting(client: redis.Redis) -> float | None:
    """Unix seconds since when the oldest row in the stream waits; None when none does."""
    oldest: Any = client.xrange(redis_keys.USAGE, count=1)
    return int(oldest[0][0].partition(b"-")[0]) / 1000 if oldest else None


def file_rows(lines: list[bytes], spool: Path) -> int:
    """Put a batch of lines into the database, and into the sums of their hours; return how many rows were new."""
    batch = read(lines)
    turns, refused = file_batch(batch.rows, batch.openings, batch.amendments)
    if rejected := batch.rejected + refused:
        log.error("%d usage rows cannot be filed and were set aside in %s", len(rejected), spool / REJECTED)
        append(spool, rejected, REJECTED)
    # After the commit: a crash in between loses when a key was last used, and no row.
    _mark_used(turns)
    return len(turns)


def file_batch(
    rows: Mapping[str, UsageRow], openings: Mapping[str, Opening], amended: Mapping[str, Amendment]
) -> tuple[list[UsageRow], list[bytes]]:
    """In one transaction: file the rows that are new, raise counts, amend. Return the new ones and the refused ones."""
    try:
        return _file_batch(rows, openings, amended)
    except IntegrityError:  # a key was deleted between the look-up and the commit
        return _file_batch(rows, openings, amended)


def _file_batch(
    rows: Mapping[str, UsageRow], openings: Mapping[str, Opening], amended: Mapping[str, Amendment]
) -> tuple[list[UsageRow], list[bytes]]:
    with hours.writing():
        # Keys deleted since the turn: their rows are filed without one instead of failing on the foreign key.
        existing_keys = _keys({row.api_key_id for row in rows.values() if row.api_key_id})
        for row in rows.values():
            if row.api_key_id not in existing_keys:
                row.api_key_id = None
        # An orphaned row is nobody's: should its process have stood still only, its own row takes what comes late.
        own = [row for row in rows.values() if row.reason != ORPHANED]
        late = amendments.with_waiting(dict(amended), [row.request_id for row in own])
        amendments.into_rows(own, late)
        # Openings and amendments name turns whose row may have been filed before.
        filed, turns = _insert_new(rows, openings.keys() | late.keys())
        sums = hours.HourSums()
        for turn in turns:
            sums.add(turn)
        found = [(row, *filed[id_]) for id_, row in rows.items() if id_ in filed]
        _raise_counts([row for row, count, *_ in found if row.count > count], sums)
        sums.write()
        fuller = [row for row, *_, is_admitted, _ in found if row.admitted and not is_admitted]
        admissions.book(openings, [*turns, *fuller], filed)
        given_up = [row for row, _, reason, *_ in found if reason == ORPHANED]
        # Closed as given up, its row counts as that of the turn, though who wrote it knew of no instance.
        served = [row for row, *_, instance in found if row.admitted and row.instance and not instance]
        _replace([row for row in (*fuller, *given_up, *served) if row.reason != ORPHANED])
        if late:
            there = {id_ for id_, (_, reason, *_) in filed.items() if reason != ORPHANED}
            # Rows of this batch took theirs before they were inserted; of these `amend` only learns that they do not
            # wait.
            amendments.amend(late, there | {row.request_id for row in own})
    done = filed.keys() | {turn.request_id for turn in turns}
    return turns, [_encode(row) for id_, row in rows.items() if id_ not in done]


def _keys(ids: Collection[int], condition: str = "TRUE") -> set[int]:
    """Those of the keys that there are, and for which this is true."""
    if not ids:
        return set()
    numbers = ", ".join(map(str, ids))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM accounts_apikey WHERE {condition} AND id IN ({numbers})")  # noqa: S608 - of ours
        return {id_ for (id_,) in cursor.fetchall()}


def _insert_new(rows: Mapping[str, UsageRow], others: Set[str]) -> tuple[Filed, list[UsageRow]]:
    """Insert the rows that are not there yet. Return what was there, of these rows and the others, and the new rows.

    Rows of admitted turns come once, unless Redis or a worker has died. So they are inserted without a look whether
    they are there, which costs as much as one of the indexes; the unique index refuses them all when one is.
    """
    looked_up = (others - rows.keys()) | {id_ for id_, row in rows.items() if not row.admitted}
    filed = _filed(looked_up)
    new = [row for id_, row in rows.items() if id_ not in filed]
    try:
        with transaction.atomic():
            # A savepoint: on PostgreSQL a failed statement would spoil the whole transaction.
            insert(new)
            return filed, new
    except (DataError, IntegrityError):
        filed = _filed(rows.keys() | others)
    return filed, _insert([row for id_, row in rows.items() if id_ not in filed])


def _filed(ids: Set[str]) -> Filed:
    found = select("request_id, count, reason, admitted, instance", "accounts_usage", "request_id", ids)
    # SQLite gives a number for the fourth.
    return {id_: (count, reason, bool(is_admitted), instance) for id_, count, reason, is_admitted, instance in found}


def _insert(rows: list[UsageRow]) -> list[UsageRow]:
    """Insert these rows; return those that the database takes."""
    try:
        with transaction.atomic():
            insert(rows)
            return rows
    except (DataError, IntegrityError):
        # Without a look it may be one row of 2,000, and the others are not to wait for somebody to mend it.
        log.exception("a batch of usage rows was refused; filing them one by one")
    return [row for row in rows if _insert_one(row)]


def _insert_one(row: UsageRow) -> bool:
    with suppress(DataError, IntegrityError), transaction.atomic():
        insert([row])
        return True
    return False


def _raise_counts(rows: list[UsageRow], sums: hours.HourSums) -> None:
    """Raise the count of refusals whose row was filed before the last of them came.

    Where a later one asked for another model, the row has none.
    """
    later = {row.request_id: row for row in rows}
    for turn in Usage.objects.filter(request_id__in=later) if later else ():
        row = later[turn.request_id]
        # By the row as it is stored: its sums were added under that.
        sums.add_turns(turn, row.count - turn.count)
        Usage.objects.filter(pk=turn.pk).update(count=row.count, value=row.value, model=row.model)


def _replace(rows: list[UsageRow]) -> None:
    """Put them in the place of rows that say less of their turns.

    Those that were given up too early: their process had only stood still, and ends them itself. Those of a process
    that had handed its turn over, and whose client had gone before it knew that the other one had taken it.
    """
    fuller = {row.request_id: row for row in rows}
    before, after = hours.HourSums(), hours.HourSums()
    for turn in Usage.objects.filter(request_id__in=fuller) if fuller else ():
        row = fuller[turn.request_id]
        before.add(turn)
        after.add(row)
        fields = {name: getattr(row, name) for name in COLUMNS}
        fields["started_at"] = datetime.fromtimestamp(row.started_at, UTC)
        fields["admitted"] = row.admitted or turn.admitted
        Usage.objects.filter(pk=turn.pk).update(**fields)
    if fuller:
        after.write()
        before.take_away()


def _mark_used(rows: Iterable[UsageRow]) -> None:
    """Note the first and the last use of each key. What a closed key was refused is no use of it."""
    spans: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        if row.api_key_id is not None and row.reason not in CLOSED:
            place, at = (row.api_key_id, row.client), row.started_at
            span = spans.get(place)
            if span is None:
                spans[place] = [at, at]
            elif at > span[1]:
                span[1] = at
            elif at < span[0]:
                span[0] = at
    uses: dict[int, list[Use]] = {}
    for (key_id, client), span in spans.items():
        # Both ends, and not all: the first decides on the key's days, the last on when and from where it was used last.
        uses.setdefault(key_id, []).extend(Use(datetime.fromtimestamp(at, UTC), client) for at in span)
    # One update for each key and batch, not for each row.
    ApiKey.objects.all().mark_last_used({key_id: max(used) for key_id, used in uses.items()})
    networks.note(uses)
    if unused := _keys(uses, "first_used_at IS NULL"):
        with by_first_use():
            ApiKey.objects.all().mark_first_used({key_id: min(uses[key_id]).started_at for key_id in unused})
