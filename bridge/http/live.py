"""The WebSocket of the console's live page: who may watch, for how long, and what happens to who does not read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.db import Error, close_old_connections
from django.http import HttpRequest

from accounts.login.required import is_missing
from bridge.fleet.live_view import PEOPLE
from bridge.http.live_feed import LiveFeed, snapshots_of
from bridge.runtime.process import get_runtime
from gateway_project.lib.database.query_thread import QueryThread
from gateway_project.lib.pages.cookies import cookie_of

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

PATH: Final = "/admin/live/socket/"
RIGHT: Final = "bridge.view_instance"
CHECK_SEC: Final = 60.0
"""After so long it is looked again whether the session lasts and the right is there."""
QUERY_SEC: Final = 5.0
SEND_SEC: Final = 5.0
"""A client that takes no snapshot for so long is dropped."""
FORBIDDEN, SLOW, ENDED, FULL, AWAY = 4403, 4408, 4401, 1013, 1013
"""Codes of closing: not allowed, does not read, the session has ended, too many watch, nobody knows if it has ended.
After the last two the page tries again; after ENDED it is loaded anew, which needs the database."""


class Watcher(NamedTuple):
    """Somebody who is logged in and may watch."""

    user: int
    sees_people: bool


class LiveSocket:
    """The ASGI application. One of it in a process; the feed begins with the first who watches."""

    def __init__(
        self,
        cookie: str,
        open_session: Callable[[str], SessionBase],
        check_sec: float = CHECK_SEC,
        send_sec: float = SEND_SEC,
    ) -> None:
        self._cookie, self._open_session = cookie, open_session
        self._check_sec, self._send_sec = check_sec, send_sec
        self._queries = QueryThread("live")
        self._feed: LiveFeed | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket until it ends. A handshake that is not allowed is refused with 403."""
        await receive()  # the handshake
        watcher = await self._first(scope) if is_of_this_site(scope) else None
        if watcher is None:
            await send({"type": "websocket.close", "code": FORBIDDEN})
            return
        feed = self._feed = self._feed or LiveFeed(snapshots_of(await get_runtime()))
        await send({"type": "websocket.accept"})
        if not feed.enter(watcher.user):
            await send({"type": "websocket.close", "code": FULL})
            return
        gone = asyncio.ensure_future(receive())  # it says nothing, so any message is the last
        try:
            await self._show(feed, scope, watcher, gone, send)
        finally:
            feed.leave(watcher.user)
            gone.cancel()

    async def _show(
        self, feed: LiveFeed, scope: Scope, watcher: Watcher, gone: asyncio.Future[Any], send: Send
    ) -> None:
        loop = asyncio.get_running_loop()
        check_at = loop.time() + self._check_sec
        while True:
            upcoming = feed.upcoming()
            await asyncio.wait({upcoming, gone}, timeout=self._check_sec, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
            if loop.time() > check_at:
                check_at = loop.time() + self._check_sec
                if code := await self._over(scope, watcher):
                    await send({"type": "websocket.close", "code": code})
                    return
            if not upcoming.done():
                continue
            snapshot = await upcoming
            text = snapshot.whole if watcher.sees_people else snapshot.without_people
            try:
                async with asyncio.timeout(self._send_sec):
                    await send({"type": "websocket.send", "text": text})
            except TimeoutError:
                await send({"type": "websocket.close", "code": SLOW})
                return

    async def _first(self, scope: Scope) -> Watcher | None:
        """Who begins to watch; None also while the database cannot tell."""
        try:
            return await self._watcher(scope)
        except Error:
            return None

    async def _over(self, scope: Scope, watcher: Watcher) -> int:
        """Why nobody watches any longer, as a code; 0: they may go on."""
        try:
            return 0 if await self._watcher(scope) == watcher else ENDED
        except Error:
            return AWAY

    async def _watcher(self, scope: Scope) -> Watcher | None:
        """Who is logged in and may watch. Raise django.db.Error."""
        key = cookie_of(scope["headers"], self._cookie)
        return await self._queries.run(lambda: _allowed(self._open_session(key)), QUERY_SEC) if key else None


def is_of_this_site(scope: Scope) -> bool:
    """Browsers send the origin of the page with a handshake, and cookies whatever it is."""
    headers = dict(scope["headers"])
    origin, host = headers.get(b"origin", b"").decode("latin-1"), headers.get(b"host", b"").decode("latin-1")
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # no address, such as `http://[`
        return False


def _allowed(session: SessionBase) -> Watcher | None:
    close_old_connections()
    request = HttpRequest()
    request.session = session
    # Django's own check, so that another password ends the session here as well.
    user: Any = get_user(request)
    request.user = user
    may_watch = user.is_authenticated and user.is_active and user.is_staff and user.has_perm(RIGHT)
    # No middleware of Django is passed on the way here, so not the one either that asks for the second factor.
    may_watch = may_watch and not is_missing(request)
    return Watcher(int(user.pk), user.has_perms(PEOPLE)) if may_watch else None
