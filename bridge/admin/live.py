"""The live page: the gateway as it is now, with what may be done to its instances; and the ends of their logs."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, Final

import redis
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext

from bridge.admin.live_rows import figures, rows, words
from bridge.fleet import heartbeats, modes
from bridge.fleet.live_logins import read_logins
from bridge.fleet.live_view import PEOPLE, encode, live_view, read_reports, reported, without_people
from bridge.fleet.log_tail_facts import WHY, ask_for
from bridge.status.instance import InstanceStatus
from bridge.status.live import MOST_SHOWN, LiveLogin, LiveReport, LiveView
from gateway_project.lib.pages.live_rows import redis_away
from gateway_project.lib.pages.panels import Page
from gateway_project.lib.redis.redis_client import connect

SOCKET: Final = "/admin/live/socket/"
"""The address of the WebSocket, which no view of Django's serves."""
WAIT_SEC: Final = 1.2
"""Processes report only while somebody looks: a page that is loaded waits so long for the first reports."""
FRESH_SEC: Final = 1
"""Reports come each second, in whole seconds of Redis."""
LONGEST_NAME: Final = 100


def live_page(request: HttpRequest) -> HttpResponse:
    """The page; without scripts it is right when it is loaded."""
    _check(request, "bridge.view_instance")
    context: dict[str, Any] = {**admin.site.each_context(request), "title": gettext("Live")}
    try:
        view = _now(request, wait_sec=WAIT_SEC)
    except redis.RedisError as exc:
        view, context["trouble"] = live_view([], [], modes.active(), time.time()), redis_away(exc)
    context |= {
        "socket": SOCKET,
        "words": words(),
        "figures": figures(view),
        "rows": rows(view, request),
        "view": view,
        "more": len(view.turns) >= MOST_SHOWN and view.in_flight + view.waiting > len(view.turns),
        "most": MOST_SHOWN,
        "sees_people": request.user.has_perms(PEOPLE),
    }
    return TemplateResponse(request, "admin/bridge/live/page.html", context)


def live_now(request: HttpRequest) -> HttpResponse:
    """The same as the WebSocket sends, for who has none."""
    _check(request, "bridge.view_instance")
    try:
        body = encode(_now(request))
    except redis.RedisError:
        return HttpResponse(status=503)
    return HttpResponse(body, content_type="application/json", headers={"Cache-Control": "no-store"})


def log_page(request: HttpRequest, name: str) -> HttpResponse:
    """The end of an instance's log, which its process sends while somebody looks."""
    _check(request, "bridge.change_instance")
    context: dict[str, Any] = {**admin.site.each_context(request), "title": gettext("Log of %(name)s") % {"name": name}}
    try:
        context |= _log(name, WAIT_SEC)
    except redis.RedisError as exc:
        context |= {"why": redis_away(exc)}
    return TemplateResponse(request, "admin/bridge/live/log.html", context | {"name": name})


def log_now(request: HttpRequest, name: str) -> HttpResponse:
    """The same, for the script of that page."""
    _check(request, "bridge.change_instance")
    try:
        return JsonResponse(_log(name), headers={"Cache-Control": "no-store"})
    except redis.RedisError as exc:
        return JsonResponse({"lines": [], "why": redis_away(exc)})


def _check(request: HttpRequest, right: str) -> None:
    if not request.user.has_perm(right):
        raise PermissionDenied


def _now(request: HttpRequest, wait_sec: float = 0.0) -> LiveView:
    with connect(settings.REDIS_URL) as client:
        statuses = heartbeats.read_all(client)
        reports = _reports(client, statuses, wait_sec)
    view = live_view(reports, statuses, modes.active(), time.time(), _logins())
    return view if request.user.has_perms(PEOPLE) else without_people(view)


def _reports(client: redis.Redis, statuses: Collection[InstanceStatus], wait_sec: float) -> list[LiveReport]:
    """Those of all processes that are there; where there is time to wait, none from before somebody looked."""
    there, until = {each.name for each in statuses}, time.monotonic() + wait_sec
    while (left := until - time.monotonic()) > 0:
        if there <= reported(reports := read_reports(client, FRESH_SEC)):
            return reports
        time.sleep(min(0.1, left))
    return read_reports(client)


def _logins() -> list[LiveLogin]:
    try:
        return read_logins()
    except Error:
        return []


def _log(name: str, wait_sec: float = 0.0) -> dict[str, Any]:
    """Lines, or why there are none. Raise redis.RedisError."""
    if len(name) > LONGEST_NAME:
        raise Http404
    until = time.monotonic() + wait_sec
    with connect(settings.REDIS_URL) as client:
        facts = ask_for(client, name)
        while facts.why == "unknown" and time.monotonic() < until:
            time.sleep(0.1)
            facts = ask_for(client, name)
    return {"lines": facts.lines, "why": gettext(WHY[facts.why]) if facts.why in WHY else ""}


PAGES: Final = (
    Page("live/", "live", live_page),
    Page("live/now/", "live_now", live_now),
    Page("live/log/<str:name>/", "live_log", log_page),
    Page("live/log/<str:name>/now/", "live_log_now", log_now),
)
