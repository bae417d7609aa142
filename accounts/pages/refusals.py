"""Why an export is not made, for programs and people: problem details in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from django.http import JsonResponse
from django.utils.translation import gettext

from gateway_project.lib.problem_details import PROBLEM, problem


def may_see_nothing() -> JsonResponse:
    return _answer(HTTPStatus.FORBIDDEN, gettext("You may not see usage"), "permission_denied")


def no_such_filter(words: str) -> JsonResponse:
    return _answer(HTTPStatus.BAD_REQUEST, words, "invalid")


def flawed(errors: Mapping[str, Sequence[str]]) -> JsonResponse:
    """`errors`: filters, each with what is wrong with it."""
    words = "; ".join(f"{name}: {' '.join(found)}" for name, found in errors.items())
    return _answer(HTTPStatus.BAD_REQUEST, words, "invalid", errors)


def _answer(
    status: HTTPStatus, words: str, code: str, errors: Mapping[str, Sequence[str]] | None = None
) -> JsonResponse:
    return JsonResponse(problem(status, words, code, errors), status=status, content_type=PROBLEM)
