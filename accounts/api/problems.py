"""Errors as problem details (RFC 9457), for everything below `/api/`: also for what Django answers by itself."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import DatabaseError, IntegrityError
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext
from rest_framework import exceptions, serializers
from rest_framework.response import Response

from accounts.api.tokens import how_to_ask
from gateway_project.lib.problem_details import PROBLEM, problem

BELOW: Final = "/api/"
KEPT_HEADERS: Final = ("Allow", "Cache-Control", "Retry-After", "WWW-Authenticate", "Vary", "Content-Language")


class Conflict(exceptions.APIException):
    """The object is in a state in which this cannot be done."""

    status_code = HTTPStatus.CONFLICT
    default_code = "conflict"


class Unavailable(exceptions.APIException):
    """What the answer needs is away."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = "unavailable"


def handle(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER. What is no error of the request goes on to Django."""
    from rest_framework.views import exception_handler  # reads the settings, and these name this module

    if _is_gone(exc):
        exc = exceptions.NotFound()
    if isinstance(exc, IntegrityError):
        # `full_clean` has found no such row a moment ago, so another request has made one since.
        exc = Conflict(gettext("Somebody else was faster; read it again."))
    if isinstance(exc, ValidationError):
        # DRF knows its own class alone, and would take Django's for a bug.
        exc = serializers.ValidationError(serializers.as_serializer_error(exc))
    if isinstance(exc, exceptions.NotAuthenticated):
        # Of one who has sent nothing DRF says that nothing came, and not what should.
        exc.detail = exceptions.ErrorDetail(how_to_ask(), exc.default_code)
    response = exception_handler(exc, context)
    if response is None:
        return None
    response.data = _body(response.status_code, exc, response.data)
    response.content_type = PROBLEM
    return response


def _is_gone(exc: Exception) -> bool:
    """Somebody has deleted the object after it was looked up: a check does not find it, or a save changes no row."""
    # Of a save Django says so in no class of its own; what a database says has the driver's error as its cause.
    return isinstance(exc, ObjectDoesNotExist) or (type(exc) is DatabaseError and exc.__cause__ is None)


def _body(status: int, exc: Exception, data: Any) -> dict[str, Any]:
    if isinstance(exc, serializers.ValidationError):
        errors = _by_field(data)
        named = "; ".join(f"{field}: {' '.join(messages)}" for field, messages in errors.items())
        return problem(status, named, exc.default_code, errors)
    # DRF's handler takes Django's 404 and 403 too, which have no codes.
    code = exc.get_codes() if isinstance(exc, exceptions.APIException) else "not_found" if status == 404 else "denied"
    detail = data.get("detail", "") if isinstance(data, dict) else ""
    return problem(status, str(detail), code if isinstance(code, str) else "")


def _by_field(data: Any, path: str = "") -> dict[str, list[str]]:
    """Names of fields, with dots where they are nested, to their messages; "body" for what is about no field."""
    if isinstance(data, dict):
        found: dict[str, list[str]] = {}
        for name, each in data.items():
            # What is about no field is about the object that it stands in.
            inner = path if name in ("non_field_errors", "__all__") else f"{path}.{name}" if path else str(name)
            for field, messages in _by_field(each, inner).items():
                found.setdefault(field, []).extend(messages)
        return found
    if isinstance(data, list) and any(isinstance(each, dict) for each in data):
        return _by_field({str(number): each for number, each in enumerate(data) if each}, path)
    return {path or "body": [str(each) for each in (data if isinstance(data, list) else [data])]}


class ApiAnswers:
    """Middleware: nobody keeps an answer of the API, and an error that is no problem yet becomes one.

    Such are Django's 404 and 500.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        if not request.path.startswith(BELOW):
            return response
        # Some hold a secret, and all of them what not everybody may see.
        response.headers.setdefault("Cache-Control", "private, no-store")
        if response.status_code == HTTPStatus.MOVED_PERMANENTLY and request.method not in ("GET", "HEAD"):
            # To the address with a slash: after a 301 programs would read a list there, and take it for what they made.
            response.status_code = HTTPStatus.PERMANENT_REDIRECT
        if response.status_code < HTTPStatus.BAD_REQUEST:
            return response
        if response.headers.get("Content-Type", "").startswith(PROBLEM):
            return response
        answer = JsonResponse(problem(response.status_code), status=response.status_code, content_type=PROBLEM)
        # Only these: others, such as the length, were those of the body that is replaced.
        for name in KEPT_HEADERS:
            if name in response.headers:
                answer.headers[name] = response.headers[name]
        answer.cookies = response.cookies
        # Logged already, where it arose.
        answer._has_been_logged = True  # type: ignore[attr-defined]
        return answer
