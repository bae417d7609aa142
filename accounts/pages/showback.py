"""`/usage/showback/`: what teams and keys used of the pool, in a month or any other time."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from accounts.models import ApiKey, Team
from accounts.pages import form
from accounts.pages.layout import page
from accounts.pages.names import Names, names_for
from accounts.pages.query import LONGEST, Query, given_in, iso, unknown_in
from accounts.pages.refusals import flawed, may_see_nothing, no_such_filter
from accounts.pages.usage import nothing_to_see, too_much_to_see
from accounts.pages.zones import one_team
from accounts.reports.filters import NAMES, NONE, TIMES, parse
from accounts.reports.showback import Line, Showback, as_rows, columns, last_day, month_of, months, showback
from accounts.reports.visibility import Visibility, visible_to
from accounts.reports.words import UNKNOWN, fine_share, number, share, tokens
from gateway_project.lib.pages.csv_cells import defused
from gateway_project.lib.visible import visible

PAGE: Final = 50
LINES: Final = ("team", "key")
"""What a line of an export may be of."""
NAMES_AT_ONCE: Final = 10_000
"""A statement of SQLite has no more than some 32,000 values."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`month` is its first day, None for times of one's own. `team` is the one team that is looked at, if it is one."""

    query: Query
    flaws: dict[str, str]
    month: date | None
    zone: ZoneInfo
    team: Team | None
    by_key: bool

    def href(self, name: str = "showback", /, **changes: Any) -> str:
        """The address of the page with some changes; times of one's own stay, and so does the month."""
        times: dict[str, Any] = {"from": None, "to": None, "month": f"{self.month:%Y-%m}"} if self.month else {}
        return self.query.href(name, **{**times, "by": "key" if self.by_key else None, **changes})


@page
@require_safe
@login_required(login_url="login")
def showback_page(request: HttpRequest) -> HttpResponse:
    visibility = visible_to(request.user)
    if visibility.nothing:
        return nothing_to_see(request)
    asked = asked_for(request, visibility)
    try:
        found = showback(asked.query.filters, visibility, by_key=asked.by_key)
    except ValidationError as exc:
        return too_much_to_see(request, exc)
    text = request.GET.get("page", "")
    pages = max(-(-len(found.lines) // PAGE), 1)
    # Nine digits are more than there are pages, and `int` takes its time over thousands of them.
    place = min(max(int(text), 1), pages) if text.isdecimal() and len(text) < 9 else 1
    shown = found.lines[(place - 1) * PAGE : place * PAGE]
    names = names_of(shown, visibility, asked)
    context = {
        **_heading(asked),
        "flaws": list(asked.flaws.values()),
        "by_key": asked.by_key,
        "chips": [each for each in form.chips(asked.query, names, "showback") if _is_shown(each, asked)],
        "rows": [_row(asked, found, line, names) for line in shown],
        "sum": _cells(found, Line(team=None, key=None, sums=found.whole)),
        "places": found.places,
        "everything": visibility.everything,
        "page": place, "pages": pages,
        "back_href": asked.href(page=str(place - 1)) if place > 1 else "",
        "next_href": asked.href(page=str(place + 1)) if place < pages else "",
    }  # fmt: skip
    return TemplateResponse(request, "pages/showback.html", context)


@page
@require_safe
@login_required(login_url="login")
def showback_export(request: HttpRequest, form: str) -> HttpResponse:
    """All lines, with numbers as they are."""
    visibility = visible_to(request.user)
    if visibility.nothing:
        return may_see_nothing()
    # A month beside other times would be passed over.
    others = ("by", "page") if any(map(request.GET.get, TIMES)) else ("by", "page", "month")
    if words := unknown_in(request, *others):
        return no_such_filter(words)
    if (by := request.GET.get("by") or "team") not in LINES:
        told = {"value": visible(by[:LONGEST]), "choices": ", ".join(LINES)}
        return flawed({"by": [gettext("%(value)s is not one of %(choices)s.") % told]})
    asked = asked_for(request, visibility)
    if asked.flaws:
        # Without the label in front of it, which is for people: programs get the name of the filter.
        return flawed({name: [words.partition(": ")[2]] for name, words in asked.flaws.items()})
    try:
        found = showback(asked.query.filters, visibility, by_key=asked.by_key)
    except ValidationError as exc:
        return flawed(exc.message_dict)
    rows = as_rows(found, every_name(found.lines), by_key=asked.by_key)
    span = asked.query.filters.span
    if form == "csv":
        answer = HttpResponse(_csv(rows, columns(found, by_key=asked.by_key)), content_type="text/csv; charset=utf-8")
    else:
        document = {
            "from": iso(span.start), "to": iso(span.end), "time_zone": asked.zone.key, "places": found.places,
            "pool_ms": found.pool_ms, "used_ms": found.used_ms, "rows": rows,
        }  # fmt: skip
        answer = JsonResponse(document, json_dumps_params={"ensure_ascii": False, "indent": 1})
    named = f"{asked.month:%Y-%m}" if asked.month else f"{asked.query.filters.now:%Y-%m-%d}"
    answer["Content-Disposition"] = f'attachment; filename="showback-{named}.{form}"'
    return answer


def asked_for(request: HttpRequest, visibility: Visibility) -> Asked:
    given, now = given_in(request), timezone.now()
    team = one_team(given["team"], visibility)
    # Not the reader's choice: months of a team begin where those of its budgets do, for everybody who looks.
    zone = ZoneInfo(team.time_zone or settings.TIME_ZONE) if team else ZoneInfo(timezone.get_current_timezone_name())
    month = None
    flaws: dict[str, str] = {}
    if not any(given[name] for name in TIMES):
        text = request.GET.get("month", "")
        month = month_of(text, now, zone)
        given |= {"from": [month.isoformat()], "to": [last_day(month).isoformat()]}
        if text and text != f"{month:%Y-%m}":
            label, words = gettext("Month"), gettext("This is no month that has begun, such as 2026-01.")
            flaws["month"] = f"{label}: {words}"
    try:
        filters = parse(given, now, zone)
    except ValidationError as exc:
        labels = form.labels() | {"range": gettext("Range")}
        # As `asked` of `/usage/` does: what makes no sense is said, and the rest of the address counts.
        wrong = exc.message_dict
        flaws |= {name: f"{labels[name]}: {' '.join(words)}" for name, words in wrong.items()}
        left_out = {*wrong} if wrong.keys().isdisjoint(TIMES) else {*wrong, *TIMES}
        given |= {name: [] for name in left_out}
        filters = parse(given, now, zone, "month")
    by_key = request.GET.get("by") == "key"
    return Asked(query=Query(given, filters), flaws=flaws, month=month, zone=zone, team=team, by_key=by_key)


def _heading(asked: Asked) -> dict[str, Any]:
    query, zone = asked.query, asked.zone
    start, end = query.filters.span
    before, after = (f"{at.astimezone(zone):%Y-%m-%d %H:%M}" if at else UNKNOWN for at in (start, end))
    times = {"from": None, "to": None, "range": None, "page": None}
    choices = [
        (f"{month:%Y-%m}", asked.href(**times, month=f"{month:%Y-%m}"), month == asked.month)
        for month in months(query.filters.now, zone)
    ]
    by = {"by": "key" if asked.by_key else None}
    return {
        "period": f"{asked.month:%Y-%m}" if asked.month else f"{before} – {after}",
        "start": before, "end": after, "zone": zone.key, "months": choices,
        "team": asked.team.short_name if asked.team else "",
        "as_of": f"{query.filters.now.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}",
        "team_href": asked.href(by=None), "key_href": asked.href(by="key"),
        "usage_href": query.frozen("usage"),
        "csv_href": query.frozen("showback_csv", **by), "json_href": query.frozen("showback_json", **by),
        "kept": [(name, value) for name in NAMES if name not in TIMES for value in query.given.get(name, ())],
        **_own_times(asked),
    }  # fmt: skip


def _own_times(asked: Asked) -> dict[str, str]:
    """What the fields of times of one's own show: in the zone in which they are read."""
    if asked.month:
        return {"from_value": "", "to_value": ""}
    with timezone.override(asked.zone):
        return {f"{name}_value": form.moment_value(asked.query, name) for name in ("from", "to")}


def _is_shown(chip: form.Chip, asked: Asked) -> bool:
    """The times of a month stand in the heading, and cannot be taken off one by one."""
    return not (asked.month and chip.label in (gettext("From"), gettext("To")))


def _row(asked: Asked, found: Showback, line: Line, names: Names) -> dict[str, Any]:
    team = NONE if line.team is None else str(line.team)
    chosen = {"team": team}
    if asked.by_key:
        chosen["key"] = NONE if line.key is None else str(line.key)
    return {
        "team": names.team(line.team),
        "key": names.key(line.key) if asked.by_key else "",
        "href": asked.href(team=team, by="key", page=None),
        "turns_href": asked.query.frozen("usage", **chosen) if line.sums.turns else "",
        "cells": _cells(found, line),
    }


def _cells(found: Showback, line: Line) -> list[str]:
    """In the order of the columns: all of them sum the same rows."""
    sums = line.sums
    known = (sums.counted_turns, sums.estimated_turns)
    return [
        number(round(sums.busy_ms / 1000)),
        UNKNOWN if found.pool_ms is None else fine_share(sums.busy_ms, found.pool_ms),
        share(sums.busy_ms, found.used_ms),
        number(sums.turns),
        tokens(sums.prompt_tokens, *known), tokens(sums.completion_tokens, *known),
    ]  # fmt: skip


def names_of(lines: list[Line], visibility: Visibility, asked: Asked) -> Names:
    """The names on this page. Of other teams there are no lines, and so no names."""
    found = every_name(lines)
    teams = {pk: visible(name) for (kind, pk), name in found.items() if kind == "team"}
    keys = {pk: visible(name) for (kind, pk), name in found.items() if kind == "key"}
    filtered = names_for(visibility, (), asked.query.filters.values.get("key", ()))
    return Names({**filtered.teams, **teams}, {**filtered.key_names, **keys}, everything=visibility.everything)


def every_name(lines: list[Line]) -> dict[tuple[str, int], str]:
    """By kind ("team", "key") and id. What was deleted has none."""
    found: dict[tuple[str, int], str] = {}
    models: tuple[tuple[str, Any], ...] = (("team", Team), ("key", ApiKey))
    for kind, model in models:
        wanted = iter({pk for line in lines if (pk := getattr(line, kind)) is not None})
        while some := list(islice(wanted, NAMES_AT_ONCE)):
            named = model.objects.filter(pk__in=some).values_list("pk", "name")
            found |= {(kind, pk): name for pk, name in named}
    return found


def _csv(rows: list[dict[str, Any]], header: list[str]) -> str:
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(header)
    writer.writerows([[defused(value) for value in row.values()] for row in rows])
    return written.getvalue()
