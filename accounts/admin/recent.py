"""What the first page of the console says about the last hour, keys that end soon, and the latest changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext

from accounts.models import ApiKey, AuditEntry
from accounts.reports.filters import Filters
from accounts.reports.period import Span
from accounts.reports.summary import total
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility
from gateway_project.lib.cells import ago, cut
from gateway_project.lib.panels import Figure

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SOON = timedelta(days=14)
CHANGES = 10
BAD_SHARE = 0.05  # of the last hour's turns


def last_hour(now: datetime) -> Sums:
    """The turns of the last hour, those that were turned away too."""
    return _sums(now - HOUR, now, now)


def hour_figures(hour: Sums, now: datetime) -> list[Figure]:
    """The last hour beside the day before it, each with its rows behind it."""
    before = _sums(now - HOUR - DAY, now - HOUR, now)
    failed, usual = _share(hour.faults, hour.turns), _share(before.faults, before.turns)
    first = hour.first_token_ms_p95
    return [
        Figure(
            gettext("Failed in the last hour; the day before"),
            f"{failed} / {usual}",
            f"{reverse('usage')}?range=1h&outcome=failed",
            "bad" if is_bad(hour) else "" if hour.faults else "good",
        ),
        Figure(
            gettext("First token in the last hour, p95"),
            "–" if first is None else f"{first:,} ms",
            f"{reverse('usage')}?range=1h",
        ),
    ]


def is_bad(hour: Sums) -> bool:
    """So many turns of the hour failed that somebody should look."""
    return hour.faults > 0 and hour.faults >= BAD_SHARE * hour.turns


def trouble_of(hour: Sums) -> list[str]:
    """The line that says so, if it is so."""
    if not is_bad(hour):
        return []
    words = gettext("%(share)s of the turns of the last hour failed.") % {"share": _share(hour.faults, hour.turns)}
    address = f"{reverse('usage')}?range=1h&outcome=failed"
    return [format_html('{} <a class="underline" href="{}">{}</a>', words, address, gettext("Show them"))]


def expiring_figure(keys: QuerySet[ApiKey], now: datetime) -> Figure:
    """Keys among these that work now and end soon by their date."""
    count = keys.filter(expires_at__gt=now, expires_at__lte=now + SOON).count()
    page = reverse("admin:accounts_apikey_changelist")
    return Figure(gettext("Keys that expire within 14 days"), f"{count:,}", f"{page}?state=live&o=5")


def latest_changes() -> dict[str, Any] | None:
    """The table of what colleagues and programs changed last, None when nothing was."""
    rows = [
        [ago(each.at), cut(each.actor), str(each.get_source_display()), each.action, cut(each.object_text)]
        for each in AuditEntry.objects.all()[:CHANGES]
    ]
    headers = [gettext("When"), gettext("Who"), gettext("By"), gettext("Action"), gettext("Object")]
    return {"headers": headers, "rows": rows} if rows else None


def _sums(start: datetime, end: datetime, now: datetime) -> Sums:
    filters = Filters(now=now, zone=UTC, span=Span(start, end))
    return total(filters, Visibility(everything=True))


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"
