"""Images under way to the service: each is answered, and its URL comes later in a notification (PROTOCOL 10)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial

from bridge.chat.errors import ConnectionLost, ContextFull, Overloaded
from bridge.lingma.dialects.base import Call, Dialect, Uploaded
from bridge.lingma.errors import UploadFailed, UploadTimedOut
from gateway_project.lib.json_errors import UNREADABLE

AT_ONCE = 2  # of up to 10 MB each: more at a time, and the service might seem not to read
PLACE_SEC = 30.0
"""How long an upload waits for others before it is sent; its own time limit counts from then on."""


class Uploads:
    """The uploads of one connection.

    `request` sends a request and gives the future of its result, or raises ContextFull or Overloaded for one that would
    cost all others the connection. `abandoned` is called with the id of each that was
    sent and is given up before the service has answered.
    """

    def __init__(
        self,
        dialect: Dialect,
        request: Callable[[Call], asyncio.Future[bytes]],
        abandoned: Callable[[str], None],
    ) -> None:
        self._dialect = dialect
        self._request = request
        self._abandoned = abandoned
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)

    async def send(self, upload_id: str, data_uri: str, within: float) -> str:
        """The URL of the image; `within` is seconds for answer and notification together.

        Raise UploadFailed or ConnectionLost.
        """
        try:
            async with asyncio.timeout(PLACE_SEC):
                await self._places.acquire()
        except TimeoutError:
            raise UploadTimedOut(f"The Lingma service is busy with other images for {PLACE_SEC:g} s.") from None
        try:
            return await self._send(upload_id, data_uri, within)
        finally:
            self._places.release()

    async def _send(self, upload_id: str, data_uri: str, within: float) -> str:
        try:
            call = self._request(self._dialect.upload(upload_id, data_uri))
        except (ContextFull, Overloaded) as exc:
            raise UploadFailed(f"The Lingma service was not sent an image: {exc.message}") from exc
        # In the turn of the loop in which the request leaves: the notification may come before the answer.
        url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[upload_id] = url
        call.add_done_callback(partial(self._answered, url))
        try:
            async with asyncio.timeout(within):
                return await url
        except asyncio.CancelledError:
            self._abandoned(upload_id)
            raise
        except TimeoutError:
            self._abandoned(upload_id)
            raise UploadTimedOut(f"The Lingma service took no image within {within:g} s.") from None
        finally:
            # Also after a timeout or when the turn is cancelled: a late notification then finds nobody and is dropped.
            del self._waiting[upload_id]
            call.cancel()

    def handlers(self) -> dict[str, Callable[[bytes], None]]:
        """A handler for each method about uploads."""
        return {method: partial(self._on_uploaded, read) for method, read in self._dialect.pushes.uploads.items()}

    @property
    def waiting(self) -> Collection[str]:
        """The ids of those that the service has been sent and has not answered."""
        return self._waiting

    def lose(self) -> None:
        """The connection is gone, and the rest with it."""
        for url in self._waiting.values():
            if not url.done():
                url.set_exception(ConnectionLost("The connection to the Lingma service was lost."))

    def _on_uploaded(self, read: Callable[[bytes], Uploaded], params: bytes) -> None:
        """It may come before the answer, twice, or when nobody waits any more."""
        uploaded = read(params)
        url = self._waiting.get(uploaded.upload_id)
        # The first report counts. A second `set_result` would raise in the reader of the whole connection.
        if url is None or url.done():
            return
        if uploaded.problem or not uploaded.url:
            _fail(url, uploaded.problem or "it told no URL")
        else:
            url.set_result(uploaded.url)

    def _answered(self, url: asyncio.Future[str], done: asyncio.Future[bytes]) -> None:
        """The immediate answer matters only when it is a failure."""
        if done.cancelled():
            return
        problem = done.exception()
        if problem is None:
            # An answer of an unknown shape proves nothing: the notification decides, or the time limit.
            with suppress(*UNREADABLE):
                if refusal := self._dialect.upload_answer(done.result()).problem:
                    _fail(url, refusal)
        elif isinstance(problem, ConnectionLost):  # the turn is asked again, with its image
            if not url.done():
                url.set_exception(problem)
        else:
            _fail(url, str(problem))


def _fail(url: asyncio.Future[str], why: str) -> None:
    if not url.done():
        url.set_exception(UploadFailed(f"The Lingma service did not take an image: {why[:200]}"))
