"""Bodies for Django: it spools a whole body to the disk before it checks anything, so bodies are bounded before."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from django.utils.http import parse_header_parameters

from bridge.http.body import LONGEST_LENGTH, announces_more
from gateway_project.lib.address_share import share_of
from gateway_project.server.problems import worded

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

MOST = 2_621_440
"""Django's own `DATA_UPLOAD_MAX_MEMORY_SIZE`: no form of the console comes near it."""
MOST_TOGETHER = 32 << 20
"""Of all bodies that are being read in this process; of one address, half of what the others leave."""
MOST_LEFT = 8 << 20
"""Of bodies whose requests have ended and may still be in memory."""

LONGEST_TYPE = 256
"""Of the Content-Type: Django reads it in the event loop, and 64 KiB of semicolons take seconds."""
NO_TYPE = (400, b"The Content-Type cannot be read.")
NO_CHARSET = (415, b"The body must be UTF-8.")  # Django fails over others, some of which are no charsets at all
UTF_8 = ("", "utf-8", "utf8")
NO_LENGTH = (400, b"The Content-Length is too long.")  # Django would try to read thousands of zeros
TOO_LARGE = (413, b"The body is too large.")
TOO_MANY = (503, b"Too many bodies at once; try again.")


class BoundedBodies:
    """Django, for requests whose bodies are small."""

    def __init__(self, django: Any) -> None:
        self._django = django
        self._held = 0
        self._held_by: Counter[str] = Counter()
        self._left = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve the request, or refuse its body."""
        body = _Body(self, receive, share_of((scope.get("client") or ("",))[0]))
        headers = dict(scope["headers"])
        # Looked at before a byte of the body is read: a refusal costs nothing then.
        if len(headers.get(b"content-length", b"")) > LONGEST_LENGTH:
            body.refusal = NO_LENGTH
        elif (refusal := _refusal_of_type(scope["headers"])) is not None:
            body.refusal = refusal
        elif announces_more(headers, MOST):
            body.refusal = TOO_LARGE
        else:
            # Given back whatever Django does, a client that leaves and a cancellation included.
            try:
                await self._django(scope, body.receive, send)
            finally:
                self._leave(body)
        if body.refusal is not None:
            await _refuse(send, scope["path"], body.refusal)

    def _leave(self, body: _Body) -> None:
        """Count the body as left over: Django's requests refer to themselves, so only the collector frees them."""
        self._held -= body.size
        self._held_by[body.share] -= body.size
        if not self._held_by[body.share]:
            del self._held_by[body.share]
        self._left += body.size
        # A collection takes milliseconds and stops every stream, so one for each request would be too dear.
        if self._left > MOST_LEFT:
            self._left = 0
            gc.collect()

    def take(self, body: _Body, size: int) -> None:
        """Count `size` more bytes of a body, and mark it refused when that is too much."""
        body.size += size
        self._held += size
        self._held_by[body.share] += size
        if body.size > MOST:
            body.refusal = TOO_LARGE
        # Half of what others leave: neither one client that uploads nor a few can lock all others out of the console.
        elif self._held_by[body.share] > (MOST_TOGETHER - (self._held - self._held_by[body.share])) // 2:
            body.refusal = TOO_MANY


class _Body:
    """One body as Django receives it. When it grows too large, Django gets a disconnect, and gives up."""

    def __init__(self, bounds: BoundedBodies, receive: Receive, share: str) -> None:
        self.share = share
        self._bounds = bounds
        self._receive = receive
        self.size = 0
        self.refusal: tuple[int, bytes] | None = None

    async def receive(self) -> dict[str, Any]:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bounds.take(self, len(message.get("body", b"")))
            if self.refusal is not None:
                # The only message on which Django stops reading. The refusal is sent by BoundedBodies after Django
                # returned.
                return {"type": "http.disconnect"}
        return message


def _refusal_of_type(headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, bytes] | None:
    # Several fields are one, as Django reads them.
    content_type = b",".join(value for name, value in headers if name == b"content-type")
    if len(content_type) > LONGEST_TYPE:
        return NO_TYPE
    try:
        charset = parse_header_parameters(content_type.decode("latin-1"))[1].get("charset", "")
    except ValueError:  # one of RFC 2231, whose encoding there is not
        return NO_TYPE
    return None if charset.lower() in UTF_8 else NO_CHARSET


async def _refuse(send: Send, path: str, refusal: tuple[int, bytes]) -> None:
    status = refusal[0]
    kind, words = worded(path, *refusal)
    # The connection is closed, for the rest of the body is still coming and nobody reads it.
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(words)), (b"connection", b"close")]
    if status == 503:
        headers.append((b"retry-after", b"5"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words})
