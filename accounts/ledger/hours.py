"""Sums by the hour: every batch of rows adds to them; they can be made anew from the rows, and are checked by them."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, Final

from django.db import connection, connections, models, transaction
from django.db.models import Aggregate, Case, Count, F, Func, IntegerField, Q, Sum, When
from django.db.models.functions import Greatest

from accounts.ledger import totals
from accounts.ledger.added import Adding
from accounts.ledger.compiled import Compiled, compiled
from accounts.ledger.row import UsageRow
from accounts.ledger.totals import DAY
from accounts.models import AdmittedHour, OpenTurn, Usage, UsageDay, UsageHour, UsageTotal
from accounts.models.hour import BOUNDS_MS, BUCKET_COLUMNS, DIMENSIONS, HISTOGRAMS, SUMS, bucket_column

HOUR: Final = timedelta(hours=1)
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
COLUMNS: Final = (*SUMS, *BUCKET_COLUMNS)
# Places in a list of sums. A list, for each row of a batch adds to some ten of them.
_TURNS, _PROMPT, _COMPLETION, _BUSY, _QUEUE, _REUSED = range(len(SUMS))
# Where the buckets of each histogram begin.
_FIRST_TOKEN, _QUEUED, _TOTAL = range(len(SUMS), len(COLUMNS), len(BOUNDS_MS) + 1)
_LOCK: Final = 0x6C6765_686F7572  # any number that is nobody else's
_ADDING: Final = Adding(UsageHour, DIMENSIONS, COLUMNS)
_TAKE_AWAY: Final = (
    f"UPDATE accounts_usagehour SET {', '.join(f'{name} = {name} - %s' for name in COLUMNS)} "  # noqa: S608 - names of ours
    "WHERE digest = %s"
)

Dimensions = tuple[Any, ...]
"""Values in the order of DIMENSIONS."""

_of_row = attrgetter(*DIMENSIONS[1:])


def hour_of(at: datetime) -> datetime:
    """The beginning of the hour (UTC)."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


# Rows of a batch are of one hour or two.
@lru_cache(64)
def _hour(number: int) -> datetime:
    return BEGINNING + number * HOUR


def hour_at(at: float) -> datetime:
    """The beginning of the hour (UTC) of a time in unix seconds."""
    # Of the time as it is stored, to a whole microsecond: it may be the next hour.
    return _hour(int((at + 5e-7) // 3600))


def digest_of(dimensions: Dimensions) -> str:
    """Of DIMENSIONS, for an upsert: the same for the same values in every process and version."""
    hour, *others = dimensions
    # repr, so that no text can look like the end of one value and the begin of the next, nor like None.
    return hashlib.blake2b(repr((int(hour.timestamp()), *others)).encode(), digest_size=16).hexdigest()


@contextmanager
def writing() -> Iterator[None]:
    """A transaction that writes rows and sums. Only one at a time: what it has read of them stays true until its end.

    SQLite lets only one write anyway.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            # No lock on the table: that would break off every VACUUM of it.
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        yield


def busy_ms(instance: str, status: str, queue_ms: int, total_ms: int) -> int:
    """Milliseconds for which a turn kept its instance busy; 0 where it was refused, or left the queue."""
    return total_ms - queue_ms if instance and status != "refused" and total_ms > queue_ms else 0


class HourSums:
    """Sums of some rows, by their dimensions.

    `count` of a row is how many turns it stands for. Its tokens and times count once: they are of the row.
    """

    def __init__(self) -> None:
        self.by_dimensions: dict[Dimensions, list[int]] = {}

    def add(self, row: Usage | UsageRow) -> None:
        sums = self._sums_of(row)
        queue_ms, total_ms, first_token_ms = row.queue_ms, row.total_ms, row.first_token_ms
        # Tokens and times of refusals that share a row are those of the first, so they are not multiplied.
        sums[_TURNS] += row.count
        sums[_PROMPT] += row.prompt_tokens
        sums[_COMPLETION] += row.completion_tokens
        sums[_BUSY] += busy_ms(row.instance, row.status, queue_ms, total_ms)
        sums[_QUEUE] += queue_ms
        sums[_REUSED] += row.session == "reused"
        # As `bucket_of`, without its call three times for each row.
        if first_token_ms is not None:
            sums[_FIRST_TOKEN + bisect_left(BOUNDS_MS, first_token_ms)] += 1
        sums[_QUEUED + bisect_left(BOUNDS_MS, queue_ms)] += 1
        sums[_TOTAL + bisect_left(BOUNDS_MS, total_ms)] += 1

    def add_turns(self, row: Usage | UsageRow, more: int) -> None:
        """The row, which has been added before, stands for so many turns more."""
        self._sums_of(row)[_TURNS] += more

    def _sums_of(self, row: Usage | UsageRow) -> list[int]:
        at = row.started_at
        dimensions = (hour_at(at) if isinstance(at, float) else hour_of(at), *_of_row(row))
        sums = self.by_dimensions.get(dimensions)
        if sums is None:
            sums = self.by_dimensions[dimensions] = [0] * len(COLUMNS)
        return sums

    def write(self) -> None:
        """Add to what is stored. Only within `writing`."""
        if not self.by_dimensions:
            return
        _ADDING.add([(digest_of(dimensions), *dimensions, *sums) for dimensions, sums in self.by_dimensions.items()])
        totals.write(self.by_dimensions)
        self._drop_days()

    def take_away(self) -> None:
        """Take away from what is stored, where it was added before. Only within `writing`."""
        # No upsert: a row of negative numbers is refused before it could conflict.
        values: list[Any] = [(*sums, digest_of(dimensions)) for dimensions, sums in self.by_dimensions.items()]
        with connection.cursor() as cursor:
            cursor.executemany(_TAKE_AWAY, values)
        # Sums made anew have no rows of nothing, and are compared with these.
        UsageHour.objects.filter(digest__in=[each[-1] for each in values], turns=0).delete()
        totals.take_away(self.by_dimensions)
        self._drop_days()

    def _drop_days(self) -> None:
        UsageDay.drop({dimensions[0] for dimensions in self.by_dimensions})


class Hour(Func):
    """The hour (UTC) of a time, by the database alone; Django's TruncHour calls Python for each row of SQLite."""

    output_field = models.DateTimeField()
    arity = 1
    template = "date_trunc('hour', %(expressions)s, 'UTC')"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Times are stored as `2026-11-28 21:08:00.5`, in UTC.
        return self.as_sql(compiler, connection, template="(substr(%(expressions)s, 1, 13) || ':00:00')", **context)


# The same as `busy_ms` above, and `wrong_hours` finds it out if they differ.
def _busy_ms() -> Case:
    busy = ~Q(instance="") & ~Q(status="refused")
    return Case(When(busy, then=Greatest(F("total_ms") - F("queue_ms"), 0)), default=0, output_field=IntegerField())


def _in_bucket(column: str, bucket: int) -> Count:
    within = Q(**{f"{column}__isnull": False})
    if bucket:
        within &= Q(**{f"{column}__gt": BOUNDS_MS[bucket - 1]})
    if bucket < len(BOUNDS_MS):
        within &= Q(**{f"{column}__lte": BOUNDS_MS[bucket]})
    return Count("pk", filter=within)


ROW_SUMS: Final[dict[str, Aggregate]] = {
    "turns": Sum("count"),
    "prompt_tokens": Sum("prompt_tokens"),
    "completion_tokens": Sum("completion_tokens"),
    "busy_ms": Sum(_busy_ms()),
    "queue_ms": Sum("queue_ms"),
    "reused": Count("pk", filter=Q(session="reused")),
    **{
        bucket_column(histogram, bucket): _in_bucket(f"{histogram}_ms", bucket)
        for histogram in HISTOGRAMS
        for bucket in range(len(BOUNDS_MS) + 1)
    },
}
"""Each sum of UsageHour, taken of rows."""


@cache
def _sums_to_select() -> dict[str, Compiled]:
    # Other names than those of the columns, which Django would take for the columns.
    return compiled(Usage, {f"sum_{name}": aggregate for name, aggregate in ROW_SUMS.items()})


def sums_of_rows(start: datetime, end: datetime) -> HourSums:
    """The sums of the rows from `start` to before `end`, by the database."""
    sums = HourSums()
    aggregates = _sums_to_select()
    rows = Usage.objects.filter(started_at__gte=start, started_at__lt=end).order_by()
    grouped = rows.annotate(hour=Hour("started_at")).values(*DIMENSIONS).annotate(**aggregates)
    for values in grouped.values_list(*DIMENSIONS, *aggregates).iterator():
        sums.by_dimensions[values[: len(DIMENSIONS)]] = list(values[len(DIMENSIONS) :])
    return sums


def sums_of_hours(start: datetime, end: datetime) -> HourSums:
    """The stored sums of the hours from `start` to before `end`. Raise django.db.Error."""
    sums = HourSums()
    hours = UsageHour.objects.filter(hour__gte=start, hour__lt=end)
    for values in hours.values_list(*DIMENSIONS, *COLUMNS).iterator():
        sums.by_dimensions[values[: len(DIMENSIONS)]] = list(values[len(DIMENSIONS) :])
    return sums


def rebuild(start: datetime, end: datetime) -> int:
    """Make the sums of these hours anew from the rows; return how many rows of sums there are now.

    Whole hours: `start` is set back, `end` put off. A transaction for each day, so that usage is filed in between.
    """
    written = 0
    for first, last in days(start, end):
        with writing():
            UsageHour.objects.filter(hour__gte=first, hour__lt=last).delete()
            UsageDay.drop([first, last - HOUR])  # also where no row is left
            sums = sums_of_rows(first, last)
            sums.write()
            totals.rebuild(first, last)
        written += len(sums.by_dimensions)
    return written


@contextmanager
def snapshot() -> Iterator[None]:
    """All that is read within is of one moment, and nobody who writes waits for it."""
    # PostgreSQL takes an isolation level at the beginning of a transaction alone: in one that runs it is its caller's
    # matter.
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    else:
        # Not `atomic`, which takes SQLite's lock for writing at once.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")


def wrong_hours(first: datetime, last: datetime) -> set[datetime]:
    """Hours from `first` to before `last` whose stored sums are not those of the rows. Only within `snapshot`."""
    rows, hours = sums_of_rows(first, last).by_dimensions, sums_of_hours(first, last).by_dimensions
    return {each[0] for each in rows.keys() | hours.keys() if rows.get(each) != hours.get(each)}


def days(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Spans of whole hours, a day at most, that cover all usage from `start` to `end`; days without any are left out.

    What is counted in hours past midnight of another zone is no trouble: spans begin where the usage does.
    """
    end = hour_of(end + HOUR - timedelta(microseconds=1))
    first = _next(hour_of(start), end)
    while first is not None:
        last = min(first + DAY, end)
        yield first, last
        first = _next(last, end)


def last_day(start: datetime, end: datetime) -> tuple[datetime, datetime] | None:
    """The latest day (UTC) that has rows or sums from `start` to `end`, which are whole hours: as far as it is between
    them.
    """
    # All three: a fault is just that one has an hour which another lacks.
    found = [_last(Usage, "started_at", end), _last(UsageHour, "hour", end), _last(AdmittedHour, "hour", end)]
    latest = max((hour_of(each) for each in found if each is not None and each >= start), default=None)
    return None if latest is None else (max(start, totals.day_of(latest)), latest + HOUR)


def _last(model: type[models.Model], column: str, end: datetime) -> datetime | None:
    rows = model._default_manager.filter(**{f"{column}__lt": end}).order_by(f"-{column}")
    return rows.values_list(column, flat=True).first()


def _next(start: datetime, end: datetime) -> datetime | None:
    """The first hour from `start` to before `end` that anything is known of."""
    found = [_first(Usage, "started_at", start), _first(UsageHour, "hour", start), _first(AdmittedHour, "hour", start),
             _first(OpenTurn, "started_at", start)]  # fmt: skip
    return min((hour_of(each) for each in found if each is not None and each < end), default=None)


def _first(model: type[models.Model], column: str, start: datetime) -> datetime | None:
    rows = model._default_manager.filter(**{f"{column}__gte": start}).order_by(column)
    return rows.values_list(column, flat=True).first()


def build_missing() -> int:
    """Make sums for rows that are older than all sums: those of a version that made none."""
    first_row, first_hour = _first(Usage, "started_at", BEGINNING), _first(UsageHour, "hour", BEGINNING)
    # In one comparison whether anything is to be done: this is called after every `migrate`.
    if first_row is None or (first_hour is not None and hour_of(first_row) >= first_hour):
        return 0
    # Past the first hour of sums, which may lack rows of the older version.
    end = hour_of(datetime.now(UTC)) if first_hour is None else first_hour
    return rebuild(first_row, end + HOUR)


def build_missing_totals() -> None:
    """Make totals of hours that are older than all totals: those of a version that had none."""
    first_hour, first_total = _first(UsageHour, "hour", BEGINNING), _first(UsageTotal, "period", BEGINNING)
    if first_hour is None or (first_total is not None and first_total <= first_hour):
        return
    day, end = totals.day_of(first_hour), (first_total or datetime.now(UTC)) + DAY
    while day < end:
        with writing():
            totals.rebuild(day, day + HOUR)
        day += DAY


def after_migrate(using: str = "default", plan: Iterable[tuple[Any, bool]] = (), **_: Any) -> None:
    """Make sums that are missing, unless their tables are: another app was migrated alone, or this one backwards."""
    tables = connections[using].introspection.table_names()
    if UsageTotal._meta.db_table in tables and not any(backwards for _, backwards in plan):
        build_missing()
        build_missing_totals()
