"""The answer of Django's pages while the database is away."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext

from accounts.api.problems import BELOW
from accounts.login.required import SecondFactorRequired
from gateway_project.lib.database import database_state as database
from gateway_project.lib.problem_details import PROBLEM, problem

RETRY_AFTER = "5"
PAGE_SEC, AWAY_SEC = 20.0, 2.0  # seconds of the database for a whole page, and while it is away


class DatabaseTrouble:
    """Middleware: when the database fails a view, the answer is a 503 with the reason, and no trace is logged."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # One deadline for the whole page: with one for each query, a page with ten would hold its thread ten times as
        # long.
        with database.within(AWAY_SEC if database.away() else PAGE_SEC):
            return self._get_response(request)

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        return _unavailable(request) if isinstance(exc, database.AWAY) else None


class SecondFactor(SecondFactorRequired):
    """As its parent, which asks the database before there is a view: nobody else hears of what is raised there."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            return super().__call__(request)
        except database.AWAY:
            return _unavailable(request)


def _unavailable(request: HttpRequest) -> HttpResponse:
    database.doubt()  # one slow page is no proof; the next read of the routes finds out
    words = gettext("The database does not answer right now. Chats with keys that are in use go on.")
    if request.path.startswith(BELOW):
        answer: HttpResponse = JsonResponse(problem(503, words), status=503, content_type=PROBLEM)
    else:
        answer = render(request, "503.html", {"words": words}, status=503)
    answer["Retry-After"] = RETRY_AFTER
    answer._has_been_logged = True  # type: ignore[attr-defined]  # Django would log each of them
    return answer
