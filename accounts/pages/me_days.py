"""What a key was used for in the last thirty days, as its holder sees it: by day, by model, by reason, and in all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.utils.translation import gettext, ngettext

from accounts.explain.sentences import LIMITS
from accounts.limits.key_report import DAYS, days_of, zone_of
from accounts.models import ApiKey
from accounts.pages.figures import two_times
from accounts.pages.tables import Cell, model_name
from accounts.pages.timeline import Bucket, bars
from accounts.reports.key_sums import KeySums, sums_of_key
from accounts.reports.sums import Sums
from accounts.reports.words import number, tokens
from gateway_project.lib.pages.paths import path_of

TOP: Final = 10


@dataclass(frozen=True, kw_only=True)
class Table:
    name: str
    title: str
    rows: list[tuple[str, list[str]]]


def days_shown(key: ApiKey, now: datetime) -> dict[str, Any]:
    """The same as `GET /v1/usage` has, in the same time zone; and the same turns by model and by reason."""
    zone = zone_of(key)
    days = days_of(key, now, ZoneInfo(zone))
    kinds = sums_of_key(key.pk, datetime.combine(min(days), time(), ZoneInfo(zone)))
    found = [_bucket(day, sums) for day, sums in days.items()]
    total = Sums()
    for sums in days.values():
        total.merge(sums, histograms=False)
    names = (gettext("Turns"), *(name for name, _ in _columns()))
    return {
        "zone": zone,
        "most": max(sums.turns for sums in days.values()),
        "bars": bars(found[::-1]),
        "buckets": found,
        "names": names,
        "totals": [*zip(names, [number(total.turns), *_texts(total)], strict=True), *_times(kinds)],
        "tables": _tables(kinds),
    }


def day_in(text: str, key: ApiKey, now: datetime) -> tuple[date, datetime, datetime] | None:
    """A day that the page has, and when it begins and ends; None for any other text."""
    zone = ZoneInfo(zone_of(key))
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    if not timedelta() <= now.astimezone(zone).date() - day < timedelta(days=DAYS):
        return None
    return day, datetime.combine(day, time(), zone), datetime.combine(day + timedelta(days=1), time(), zone)


def _columns() -> list[tuple[str, str]]:
    """Beside the turns: what they are called, and their field."""
    return [
        (gettext("ok"), "ok"), (gettext("error"), "failed"), (gettext("refused"), "refused"),
        (gettext("cancelled"), "cancelled"), (gettext("Tokens in"), "prompt_tokens"),
        (gettext("Tokens out"), "completion_tokens"),
    ]  # fmt: skip


def _texts(sums: Sums) -> list[str]:
    values = [(field, getattr(sums, field)) for _, field in _columns()]
    # Of no turn nothing is unknown.
    known = (sums.counted_turns if sums.turns else 1, sums.estimated_turns)
    return [tokens(value, *known) if field.endswith("_tokens") else number(value) for field, value in values]


def _bucket(day: date, sums: Sums) -> Bucket:
    """It leads to the requests of that day, the last of them, on the same page."""
    name = day.isoformat()
    href = f"{path_of('me')}?day={name}#requests" if sums.turns else ""
    return Bucket(name=name, href=href, sums=sums, cells=[Cell(text=text) for text in _texts(sums)])


def _times(kinds: KeySums) -> list[tuple[str, str]]:
    names = (("first_token", gettext("First token p50 / p95")), ("total", gettext("Took p50 / p95")))
    return [(name, two_times(kinds.within(field, 0.5), kinds.within(field, 0.95))) for field, name in names]


def _tables(kinds: KeySums) -> list[Table]:
    # Turns that went well have the reason of their end, and hide why others did not.
    reasons = {reason: sums for reason, sums in kinds.by_reason.items() if reason and sums.ok < sums.turns}
    tables = [
        Table(name="model", title=gettext("By model"), rows=_rows(kinds.by_model, model_name)),
        Table(name="reason", title=gettext("By reason"), rows=_rows(reasons, _reason)),
    ]
    return [table for table in tables if table.rows]


def _reason(value: str) -> str:
    return gettext(LIMITS[value]) if value in LIMITS else value


def _rows(groups: Mapping[str, Sums], called: Callable[[str], str]) -> list[tuple[str, list[str]]]:
    ordered = sorted(groups.items(), key=lambda each: (-each[1].turns, each[0]))
    rows = [(called(value), _cells(sums)) for value, sums in ordered[:TOP]]
    if more := len(ordered) - TOP if len(ordered) > TOP else 0:
        others = Sums()
        for _, sums in ordered[TOP:]:
            others.merge(sums, histograms=False)
        rows.append((ngettext("%(count)s other", "%(count)s others", more) % {"count": number(more)}, _cells(others)))
    return rows


def _cells(sums: Sums) -> list[str]:
    return [number(sums.turns), *_texts(sums)]
