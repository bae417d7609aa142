"""Finished days column by column: made of the rows in the background, and dropped with the first change of one.

`day_column` packs a column, `day_sums` adds some up. `hours.days` has nothing of this: it splits a time into days.
"""

from __future__ import annotations

import os
import time
from array import array
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

import msgspec

from accounts.ledger import day_sums
from accounts.ledger.day_column import Column, decompressed, narrow
from accounts.ledger.day_sums import END
from accounts.ledger.hours import busy_ms, snapshot, writing
from accounts.ledger.totals import DAY, day_of
from accounts.models import Usage, UsageDay
from accounts.models.hour import BOUNDS_MS, bucket_of

TEXTS: Final = (
    "protocol", "endpoint", "model", "lingma_model", "agent", "status", "reason", "instance", "session",
    "usage_source",
)  # fmt: skip
IDS: Final = ("team_id", "api_key_id")
AT: Final = "at"
"""Microseconds since midnight (UTC), and "quarter" the quarters of an hour: no zone's day begins in between."""
NUMBERS: Final = (
    AT, "quarter", "count", "prompt_tokens", "completion_tokens", "busy_ms", "first_token", "queue",
)  # fmt: skip
"""Of each row. The last two are buckets of histograms; NO_BUCKET where no token came."""
NAMES: Final = (*IDS, *TEXTS, END, *NUMBERS)
NO_BUCKET: Final = len(BOUNDS_MS) + 1
QUARTER: Final = timedelta(minutes=15)
MOST_VALUES: Final = 1_000
"""Of a column of texts, those with the most rows: clients choose the word for a model."""
SETTLED: Final = timedelta(hours=2)
"""After its end: until then rows and their late token counts still come."""
MARK_BYTES: Final = 16
"""Random, of each making: whoever keeps columns of it sees that it is not another one."""
CHUNK: Final = 2_000
"""Rows that are taken apart at once."""

_READ: Final = (
    "started_at", "count", "prompt_tokens", "completion_tokens", "queue_ms", "total_ms", "first_token_ms",
    *IDS, *TEXTS,
)  # fmt: skip
_ONE: Final = timedelta(microseconds=1)


def make(day: datetime) -> bool:
    """Make the columns of this day; return False when a row came meanwhile, so that they are not kept."""
    with writing():
        UsageDay.drop([day])
        marker = UsageDay.objects.create(day=day, ready=False, data=os.urandom(MARK_BYTES))
    # Whoever files a row of the day from here on drops the marker, and waits for none of this.
    with snapshot():
        made = _columns(day)
    rows = [UsageDay(day=day, name=name, data=column.packed()) for name, column in made.items()]
    sums = day_sums.sums_of(made)
    rows += [UsageDay(day=day, name=name, data=day_sums.packed(each)) for name, each in sums.items()]
    with writing():
        ours = UsageDay.objects.filter(pk=marker.pk)
        if not ours.update(ready=True):
            return False
        UsageDay.objects.bulk_create(rows)
    return True


def make_missing(now: datetime, within: float = float("inf")) -> int:
    """Make the columns of finished days that have none, the latest first, for so many seconds; return how many."""
    deadline, made = time.monotonic() + within, 0
    first = Usage.objects.order_by("started_at").values_list("started_at", flat=True).first()
    if first is None:
        return 0
    ready = _ready()
    day = day_of(now.astimezone(UTC) - SETTLED) - DAY
    while day >= day_of(first.astimezone(UTC)) and time.monotonic() < deadline:
        if day not in ready:
            made += make(day)
        day -= DAY
    return made


def wrong(first: datetime, last: datetime) -> set[datetime]:
    """Days that begin from `first` to before `last` whose columns are not the rows'. Only within `snapshot`."""
    return {day for day in _ready() if day_of(first) <= day < last and _stored(day) != _made(day)}


def _ready() -> set[datetime]:
    """Days that have a mark: those that an earlier version has made lack it, and maybe sums, and are made anew."""
    return set(UsageDay.objects.filter(name="", ready=True).exclude(data=b"").values_list("day", flat=True))


def _stored(day: datetime) -> dict[str, bytes]:
    rows = UsageDay.objects.filter(day=day).exclude(name="").values_list("name", "data")
    return {name: decompressed(data) for name, data in rows}


def _made(day: datetime) -> dict[str, bytes]:
    # Before they are compressed: another version of zstd may do that in another way.
    made = _columns(day)
    sums = day_sums.sums_of(made)
    return {name: msgspec.msgpack.encode(each) for name, each in (*made.items(), *sums.items())}


def _columns(day: datetime) -> dict[str, Column]:
    words = {name: _Words() for name in (*IDS, *TEXTS, END)}
    numbers = {name: array("Q") for name in NUMBERS}
    found = Usage.objects.filter(started_at__gte=day, started_at__lt=day + DAY).order_by("started_at", "pk")
    rows = found.values_list(*_READ).iterator(CHUNK)
    while chunk := list(islice(rows, CHUNK)):
        columns = dict(zip(_READ, zip(*chunk, strict=True), strict=True))
        for name in (*IDS, *TEXTS):
            words[name].extend(columns[name])
        words[END].extend(_ends(columns))
        for name, values in _numbers(columns, day):
            numbers[name].extend(values)
    return {
        **{name: each.column(bounded=name in TEXTS) for name, each in words.items()},
        **{name: narrow(each) for name, each in numbers.items()},
    }


def _ends(columns: dict[str, Any]) -> Iterable[tuple[Any, ...]]:
    reused = [session == "reused" for session in columns["session"]]
    return zip(columns["status"], columns["reason"], columns["usage_source"], reused, strict=True)


def _numbers(columns: dict[str, Any], day: datetime) -> Iterable[tuple[str, Iterable[int]]]:
    at = [(started_at - day) // _ONE for started_at in columns["started_at"]]
    quarter = QUARTER // _ONE
    yield AT, at
    yield "quarter", [each // quarter for each in at]
    for name in ("count", "prompt_tokens", "completion_tokens"):
        yield name, columns[name]
    of_busy = (columns[name] for name in ("instance", "status", "queue_ms", "total_ms"))
    yield "busy_ms", map(busy_ms, *of_busy)
    yield "first_token", [NO_BUCKET if ms is None else bucket_of(ms) for ms in columns["first_token_ms"]]
    yield "queue", map(bucket_of, columns["queue_ms"])


class _Words:
    """Values as they come, each as the place at which it was first seen."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}
        self._numbers = array("Q")

    def extend(self, values: Iterable[Any]) -> None:
        places = self._places
        self._numbers.extend([places.setdefault(value, len(places)) for value in values])

    def column(self, *, bounded: bool) -> Column:
        values = list(self._places)
        if not bounded or len(values) <= MOST_VALUES:
            return narrow(self._numbers, Column(0, b"", values))
        counted = Counter(self._numbers)
        kept = sorted(counted, key=lambda place: (-counted[place], place))[:MOST_VALUES]
        now = {place: number for number, place in enumerate(kept)}
        numbers = array("Q", [now.get(place, MOST_VALUES) for place in self._numbers])
        return narrow(numbers, Column(0, b"", [values[place] for place in kept], whole=False))
