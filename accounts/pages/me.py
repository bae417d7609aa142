"""`/me/`: what a key holder may know of the own key. No account: the key is pasted once."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final

import redis
from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts.apps import accounts_config
from accounts.explain.sentences import LIMITS, REASONS, seconds, span, verdict
from accounts.keys.networks import is_within
from accounts.keys.reader import caller_of
from accounts.keys.snippets import PLACEHOLDER, setups_of
from accounts.keys.standing import content_notice
from accounts.limits.counters import LimitState
from accounts.limits.key_report import error_of, first_seen, limits_of, usable_models
from accounts.models import ApiKey, Usage
from accounts.pages import key_cookie, pastes
from accounts.pages.layout import page
from accounts.pages.me_days import day_in, days_shown
from accounts.pages.trace_words import SCOPES
from accounts.reports.words import mark_of, tokens_of
from gateway_project.lib.redis.redis_client import connect
from gateway_project.lib.secrets.key_secret import digest_of, is_mistyped
from gateway_project.lib.texts import Text
from gateway_project.lib.translated import translated

REQUESTS: Final = 50
LONGEST_KEY: Final = 1024


@page
@sensitive_post_parameters("key")
@require_http_methods(["GET", "HEAD", "POST"])
def me(request: HttpRequest) -> HttpResponse:
    response = _pasted(request) if request.method == "POST" else _shown(request)
    # Neither a proxy nor the button "back" of a browser that others use shows it again.
    response["Cache-Control"] = "no-store"
    return response


def _pasted(request: HttpRequest) -> HttpResponse:
    if "forget" in request.POST:
        answer = HttpResponseRedirect(reverse("me"))
        key_cookie.forget(answer)
        return answer
    secret, address = request.POST.get("key", "").strip(), _address(request)
    if not secret:
        return _form(request, gettext("Paste a key."), 400)
    # First of all, as it must cost little to answer a flood.
    if wait := pastes.begin(address):
        return _slowed(request, math.ceil(wait))
    if len(secret) > LONGEST_KEY or is_mistyped(secret):
        return _form(request, gettext("This has not the form of a key: a letter is wrong or missing."), 403)
    digest, now = digest_of(secret, accounts_config().pepper), timezone.now()
    key = key_cookie.by_secret(digest, now)
    if key is None:
        return _form(request, gettext("This is no key of this gateway."), 403)
    pastes.was_right(address)
    # After the count was taken back: whoever has a key that is closed has guessed nothing.
    if closed := _closed(key, address, now):
        return _form(request, closed, 403)
    answer = HttpResponseRedirect(reverse("me"))
    key_cookie.set_cookie(answer, key, digest)
    return answer


def _slowed(request: HttpRequest, wait: int) -> HttpResponse:
    words = gettext("Too many wrong keys came from your address. Try again in %(seconds)d s.") % {"seconds": wait}
    response = _form(request, words, 429)
    response["Retry-After"] = str(wait)
    return response


def _form(request: HttpRequest, flaw: str = "", status: int = 200) -> HttpResponse:
    return TemplateResponse(request, "pages/me_form.html", {"flaw": flaw}, status=status)


def _shown(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    found = key_cookie.key_of(request, now)
    closed = _closed(found[0], _address(request), now) if found is not None else ""
    if found is None or closed:
        response = _form(request, closed)
        # It leads to nothing any more, so the browser need not send it again.
        if key_cookie.NAME in request.COOKIES:
            key_cookie.forget(response)
        return response
    return TemplateResponse(request, "pages/me.html", context_of(*found, request, now))


def _closed(key: ApiKey, address: str, now: datetime) -> str:
    """Why the key opens nothing, with since when; "" for a key that does."""
    state = key.state(now)
    since = {
        ApiKey.State.REVOKED: key.revoked_at, ApiKey.State.EXPIRED: key.expires_at,
        ApiKey.State.PAUSED: key.paused_at, ApiKey.State.QUARANTINED: key.quarantined_at,
    }.get(state)  # fmt: skip
    if since is None:
        # As for requests: from where it comes is looked at once it opens anything.
        networks = caller_of(key).networks
        is_outside = networks is not None and not is_within(networks, address)
        return translated(Text(REASONS["network"][0], client=address or "–")) if is_outside else ""
    sentence, advice = REASONS[state.value]
    time = timezone.localtime(since).strftime("%Y-%m-%d %H:%M %Z")
    return gettext("%(sentence)s Since %(time)s. %(advice)s") % {
        "sentence": gettext(sentence), "time": time, "advice": gettext(advice)
    }  # fmt: skip


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))


def context_of(key: ApiKey, digest: str, request: HttpRequest, now: datetime) -> dict[str, Any]:
    """`digest`: of the secret that was pasted."""
    rows = _latest(key)
    offered = accounts_config().offered_models()
    base_url = request.build_absolute_uri("/").rstrip("/")
    policy = key.policy("allowed_models")
    older_ends_at = key.end_of_older(digest)
    return {
        "key": key,
        # Of an older secret nothing is stored to tell it by.
        "hint": key.hint if digest == key.digest else "",
        "secret_ends_at": older_ends_at,
        "secret_ends_in": _until(older_ends_at, now),
        "state": key.state(now),
        "expires_in": _until(key.expires_at, now),
        "limits": _limits(key, now),
        "days": days_shown(key, now),
        **_asked(key, request.GET.get("day", ""), now, rows),
        "first_seen": first_seen(key, rows),
        "patterns": policy,
        "models": usable_models(caller_of(key).models, offered),
        "setups": setups_of(policy, base_url, PLACEHOLDER, settings.ENV.default_model, offered),
        "placeholder": PLACEHOLDER,
        "content_notice": content_notice(key),
    }


def _until(end: datetime | None, now: datetime) -> str:
    return "" if end is None else translated(span((end - now).total_seconds()))


def _latest(key: ApiKey, *condition: Q) -> list[Usage]:
    return list(Usage.objects.filter(*condition, api_key=key).order_by("-started_at", "-id")[:REQUESTS])


def _asked(key: ApiKey, text: str, now: datetime, rows: list[Usage]) -> dict[str, Any]:
    """The last requests, or the last of a day that the page has; `rows` are the former."""
    chosen = day_in(text, key, now)
    if chosen is not None:
        day, start, end = chosen
        rows = _latest(key, Q(started_at__gte=start, started_at__lt=end))
        text = day.isoformat()
    return {
        "day": text if chosen else "",
        "no_such_day": bool(text) and chosen is None,
        "most": REQUESTS,
        "requests": [_request(row) for row in rows],
    }


def _limits(key: ApiKey, now: datetime) -> list[dict[str, Any]] | None:
    """None while they cannot be read."""
    try:
        with connect(settings.REDIS_URL) as client:
            return [_limit(state, now) for state in limits_of(key, client)]
    except redis.RedisError:
        return None


def _limit(state: LimitState, now: datetime) -> dict[str, Any]:
    resets_in = None if state.resets_at is None else translated(span(max(0.0, state.resets_at - now.timestamp())))
    return {
        "name": gettext(LIMITS[state.name]),
        "scope": SCOPES[state.scope],
        "limit": state.limit,
        "used": state.used,
        "left": state.remaining,
        "resets_in": resets_in if state.used else None,
        "shadow": state.shadow,
        # Browsers draw what is above in yellow and in red.
        "much": state.limit * 0.8,
        # A little less, so that a limit which is used up lies above it.
        "all": state.limit - 0.01,
    }


def _request(row: Usage) -> dict[str, Any]:
    sentence, advice = verdict(row)
    return {
        "row": row,
        "sentence": translated(sentence),
        "advice": translated(advice),
        "took": seconds(row.total_ms) if row.total_ms else "–",
        "tokens": tokens_of(row),
        "mark": mark_of(row),
        "error": error_of(row),
    }
