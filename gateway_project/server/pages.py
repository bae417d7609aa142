"""Bounds how many requests Django's pages serve at once, so that many visitors of the console do not stop the streams.

Django gives each request a thread. These threads share the interpreter with the event loop, and checking a password
costs half a second of a core, so unauthenticated requests have a small bound of their own. A request that waits holds
no thread: its body was read before, and the answer is sent when the thread has ended, however slowly its client reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from django.conf import settings

from gateway_project.lib.address_share import share_of
from gateway_project.lib.fair_line import FairLine, LineFull
from gateway_project.lib.pages.cookies import without_escapes
from gateway_project.server.problems import worded

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

AT_ONCE = 3
"""Pages at work in one process."""
UNAUTHENTICATED_AT_ONCE = 1
"""Of them, those of clients without a session or a token, and log-ins: each of these checks a password."""
MOST_WAITING = 256
"""Requests that wait for a turn, half of them per address."""
WAIT_SEC = 10.0
MOST_HELD = 1 << 20
"""Bytes of an answer that are buffered until its thread has ended; a longer one, such as an export, is sent as it
is made.
"""
MOST_HELD_TOGETHER = 32 << 20
LONG_AT_ONCE = 4
"""Longer answers that are sent at once, besides the pages at work: their clients may read as slowly as they like."""
LONG_OF_ADDRESS = 2

BUSY = b"The console is busy; try again."


class TooBusy(Exception):
    """Too many wait already, or no turn came in time."""


class Pages:
    """Serves Django, a few requests at once. A client that disconnects while it waits is dropped."""

    def __init__(self, django: Any) -> None:
        self._django = django
        # One address may have all places while nobody else wants one.
        self._all = FairLine(AT_ONCE, AT_ONCE, MOST_WAITING)
        self._unauthenticated = FairLine(UNAUTHENTICATED_AT_ONCE, UNAUTHENTICATED_AT_ONCE, MOST_WAITING)
        self._long = FairLine(LONG_AT_ONCE, LONG_OF_ADDRESS, MOST_WAITING)
        self._held = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve the request when it is its turn, or refuse it with 503."""
        # Before the turn: a client that sends slowly would else hold one of three.
        body = await _read(receive)
        if body is None:
            return
        scope = without_escapes(scope)
        gone = asyncio.ensure_future(receive())  # the next message, which means that the client has left
        turns = AsyncExitStack()
        answer = _Answer(self, send, partial(self._lengthen, turns, scope))
        try:
            async with turns:
                if await self._wait(turns, scope, gone):
                    await self._django(scope, _replay(body, gone), answer.send)
            # After the turn, which ended with the block above: a client that reads slowly holds none.
            await answer.flush()
        except TooBusy:
            await _refuse(send, scope["path"])
        finally:
            answer.drop()
            gone.cancel()

    async def _wait(self, turns: AsyncExitStack, scope: dict[str, Any], gone: asyncio.Future[Any]) -> bool:
        """Whether the client is still there when its turn comes. Raise TooBusy."""
        entering = asyncio.ensure_future(self._enter(turns, scope))
        try:
            await asyncio.wait({entering, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not entering.done():
                # And waited for: it may have got a turn in this moment, which it gives back before we go on.
                entering.cancel()
                await asyncio.wait({entering})
        return not entering.cancelled() and entering.result() and not gone.done()

    async def _enter(self, turns: AsyncExitStack, scope: dict[str, Any]) -> bool:
        share = share_of((scope.get("client") or ("",))[0])
        # First the narrow line, then the wide one: an unauthenticated client that waits for the narrow one must not
        # hold a place in the wide one.
        if is_log_in(scope) or not has_session(scope):
            await turns.enter_async_context(_turn(self._unauthenticated, share))
        await turns.enter_async_context(_turn(self._all, share))
        return True

    async def _lengthen(self, turns: AsyncExitStack, scope: dict[str, Any]) -> None:
        """Give the turn of a page back, and wait for one of a long answer. Raise TooBusy."""
        await turns.aclose()
        await turns.enter_async_context(_turn(self._long, share_of((scope.get("client") or ("",))[0])))

    def hold(self, size: int) -> bool:
        """Whether so much of an answer may be buffered."""
        if self._held + size > MOST_HELD_TOGETHER:
            return False
        self._held += size
        return True

    def let_go(self, size: int) -> None:
        self._held -= size


@asynccontextmanager
async def _turn(line: FairLine, share: str) -> AsyncIterator[None]:
    """Wait for a place and have it. Raise TooBusy."""
    try:
        async with asyncio.timeout(WAIT_SEC):
            await line.enter(share)
    except (LineFull, TimeoutError):
        raise TooBusy from None
    try:
        yield
    finally:
        line.leave(share)


class _Answer:
    """Django's answer, buffered until its thread has ended."""

    def __init__(self, pages: Pages, send: Send, lengthen: Callable[[], Awaitable[None]]) -> None:
        self._pages = pages
        self._send = send
        self._lengthen = lengthen
        self._messages: list[dict[str, Any]] = []
        self._size = 0
        self._passes = False  # from now on at once

    async def send(self, message: dict[str, Any]) -> None:
        size = len(message.get("body", b""))
        if not self._passes and self._size + size <= MOST_HELD and self._pages.hold(size):
            self._size += size
            self._messages.append(message)
            return
        if not self._passes:
            # Nothing was sent until now, so that without a turn it can still be refused.
            await self._lengthen()
            # What was buffered goes first: the client must get the messages in their order.
            await self.flush()
            self._passes = True
        await self._send(message)

    def drop(self) -> None:
        """Forget what nobody will get."""
        self._pages.let_go(self._size)
        self._messages, self._size = [], 0

    async def flush(self) -> None:
        messages, self._messages = self._messages, []
        size, self._size = self._size, 0
        try:
            for message in messages:
                await self._send(message)
        finally:
            self._pages.let_go(size)


def has_session(scope: dict[str, Any]) -> bool:
    """Whether the client seems to be logged in, or to have a token of the API; Django finds out whether it is."""
    # Neither is verified: one that is made up only gets into the wider line, which is bounded as well.
    for name, value in scope["headers"]:
        if name == b"cookie" and f"{settings.SESSION_COOKIE_NAME}=".encode() in value:
            return True
        if name == b"authorization" and value[:6].lower() == b"token ":
            return True
    return False


def is_log_in(scope: dict[str, Any]) -> bool:
    """Whether a password is checked, or an identity provider waited for."""
    path = scope["path"]
    if scope["method"] == "POST" and path.endswith(("/login/", "/password/")):
        return True
    return bool(path.startswith("/login/") and path not in ("/login/", "/login/code/"))


async def _read(receive: Receive) -> list[dict[str, Any]] | None:
    """The whole body, in its messages; None when the client left before its end."""
    messages = []
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        messages.append(message)
        more = message.get("more_body", False)
    return messages


def _replay(body: list[dict[str, Any]], gone: asyncio.Future[dict[str, Any]]) -> Receive:
    messages = iter(body)

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        await asyncio.wait({gone})  # Django stops to listen when it has answered; `gone` is still needed then
        return gone.result()

    return receive


async def _refuse(send: Send, path: str) -> None:
    kind, body = worded(path, 503, BUSY)
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), (b"retry-after", b"5")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
