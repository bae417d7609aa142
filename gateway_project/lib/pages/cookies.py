"""The cookies of a request, read at the cost of their length.

Python before 3.12.6 takes a value in quotes apart in quadratic time when it has escapes: 16 s for 64 KiB, and a
stranger may send that to any page. No cookie of ours has an escape, and RFC 6265 allows none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.http import parse_cookie

ESCAPE: Final = b"\\"
Headers = Iterable[tuple[bytes, bytes]]


def without_escapes(scope: dict[str, Any]) -> dict[str, Any]:
    """The scope of a request without the cookies that have one."""
    if not any(name == b"cookie" and ESCAPE in value for name, value in scope["headers"]):
        return scope
    headers = [(name, _plain(value) if name == b"cookie" else value) for name, value in scope["headers"]]
    return {**scope, "headers": headers}


def cookie_of(headers: Headers, wanted: str) -> str:
    """The value of a cookie as a page sees it; "" where there is none."""
    together = b"; ".join(_plain(value) for name, value in headers if name == b"cookie")
    return str(parse_cookie(together.decode("latin-1")).get(wanted, ""))


def _plain(value: bytes) -> bytes:
    return b";".join(each for each in value.split(b";") if ESCAPE not in each)
