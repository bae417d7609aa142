"""`/usage/`: what was used, by whom, and how well it went; and `/usage/rows/`: the rows behind each number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from accounts.models import ApiKey, Usage
from accounts.pages import figures, form, tables, timeline
from accounts.pages.freshness import staleness
from accounts.pages.heat import heat
from accounts.pages.layout import usage_page
from accounts.pages.names import names_for
from accounts.pages.query import Query, address, query_of, unknown_in, without_flaws
from accounts.pages.request import KEY_PAGE, may
from accounts.pages.rows import page_of
from accounts.pages.tables import Cell
from accounts.reports.days import MOST_OF_PAGE, Grouping
from accounts.reports.period import is_whole_hours
from accounts.reports.summary import summaries, total
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility, visible_to, why_nothing
from accounts.reports.words import number, seconds, tokens

REFRESH: Final = "10"
IDLE: Final = timedelta(days=60)
SUGGESTED: Final = 200
CALLER: Final = ("team", "key")
KIND: Final = ("lingma_model", "client_app", "reason")


@usage_page
@require_safe
@login_required(login_url="login")
def usage(request: HttpRequest) -> HttpResponse:
    visibility = visible_to(request.user)
    if visibility.nothing:
        return nothing_to_see(request)
    query, flaws = asked(request)
    try:
        # All at once: they read the same days.
        by_times, by_caller, by_kind, *by_hours = summaries(query.filters, visibility, _groupings(query), MOST_OF_PAGE)
    except ValidationError as exc:
        return too_much_to_see(request, exc)
    by_time = {time: sums for (time,), sums in by_times.items()}
    by_hour = {hour: sums for (hour,), sums in by_hours[0].items()} if by_hours else by_time
    shown = _shown(query, by_time)
    # Of these sums and not by a further query: each turn is in one of them.
    whole = Sums()
    for sums in shown.values():
        whole.merge(sums)
    before = query.filters.before()
    names = names_for(visibility, _busiest(by_caller), query.filters.values.get("key", ()))
    latest = page_of(query.filters, visibility)
    context = {
        **_form(query, names, by_kind),
        **_timeline(query, by_hour, shown),
        "flaws": flaws,
        "stale": staleness(query.filters.now),
        "figures": figures.figures(query, whole, total(before, visibility) if before else None),
        "tables": tables.tables(query, by_caller, by_kind, names),
        "rows": latest.rows,
        "turns": whole.turns,
        "rows_href": query.frozen(),
        "nothing_yet": not whole.turns and not Usage.objects.filter(visibility.condition).exists(),
        "idle": _idle(request, query.filters.now, visibility),
        "refresh": REFRESH if query.view("refresh") == REFRESH else "",
        "refresh_href": query.href(refresh=None if query.view("refresh") == REFRESH else REFRESH),
    }
    return TemplateResponse(request, "pages/usage.html", context)


@usage_page
@require_safe
@login_required(login_url="login")
def usage_rows(request: HttpRequest) -> HttpResponse:
    """The rows that the filters leave, with their sum on top."""
    visibility = visible_to(request.user)
    if visibility.nothing:
        return nothing_to_see(request)
    query, flaws = asked(request, "after", default_range="")
    found = page_of(query.filters, visibility, request.GET.get("after", ""))
    names = names_for(visibility, (), query.filters.values.get("key", ()))
    next_href = f"{query.href('usage_rows')}{'&' if '?' in query.href('usage_rows') else '?'}after={found.after}"
    sums = total(query.filters, visibility, histograms=False)
    context = {
        **_exports(query),
        "flaws": flaws,
        "sums": sums,
        "in_all": _in_all(query, sums),
        "chips": form.chips(query, names, "usage_rows"),
        "rows": found.rows,
        "next_href": next_href if found.after else "",
        "first_href": query.href("usage_rows") if request.GET.get("after") else "",
        "overview_href": query.href(),
    }
    return TemplateResponse(request, "pages/usage_rows.html", context)


def _in_all(query: Query, sums: Sums) -> list[tuple[str, Cell]]:
    """What other pages say of these rows, by the same names. What sums some of them leads to these."""
    known = (sums.counted_turns, sums.estimated_turns)

    def some(outcome: str, count: int) -> Cell:
        return Cell(text=number(count), href=query.frozen(outcome=outcome) if count else "")

    return [
        (gettext("Failed"), some("failed", sums.faults)),
        (gettext("Turned away"), some("turned_away", sums.turned_away)),
        (gettext("Tokens in"), Cell(text=tokens(sums.prompt_tokens, *known))),
        (gettext("Tokens out"), Cell(text=tokens(sums.completion_tokens, *known))),
        (gettext("Busy"), Cell(text=seconds(sums.busy_ms))),
    ]


def nothing_to_see(request: HttpRequest) -> HttpResponse:
    context = {"heading": gettext("You may not see usage"), "words": why_nothing()}
    return TemplateResponse(request, "pages/notice.html", context, status=403)


def too_much_to_see(request: HttpRequest, exc: ValidationError) -> HttpResponse:
    context = {"heading": gettext("Too much for a page"), "words": " ".join(exc.messages)}
    return TemplateResponse(request, "pages/notice.html", context, status=400)


def asked(request: HttpRequest, *others: str, default_range: str = "24h") -> tuple[Query, list[str]]:
    """What the address asks for, and what of it makes no sense, in words; the rest of it counts.

    `others` are parameters beside filters that the page reads.
    """
    unknown = [words] if (words := unknown_in(request, *others)) else []
    try:
        return query_of(request, default_range), unknown
    except ValidationError as exc:
        every = form.labels() | {"range": gettext("Range")}
        flaws = [f"{every[name]}: {' '.join(words)}" for name, words in exc.message_dict.items()]
        return without_flaws(request, exc.message_dict, default_range), flaws + unknown


def _groupings(query: Query) -> list[Grouping]:
    """By hours (UTC), of which bars and the heat map are made; where days do not begin with one, by both."""
    filters = query.filters
    if timeline.is_hourly(filters) or is_whole_hours(filters.zone, filters.now):
        return [(("hour",), True), (CALLER, False), (KIND, False)]
    return [(("day",), True), (CALLER, False), (KIND, False), (("hour",), False)]


def _shown(query: Query, by_time: Mapping[Any, Sums]) -> Mapping[Any, Sums]:
    """As the bars have them: hours of a long period, which the heat map needs, as days."""
    if timeline.is_hourly(query.filters):
        return by_time
    by_day: defaultdict[date, Sums] = defaultdict(Sums)
    for time, sums in by_time.items():
        day = time.astimezone(query.filters.zone).date() if isinstance(time, datetime) else time
        by_day[day].merge(sums)
    return dict(by_day)


def _timeline(query: Query, by_hour: Mapping[datetime, Sums], shown: Mapping[Any, Sums]) -> dict[str, Any]:
    buckets = timeline.buckets(query, shown)
    return {
        "buckets": buckets,
        "starts": timeline.starts(buckets),
        "bars": timeline.bars(buckets),
        "lines": timeline.lines(buckets),
        "most": max((bucket.sums.turns for bucket in buckets), default=0),
        "hourly": timeline.is_hourly(query.filters),
        "heat": heat(query, by_hour) if len(by_hour) > 1 else [],
    }


def _form(query: Query, names: Any, by_kind: Mapping[tuple[Any, ...], Sums]) -> dict[str, Any]:
    models = sorted({group[0] for group in by_kind if group[0]})[:SUGGESTED]
    reasons = sorted({group[2] for group in by_kind if group[2]})[:SUGGESTED]
    first, more = form.fields(query, names, models, reasons)
    return {
        **_exports(query),
        "ranges": form.ranges(query),
        "fields": first,
        "more_fields": more,
        "more_open": any(field.value for field in more),
        "chips": form.chips(query, names),
        "kept": form.kept(query),
        "from_value": form.moment_value(query, "from"),
        "to_value": form.moment_value(query, "to"),
        "clear_href": Query({"range": [query.filters.range]} if query.filters.range else {}, query.filters).href(),
    }


def _exports(query: Query) -> dict[str, str]:
    return {
        "csv_href": query.frozen("usage_export_csv"),
        "json_href": query.frozen("usage_export_json"),
        "as_of": f"{timezone.localtime(query.filters.now):%Y-%m-%d %H:%M:%S %Z}",
    }


def _busiest(by_caller: Mapping[tuple[Any, ...], Sums]) -> list[int]:
    ordered = sorted(by_caller.items(), key=lambda each: each[1].turns, reverse=True)
    return [key for (_, key), _ in ordered if key is not None]


def _idle(request: HttpRequest, now: datetime, visibility: Visibility) -> dict[str, Any]:
    """Live keys that nobody has used for long; those made since then have had no time to be used.

    Each leads to its page in the console, or for who may not see that to its rows, whenever they were.
    """
    since = now - IDLE
    live = ApiKey.objects.usable(now).filter(visibility.condition, created_at__lt=since)
    idle = live.exclude(last_used_at__gte=since).order_by("last_used_at", "name")
    # One more than is shown, which says that there are more.
    found = list(idle.values_list("pk", "name", "last_used_at")[:101])
    in_console = may(request, "accounts.view_apikey")
    keys = [
        (reverse(KEY_PAGE, args=[pk]) if in_console else address("usage_rows", {"key": [str(pk)]}, {}), name, used)
        for pk, name, used in found[:100]
    ]
    return {"days": IDLE.days, "keys": keys, "more": len(found) > 100}
