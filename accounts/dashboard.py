"""The first page of the console, as far as access goes: figures that cost little, who is busy, the latest turns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Model, Q, QuerySet, Sum
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.timesince import timesince

from accounts.models import OUTCOME_COLOURS, ApiKey, Usage

MOST = 10_000  # counting stops here, so a busy day does not make the page slow
LATEST = 10
BUSIEST = 5


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add figures and tables to the context of the index page, as far as the reader may see them."""
    may_see_usage = request.user.has_perm("accounts.view_usage")
    may_see_keys = request.user.has_perm("accounts.view_apikey")
    since = timezone.now() - timedelta(days=1)
    return context | {
        "figures": [*(usage_figures(since) if may_see_usage else []), *(key_figures() if may_see_keys else [])],
        "busiest": busiest_keys(since) if may_see_usage else None,
        "turns": latest_turns() if may_see_usage else None,
        "may_add_key": request.user.has_perm("accounts.add_apikey"),
    }


def usage_figures(since: datetime) -> list[dict[str, str]]:
    """Turns of the last 24 hours."""
    recent = Usage.objects.filter(started_at__gte=since)
    page = reverse("admin:accounts_usage_changelist")
    failed = counted(recent.filter(status=Usage.Status.ERROR))
    return [
        {"name": "Turns in 24 hours", "value": counted(recent), "href": page},
        {
            "name": "Errors in 24 hours",
            "value": failed,
            "href": f"{page}?status__exact=error",
            "tone": "good" if failed == "0" else "bad",
        },
    ]


def key_figures() -> list[dict[str, str]]:
    """Keys that open the door."""
    live = ApiKey.objects.all().usable(timezone.now())
    return [{"name": "Live keys", "value": counted(live), "href": reverse("admin:accounts_apikey_changelist")}]


def counted(rows: QuerySet[Any, Model]) -> str:
    """How many, up to where counting is cheap."""
    number = rows.order_by()[: MOST + 1].count()
    return f"{number:,}" if number <= MOST else f"{MOST:,}+"


def busiest_keys(since: datetime) -> dict[str, Any] | None:
    """The table of the keys with the most turns among the latest ones, None when there are none."""
    latest = Usage.objects.filter(started_at__gte=since).order_by("-started_at").values("pk")[:MOST]
    figures = (
        Usage.objects.filter(pk__in=latest)
        .order_by()
        .values("api_key_id", "api_key__name")
        .annotate(
            turns=Count("pk"),
            errors=Count("pk", filter=Q(status=Usage.Status.ERROR)),
            tokens_in=Sum("prompt_tokens"),
            tokens_out=Sum("completion_tokens"),
        )
        .order_by("-turns")[:BUSIEST]
    )
    rows = [_busy_row(each) for each in figures]
    return {"headers": ["Key", "Turns", "Errors", "Tokens in / out"], "rows": rows} if rows else None


def _busy_row(key: Mapping[str, Any]) -> list[str]:
    errors = f"{key['errors']:,}"
    return [
        _link(f"{_usage_of(key['api_key_id'])}", ApiKey.cut(key["api_key__name"])) if key["api_key_id"] else DELETED,
        f"{key['turns']:,}",
        _link(f"{_usage_of(key['api_key_id'])}&status__exact=error", errors) if key["errors"] else errors,
        f"{key['tokens_in']:,} / {key['tokens_out']:,}",
    ]


def latest_turns() -> dict[str, Any] | None:
    """The table of the latest turns, None when there are none."""
    now = timezone.now()
    turns = Usage.objects.select_related("api_key")[:LATEST]
    rows = [
        [
            _link(
                reverse("admin:accounts_usage_change", args=[turn.pk]),
                f"{timesince(turn.started_at, now, depth=1)} ago",
            ),
            turn.api_key.short_name if turn.api_key else DELETED,
            turn.model,
            render_to_string("unfold/helpers/label.html", {"text": turn.outcome, "type": OUTCOME_COLOURS[turn.status]}),
            f"{turn.total_ms:,} ms",
            f"{turn.prompt_tokens:,} / {turn.completion_tokens:,}",
        ]
        for turn in turns
    ]
    headers = ["Started", "Key", "Model", "Outcome", "Took", "Tokens in / out"]
    return {"headers": headers, "rows": rows} if rows else None


DELETED = "deleted key"


def _usage_of(key_id: int) -> str:
    return f"{reverse('admin:accounts_usage_changelist')}?api_key__id__exact={key_id}"


def _link(href: str, text: str) -> str:
    return format_html('<a class="font-medium text-primary-600 dark:text-primary-500" href="{}">{}</a>', href, text)
