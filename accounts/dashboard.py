"""The first page of the console: a few figures that cost little, and the latest turns."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince

from accounts.models import ApiKey, Usage

MOST = 10_000  # counting stops here, so a busy day does not make the page slow
LATEST = 10


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the figures to the context of the index page, as far as the reader may see them."""
    may_see_usage = request.user.has_perm("accounts.view_usage")
    may_see_keys = request.user.has_perm("accounts.view_apikey")
    figures = [*(usage_figures() if may_see_usage else []), *(key_figures() if may_see_keys else [])]
    turns = latest_turns() if may_see_usage else None
    return context | {"figures": figures, "turns": turns, "may_add_key": request.user.has_perm("accounts.add_apikey")}


def usage_figures() -> list[dict[str, str]]:
    """Turns of the last 24 hours."""
    recent = Usage.objects.filter(started_at__gte=timezone.now() - timedelta(days=1))
    page = reverse("admin:accounts_usage_changelist")
    failed = recent.filter(status=Usage.Status.ERROR)
    return [
        {"name": "Turns in 24 hours", "value": counted(recent), "href": page},
        {"name": "Errors in 24 hours", "value": counted(failed), "href": f"{page}?status__exact=error"},
    ]


def key_figures() -> list[dict[str, str]]:
    """Keys that open the door."""
    live = ApiKey.objects.all().usable(timezone.now())
    return [{"name": "Live keys", "value": counted(live), "href": reverse("admin:accounts_apikey_changelist")}]


def counted(rows: QuerySet[Any, Model]) -> str:
    """How many, up to where counting is cheap."""
    number = rows.order_by()[: MOST + 1].count()
    return f"{number:,}" if number <= MOST else f"{MOST:,}+"


def latest_turns() -> dict[str, Any] | None:
    """The table of the latest turns, None when there are none."""
    now = timezone.now()
    turns = Usage.objects.select_related("api_key")[:LATEST]
    rows = [
        [
            f"{timesince(turn.started_at, now, depth=1)} ago",
            turn.api_key.name if turn.api_key else "deleted key",
            turn.model,
            turn.status if turn.status == Usage.Status.OK else f"{turn.status}: {turn.reason}",
            f"{turn.total_ms:,} ms",
            f"{turn.prompt_tokens:,} + {turn.completion_tokens:,}",
        ]
        for turn in turns
    ]
    return {"headers": ["started", "key", "model", "outcome", "took", "tokens"], "rows": rows} if rows else None
