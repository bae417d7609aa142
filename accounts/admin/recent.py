"""What the first page of the console says about the last hour, and the latest changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext

from accounts.audit.words import action_name
from accounts.models import FAILED, AuditEntry, Usage
from accounts.reports.filters import Filters
from accounts.reports.period import Span
from accounts.reports.summary import summarize, total
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility
from accounts.reports.words import UNKNOWN, percentile_ms, share
from gateway_project.lib.pages.cells import ago, clock_time, cut
from gateway_project.lib.pages.panels import Figure

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CHANGES = 10
BAD_SHARE = 0.05  # of the last hour's turns


def last_hour(now: datetime) -> Sums:
    """The turns of the last hour, those that were turned away too."""
    return _sums(now - HOUR, now, now)


def hour_figures(hour: Sums, now: datetime) -> list[Figure]:
    """The last hour beside the day before it, each with its rows behind it."""
    before = _sums(now - HOUR - DAY, now - HOUR, now)
    # Without a turn nobody knows, and what nobody knows is not good.
    fine = "good" if hour.turns and not hour.faults else ""
    return [
        Figure(
            gettext("Failed in the last hour (the day before: %(share)s)")
            % {"share": share(before.faults, before.turns)},
            share(hour.faults, hour.turns),
            between("usage", now - HOUR, now, outcome="failed"),
            "bad" if is_bad(hour) else fine,
        ),
        Figure(
            gettext("First token in the last hour, p95 (the day before: %(time)s)")
            % {"time": percentile_ms(before.first_token_ms_p95)},
            percentile_ms(hour.first_token_ms_p95),
            between("usage", now - HOUR, now),
        ),
    ]


def is_bad(hour: Sums) -> bool:
    """So many turns of the hour failed that somebody should look."""
    # Without the first condition an hour without turns would be a bad one.
    return hour.faults > 0 and hour.faults >= BAD_SHARE * hour.turns


def failing(hour: Sums, now: datetime) -> tuple[str, datetime] | None:
    """The line that says that too many turns fail and what to do, and since when; None when it is not so."""
    if not is_bad(hour):
        return None
    first = _first_failed(now - HOUR, now)
    since = _bad_since(now, first or now - HOUR)
    words = gettext(
        "%(share)s of the turns of the last hour failed, the first at %(time)s. "
        "See for which reason, and whether it is one instance, model or key."
    )
    shown = words % {"share": share(hour.faults, hour.turns), "time": clock_time(first) if first else UNKNOWN}
    address = between("usage", now - HOUR, now, outcome="failed")
    return format_html('{} <a class="underline" href="{}">{}</a>', shown, address, gettext("Show them")), since


def _bad_since(now: datetime, first: datetime) -> datetime:
    """The first failed turn of the bad hours that lead up to `first`, which is that of the last one."""
    # Whole hours: of these there are sums. Which turn began the first of them, only its rows say.
    last = (now - HOUR).replace(minute=0, second=0, microsecond=0)
    filters = Filters(now=now, zone=UTC, span=Span(last - DAY, last + HOUR))
    by_hour = summarize(filters, Visibility(everything=True), ("hour",), histograms=False)
    bad = takewhile(lambda start: is_bad(by_hour.get((start,), Sums())), (last - n * HOUR for n in range(25)))
    began = min(bad, default=first)
    return first if began >= first else _first_failed(began, began + HOUR) or began


def _first_failed(start: datetime, end: datetime) -> datetime | None:
    failed = Usage.objects.filter(FAILED, started_at__gte=start, started_at__lt=end)
    return failed.order_by("started_at").values_list("started_at", flat=True).first()


def between(page: str, since: datetime, until: datetime, **filters: Any) -> str:
    """The address of what was in that time, and in no other however late the reader comes."""
    return f"{reverse(page)}?{urlencode({**filters, 'from': _iso(since), 'to': _iso(until)})}"


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def latest_changes() -> dict[str, Any] | None:
    """The table of what colleagues and programs changed last, None when nothing was."""
    rows = [
        [_entry(each), cut(each.actor), str(each.get_source_display()), action_name(each.action), cut(each.object_text)]
        for each in AuditEntry.objects.all()[:CHANGES]
    ]
    headers = [gettext("When"), gettext("Who"), gettext("By"), gettext("Action"), gettext("Object")]
    return {"headers": headers, "rows": rows} if rows else None


def _entry(entry: AuditEntry) -> str:
    address = reverse("admin:accounts_auditentry_change", args=[entry.pk])
    link = '<a class="gw-link font-medium text-primary-600 dark:text-primary-500" href="{}">{}</a>'
    return format_html(link, address, ago(entry.at))


def _sums(start: datetime, end: datetime, now: datetime) -> Sums:
    filters = Filters(now=now, zone=UTC, span=Span(start, end))
    return total(filters, Visibility(everything=True))
