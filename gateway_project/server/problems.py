"""Refusals of Django's pages by the server itself: words for people, and problem details below `/api/`."""

from __future__ import annotations

import http

import msgspec


def worded(path: str, status: int, words: bytes) -> tuple[bytes, bytes]:
    """The content type and the body of a refusal."""
    if not path.startswith("/api/"):
        return b"text/plain; charset=utf-8", words
    phrase = http.HTTPStatus(status).phrase
    problem = {"type": "about:blank", "title": phrase, "status": status, "detail": words.decode()}
    return b"application/problem+json", msgspec.json.encode(problem)
