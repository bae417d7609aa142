"""What keys and teams were used for, in their lists: figures that lead to the very rows they sum."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db.models import BigIntegerField, F, Func, OuterRef, QuerySet, Subquery, Sum, TextField, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.timezone import get_default_timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from accounts.models import LIMITS, ApiKey, Team, UsageHour, UsageTotal
from accounts.reports.days import MOST_OF_PAGE
from accounts.reports.filters import Filters
from accounts.reports.period import span_of
from accounts.reports.summary import summarize, total
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility, visible_to
from accounts.reports.words import UNKNOWN, number, share, tokens

DAYS: Final = timedelta(days=30)
LINK: Final = '<a class="gw-link text-primary-600 dark:text-primary-500" href="{}">{}</a>'


class Times(NamedTuple):
    """Whole days of UTC for what is used, as sums are kept by them; the gateway's own yesterday for limits."""

    since: datetime
    yesterday: datetime
    today: datetime

    @staticmethod
    def at(now: datetime) -> Times:
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        day = now.astimezone(get_default_timezone()).replace(hour=0, minute=0, second=0, microsecond=0)
        # The evening before, and from there its midnight: days have 23 to 25 hours.
        before = (day - timedelta(hours=1)).replace(hour=0)
        # Hours are those of UTC: in a zone half an hour off them, the day begins with the hour it begins in.
        return Times(midnight - DAYS, *(each.astimezone(UTC).replace(minute=0) for each in (before, day)))


def turns_in(times: Times, seen: Visibility) -> QuerySet[UsageTotal]:
    """Totals by key, team and day, of the teams that the reader may see."""
    # Without the level, which no other rows with a key have: SQLite would walk all totals of that level for each key.
    rows = UsageTotal.objects.filter(seen.condition, period__gte=times.since)
    return rows.order_by()


def hits_in(times: Times, seen: Visibility) -> QuerySet[UsageHour]:
    """Sums by the hour of what limits refused yesterday."""
    rows = UsageHour.objects.filter(seen.condition, status="refused", reason__in=LIMITS)
    return rows.filter(hour__gte=times.yesterday, hour__lt=times.today).order_by()


class KeyFigures:
    """A mixin for the page of keys. Figures are read for the keys of one page; for all only to sort by them."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        keys: QuerySet[ApiKey] = super().get_queryset(request)  # type: ignore[misc]  # a ModelAdmin's
        if not request.GET.get("o"):
            return keys
        times, seen = Times.at(timezone.now()), visible_to(request.user)
        return keys.annotate(turns_sum=_sum(turns_in(times, seen)), hits_sum=_sum(hits_in(times, seen)))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page: Any = super().get_changelist_instance(request)  # type: ignore[misc]
        # Read once: the template would read it anew, without the figures that are put onto these objects.
        page.result_list = list(page.result_list)
        _add_figures(page.result_list, visible_to(request.user))
        return page

    @display(description=_("Turns in 30 days"), ordering="turns_sum")
    def turns(self, obj: Any) -> str:
        if obj.figures is None:
            return UNKNOWN
        times, count, _hits = obj.figures
        return _link("key", obj.pk, f"{count:,}", {"from": times.since}) if count else "0"

    @display(description=_("Limit hits yesterday"), ordering="hits_sum")
    def hits(self, obj: Any) -> str:
        if obj.figures is None:
            return UNKNOWN
        times, _turns, count = obj.figures
        span = {"from": times.yesterday, "to": times.today}
        return _link("key", obj.pk, f"{count:,}", span, status="refused", reason=LIMITS) if count else "0"


def sums_of_month(user: Any, team: Team) -> list[tuple[str, str, str]] | None:
    """What the team has used of this month: name, figure, and where its rows are. None for who may not see it."""
    seen = visible_to(user)
    if seen.nothing or (not seen.everything and team.pk not in seen.teams):
        return None
    month = _month(timezone.now())
    sums = summarize(month, seen, ("team",), histograms=False).get((team.pk,), Sums())
    start = month.span.start.isoformat() if month.span.start else ""
    rows = f"{reverse('usage_rows')}?{urlencode({'team': str(team.pk), 'from': start})}"
    known = (sums.counted_turns, sums.estimated_turns)
    return [
        (gettext("Turns"), number(sums.turns), rows),
        (gettext("Failed"), number(sums.faults), f"{rows}&outcome=failed"),
        (gettext("Turned away"), number(sums.turned_away), f"{rows}&outcome=turned_away"),
        (gettext("Tokens in"), tokens(sums.prompt_tokens, *known), rows),
        (gettext("Tokens out"), tokens(sums.completion_tokens, *known), rows),
    ]


def _month(now: datetime) -> Filters:
    zone = get_default_timezone()
    return Filters(now=now, zone=zone, span=span_of("month", now, zone))


class TeamFigures:
    """A mixin for the page of teams: what each has used of this month, in the gateway's time zone."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        """Sorted by a figure, each team has it as a column."""
        teams: QuerySet[Team] = super().get_queryset(request)  # type: ignore[misc]  # a ModelAdmin's
        if not request.GET.get("o"):
            return teams
        month = _month(timezone.now())
        used = summarize(month, visible_to(request.user), ("team",), histograms=False, most=MOST_OF_PAGE)
        sums = {pk: of_team for (pk,), of_team in used.items() if pk is not None}
        return teams.annotate(
            turns_sum=FigureById({pk: each.turns for pk, each in sums.items()}),
            busy_sum=FigureById({pk: each.busy_ms for pk, each in sums.items()}),
        )

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page: Any = super().get_changelist_instance(request)  # type: ignore[misc]  # a ModelAdmin's
        page.result_list = list(page.result_list)
        seen, month = visible_to(request.user), _month(timezone.now())
        # By the teams of this page alone: others would only make more groups.
        shown = replace(month, values={"team": tuple(str(team.pk) for team in page.result_list)})
        used = {} if seen.nothing else summarize(shown, seen, ("team",), histograms=False)
        # Of the pool, so of all teams, whoever looks: a share tells nobody who has the rest.
        busy = total(month, Visibility(everything=True), histograms=False).busy_ms
        for team in page.result_list:
            team.figures = None if seen.nothing else (month.span.start, used.get((team.pk,), Sums()), busy)
        return page

    @display(description=_("Turns this month"), ordering="turns_sum")
    def turns(self, obj: Any) -> str:
        if obj.figures is None:
            return UNKNOWN
        start, sums, _busy = obj.figures
        return _link("team", obj.pk, f"{sums.turns:,}", {"from": start}) if sums.turns else "0"

    @display(description=_("Share of busy seconds"), ordering="busy_sum")
    def pool_share(self, obj: Any) -> str:
        if obj.figures is None:
            return UNKNOWN
        start, sums, busy = obj.figures
        text = share(sums.busy_ms, busy)
        return _link("team", obj.pk, text, {"from": start}) if sums.busy_ms else text


class FigureById(Func):
    """The figure of each row, by its id; 0 where there is none.

    All in one text of JSON: a parameter for each would be more than SQLite takes of some thousand teams.
    """

    output_field = BigIntegerField()

    def __init__(self, figures: Mapping[int, int]) -> None:
        super().__init__(Value(json.dumps(figures), output_field=TextField()), F("pk"))

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        # Read once, thanks to the limit, and then found by an index; else the text is read anew for each row.
        found = (
            "COALESCE((SELECT figure FROM (SELECT CAST(key AS INTEGER) AS id, value AS figure"
            " FROM json_each(%(expressions)s), 0)"
        )
        return self.as_sql(compiler, connection, template=found, arg_joiner=") LIMIT -1) AS f WHERE f.id = ", **extra)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        found = "COALESCE((%(expressions)s::text)::bigint, 0)"
        return self.as_sql(compiler, connection, template=found, arg_joiner="::jsonb ->> ", **extra)


def _sum(rows: QuerySet[Any]) -> Coalesce:
    rows = rows.filter(api_key=OuterRef("pk"))
    return Coalesce(Subquery(rows.values("api_key").annotate(sum=Sum("turns")).values("sum")), 0)


def _add_figures(keys: Collection[Any], seen: Visibility) -> None:
    """Turns and hits of each; None for a reader who may not see usage."""
    times = Times.at(timezone.now())
    ids = [] if seen.nothing else [key.pk for key in keys]
    turns, hits = (
        dict(rows.filter(api_key__in=ids).values_list("api_key").annotate(sum=Sum("turns"))) if ids else {}
        for rows in (turns_in(times, seen), hits_in(times, seen))
    )
    for key in keys:
        key.figures = None if seen.nothing else (times, turns.get(key.pk, 0), hits.get(key.pk, 0))


def _link(name: str, pk: int, text: str, span: dict[str, datetime], **filters: Any) -> str:
    times = {name: at.isoformat().replace("+00:00", "Z") for name, at in span.items()}
    query = urlencode({name: pk, **times, **filters}, doseq=True)
    return format_html(LINK, f"{reverse('usage')}?{query}", text)
