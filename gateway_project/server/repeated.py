"""A head that came again: on one connection clients send the same fields each time, but for the body's length."""

from __future__ import annotations

import re
from typing import Any, Final

from gateway_project.lib.asgi_extensions import SAME_HEAD

LENGTH: Final = re.compile(rb"\r\ncontent-length: ?(\d+)\r\n", re.IGNORECASE)
END: Final = b"\r\n\r\n"
LONGEST: Final = 8 << 10
"""Bytes of a head that is remembered: longer ones are parsed each time."""
MOST_DIGITS: Final = 8


class RepeatedHead:
    """What the parser has made of a head. The next one with the same bytes needs no parser and no check.

    Only whole requests with a Content-Length are recognised; all else goes to the parser, as ever.
    """

    __slots__ = ("_after", "_before", "_field", "_headers", "_scope", "memo", "url")

    def __init__(self, before: bytes, after: bytes, scope: Any, url: bytes) -> None:
        self.url = url
        self.memo: dict[str, Any] = {}
        """For the application: what it has worked out from these fields alone. It ends with the connection."""
        self._before, self._after = before, after
        headers = scope["headers"]
        self._field = next(index for index, (name, _) in enumerate(headers) if name == b"content-length")
        self._headers = headers.copy()
        self._scope = {key: value for key, value in scope.items() if key not in ("headers", "state")}
        self._scope[SAME_HEAD] = self.memo

    def read(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Length, as it came, and body, if this is the same head and one whole body behind it."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        end = data.find(b"\r", len(before), len(before) + MOST_DIGITS)
        if end < 0 or not data.startswith(after, end):
            return None
        length = data[len(before) : end]
        start = end + len(after)
        return (length, data[start:]) if length.isdigit() and int(length) == len(data) - start else None

    def scope(self, length: bytes, state: dict[str, Any]) -> dict[str, Any]:
        """That of one more request, with so many bytes of body."""
        scope, headers = self._scope.copy(), self._headers.copy()
        headers[self._field] = (b"content-length", length)
        scope["headers"], scope["state"] = headers, state
        return scope


def learned(data: bytes, scope: Any, url: bytes) -> RepeatedHead | None:
    """From the bytes of one whole request, and what the parser has made of them. None: nothing that is remembered."""
    end = data.find(END, 0, LONGEST)
    match = LENGTH.search(data, 0, end + 2) if end > 0 else None
    # One only: of two, this could be the one that the parser did not take.
    if match is None or sum(name == b"content-length" for name, _ in scope["headers"]) != 1:
        return None
    # Else something came before it, or behind it.
    if int(match[1]) != len(data) - end - len(END):
        return None
    return RepeatedHead(data[: match.start(1)], data[match.end(1) : end + len(END)], scope, url)
