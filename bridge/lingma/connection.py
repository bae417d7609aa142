"""A connection to a service as its owner uses it: questions, requests, images, and the end of all of them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Literal

from bridge.chat.errors import ConnectionLost, GatewayError
from bridge.lingma.abandoned import Abandoned
from bridge.lingma.calls import Calls
from bridge.lingma.channel import Channel
from bridge.lingma.dialects import reasons
from bridge.lingma.dialects.base import Ask, Call, Dialect
from bridge.lingma.errors import Broken, DialFailed, Refused
from bridge.lingma.inbox import Inbox
from bridge.lingma.liveness import Liveness
from bridge.lingma.replies import Replies
from bridge.lingma.stream import ReplyStream
from bridge.lingma.tools.router import ToolCallRouter
from bridge.lingma.transport import rpc
from bridge.lingma.transport.urls import shown
from bridge.lingma.uploads import Uploads
from gateway_project.lib.tool_approval import DENY, Approval

STOP_SEC = 2.0  # after which an unanswered stop is forgotten

AskKind = Literal["notification", "request"]


class Connection:
    """Make it with `dial`; `lost` resolves when it is gone."""

    def __init__(self, channel: Channel, dialect: Dialect, approval: Approval = DENY) -> None:
        self.dialect = dialect
        self.on_account_changed: Callable[[], None] = lambda: None
        self.on_unknown: Callable[[str], None] = lambda _method: None
        """Called with the method of a push that this dialect does not know."""
        self.on_ended: Callable[[ReplyStream], None] = lambda _stream: None
        """Called once for each turn that has ended, however."""
        self._channel = channel
        self._calls = Calls(channel)
        self._replies = Replies(dialect)
        self.tools = ToolCallRouter(dialect, approval, self._replies.streams, self._notify)
        self._uploads = Uploads(dialect, self._request_with_room, self._left_upload)
        self._liveness = Liveness(channel, self._ping, lambda: bool(self._replies.streams))
        self._loop = asyncio.get_running_loop()
        # One table, made once: a push costs one look-up, whatever it is about.
        handlers = self._replies.handlers() | self.tools.handlers() | self._uploads.handlers()
        inbox = Inbox(channel, dialect, self._calls, self._replies, self.tools, handlers)
        inbox.on_other = self._on_other
        channel.receive = inbox.receive
        channel.on_closed = self._on_closed
        self._replies.on_logged_out = self._on_logged_out

    @classmethod
    async def dial(
        cls,
        url: str,
        dialect: Dialect,
        *,
        within: float,
        headers: dict[str, str] | None = None,
        approval: Approval = DENY,
    ) -> Connection:
        """Connect and shake hands within that many seconds. Raise DialFailed."""
        channel = Channel(url, headers)
        connection = cls(channel, dialect, approval)
        try:
            await channel.open(within)
        # Only a TLS error says what an operator cannot guess: which certificate is not trusted, and why.
        except (OSError, TimeoutError, Refused, Broken) as exc:
            reason = str(exc) if isinstance(exc, ssl.SSLError) else ""
            nobody = isinstance(exc, ConnectionRefusedError)
            raise DialFailed(f"{shown(url)}: {str(exc) or 'no answer'}", reason, refused=nobody) from exc
        return connection

    @property
    def lost(self) -> asyncio.Future[str]:
        """Resolves to the reason when the connection is gone."""
        return self._channel.lost

    def on_lost(self, call: Callable[[], None]) -> None:
        """Have `call` called before the turns under way fail: they look for another place at once, and not here."""
        self._channel.on_lost = call

    @property
    def hung(self) -> bool:
        """It was given up because the service gave no sign of life."""
        return self._liveness.hung

    @property
    def served(self) -> bool:
        """A turn has had its good ending."""
        return self._replies.served

    @property
    def reads(self) -> int:
        """The number of reads from the socket so far; it grows with whatever comes."""
        return self._channel.reads

    @property
    def begun(self) -> int:
        """Turns of whose reply something has come."""
        return sum(stream.has_begun for stream in self._replies.streams.values())

    def stuck(self, seconds: float) -> int:
        """Turns of which nothing has come for so long."""
        return sum(stream.silent_for >= seconds for stream in self._replies.streams.values())

    def leave_to(self, abandoned: Abandoned) -> None:
        """Questions that end here without the service's word are noted there: those of all connections to one run."""
        self._replies.abandoned = abandoned
        abandoned.running = self._replies.streams

    def ask(self, stream: ReplyStream, ask: Ask, kind: AskKind) -> None:
        """Send the question. The stream is known before the question leaves (PROTOCOL 17.2).

        Raise ConnectionLost, or ContextFull or Overloaded for a question that would cost all others the connection.
        """
        question = self.dialect.ask(ask)
        id_ = None if kind == "notification" else self._calls.new_id()
        message = rpc.notification(*question) if id_ is None else rpc.request(id_, *question)
        # Before anything is registered: a question that is refused here leaves nothing behind.
        self._channel.require_room(len(message))
        self._replies.streams[stream.request_id] = stream
        stream.approval = ask.approval
        stream.closed = self._forget
        if id_ is None:
            self._channel.send(message)
            return
        # Nobody awaits this call, so `_on_ask_result` passes its failure on to the stream.
        call = self._calls.start(id_, message)
        call.add_done_callback(partial(self._on_ask_result, stream))

        # A call that is never answered would stay in the table of calls for as long as the connection lives.
        def close(stream: ReplyStream) -> None:
            self._forget(stream)
            call.cancel()

        stream.closed = close

    def stop(self, stream: ReplyStream) -> None:
        """Have the service stop working on this turn (PROTOCOL 9.7). Its answer is not waited for."""
        call = self._calls.request(self.dialect.stop(stream.request_id, stream.session_id))
        # Without this, asyncio logs "exception was never retrieved" when the service refuses the stop.
        call.add_done_callback(_swallow)
        self._loop.call_later(STOP_SEC, call.cancel)

    def end_turns(self, error: GatewayError) -> None:
        """Fail every turn that is under way."""
        self._replies.fail(error)

    async def request(self, call: Call, within: float) -> bytes:
        """One RPC: the raw result. Raise RpcError, TimeoutError or ConnectionLost."""
        async with asyncio.timeout(within):
            return await self._calls.request(call)

    def start_liveness(self) -> None:
        """From now on a service that is silent is asked for a sign of life; without one it is hung."""
        self._liveness.start()

    async def upload(self, upload_id: str, data_uri: str, within: float) -> str:
        """Have the service take an image; its URL upstream. Raise UploadFailed or ConnectionLost."""
        return await self._uploads.send(upload_id, data_uri, within)

    def close(self) -> None:
        self._channel.close()

    def _request_with_room(self, call: Call) -> asyncio.Future[bytes]:
        """Raise ContextFull or Overloaded for a request that would cost all others the connection."""
        id_ = self._calls.new_id()
        message = rpc.request(id_, *call)
        self._channel.require_room(len(message))
        return self._calls.start(id_, message)

    def _left_upload(self, upload_id: str) -> None:
        """The service may still be at work on the image, and may exit over it: then it counts like a question."""
        self._replies.abandoned.add(upload_id)

    def _on_closed(self) -> None:
        for upload_id in self._uploads.waiting:  # it may have been at work on these as well
            self._left_upload(upload_id)
        # Streams first: a stream that fails cancels its own call, which then has no second error to report.
        self._replies.fail(ConnectionLost("The connection to the Lingma service was lost."))
        self._calls.lose()
        self._uploads.lose()

    def _on_logged_out(self) -> None:
        self.on_account_changed()

    def _on_other(self, method: str) -> None:
        if method in self.dialect.pushes.account:
            self.on_account_changed()
        elif method not in self.dialect.pushes.passive:
            self.on_unknown(method)

    def _on_ask_result(self, stream: ReplyStream, done: asyncio.Future[bytes]) -> None:
        """The immediate result of a question matters only when it is a failure (PROTOCOL 9.5, F30)."""
        # The stream was closed first: the turn has its ending already.
        if done.cancelled():
            return
        problem = done.exception()
        if isinstance(problem, GatewayError):
            stream.fail(problem)
            return
        # A GatewayError is ours (the connection was lost). Any other is the service's own refusal, which is read for
        # its words.
        refusal = str(problem) if problem else self.dialect.refusal_of(done.result())
        if refusal is not None:
            stream.fail(reasons.failure("The Lingma service did not take the question", refusal))
            # `fail` has just noted it as left behind. A question that was refused is not worked on, so that note goes
            # again.
            self._replies.abandoned.ended(stream.request_id)

    def _notify(self, call: Call) -> None:
        with suppress(ConnectionLost):  # then there is nobody left to send it to
            self._channel.send(rpc.notification(*call))

    def _ping(self) -> asyncio.Future[bytes]:
        return self._calls.request(self.dialect.ping())

    def _forget(self, stream: ReplyStream) -> None:
        self._replies.streams.pop(stream.request_id, None)
        # A bad ending came from here, not from a `chat/finish`, as far as this place knows: the service may go on.
        # Where it did report the ending, `Replies` takes the note back right after.
        if stream.end is not None and stream.end.error is not None:
            self._replies.abandoned.add(stream.request_id, has_begun=stream.has_begun)
        self.tools.forget(stream)
        self.on_ended(stream)


def _swallow(done: asyncio.Future[bytes]) -> None:
    # To read the exception is enough to mark it as seen.
    if not done.cancelled():
        done.exception()
