"""Alerts in the console: those that are open, each with a button that takes it off."""

from __future__ import annotations

import re
from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import escape, format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext

from accounts.alerts import raising
from accounts.alerts.words import about, sentence, severity
from accounts.models import Alert, ApiKey
from accounts.roles.reach import CHANGE_KEYS, SEE_KEYS, teams_of
from gateway_project.lib.pages.panels import Page, Section

MOST: Final = 20
ID_DIGITS: Final = 18
"""More do not fit into the column."""
WITH_PAGE: Final = re.compile(r"(.+) \((?:https?://[^/\s()]+)?(/admin/[\w/-]+)\)", re.DOTALL)
"""A fact that names the page of what it is about, for channels, where nothing can be clicked but an address."""


def open_alerts(user: Any) -> QuerySet[Alert]:
    """Those that nobody has acknowledged, as far as the user may see what they are about."""
    teams = teams_of(user, SEE_KEYS)
    found = raising.open_alerts()
    return found if teams is None else found.filter(key__team__in=teams)


def may_acknowledge(user: Any, alert: Alert) -> bool:
    teams = teams_of(user, CHANGE_KEYS)
    return teams is None or (alert.key is not None and alert.key.team_id in teams)


def alert_sections(user: Any) -> list[Section]:
    """For the first page: what is open, if anything is."""
    rows = _rows(user, open_alerts(user))
    return [Section("admin/accounts/alerts.html", {"alerts": rows, "back": reverse("admin:index")})] if rows else []


def alerts_of(user: Any, key: ApiKey) -> dict[str, Any]:
    """For the page of a key."""
    back = reverse("admin:accounts_apikey_change", args=[key.pk])
    return {"alerts": _rows(user, open_alerts(user).filter(key=key)), "back": back}


def linked(alert: Alert) -> SafeString:
    """What happened; what has a page of the console leads to it. The origin is the one the reader is at."""
    told = escape(sentence(alert))
    pages = {str(escape(fact)): found for fact in alert.facts if (found := WITH_PAGE.fullmatch(fact))}
    if not pages:
        return told
    # The longest first: a fact may begin as another one does.
    facts = "|".join(re.escape(fact) for fact in sorted(pages, key=len, reverse=True))
    link = '<a class="gw-link text-primary-600 dark:text-primary-500 underline" href="{}">{}</a>'
    shown = re.sub(facts, lambda fact: format_html(link, *pages[fact[0]].group(2, 1)), told)
    return mark_safe(shown)  # noqa: S308 - all of it was escaped above


def _rows(user: Any, alerts: QuerySet[Alert]) -> list[dict[str, Any]]:
    return [
        {
            "pk": alert.pk,
            "name": about(alert),
            "severity": severity(alert.kind).name.lower(),
            "address": reverse("admin:accounts_apikey_change", args=[alert.key.pk]) if alert.key else "",
            "text": linked(alert),
            "may_acknowledge": may_acknowledge(user, alert),
        }
        for alert in alerts[:MOST]
    ]


def acknowledge_view(request: HttpRequest) -> HttpResponse:
    """Take one off, for everybody."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    number, back = request.POST.get("alert", ""), request.POST.get("back", "")
    # Ascii, as other scripts have digits that `isdecimal` takes and no id has.
    is_number = number.isascii() and number.isdecimal() and len(number) <= ID_DIGITS
    alert = Alert.objects.select_related("key").filter(pk=number).first() if is_number else None
    if alert is None or not may_acknowledge(request.user, alert):
        raise PermissionDenied
    if raising.acknowledge(alert, request.user.get_username()):
        messages.success(request, gettext("The alert is acknowledged."))
    # The form says where it stood, and a form may be sent from anywhere.
    safe = url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure())
    return HttpResponseRedirect(back if safe else reverse("admin:index"))


ACKNOWLEDGE: Final = Page("alerts/acknowledge/", "alert_acknowledge", acknowledge_view)
