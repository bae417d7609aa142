"""Who used how much of the pool: the sums of teams, or of their keys, beside what there was and what all used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Any, Final

from accounts.apps import accounts_config
from accounts.models import Team
from accounts.reports.days import MOST_OF_PAGE
from accounts.reports.filters import Filters
from accounts.reports.summary import summarize, total
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility

MONTHS: Final = 13
MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a team used, or a key of it. `key` is None for a team, and for keys that are gone."""

    team: int | None
    key: int | None
    sums: Sums


@dataclass(frozen=True, kw_only=True)
class Showback:
    """All lines, the largest first; `whole` is their sum.

    `used_ms` is what all keys were served in this time, whoever may be seen; `pool_ms` what the instances could have
    served, were there always as many places as now. None is unknown.
    """

    lines: list[Line]
    whole: Sums
    used_ms: int
    pool_ms: int | None
    places: int | None


def showback(filters: Filters, visibility: Visibility, *, by_key: bool) -> Showback:
    """Raise ValidationError for more lines than a page can compare."""
    groups = ("team", "key") if by_key else ("team",)
    found = summarize(filters, visibility, groups, histograms=False, most=MOST_OF_PAGE)
    if not by_key:
        # Who used nothing is part of the answer as well, unless something was asked for.
        # One object for all of them: nothing is added to it.
        found = dict.fromkeys(_quiet_teams(filters, visibility), Sums()) | found
    lines = [Line(team=group[0], key=group[1] if by_key else None, sums=sums) for group, sums in found.items()]
    # The ids at the end, so that equal lines stand in the same order at each look.
    lines.sort(key=lambda line: (-line.sums.busy_ms, -line.sums.turns, line.team or 0, line.key or 0))
    whole = Sums()
    for line in lines:
        whole.merge(line.sums, histograms=False)
    places = accounts_config().places()
    return Showback(
        lines=lines, whole=whole, used_ms=_used(filters), pool_ms=pool_ms(filters, places), places=places
    )  # fmt: skip


def pool_ms(filters: Filters, places: int | None) -> int | None:
    """What so many places could have served until now."""
    start, end = filters.span
    if start is None or places is None:
        return None
    return max(places * ((min(end or filters.now, filters.now) - start) // MILLISECOND), 0)


def _used(filters: Filters) -> int:
    # Of everybody and by no other filter: it is what shares are shares of, the same for every reader.
    in_all = Filters(now=filters.now, zone=filters.zone, span=filters.span)
    return total(in_all, Visibility(everything=True), histograms=False).busy_ms


def _quiet_teams(filters: Filters, visibility: Visibility) -> list[tuple[int]]:
    if filters.values or filters.outcome:
        return []
    teams = Team.objects.all() if visibility.everything else Team.objects.filter(pk__in=visibility.teams)
    return [(pk,) for pk in teams.order_by("name").values_list("pk", flat=True)]


def month_of(text: str, now: datetime, zone: tzinfo) -> date:
    """The first day of a month such as `2026-11`; of this one for a text that names none, or one yet to come."""
    this = now.astimezone(zone).date().replace(day=1)
    try:
        asked = date.fromisoformat(f"{text}-01")
    except ValueError:
        return this
    return min(asked, this)


def last_day(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def months(now: datetime, zone: tzinfo) -> list[date]:
    """The month that runs and those before, the latest first."""
    found = [now.astimezone(zone).date().replace(day=1)]
    while len(found) < MONTHS:
        found.append((found[-1] - timedelta(days=1)).replace(day=1))
    return found


def as_rows(shown: Showback, names: Mapping[tuple[str, int], str], *, by_key: bool) -> list[dict[str, Any]]:
    """What an export says, a line a row."""
    return [_as_row(shown, line, names, by_key=by_key) for line in shown.lines]


def columns(shown: Showback, *, by_key: bool) -> list[str]:
    """The names of what a row says, also where there is none."""
    return [*_as_row(shown, Line(team=None, key=None, sums=Sums()), {}, by_key=by_key)]


def _as_row(shown: Showback, line: Line, names: Mapping[tuple[str, int], str], *, by_key: bool) -> dict[str, Any]:
    sums = line.sums
    key = {"key": line.key and names.get(("key", line.key)), "key_id": line.key} if by_key else {}
    return {
        "team": line.team and names.get(("team", line.team)), "team_id": line.team, **key,
        "turns": sums.turns, "failed": sums.failed, "refused": sums.refused,
        **sums.tokens,
        "estimated_turns": sums.estimated_turns, "busy_ms": sums.busy_ms,
        "share_of_pool": ratio(sums.busy_ms, shown.pool_ms), "share_of_used": ratio(sums.busy_ms, shown.used_ms),
    }  # fmt: skip


def ratio(part: int, whole: int | None) -> float | None:
    """None where there is nothing to be a share of."""
    return round(part / whole, 6) if whole else None
