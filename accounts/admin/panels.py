"""Access on the first page of the console: figures that cost little, who is busy, the latest turns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext

from accounts.admin.alerts import ACKNOWLEDGE, alert_sections
from accounts.admin.limits import shadow_section
from accounts.admin.minutes import minutes_of
from accounts.admin.recent import (
    between,
    failing,
    hour_figures,
    last_hour,
    latest_changes,
)
from accounts.ledger.filing import ORPHANED
from accounts.models import OUTCOME_COLOURS, ApiKey, Usage
from accounts.reports.days import MOST_OF_PAGE
from accounts.reports.filters import Filters
from accounts.reports.period import Span
from accounts.reports.summary import summarize, total
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility, visible_to
from accounts.reports.words import UNKNOWN, number, tokens, tokens_of
from accounts.roles.reach import keys_of
from gateway_project.lib.pages.cells import ago, cut
from gateway_project.lib.pages.panels import Figure, Level, Panel, Section
from gateway_project.lib.visible import visible

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
    trouble = failing(hour, now) if hour else None
    visible = visible_to(request.user)
    rate, chart = ([], None) if visible.nothing else minutes_of(now, visible)
    turns = {
        "busiest": busiest_keys(now) if may_see_usage else None,
        "turns": latest_turns() if may_see_usage else None,
        "may_see_usage": may_see_usage,
        "may_add_key": request.user.has_perm("accounts.add_apikey"),
        "may_see_some": not visible.nothing,
        "changes": latest_changes() if request.user.has_perm("accounts.view_auditentry") else None,
    }
    return Panel(
        position=20,
        level=Level.DEGRADED if trouble else None,
        since=trouble[1] if trouble else None,
        troubles=[trouble[0]] if trouble else [],
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
    """Turns of the last 24 hours, of the sums by hour; each figure leads to the very rows it counts."""
    since = now - DAY
    sums = total(_since(since, now), Visibility(everything=True), histograms=False)
    names = (gettext("Turns in 24 hours"), gettext("Failed in 24 hours"), gettext("Turned away in 24 hours"))
    return [
        Figure(names[0], f"{sums.turns:,}", rows_between(since, now)),
        Figure(names[1], f"{sums.faults:,}", rows_between(since, now, outcome="failed")),
        Figure(names[2], f"{sums.turned_away:,}", rows_between(since, now, outcome="turned_away")),
    ]


def _since(since: datetime, now: datetime) -> Filters:
    return Filters(now=now, zone=UTC, span=Span(since, now))


def rows_between(since: datetime, until: datetime, **filters: Any) -> str:
    """The address of the rows of that time, with these filters. The page says their sum."""
    return between("usage_rows", since, until, **filters)


def key_figures(user: Any, now: datetime) -> list[Figure]:
    """Live keys, as many as this user may see, and those of them that end soon."""
    live = keys_of(user, keys=ApiKey.objects.live(now))
    soon = keys_of(user, keys=ApiKey.objects.expiring_soon(now))
    listed = reverse("admin:accounts_apikey_changelist")
    return [
        Figure(gettext("Live keys"), f"{live.count():,}", f"{listed}?state=live"),
        Figure(gettext("Keys that expire within 14 days"), f"{soon.count():,}", f"{listed}?state=soon"),
    ]


def busiest_keys(now: datetime) -> dict[str, Any] | None:
    """The table of the keys with the most turns in 24 hours, None when there are none."""
    since = now - DAY
    everything = Visibility(everything=True)
    try:
        sums = summarize(_since(since, now), everything, ("key",), histograms=False, most=MOST_OF_PAGE)
    except ValidationError:  # more keys were used than can be compared
        return None
    # Ids are no order of people, but the same at each look.
    busiest = sorted(sums.items(), key=lambda each: (-each[1].turns, each[0][0] or 0))[:BUSIEST]
    names = {key.pk: key.short_name for key in ApiKey.objects.filter(pk__in=[pk for (pk,), _ in busiest if pk])}
    rows = [_busy_row(pk, names.get(pk), of_key, since, now) for (pk,), of_key in busiest]
    title = gettext("Busiest keys since %(time)s") % {"time": f"{timezone.localtime(since):%Y-%m-%d %H:%M %Z}"}
    headers = [gettext("Key"), gettext("Turns"), gettext("Failed"), gettext("Tokens in / out")]
    return {"title": title, "headers": headers, "rows": rows} if rows else None


def _busy_row(pk: int | None, name: str | None, sums: Sums, since: datetime, now: datetime) -> list[str]:
    of_key = {"key": "none" if pk is None else pk}
    failed = f"{sums.faults:,}"
    rows = rows_between(since, now, **of_key)
    return [
        _link(rows, name or deleted_key()),
        _link(rows, f"{sums.turns:,}"),
        _link(rows_between(since, now, **of_key, outcome="failed"), failed) if sums.faults else failed,
        _link(rows, _tokens(sums)) if sums.counted_turns else UNKNOWN,
    ]


def _tokens(sums: Sums) -> str:
    came = tokens(sums.prompt_tokens, sums.counted_turns, sums.estimated_turns)
    return f"{came} / {number(sums.completion_tokens)}"


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
            # Green is for how it goes now: what has gone well says nothing of that.
            visible(turn.outcome)
            if turn.status == Usage.Status.OK
            else render_to_string(
                "unfold/helpers/label.html", {"text": visible(turn.outcome), "type": OUTCOME_COLOURS[turn.status]}
            ),
            UNKNOWN if turn.reason == ORPHANED else f"{turn.total_ms:,} ms",
            tokens_of(turn),
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
