"""The application behind the private listener: turns that other web processes hand over, and nothing else."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from bridge.http.base import Send
from bridge.http.body import Receive
from bridge.http.chat import ChatConsumer
from bridge.http.responses import Compact
from bridge.http.routing import CONSUMERS
from bridge.peers.handover import SECRET, TURN, decoded
from bridge.runtime.process import get_runtime
from bridge.wire import formats
from bridge.wire.responses.compact import FORMAT as COMPACTION

NO_CONTENT, FORBIDDEN, NOT_FOUND = 204, 403, 404

TURNS: Final[Mapping[str, partial[ChatConsumer]]] = {
    **{each.path: partial(CONSUMERS.get(each.path, ChatConsumer), each) for each in formats.FORMATS},
    COMPACTION.path: partial(Compact, COMPACTION),
}
CHECK: Final = "/"
"""What a process asks that only wants to know whether it is let in."""


class PrivateApplication:
    """Without the secret everything is 403. A turn is run as if its client had sent it here."""

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await send({"type": "websocket.close"})
        headers = dict(scope["headers"])
        runtime = await get_runtime()
        # Without peers there is no secret, and an empty one opens nothing.
        secret = runtime.neighbours.secret
        if not secret or not hmac.compare_digest(headers.get(SECRET, b""), secret):
            return await _answer(send, FORBIDDEN)
        if scope["path"] == CHECK:
            return await _answer(send, NO_CONTENT)
        consumer, hand_over = TURNS.get(scope["path"]), decoded(headers.get(TURN, b""))
        if consumer is None or hand_over is None or scope["method"] != "POST":
            return await _answer(send, NOT_FOUND)
        made = consumer()
        made.handed_over = hand_over
        with runtime.neighbours.guests.one():
            return await made({**scope, "client": (hand_over.client, 0)}, receive, send)


async def _answer(send: Send, status: int) -> None:
    length = [(b"content-length", b"0")] if status != NO_CONTENT else []
    await send({"type": "http.response.start", "status": status, "headers": length})
    await send({"type": "http.response.body", "body": b""})
