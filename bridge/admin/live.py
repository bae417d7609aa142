"""The live page: every process and instance as it is now, with what may be done to them."""

from __future__ import annotations

import time
from typing import Any, Final

import redis
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext

from bridge.admin.instance_actions import WORDS
from bridge.fleet import heartbeats, modes
from bridge.fleet.live_view import LiveInstance, LiveView, encode, live_view
from bridge.status.accounts import AccountState
from bridge.status.states import InstanceState
from gateway_project.lib.live_rows import redis_away
from gateway_project.lib.panels import Page
from gateway_project.lib.redis_client import connect

SOCKET: Final = "/admin/live/socket/"
"""The address of the WebSocket, which no view of Django's serves."""


def live_page(request: HttpRequest) -> HttpResponse:
    """The page; without scripts it is right when it is loaded."""
    _check(request)
    context: dict[str, Any] = {**admin.site.each_context(request), "title": gettext("Live")}
    try:
        view = _now()
    except redis.RedisError as exc:
        view, context["trouble"] = live_view([], [], time.time()), redis_away(exc)
    may_change = request.user.has_perm("bridge.change_instance")
    context |= {
        "processes": [(f"web-{each.process}", each) for each in view.processes],
        "socket": SOCKET,
        "pause": gettext("paused for %(seconds)s s") % {"seconds": "{}"},
        "rows": [_row(each, may_change) for each in view.instances],
        "states": {each.value: gettext(each.label) for each in InstanceState},
        "accounts": {each.value: gettext(each.label) for each in AccountState},
    }
    return TemplateResponse(request, "admin/bridge/live.html", context)


def live_now(request: HttpRequest) -> HttpResponse:
    """The same as the WebSocket sends, for who has none."""
    _check(request)
    try:
        body = encode(_now())
    except redis.RedisError:
        return HttpResponse(status=503)
    return HttpResponse(body, content_type="application/json", headers={"Cache-Control": "no-store"})


def _check(request: HttpRequest) -> None:
    if not request.user.has_perm("bridge.view_instance"):
        raise PermissionDenied


def _now() -> LiveView:
    with connect(settings.REDIS_URL) as client:
        return live_view(heartbeats.read_all(client), [each.name for each in modes.active()], time.time())


def _row(instance: LiveInstance, may_change: bool) -> dict[str, Any]:
    state = InstanceState(instance.state)
    pause = max(0, round(instance.cool_until - time.time()))
    actions = [
        {
            "title": title,
            "effect": effect,
            "address": reverse(f"admin:bridge_instance_{action}_one", args=[instance.name]),
        }
        for action, (title, effect) in WORDS.items()
    ]
    return {
        "instance": instance,
        "state": gettext(state.label),
        "account": gettext(AccountState(instance.account).label),
        "pause": gettext("paused for %(seconds)s s") % {"seconds": pause} if pause else "",
        "href": reverse("admin:bridge_instance_change", args=[instance.name]),
        "actions": actions if may_change else [],
    }


PAGES: Final = (Page("live/", "live", live_page), Page("live/now/", "live_now", live_now))
