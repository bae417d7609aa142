"""`/playground/`: staff try the gateway in the browser, which sends to `/v1` with a key as every client does."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from accounts.keys import playground as keys
from accounts.keys.snippets import setups
from accounts.models import Team
from accounts.pages.layout import View, page
from accounts.roles.reach import USE_PLAYGROUND, own_teams, teams_of
from gateway_project.lib.public_formats import PUBLIC_FORMATS

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
PLACEHOLDER: Final = "YOUR_API_KEY"
MOST_TEAMS: Final = 500
LONGEST_ID: Final = 18
"""Digits; longer numbers are no ids."""

TEXTS: Final = {
    "nothing": _("Nothing was sent yet."),
    "no_key": _("No key yet: paste one, or make one for an hour."),
    "odd_key": _("This has not the form of a key: a letter is wrong or missing."),
    "key": _("Key {name}, until {until}."),
    "ended": _("The key was ended."),
    "log_in": _("Load this page again: you are no longer logged in, or may not use it any more."),
    "models": _("Models that this key may use: {count}."),
    "waiting": _("Waiting for the first token: {sec} s"),
    "sent": _("Sent; nothing has come yet."),
    "answering": _("The answer is coming."),
    "done": _("Done."),
    "stopped": _("Stopped after {ms} ms. The gateway counts the request as cancelled."),
    "failed": _("Failed."),
    "broken": _("The stream broke off before its end."),
    "away": _("The gateway cannot be reached, or the connection was lost."),
    "no_json": _("What came is no JSON."),
    "again": _("Try again in {sec} s."),
    "401": _("The key was refused."),
    "403": _("This key may not do that."),
    "429": _("A limit was reached, or the gateway is busy."),
    "503": _("No instance can take the request right now."),
    "529": _("No instance can take the request right now."),
    "4xx": _("The request was refused."),
    "5xx": _("The gateway or Lingma failed."),
    "cut": _("Cut here: {count} more characters came."),
    "more_frames": _("Frames that are not shown: {count}."),
    "characters": _("{count} characters"),
}
"""What the script says; what stands in braces is filled in there."""


def for_its_users(view: Callable[[HttpRequest], HttpResponse]) -> View:
    """A page for staff with the permission, under a policy that lets it speak with this gateway alone."""

    @page
    @login_required(login_url="login")
    @wraps(view)
    def shown(request: HttpRequest) -> HttpResponse:
        user: Any = request.user
        response = view(request) if user.is_staff and user.has_perm(USE_PLAYGROUND) else _refused(request)
        # Stricter than that of other pages, as model output is shown here; and `no-store`, as a key may be.
        response["Content-Security-Policy"] = CONTENT_POLICY
        response["Cache-Control"] = "no-store"
        return response

    return shown


def _refused(request: HttpRequest) -> HttpResponse:
    words = gettext("It is for operators, and for the leads of teams. Ask an operator.")
    context = {"heading": gettext("You may not use the playground"), "words": words}
    return TemplateResponse(request, "pages/notice.html", context, status=403)


@require_safe
@for_its_users
def playground(request: HttpRequest) -> HttpResponse:
    model = settings.ENV.default_model
    base_url = request.build_absolute_uri("/").rstrip("/")
    teams = own_teams(request.user, USE_PLAYGROUND)
    context = {
        "protocols": [(each.name, each.title) for each in PUBLIC_FORMATS],
        "model": model,
        "teams": teams[:MOST_TEAMS],
        "without_team": teams_of(request.user, USE_PLAYGROUND) is None,
        "current": keys.current(request.user, timezone.now()),
        "placeholder": PLACEHOLDER,
        "curl": next(each.text for each in setups(base_url, PLACEHOLDER, model) if each.client == "curl"),
        "texts": json.dumps({name: str(text) for name, text in TEXTS.items()}),
    }
    return TemplateResponse(request, "pages/playground.html", context)


@require_POST
@for_its_users
def begin_key(request: HttpRequest) -> HttpResponse:
    """Make the user's key. Its secret stands in this answer alone."""
    try:
        key, secret = keys.begin(request.user, _team(request))
    except ValidationError as exc:
        return JsonResponse({"error": " ".join(exc.messages)}, status=400)
    until = timezone.localtime(key.expires_at).strftime("%H:%M %Z")
    return JsonResponse({"secret": secret, "name": key.name, "until": until}, status=201)


@require_POST
@for_its_users
def end_key(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"ended": keys.end(request.user)})


def _team(request: HttpRequest) -> Team | None:
    """The team that the key is to belong to; raise ValidationError for one that is not the user's to choose."""
    chosen = request.POST.get("team", "")
    if not chosen and teams_of(request.user, USE_PLAYGROUND) is None:
        return None
    is_id = chosen.isdecimal() and len(chosen) <= LONGEST_ID
    team = own_teams(request.user, USE_PLAYGROUND).filter(pk=chosen).first() if is_id else None
    if team is None:
        raise ValidationError(gettext("Choose a team that you are a member of."))
    return team
