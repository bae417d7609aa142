"""What a page of the HTTP side is made of."""

from __future__ import annotations

from typing import NamedTuple

Query = dict[str, str]


class Answer(NamedTuple):
    """A page, or with 302 the place to go to."""

    status: int
    page: str = ""
    location: str = ""


def page(title: str, content: str) -> str:
    """A whole page; `content` is HTML."""
    return f"<!doctype html><title>{title}</title><h1>{title}</h1>{content}"
