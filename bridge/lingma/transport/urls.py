"""Addresses as they may be printed, logged and shown."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_url(source: str) -> bool:
    return "://" in source


def shown(source: str) -> str:
    """The source without what may be a secret: the user and password of a URL, and its query."""
    if not is_url(source):
        return source
    scheme, _, rest = source.partition("://")
    try:
        parts = urlsplit(source)
    except ValueError:  # such as ws://[
        return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0].partition('#')[0]}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
