"""Usage over time: one bar an hour or a day, and the same as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from html import escape
from typing import Any, Final

from django.utils.safestring import SafeString, mark_safe

from accounts.pages.query import Query, iso
from accounts.pages.tables import NOTHING, Cell
from accounts.reports.filters import Filters
from accounts.reports.sums import Sums
from accounts.reports.words import number, percentile_ms, tokens

HOURLY: Final = timedelta(days=3)
"""Longer periods have a bar a day."""
MOST_BARS: Final = 400
MOST_STARTS: Final = 25
"""So many hours of a day there are, both ends of it counted."""
WIDTH, HEIGHT = 1000, 200
STATUSES: Final = ("ok", "cancelled", "refused", "failed")
"""From the bottom of a bar to its top."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """An hour or a day; without an address where nobody may see its rows one by one."""

    name: str
    href: str
    sums: Sums
    cells: list[Cell]
    from_href: str = ""
    """The page from then on, up to the end of the period."""

    @property
    def title(self) -> str:
        return f"{self.name}: {number(self.sums.turns)}"


def is_hourly(filters: Filters) -> bool:
    """Whether bars are hours; without a start they are days."""
    start, end = filters.span
    return start is not None and (end or filters.now) - start <= HOURLY


def buckets(query: Query, by_time: Mapping[Any, Sums]) -> list[Bucket]:
    """All hours or days of the period, those without a turn too. `by_time` has hours in UTC, or days."""
    filters = query.filters
    first, last = min(by_time, default=None), max(by_time, default=None)
    if first is None or last is None:
        return []
    if isinstance(first, datetime):
        start = filters.span.start or first
        # Whole hours of UTC, as the sums have them; the first one may be cut.
        at = start.replace(minute=0, second=0, microsecond=0)
        end = min(filters.span.end or filters.now, filters.now)
        times = [at + timedelta(hours=n) for n in range(MOST_BARS) if at + timedelta(hours=n) < end]
        return [_hour(query, hour, by_time.get(hour, Sums())) for hour in times]
    return [_day(query, day, by_time.get(day, Sums())) for day in _days(filters, first, last)]


def _days(filters: Filters, first: date, last: date) -> list[date]:
    """Those of the period. With more than can be drawn, the latest that have a turn and what lies between them."""
    (start, end), now = filters.span, filters.now
    # A period that ends at midnight has no part of the day that begins then.
    until = min(end or now, now) - timedelta(microseconds=1)
    begin = min(start.astimezone(filters.zone).date(), first) if start else first
    count = (max(until.astimezone(filters.zone).date(), last) - begin).days + 1
    if count > MOST_BARS:
        count = min((last - first).days + 1, MOST_BARS)
        begin = last - timedelta(days=count - 1)
    return [begin + timedelta(days=n) for n in range(count)]


def _hour(query: Query, hour: datetime, sums: Sums) -> Bucket:
    shown = hour.astimezone(query.filters.zone)
    return _bucket(query, f"{shown:%Y-%m-%d %H:%M}", hour, hour + timedelta(hours=1), sums)


def _day(query: Query, day: date, sums: Sums) -> Bucket:
    zone = query.filters.zone
    start = datetime.combine(day, time(), zone)
    end = datetime.combine(day + timedelta(days=1), time(), zone)
    return _bucket(query, day.isoformat(), start, end, sums)


def _bucket(query: Query, name: str, start: datetime, end: datetime, sums: Sums) -> Bucket:
    href, known = rows_of(query, start, end), (sums.counted_turns, sums.estimated_turns)
    counts = {"ok": sums.ok, "error": sums.failed, "refused": sums.refused, "cancelled": sums.cancelled}
    texts = (
        tokens(sums.prompt_tokens, *known), tokens(sums.completion_tokens, *known),
        percentile_ms(sums.first_token_ms_p50), percentile_ms(sums.first_token_ms_p95),
    )  # fmt: skip
    cells = [
        *(
            Cell(text=number(count), href=rows_of(query, start, end, status=status) if count else "")
            for status, count in counts.items()
        ),
        *(Cell(text=text, href="" if text in NOTHING else href) for text in texts),
    ]
    return Bucket(name=name, href=href, sums=sums, cells=cells, from_href=_from(query, start))


def _from(query: Query, start: datetime) -> str:
    """A first bar that is cut begins where the period does."""
    first = query.filters.span.start
    return query.href(**{"from": iso(max(start, first) if first else start), "range": None})


def starts(found: Sequence[Bucket]) -> list[Cell]:
    """Some of the bars as links to the page from then on. The date stands where it is another than before."""
    some, shown, day = found[:: -(-len(found) // MOST_STARTS) or 1], [], ""
    for bucket in some:
        date_, _, clock = bucket.name.partition(" ")
        shown.append(Cell(text=clock if clock and date_ == day else bucket.name, href=bucket.from_href))
        day = date_
    return shown


def rows_of(query: Query, start: datetime, end: datetime, **filters: str) -> str:
    """The rows of this time, as far as they lie in the period."""
    span = query.filters.span
    times = {
        "from": iso(max(start, span.start) if span.start else start),
        "to": iso(min(end, span.end or query.filters.now)),
    }
    return query.frozen(**times, **filters)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar's pieces, from the bottom up, in the coordinates of a picture of WIDTH × HEIGHT."""

    href: str
    title: str
    x: str
    width: str
    pieces: list[tuple[str, str, str]]
    """Status, y and height."""

    def __str__(self) -> SafeString:
        """As a template shows it. Only the address and the title are not ours."""
        place = f'x="{self.x}" width="{self.width}"'
        drawn = [f'<rect class="bar-{status}" {place} y="{y}" height="{height}"/>' for status, y, height in self.pieces]
        inner = (
            f'<title>{escape(self.title)}</title><rect class="hit" {place} y="0" height="{HEIGHT}"/>{"".join(drawn)}'
        )
        if not self.href:
            return mark_safe(f"<g>{inner}</g>")  # noqa: S308 - escaped
        return mark_safe(f'<a href="{escape(self.href)}" tabindex="-1">{inner}</a>')  # noqa: S308 - escaped


def bars(found: list[Bucket]) -> list[Bar]:
    most = max((bucket.sums.turns for bucket in found), default=0)
    step = WIDTH / max(len(found), 1)
    drawn = []
    for place, bucket in enumerate(found):
        # SVG counts from the top down, and bars stand at the bottom.
        top, pieces = float(HEIGHT), []
        for status in STATUSES:
            if turns := getattr(bucket.sums, status):
                height = HEIGHT * turns / most
                top -= height
                pieces.append((status, f"{top:.2f}", f"{height:.2f}"))
        x, width = f"{place * step + step * 0.1:.2f}", f"{step * 0.8:.2f}"
        drawn.append(Bar(href=bucket.href, title=bucket.title, x=x, width=width, pieces=pieces))
    return drawn


@dataclass(frozen=True, kw_only=True)
class Lines:
    """The latency as lines, broken where no turn had a first token. `top` is what the upper edge stands for."""

    top: int
    p50: list[str]
    p95: list[str]

    @property
    def scale(self) -> str:
        return percentile_ms(self.top)


def lines(found: list[Bucket]) -> Lines | None:
    """None when no turn had a first token."""
    p50 = [bucket.sums.first_token_ms_p50 for bucket in found]
    p95 = [bucket.sums.first_token_ms_p95 for bucket in found]
    if not (top := max((value for value in p95 if value), default=0)):
        return None
    return Lines(top=top, p50=_line(p50, top), p95=_line(p95, top))


def _line(values: list[int | None], top: int) -> list[str]:
    step = WIDTH / len(values)
    parts: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            parts.append([])
            continue
        y = f"{HEIGHT - HEIGHT * value / top:.1f}"
        # Two points to each: one that stands alone would not be seen.
        parts[-1] += [f"{place * step + step * 0.25:.1f},{y}", f"{place * step + step * 0.75:.1f},{y}"]
    return [" ".join(part) for part in parts if part]
