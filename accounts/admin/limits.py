"""Limits in the console: how they stand now, and what those in shadow mode would have refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import redis
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.key_figures import LINK
from accounts.keys.limit_set import LimitSet
from accounts.limits.counters import LimitState
from accounts.limits.lookup import ShadowDay
from accounts.limits.periods import PERIODS, periods_at
from accounts.limits.standing import Standing, last_days, limits_for, standing_of
from accounts.models import LIMITS, ApiKey, Team
from accounts.reports.visibility import visible_to
from accounts.roles.reach import keys_of
from gateway_project.lib.redis.redis_client import connect

OWNERS: Final = {"key": _("the key"), "team": _("its team")}
SIZED: Final[dict[str, Callable[[int], str]]] = {
    "rpm": lambda n: ngettext("%(count)s request per minute", "%(count)s requests per minute", n),
    "tpm": lambda n: ngettext("%(count)s token per minute", "%(count)s tokens per minute", n),
    "concurrency": lambda n: ngettext("%(count)s turn at once", "%(count)s turns at once", n),
    "requests_day": lambda n: ngettext("%(count)s request per day", "%(count)s requests per day", n),
    "requests_week": lambda n: ngettext("%(count)s request per week", "%(count)s requests per week", n),
    "requests_month": lambda n: ngettext("%(count)s request per month", "%(count)s requests per month", n),
    "tokens_day": lambda n: ngettext("%(count)s token per day", "%(count)s tokens per day", n),
    "tokens_week": lambda n: ngettext("%(count)s token per week", "%(count)s tokens per week", n),
    "tokens_month": lambda n: ngettext("%(count)s token per month", "%(count)s tokens per month", n),
}
MOST_KEYS: Final = 5
MINUTE_SEC: Final = 60
PERIOD_OF: Final = {"rpm": "minute", "tpm": "minute"} | {
    name: name.partition("_")[2] for name in LIMITS if name.endswith(PERIODS)
}
"""Over what a limit counts; turns at once over no time."""


class LimitsNow:
    """A mixin for the pages of keys and teams: below the form stands how its limits are used."""

    change_form_outer_after_template = "admin/accounts/limits_now.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        owner = self.get_object(request, object_id)  # type: ignore[attr-defined]  # a ModelAdmin's
        context = (extra_context or {}) | ({"limits_now": limits_now(owner, request.user)} if owner else {})
        page: HttpResponse = super().change_view(request, object_id, form_url, context)  # type: ignore[misc]
        return page


def limits_now(owner: ApiKey | Team, user: Any) -> dict[str, Any] | None:
    """A table of the limits, None where there are none; `away` while Redis cannot be asked."""
    limits = limits_for(owner)
    if not limits:
        return None
    try:
        with connect(settings.ENV.redis_or_embedded_url) as client:
            found = standing_of(owner, limits, client)
    except redis.RedisError:
        return {"away": True}
    headers = [gettext("Limit"), gettext("Of"), gettext("Used"), gettext("Left"), gettext("Free again")]
    addresses = {} if visible_to(user).nothing else rows_counted(limits, time.time())
    rows = [_row(each, addresses.get((each.state.scope, each.state.name), "")) for each in found]
    if not any(each.would_have_refused for each in found):
        # Without a limit in shadow mode its column would be dashes alone.
        return {"headers": headers, "rows": [row[:-1] for row in rows]}
    return {"headers": [*headers, gettext("Shadow mode")], "rows": rows}


def rows_counted(limits: Sequence[LimitSet], now: float) -> dict[tuple[str, str], str]:
    """The addresses of the rows that each limit counts, by scope and name. Turns at once have no rows yet."""
    found: dict[tuple[str, str], str] = {}
    for each in limits:
        since = dict(zip(PERIODS, periods_at(now, each.time_zone).starts, strict=True)) | {"minute": now - MINUTE_SEC}
        for name in LIMITS:
            if (start := since.get(PERIOD_OF.get(name, ""))) is not None:
                at = datetime.fromtimestamp(start, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
                # Without refusals, which no limit counts.
                query = urlencode({str(each.scope): str(each.id), "from": at, "status": "!refused"})
                found[each.scope, name] = f"{reverse('usage_rows')}?{query}"
    return found


def _row(standing: Standing, address: str) -> list[str]:
    state, would_have = standing
    return [
        sized(state.name, state.limit),
        str(OWNERS[state.scope]),
        format_html(LINK, address, f"{state.used:,}") if address and state.used else f"{state.used:,}",
        f"{state.remaining:,}",
        _reset(state),
        _shadow_words(*would_have) if would_have else "–",
    ]


def sized(name: str, limit: int) -> str:
    """A limit with its number, which may be one."""
    return SIZED[name](limit) % {"count": f"{limit:,}"}


def _reset(state: LimitState) -> str:
    if state.resets_at is None:
        return gettext("as turns end")
    if not state.used:
        return "–"
    return f"{localtime(datetime.fromtimestamp(state.resets_at, UTC)):%Y-%m-%d %H:%M:%S %Z}"


def _shadow_words(today: int, yesterday: int) -> str:
    words = gettext("refuses nobody; would have refused %(today)s today, %(yesterday)s yesterday.")
    return words % {"today": f"{today:,}", "yesterday": f"{yesterday:,}"}


def shadow_section(user: Any) -> dict[str, Any] | None:
    """For the first page: what limits in shadow mode would have refused yesterday and today; None for nothing."""
    try:
        with connect(settings.ENV.redis_or_embedded_url) as client:
            today, yesterday = last_days(client)
    except redis.RedisError:
        return None
    hit = today.requests.keys() | yesterday.requests.keys()
    if not hit:
        return None
    keys = {key.pk: key for key in keys_of(user).filter(pk__in=hit)}
    sentences = [*_refused_yesterday(*_sums(yesterday, keys)), *_refused_today(*_sums(today, keys))]
    most = sorted(keys.values(), key=lambda key: -(yesterday.requests.get(key.pk, 0) + today.requests.get(key.pk, 0)))
    links = [(key.short_name, reverse("admin:accounts_apikey_change", args=[key.pk])) for key in most[:MOST_KEYS]]
    return {"sentences": sentences, "links": links} if sentences else None


def _sums(day: ShadowDay, keys: Collection[int]) -> tuple[int, int]:
    """How many requests of how many of these keys."""
    counts = [count for key_id, count in day.requests.items() if key_id in keys]
    return sum(counts), len(counts)


def _refused_yesterday(requests: int, keys: int) -> list[str]:
    words = ngettext(
        "Limits in shadow mode would have refused %(requests)s requests of %(keys)s key yesterday.",
        "Limits in shadow mode would have refused %(requests)s requests of %(keys)s keys yesterday.",
        keys,
    )
    return [words % {"requests": f"{requests:,}", "keys": f"{keys:,}"}] if keys else []


def _refused_today(requests: int, keys: int) -> list[str]:
    words = ngettext(
        "Today they would have refused %(requests)s requests of %(keys)s key.",
        "Today they would have refused %(requests)s requests of %(keys)s keys.",
        keys,
    )
    return [words % {"requests": f"{requests:,}", "keys": f"{keys:,}"}] if keys else []
