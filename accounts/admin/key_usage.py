"""What a key was used for lately, on its page: thirty days, the last turns, and whether it may use a model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext, ngettext

from accounts.admin.key_figures import LINK
from accounts.apps import accounts_config
from accounts.explain.sentences import verdict
from accounts.models import ApiKey, Usage, names_in
from accounts.patterns import allows
from accounts.reports.filters import Filters
from accounts.reports.period import Span
from accounts.reports.summary import summarize
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility, visible_to
from gateway_project.lib.pages.cells import ago, cut
from gateway_project.lib.translated import translated
from gateway_project.lib.visible import visible

DAYS: Final = 30
TURNS: Final = 10
HEIGHT: Final = 100
BAD: Final = ("error", "refused")
LONGEST_NAME: Final = 128


def usage_of_key(request: HttpRequest, key: ApiKey) -> dict[str, Any]:
    """Days and turns are left out for who may not see usage."""
    seen, now = visible_to(request.user), timezone.now()
    shown: dict[str, Any] = {"tried": tried(key, request.GET.get("try", ""))}
    if seen.nothing:
        return shown
    return shown | {"days": days_of(key, now, seen), "turns": turns_of(key, seen)}


def tried(key: ApiKey, name: str) -> dict[str, Any]:
    """Whether the key may use the model of that name: by the name, or by what it means here."""
    name = name.strip()[:LONGEST_NAME]
    if not name:
        return {"name": "", "is_allowed": None, "words": ""}
    patterns, names = frozenset(names_in(key.policy("allowed_models"))), accounts_config().names_of(name)
    is_allowed = not patterns or allows(patterns, names)
    words = gettext("It may use %(name)s.") if is_allowed else gettext("It may not use %(name)s.")
    others = ", ".join(visible(each) for each in dict.fromkeys(names) if each != name)
    means = gettext("Compared with what is allowed: %(names)s.") % {"names": others} if others else ""
    return {
        "name": name, "is_allowed": is_allowed,
        "words": " ".join(filter(None, [words % {"name": visible(name)}, means])),
    }  # fmt: skip


def days_of(key: ApiKey, now: datetime, seen: Visibility) -> list[dict[str, Any]]:
    """A bar for each of the days of UTC up to today, the last one not over yet."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=number) for number in reversed(range(DAYS))]
    filters = Filters(now=now, zone=UTC, span=Span(days[0], None), values={"key": (str(key.pk),)})
    found = summarize(filters, seen, ("day",), histograms=False)
    sums = [found.get((day.date(),), Sums()) for day in days]
    most = max(1, *(each.turns for each in sums))
    return [_bar(key, day, each, most) for day, each in zip(days, sums, strict=True)]


def _bar(key: ApiKey, day: datetime, sums: Sums, most: int) -> dict[str, Any]:
    bad = sums.failed + sums.refused
    height, bad_height = HEIGHT * sums.turns / most, HEIGHT * bad / most
    shown = {"day": f"{day:%Y-%m-%d}", "turns": f"{sums.turns:,}", "bad": f"{bad:,}"}
    query = {
        "key": str(key.pk),
        "from": f"{day:%Y-%m-%dT00:00:00Z}",
        "to": f"{day + timedelta(days=1):%Y-%m-%dT00:00:00Z}",
    }
    return shown | {
        "words": _words(sums.turns) % shown,
        "address": f"{reverse('usage')}?{urlencode(query)}",
        "bad_address": f"{reverse('usage')}?{urlencode({**query, 'status': BAD}, doseq=True)}" if bad else "",
        "y": f"{HEIGHT - height:.1f}", "height": f"{height - bad_height:.1f}",
        "bad_y": f"{HEIGHT - bad_height:.1f}", "bad_height": f"{bad_height:.1f}",
    }  # fmt: skip


def _words(turns: int) -> str:
    return ngettext(
        "%(day)s: %(turns)s turn, %(bad)s failed or refused",
        "%(day)s: %(turns)s turns, %(bad)s failed or refused",
        turns,
    )


def turns_of(key: ApiKey, seen: Visibility) -> dict[str, Any]:
    rows = Usage.objects.filter(seen.condition, api_key=key).order_by("-started_at", "-id")[:TURNS]
    return {
        "headers": [gettext("Started"), gettext("Model"), gettext("Outcome"), gettext("Why")],
        "rows": [
            [
                format_html(LINK, reverse("usage_request", args=[row.request_id]), ago(row.started_at)),
                cut(row.model),
                visible(row.outcome),
                translated(verdict(row).sentence),
            ]
            for row in rows
        ],
    }
