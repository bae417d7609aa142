"""The body of an error for programs (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

PROBLEM: Final = "application/problem+json"


def problem(status: int, detail: str = "", code: str = "", errors: Any = None) -> dict[str, Any]:
    """The body: `errors` has the names of fields, each with its messages."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail
    if code:
        body["code"] = code
    if errors:
        body["errors"] = errors
    return body
