"""Access on the first page of the console: figures that cost little, who is busy, the latest turns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Model, QuerySet, Sum
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext

from accounts.admin.alerts import ACKNOWLEDGE, alert_sections
from accounts.admin.limits import shadow_section
from accounts.admin.minutes import minutes_of
from accounts.admin.recent import (
    hour_figures,
    is_bad,
    last_hour,
    latest_changes,
    trouble_of,
)
from accounts.models import FAILED, OUTCOME_COLOURS, ApiKey, Usage
from accounts.reports.visibility import visible_to
from accounts.roles.reach import keys_of
from gateway_project.lib.cells import ago, cut
from gateway_project.lib.panels import Figure, Level, Panel, Section
from gateway_project.lib.visible import visible

MOST = 10_000  # counting stops here, so a busy day does not make the page slow
LATEST = 10
DAY = timedelta(days=1)
BUSIEST = 5
PAGES = (ACKNOWLEDGE,)


def panel(request: HttpRequest) -> Panel:
    """Figures and tables, as far as the reader may see them."""
    may_see_usage = request.user.has_perm("accounts.view_usage")
    may_see_keys = request.user.has_perm("accounts.view_apikey")
    now = timezone.now()
    hour = last_hour(now) if may_see_usage else None
    visible = visible_to(request.user)
    rate, chart = ([], None) if visible.nothing else minutes_of(now, visible)
    turns = {
        "busiest": busiest_keys(now - DAY) if may_see_usage else None,
        "turns": latest_turns() if may_see_usage else None,
        "may_see_usage": may_see_usage,
        "may_add_key": request.user.has_perm("accounts.add_apikey"),
        "changes": latest_changes() if request.user.has_perm("accounts.view_auditentry") else None,
    }
    return Panel(
        position=20,
        level=Level.DEGRADED if hour and is_bad(hour) else None,
        troubles=trouble_of(hour) if hour else [],
        figures=[
            *rate,
            *(hour_figures(hour, now) if hour else []),
            *(usage_figures(now) if may_see_usage else []),
            *(key_figures(request.user, now) if may_see_keys else []),
        ],
        sections=[
            *alert_sections(request.user),
            *([Section("admin/accounts/minutes.html", chart)] if chart else []),
            *shadow_sections(request.user, may_see_keys),
            Section("admin/accounts/overview.html", turns),
        ],
    )


def shadow_sections(user: Any, may_see_keys: bool) -> list[Section]:
    """What limits in shadow mode would have refused, if it is anything."""
    section = shadow_section(user) if may_see_keys else None
    return [Section("admin/accounts/shadow.html", section)] if section else []


def usage_figures(now: datetime) -> list[Figure]:
    """Turns of the last 24 hours; each figure leads to the very rows it counts."""
    recent = Usage.objects.filter(started_at__gte=now - DAY)
    failed, turned_away = recent.failed(), recent.turned_away()
    return [
        Figure(gettext("Turns in 24 hours"), times(recent), rows_since(now - DAY)),
        Figure(gettext("Failed in 24 hours"), times(failed), rows_since(now - DAY, outcome="failed")),
        Figure(gettext("Turned away in 24 hours"), times(turned_away), rows_since(now - DAY, outcome="turned_away")),
    ]


def rows_since(since: datetime, **filters: Any) -> str:
    """The address of the list of turns from then on, with these filters."""
    page = reverse("admin:accounts_usage_changelist")
    return f"{page}?{urlencode({**filters, 'started_at__gte': since.isoformat()})}"


def key_figures(user: Any, now: datetime) -> list[Figure]:
    """Live keys, as many as this user may see, and those of them that end soon."""
    live = keys_of(user, keys=ApiKey.objects.usable(now))
    soon = keys_of(user, keys=ApiKey.objects.expiring_soon(now))
    listed = reverse("admin:accounts_apikey_changelist")
    return [
        Figure(gettext("Live keys"), counted(live), f"{listed}?state=live"),
        Figure(gettext("Keys that expire within 14 days"), counted(soon), f"{listed}?state=soon"),
    ]


def times(rows: QuerySet[Usage]) -> str:
    """How many turns and refusals; a row may stand for many refusals."""
    # One more than MOST, to know whether there are more. Without an order the database may stop anywhere.
    sums = rows.order_by()[: MOST + 1].aggregate(rows=Count("pk"), times=Sum("count", default=0))
    return f"{sums['times']:,}{'+' if sums['rows'] > MOST else ''}"


def counted(rows: QuerySet[Any, Model]) -> str:
    """How many, exact up to MOST; beyond it a text such as `10,000+`."""
    number = rows.order_by()[: MOST + 1].count()
    return f"{number:,}" if number <= MOST else f"{MOST:,}+"


def busiest_keys(since: datetime) -> dict[str, Any] | None:
    """The table of the keys with the most turns, None when there are none."""
    recent = Usage.objects.filter(started_at__gte=since)
    # On a busy day it begins later, so that it is whole and its links lead to what it counts.
    capped = list(recent.order_by("-started_at").values_list("started_at", flat=True)[MOST : MOST + 1])
    since = capped[0] if capped else since
    figures = (
        Usage.objects.filter(started_at__gte=since)
        .order_by()
        .values("api_key_id", "api_key__name")
        .annotate(
            turns=Sum("count"),
            failed=Sum("count", filter=FAILED, default=0),
            tokens_in=Sum("prompt_tokens"),
            tokens_out=Sum("completion_tokens"),
        )
        .order_by("-turns")[:BUSIEST]
    )
    rows = [_busy_row(each, since) for each in figures]
    title = gettext("Busiest keys since %(time)s") % {"time": f"{timezone.localtime(since):%Y-%m-%d %H:%M %Z}"}
    headers = [gettext("Key"), gettext("Turns"), gettext("Failed"), gettext("Tokens in / out")]
    return {"title": title, "headers": headers, "rows": rows} if rows else None


def _busy_row(key: Mapping[str, Any], since: datetime) -> list[str]:
    turns, failed, key_id = f"{key['turns']:,}", f"{key['failed']:,}", key["api_key_id"]
    tokens = f"{key['tokens_in']:,} / {key['tokens_out']:,}"
    # Turns of keys that were deleted have no page to link to.
    if not key_id:
        return [deleted_key(), turns, failed, tokens]
    of_key = {"api_key__id__exact": key_id}
    return [
        _link(rows_since(since, **of_key), ApiKey.cut(key["api_key__name"])),
        turns,
        _link(rows_since(since, **of_key, outcome="failed"), failed) if key["failed"] else failed,
        tokens,
    ]


def latest_turns() -> dict[str, Any] | None:
    """The table of the latest turns, None when there are none."""
    # One query with the keys, not one more for each row.
    turns = Usage.objects.select_related("api_key")[:LATEST]
    rows = [
        [
            _link(
                reverse("admin:accounts_usage_change", args=[turn.pk]),
                ago(turn.started_at),
            ),
            turn.api_key.short_name if turn.api_key else deleted_key(),
            cut(turn.model),
            render_to_string(
                "unfold/helpers/label.html", {"text": visible(turn.outcome), "type": OUTCOME_COLOURS[turn.status]}
            ),
            f"{turn.total_ms:,} ms",
            f"{turn.prompt_tokens:,} / {turn.completion_tokens:,}",
        ]
        for turn in turns
    ]
    headers = [
        gettext("Started"), gettext("Key"), gettext("Model"), gettext("Outcome"), gettext("Took"),
        gettext("Tokens in / out"),
    ]  # fmt: skip
    return {"headers": headers, "rows": rows} if rows else None


def deleted_key() -> str:
    return gettext("deleted key")


def _link(href: str, text: str) -> str:
    return format_html(
        '<a class="gw-link font-medium text-primary-600 dark:text-primary-500" href="{}">{}</a>', href, text
    )
