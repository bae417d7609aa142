"""Staff without a second factor may do nothing but set one up, where that is required."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext

OPEN: Final = ("/login/", "/logout/", "/account/", "/display/", "/admin/i18n/", "/admin/logout/", "/me/", "/static/")
"""What leads to one, and what needs no log-in."""
REST: Final = "/api/"


class SecondFactorRequired:
    """Middleware, behind the one that gives requests their user."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith(OPEN) or not is_missing(request):
            return self._get_response(request)
        if request.path.startswith(REST):
            # Of a session; tokens are made by a command, and for programs.
            return _refusal()
        return HttpResponseRedirect(f"{reverse('mfa_index')}?{urlencode({'next': request.get_full_path()})}")


def is_missing(request: HttpRequest) -> bool:
    """Whether this user must set up a second factor before anything else."""
    from accounts.login.forms import has_second_factor  # models, which this module must not load

    if not settings.ENV.staff_mfa_required:
        return False
    user: Any = request.user
    return bool(user.is_authenticated and user.is_staff and not has_second_factor(user))


def _refusal() -> HttpResponse:
    detail = gettext("Set up a second factor first, at /account/.")
    body = {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": detail}
    problem = body | {"code": "second_factor_required"}
    return JsonResponse(problem, status=403, content_type="application/problem+json")
