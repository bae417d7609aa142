"""Images under way to the service: each is answered, and its URL comes later in a notification (PROTOCOL 10)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from bridge.chat.errors import ConnectionLost, UpstreamFailed, UpstreamTimeout
from bridge.lingma.dialects import dialect_a

AT_ONCE = 2  # of up to 10 MB each: more at a time, and the service might seem not to read


class UploadFailed(UpstreamFailed):
    """The service did not take an image; the turn can go on without it."""


class UploadTimedOut(UploadFailed, UpstreamTimeout):
    """... nor said why."""


class Uploads:
    """The uploads of one connection. `call` sends a request and gives the future of its result."""

    def __init__(self, call: Callable[[str, dict[str, Any]], asyncio.Future[bytes]]) -> None:
        self._call = call
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)

    async def send(self, request_id: str, data_uri: str, within: float) -> str:
        """The URL of the image; `within` is seconds for answer and notification together.

        Raise UploadFailed or ConnectionLost.
        """
        async with self._places:
            url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._waiting[request_id] = url
            call = self._call(dialect_a.IMAGE_UPLOAD, dialect_a.upload_params(request_id, data_uri))
            call.add_done_callback(lambda done: _answered(url, done))
            try:
                async with asyncio.timeout(within):
                    return await url
            except TimeoutError:
                raise UploadTimedOut(f"The Lingma service took no image within {within:g} s.") from None
            finally:
                del self._waiting[request_id]
                call.cancel()

    def told(self, params: bytes) -> None:
        """`image/uploadResultNotification`: may come before the answer, twice, or when nobody waits any more."""
        told = dialect_a.decode_upload(params)
        url = self._waiting.get(told.upload_id)
        if url is None or url.done():
            return
        if told.problem or not told.url:
            _fail(url, told.problem or "it told no URL")
        else:
            url.set_result(told.url)

    def lost(self) -> None:
        """The connection is gone, and the rest with it."""
        for url in self._waiting.values():
            if not url.done():
                url.set_exception(ConnectionLost("The connection to the Lingma service was lost."))


def _answered(url: asyncio.Future[str], done: asyncio.Future[bytes]) -> None:
    """The immediate answer matters only when it is a failure."""
    if done.cancelled():
        return
    problem = done.exception()
    if problem is None:
        with suppress(msgspec.DecodeError):
            problem_told = dialect_a.decode_upload(done.result()).problem
            if problem_told:
                _fail(url, problem_told)
    elif isinstance(problem, ConnectionLost):  # the turn is asked again, with its image
        if not url.done():
            url.set_exception(problem)
    else:
        _fail(url, str(problem))


def _fail(url: asyncio.Future[str], why: str) -> None:
    if not url.done():
        url.set_exception(UploadFailed(f"The Lingma service did not take an image: {why[:200]}"))
