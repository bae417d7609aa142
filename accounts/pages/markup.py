"""Pieces that a page has by the hundreds, made without a template, which takes several times as long for each."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator


def shortened(text: str, length: int) -> str:
    """As Django's filter `truncatechars`, which takes its time over short texts as well."""
    return text if len(text) <= length else Truncator(text).chars(length)


def linked(text: str, href: str) -> SafeString:
    """The text, as a link unless the address is ""."""
    if not href:
        return mark_safe(escape(text))  # noqa: S308 - escaped
    return mark_safe(f'<a href="{escape(href)}">{escape(text)}</a>')  # noqa: S308 - escaped


def options(choices: Iterable[tuple[str, str]], chosen: str) -> SafeString:
    """Of a list, each a value and its name."""
    made = [
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(name)}</option>'
        for value, name in choices
    ]
    return mark_safe("".join(made))  # noqa: S308 - escaped


def suggestions(names: Iterable[str]) -> SafeString:
    return mark_safe("".join([f'<option value="{escape(name)}"></option>' for name in names]))  # noqa: S308 - escaped
