"""Spans of time: parsed, cut into whole hours, and named by the ranges that pages offer. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, NamedTuple

from accounts.models.end import LAST

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
RANGES: Final = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "month": None,
}
"""`month` is the calendar month that runs."""
FIRST: Final = datetime(1000, 1, 1, tzinfo=UTC)
"""Times before it, and beyond LAST, are taken for them: the calendar must have room for a day more, in every zone."""


class Span(NamedTuple):
    """From `start` on, and before `end`; None is without a bound."""

    start: datetime | None
    end: datetime | None


class Pieces(NamedTuple):
    """A span as the whole hours (or days) of it, if there are any, and the rest."""

    whole: Span | None
    cuts: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class BadTime(Exception):
    """A text that is no time."""

    text: str


def moment(text: str, zone: tzinfo, *, end: bool = False) -> datetime:
    """An ISO 8601 date or time, without an offset in the zone; a date as an end is the end of that day. Raise BadTime.

    A blank before the offset is a `+` that was not escaped in an address.
    """
    try:
        # First, in every form, as `datetime.fromisoformat` would take a date for its midnight, also where the end of
        # the day is meant.
        if (day := _date_in(text)) is not None:
            return _within(datetime.combine(day + timedelta(days=end), time(), zone).astimezone(UTC))
        at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        return _within((at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC))
    except (ValueError, OverflowError):
        raise BadTime(text) from None


def _date_in(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _within(at: datetime) -> datetime:
    return min(max(at, FIRST), LAST)


def span_of(name: str, now: datetime, zone: tzinfo) -> Span:
    """The span of a range; it has no end, so that it takes in what comes while somebody looks."""
    length = RANGES[name]
    if length is not None:
        return Span(now - length, None)
    first = now.astimezone(zone).date().replace(day=1)
    return Span(datetime.combine(first, time(), zone).astimezone(UTC), None)


def before(name: str, span: Span, now: datetime, zone: tzinfo) -> Span | None:
    """The span of the same length just before; of a month so much of the one before as has passed of this one.

    None for a span without a start: there is nothing before it; nor is there where the calendar begins.
    """
    if span.start is None:
        return None
    length = min(span.end or now, now) - span.start
    if length <= timedelta():
        return None
    if name != "month":
        return Span(span.start - length, span.start) if length <= span.start - FIRST else None
    last_day = span.start.astimezone(zone).date() - timedelta(days=1)
    start = datetime.combine(last_day.replace(day=1), time(), zone).astimezone(UTC)
    return Span(start, min(start + length, span.start))


def pieces(span: Span, unit: timedelta = HOUR) -> Pieces:
    """Cut the span at whole hours, or days, of UTC."""
    start, end = span
    first, last = _ceil(start, unit), floor(end, unit)
    if first is not None and last is not None and first >= last:
        return Pieces(None, (span,))
    cuts = []
    if start is not None and first is not None and start < first:
        cuts.append(Span(start, first))
    if end is not None and last is not None and last < end:
        cuts.append(Span(last, end))
    return Pieces(Span(first, last), tuple(cuts))


def weekly(start: datetime, end: datetime, place: tuple[int, int], zone: tzinfo) -> Iterator[Span]:
    """The parts of this time that lie in an hour of the week: a weekday, Monday being 0, and an hour.

    Hours are those of UTC, and count for the hour of the zone in which they begin.
    """
    at = start - (start - EPOCH) % HOUR
    while at < end:
        local = at.astimezone(zone)
        away = ((place[0] - local.weekday()) * 24 + place[1] - local.hour) % (7 * 24)
        if not away:
            yield Span(max(at, start), min(at + HOUR, end))
        # Up to the hour before: clocks may be changed on the way.
        at += max(away - 1, 1) * HOUR


def floor(at: datetime | None, unit: timedelta) -> datetime | None:
    """The beginning of the whole hour, or day, of UTC that the time lies in."""
    return at and at - (at - EPOCH) % unit


def _ceil(at: datetime | None, unit: timedelta) -> datetime | None:
    # In Python the remainder is never negative: it is what is missing up to the next one.
    return at and at + (EPOCH - at) % unit


def is_whole_hours(zone: tzinfo, at: datetime) -> bool:
    """Whether all days of this zone begin with an hour of UTC, in the year before that time."""
    # Each quarter: the summer time of Australia/Lord_Howe is half an hour.
    offsets = ((at - quarter * 13 * 7 * DAY).astimezone(zone).utcoffset() or timedelta() for quarter in range(4))
    return not any(offset % HOUR for offset in offsets)
