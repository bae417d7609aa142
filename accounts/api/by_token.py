"""Pages that are files, for programs: with a token as for `/api/`, besides the log-in of people."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated

from accounts.api.tokens import TokenAuthentication, refusal_of
from gateway_project.lib.problem_details import PROBLEM, problem

View = Callable[..., HttpResponseBase]


def by_token(resource: str, view: View) -> View:
    """The view, read with a token whose scopes have this resource. A token that is no good is a problem, no log-in."""

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # People come with the cookie of their session, and the view sends them to the log-in by itself.
        if "Authorization" not in request.headers:
            return view(request, *args, **kwargs)
        authentication: Any = TokenAuthentication()
        try:
            found = authentication.authenticate(request)
        except AuthenticationFailed as exc:
            return _refused(HTTPStatus.UNAUTHORIZED, str(exc.detail), "authentication_failed")
        except NotAuthenticated as exc:
            return _refused(HTTPStatus.UNAUTHORIZED, str(exc.detail), "not_authenticated")
        # Another scheme, as of a proxy in front: not for us.
        if found is None:
            return view(request, *args, **kwargs)
        request.user, token = found
        if words := refusal_of(token, resource, reads=True):
            return _refused(HTTPStatus.FORBIDDEN, words, "scope")
        return view(request, *args, **kwargs)

    return shown


def _refused(status: int, words: str, code: str) -> JsonResponse:
    answer = JsonResponse(problem(status, words, code), status=status, content_type=PROBLEM)
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = TokenAuthentication.REALM
    answer.headers["Cache-Control"] = "private, no-store"
    return answer
