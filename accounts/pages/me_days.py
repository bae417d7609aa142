"""What a key was used for on each of the last thirty days, as its holder sees it: bars, a table and the sums."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext

from accounts.limits.key_report import days_of, zone_of
from accounts.models import ApiKey
from accounts.pages.tables import Cell
from accounts.pages.timeline import Bucket, bars
from accounts.reports.sums import Sums
from accounts.reports.words import number, tokens


def days_shown(key: ApiKey, now: datetime) -> dict[str, Any]:
    """The same as `GET /v1/usage` has, in the same time zone."""
    zone = zone_of(key)
    days = days_of(key, now, ZoneInfo(zone))
    found = [_bucket(day.isoformat(), sums) for day, sums in days.items()]
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
        "totals": list(zip(names, [number(total.turns), *_texts(total)], strict=True)),
    }


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


def _bucket(name: str, sums: Sums) -> Bucket:
    return Bucket(name=name, href="", sums=sums, cells=[Cell(text=text, href="") for text in _texts(sums)])
