"""Tells the audit log who is behind a request of the console, of our own pages or of the operators' API."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from accounts.audit.context import Source, acting

REST = "/api/"
ANONYMOUS = "anonymous"


class AuditContext:
    """Middleware, anywhere behind the one that gives requests their user."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        source = Source.REST if request.path.startswith(REST) else Source.CONSOLE
        # The address is that of the client: the server has read the headers of trusted proxies before.
        with acting(source, lambda: actor_of(request), str(request.META.get("REMOTE_ADDR") or "")):
            return self._get_response(request)


def actor_of(request: HttpRequest) -> str:
    """The user's name. Users of tokens are known late: the API's own authentication puts them onto the request."""
    user = getattr(request, "user", None)
    return user.get_username() if user is not None and user.is_authenticated else ANONYMOUS
