"""Sums of finished days by values of single columns: made of the rows in the background, and dropped with them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from django.db.models import Count

from accounts.ledger.hours import busy_ms, snapshot, writing
from accounts.ledger.totals import COLUMNS, DAY, TOTAL_COUNT, counts_of, day_of
from accounts.models import Usage, UsageDay
from accounts.models.hour import BOUNDS_MS, bucket_of

NAMES: Final = (
    "protocol", "endpoint", "model", "lingma_model", "agent", "status", "reason", "instance", "session",
    "usage_source",
)  # fmt: skip
OUTCOME: Final = "outcome"
"""Beside the columns: whose fault it was, with the values of that filter."""
MOST_VALUES: Final = 100
"""Of a column, those with the most rows: clients choose the word for a model. What is left is read from the rows."""
SETTLED: Final = timedelta(hours=2)
"""After its end: until then rows and their late token counts still come."""
_READ: Final = (
    "started_at", "team_id", "api_key_id", "count", "prompt_tokens", "completion_tokens", "queue_ms", "total_ms",
    "first_token_ms", *NAMES,
)  # fmt: skip
_AT: Final = {name: place for place, name in enumerate(NAMES)}
_FIRST_TOKEN: Final = TOTAL_COUNT
_QUEUE: Final = TOTAL_COUNT + len(BOUNDS_MS) + 1
_FAULTS, _TURNED_AWAY = COLUMNS.index("faults"), COLUMNS.index("turned_away")

encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder().decode


class _Sums:
    """Of one value: sums in the order of `totals.COLUMNS`, without histograms but by the hour."""

    __slots__ = ("by_caller", "by_hour", "by_kind")

    def __init__(self) -> None:
        self.by_hour: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(COLUMNS))
        self.by_caller: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * TOTAL_COUNT)
        self.by_kind: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * TOTAL_COUNT)


def make(day: datetime) -> bool:
    """Make the sums of this day; return False when a row came meanwhile, so that they are not kept."""
    with writing():
        UsageDay.drop([day])
        marker = UsageDay.objects.create(day=day, ready=False, by_hour=b"", by_caller=b"", by_kind=b"")
    # Whoever files a row of the day from here on drops the marker, and waits for none of this.
    with snapshot():
        kept, cut = _values(day)
        made = _sums(day, kept)
    rows = [UsageDay(day=day, name=name, value=value, **_encoded(sums)) for (name, value), sums in made.items()]
    with writing():
        ours = UsageDay.objects.filter(pk=marker.pk)
        if not ours.exists():
            return False
        UsageDay.objects.bulk_create(rows)
        names = encode(cut)
        ours.update(ready=True, by_hour=names, by_caller=names, by_kind=names)
    return True


def make_missing(now: datetime, within: float = float("inf")) -> int:
    """Make the sums of finished days that have none, the latest first, for so many seconds; return how many."""
    deadline, made = time.monotonic() + within, 0
    first = Usage.objects.order_by("started_at").values_list("started_at", flat=True).first()
    if first is None:
        return 0
    ready = set(UsageDay.objects.filter(name="", ready=True).values_list("day", flat=True))
    day = day_of(now.astimezone(UTC) - SETTLED) - DAY
    while day >= day_of(first.astimezone(UTC)) and time.monotonic() < deadline:
        if day not in ready:
            made += make(day)
        day -= DAY
    return made


def wrong(first: datetime, last: datetime) -> set[datetime]:
    """Days that begin from `first` to before `last` whose sums are not those of the rows. Only within `snapshot`."""
    found = set()
    days = UsageDay.objects.filter(day__gte=day_of(first), day__lt=last, name="", ready=True)
    for day in days.values_list("day", flat=True):
        rows = UsageDay.objects.filter(day=day).exclude(name="")
        stored = {(row.name, row.value): row for row in rows}
        made = {value: _encoded(sums) for value, sums in _sums(day, _values(day)[0]).items()}
        same = stored.keys() == made.keys() and all(
            _entries(getattr(row, name)) == _entries(part)
            for value, row in stored.items()
            for name, part in made[value].items()
        )
        if not same:
            found.add(day)
    return found


def _entries(part: Any) -> set[tuple[Any, ...]]:
    return set(map(tuple, decode(bytes(part))))


def _rows(day: datetime) -> Any:
    return Usage.objects.filter(started_at__gte=day, started_at__lt=day + DAY).order_by()


def _values(day: datetime) -> tuple[dict[str, set[str]], list[str]]:
    """The values of each column that get sums; and the columns that have more."""
    kept, cut = {}, []
    for name in NAMES:
        counted = _rows(day).values(name).annotate(rows=Count("pk")).order_by("-rows", name)
        values = list(counted.values_list(name, flat=True)[: MOST_VALUES + 1])
        kept[name] = set(values[:MOST_VALUES])
        if len(values) > MOST_VALUES:
            cut.append(name)
    return kept, cut


def _sums(day: datetime, kept: dict[str, set[str]]) -> dict[tuple[str, str], _Sums]:
    by_value: dict[tuple[str, str], _Sums] = defaultdict(_Sums)
    for started_at, team, key, *rest in _rows(day).values_list(*_READ).iterator():
        values = rest[-len(NAMES) :]
        counts = _counts(*rest)
        hour, caller, kind = (started_at.hour,), (team, key), _kind(values)
        buckets = _buckets(queue_ms=rest[3], first_token_ms=rest[5])
        for value in _asked(values, kept, counts):
            sums = by_value[value]
            by_hour, by_caller, by_kind = sums.by_hour[hour], sums.by_caller[caller], sums.by_kind[kind]
            for place, count in counts:
                by_hour[place] += count
                by_caller[place] += count
                by_kind[place] += count
            for place in buckets:
                by_hour[place] += 1
    return by_value


def _counts(
    turns: int, prompt: int, completion: int, queue_ms: int, total_ms: int, _first: int | None, *values: str
) -> list[tuple[int, int]]:
    """The sums of one row that are not 0, with their places."""
    status, instance = values[_AT["status"]], values[_AT["instance"]]
    busy, reused = busy_ms(instance, status, queue_ms, total_ms), values[_AT["session"]] == "reused"
    source, reason = values[_AT["usage_source"]], values[_AT["reason"]]
    counts = counts_of(status, reason, source, turns, prompt, completion, busy, int(reused))
    return [(place, count) for place, count in enumerate(counts) if count]


def _buckets(queue_ms: int, first_token_ms: int | None) -> list[int]:
    queued = _QUEUE + bucket_of(queue_ms)
    return [queued] if first_token_ms is None else [queued, _FIRST_TOKEN + bucket_of(first_token_ms)]


def _kind(values: list[str]) -> tuple[str, str, str]:
    return values[_AT["lingma_model"]], values[_AT["agent"]], values[_AT["reason"]]


def _asked(values: list[str], kept: dict[str, set[str]], counts: list[tuple[int, int]]) -> Iterator[tuple[str, str]]:
    """What filters by one value the row meets."""
    for name, value in zip(NAMES, values, strict=True):
        if value in kept[name]:
            yield name, value
    for place, _ in counts:
        if place == _FAULTS:
            yield OUTCOME, "failed"
        elif place == _TURNED_AWAY:
            yield OUTCOME, "turned_away"


def _encoded(sums: _Sums) -> dict[str, bytes]:
    return {name: encode([(*group, *each) for group, each in getattr(sums, name).items()]) for name in _Sums.__slots__}
