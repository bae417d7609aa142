"""What answers the chats stands in a header of every answer: also of Django's pages, and of the server's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gateway_project.env import load
from gateway_project.lib.upstream import shown

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def upstream_header() -> tuple[bytes, bytes]:
    """`simulator` says that nothing which this gateway answers comes from a model."""
    return (b"x-lingma-upstream", shown(load().upstream).encode())


class NamesUpstream:
    """An application whose answers get the header. The consumers of `/v1` send it themselves."""

    def __init__(self, application: Callable[[dict[str, Any], Receive, Send], Awaitable[None]]) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve the request."""

        async def send_named(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message.get("headers", ()), upstream_header()]}
            await send(message)

        await self._application(scope, receive, send_named)
