"""The connection to one service: bytes to turns, requests to results. Every push is acknowledged before it is read."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from bridge.chat.errors import ConnectionLost, ContextFull, GatewayError, Overloaded, UpstreamFailed
from bridge.lingma.dialects import dialect_a
from bridge.lingma.tools.router import ToolDesk
from bridge.lingma.transport import rpc
from bridge.lingma.transport.framing import Framer, FramingError
from bridge.lingma.transport.rpc import Incoming
from bridge.lingma.transport.urls import shown
from bridge.lingma.transport.vigil import BEAT_SEC, Vigil
from bridge.lingma.transport.websocket import Broken, Refused, WebSocket
from bridge.lingma.turn import Turn
from bridge.lingma.uploads import Uploads
from gateway_project.lib.random_bytes import Entropy
from gateway_project.lib.tool_approval import DENY, Approval

logger = logging.getLogger(__name__)

SEND_BUFFER_LIMIT = 32 << 20  # bytes the service may leave unread before it counts as dead; no question takes it there
ROOM_SEC = 1  # until a question may be tried again that found no room

SIGN_SEC = 60.0  # after which an unanswered `ping` is forgotten
AFTER_STOP_SEC = 5.0  # so long a question that was stopped may still be at work
STOP_SEC = 2.0  # after which an unanswered `chat/stop` is forgotten (PROTOCOL 9.7)


class DialFailed(Exception):
    """No connection; the message says why. `reason` is what of it is worth saying beside that nobody answers."""

    def __init__(self, message: str, reason: str = "", *, refused: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.refused = refused
        """The host is there, and nobody listens."""


class Connection(asyncio.Protocol):
    """One WebSocket to the service. Make it with `dial`; `lost` resolves when it is gone."""

    def __init__(self, socket: WebSocket, approval: Approval = DENY) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = loop.create_future()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.on_push: Callable[[str, msgspec.Raw], None] = lambda _method, _params: None
        """Called for pushes that belong to no turn."""
        self.on_lost: Callable[[], None] = lambda: None
        """Called before those are told whose turns were under way: they look for another place at once."""
        self.received = 0
        """Reads in which something came."""
        self.served = False
        """A turn has had its good ending."""
        self.hung = False
        """It was given up because the service gave no sign of life."""
        self._socket = socket
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None
        self._turns: dict[str, Turn] = {}
        self.tools = ToolDesk(approval, self._turns, self._notify)
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._next_id = 1
        self._uploads = Uploads(self._request)
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._last_body = b""
        self._vigil = Vigil()
        self._seen = (0, 0, 0)  # at the last beat: what was received, pongs, bytes that were not sent yet
        self._stopped_at = float("-inf")
        self._loop = loop
        self._handlers: dict[str, Callable[[bytes], None]] = {
            dialect_a.ANSWER: self._on_answer,
            dialect_a.THINK: self._on_think,
            dialect_a.FINISH: self._on_finish,
            **{method: partial(self.tools.hear, method) for method in dialect_a.TOOL_EVENTS},
            dialect_a.IMAGE_UPLOADED: self._uploads.told,
            **dict.fromkeys(dialect_a.FATAL, self._on_fatal),
        }

    @classmethod
    async def dial(
        cls, url: str, *, within: float, headers: dict[str, str] | None = None, approval: Approval = DENY
    ) -> Connection:
        """Connect and shake hands within that many seconds. Raise DialFailed."""
        host, port, tls = _address(url)
        socket = WebSocket(url, Entropy(4), headers)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within):
                _, self = await loop.create_connection(lambda: cls(socket, approval), host, port, ssl=tls)
                try:
                    await self.opened
                except BaseException:
                    self.close()
                    raise
        except (OSError, TimeoutError, Refused, Broken) as exc:
            reason = str(exc) if isinstance(exc, ssl.SSLError) else ""
            raise DialFailed(
                f"{shown(url)}: {str(exc) or 'no answer'}", reason, refused=isinstance(exc, ConnectionRefusedError)
            ) from exc
        return self

    # -- what the owner does ------------------------------------------------------------------------------------

    def ask(self, turn: Turn, params: dict[str, Any], kind: str) -> None:
        """Send `chat/ask` (PROTOCOL 9.1). The turn is known before the question leaves (PROTOCOL 17.2).

        Raise ConnectionLost, or ContextFull or Overloaded for a question that would cost all others the connection.
        """
        id_ = None if kind == "notification" else self._new_call_id()
        question = rpc.notification(dialect_a.ASK, params) if id_ is None else rpc.request(id_, dialect_a.ASK, params)
        self._require_room(len(question))
        self._turns[turn.request_id] = turn
        turn.closed = self._forget
        if id_ is None:
            self._send(question)
            return
        call = self._call(id_, question)
        call.add_done_callback(lambda done: _asked(turn, done))

        def close(turn: Turn) -> None:
            self._forget(turn)
            call.cancel()

        turn.closed = close

    def stop(self, turn: Turn) -> None:
        """`chat/stop` (PROTOCOL 9.7), whose answer nobody waits for."""
        self._stopped_at = self._loop.time()
        params = {"requestId": turn.request_id, "sessionId": turn.session_id}
        call = self._request(dialect_a.STOP, params)
        call.add_done_callback(_swallow)
        self._loop.call_later(STOP_SEC, call.cancel)

    @property
    def heard(self) -> int:
        """Turns of whose reply something has come."""
        return sum(turn.is_heard for turn in self._turns.values())

    def end_turns(self, error: GatewayError) -> None:
        """Fail every turn that is under way."""
        for turn in list(self._turns.values()):
            turn.fail(error)

    async def request(self, method: str, params: dict[str, Any], within: float) -> bytes:
        """One RPC: the raw result. Raise RpcError, TimeoutError or ConnectionLost."""
        async with asyncio.timeout(within):
            return await self._request(method, params)

    def keep_watch(self) -> None:
        """From now on a service that is silent is asked for a sign of life; without one it is hung."""
        self._write(self._socket.ping())  # whether it answers those is known before it matters
        self._loop.call_later(BEAT_SEC, self._beat)

    async def upload(self, request_id: str, data_uri: str, within: float) -> str:
        """Have the service take an image (PROTOCOL 10); its URL upstream. Raise UploadFailed."""
        return await self._uploads.send(request_id, data_uri, within)

    def close(self) -> None:
        """Drop the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the upgrade request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by behaviour only
        self._transport.set_write_buffer_limits(high=SEND_BUFFER_LIMIT)
        self._transport.write(self._socket.hello())

    def pause_writing(self) -> None:
        """The service has stopped reading: it is as good as gone."""
        self._give_up("the service does not read any more")

    def data_received(self, data: bytes) -> None:
        """Read what came, acknowledge every push of it in one write, and only then act on it (PROTOCOL 5.2)."""
        self.received += 1
        try:
            bodies = [body for payload in self._socket.feed(data) for body in self._framer.feed(payload)]
            messages = [rpc.parse(body) for body in bodies]
        except (Refused, Broken) as exc:
            return self._refused(exc)
        except (FramingError, rpc.NotJson) as exc:
            return self._give_up(f"unreadable message: {exc}")
        if self._transport is None or self._transport.is_closing():
            return None
        if control := self._socket.to_send():
            self._transport.write(control)
        if self._socket.open and not self.opened.done():
            self.opened.set_result(None)
        if not messages:
            return None
        answers = [self._answer(message) for message in messages if message.method and rpc.wants_answer(message)]
        if answers:
            self._outgoing += answers
            self._flush()
        for body, message in zip(bodies, messages, strict=True):
            self._act(body, message)
        if self._socket.broken is not None:
            self._give_up(str(self._socket.broken))
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """End everything that was under way (PROTOCOL 17.1)."""
        reason = str(exc) if exc else "the connection was closed"
        if not self.opened.done():
            self.opened.set_exception(Broken(reason))
        self._mark_lost(reason)
        alone = len(self._turns) == 1 and self._loop.time() - self._stopped_at > AFTER_STOP_SEC
        self.end_turns(ConnectionLost("The connection to the Lingma service was lost.", alone=alone))
        for call in self._calls.values():
            if not call.done():
                call.set_exception(ConnectionLost("The connection to the Lingma service was lost."))
        self._calls.clear()
        self._uploads.lost()

    # -- signs of life ------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Twice a second: nothing of it is paid for by turns."""
        if self._transport is None or self._transport.is_closing():
            return
        self._loop.call_later(BEAT_SEC, self._beat)
        received, pongs, unsent = self._seen
        self._seen = self.received, self._socket.pongs, self._transport.get_write_buffer_size()
        if self._socket.pongs > pongs:
            self._vigil.answered("frame")
        heard = self.received > received or self._seen[2] < unsent  # it reads what it was sent
        match self._vigil.beat(heard=heard, busy=bool(self._turns)):
            case "ask":
                self._ask_for_a_sign()
            case "hung":
                self.hung = True
                self._give_up("the service does not answer any more")

    def _ask_for_a_sign(self) -> None:
        for ping in self._vigil.pings:
            if ping == "frame":
                self._write(self._socket.ping())
            else:
                call = self._request(dialect_a.PING, {})
                call.add_done_callback(self._on_sign)
                self._loop.call_later(SIGN_SEC, call.cancel)

    def _on_sign(self, done: asyncio.Future[bytes]) -> None:
        """A refusal is a sign as well."""
        if not done.cancelled() and not isinstance(done.exception(), ConnectionLost):
            self._vigil.answered("request")

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # -- inside -------------------------------------------------------------------------------------------------

    def _answer(self, message: Incoming) -> bytes:
        """An acknowledgement; only `tool/invoke` may want an answer with content (PROTOCOL 5.2, 11.4)."""
        if message.method == dialect_a.TOOL_INVOKE and (told := self.tools.answer(message.params)) is not None:
            return rpc.answer(message, told)
        return rpc.acknowledgement(message)

    def _notify(self, method: str, params: dict[str, Any]) -> None:
        with suppress(ConnectionLost):  # then there is nobody left to tell
            self._send(rpc.notification(method, params))

    def _send(self, *messages: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionLost("The connection to the Lingma service was lost.")
        if not self._outgoing:
            # One write for all that is asked in this turn of the loop.
            self._loop.call_soon(self._flush)
        self._outgoing += messages
        self._outgoing_bytes += sum(map(len, messages))

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        self._outgoing_bytes = 0
        if outgoing and self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._socket.message(*outgoing))

    def _require_room(self, size: int) -> None:
        if size > SEND_BUFFER_LIMIT:  # twice the text, and more tokens than any model takes
            raise ContextFull()
        unsent = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if unsent + self._outgoing_bytes + size > SEND_BUFFER_LIMIT:
            raise Overloaded("The Lingma service has not read the questions before this one yet.", retry_after=ROOM_SEC)

    def _new_call_id(self) -> int:
        id_, self._next_id = self._next_id, self._next_id + 1
        return id_

    def _request(self, method: str, params: dict[str, Any]) -> asyncio.Future[bytes]:
        id_ = self._new_call_id()
        return self._call(id_, rpc.request(id_, method, params))

    def _call(self, id_: int, message: bytes) -> asyncio.Future[bytes]:
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._calls[id_] = future
        future.add_done_callback(lambda _: self._calls.pop(id_, None))
        try:
            self._send(message)
        except ConnectionLost as exc:
            future.set_exception(exc)
        return future

    def _act(self, body: bytes, message: Incoming) -> None:
        if message.method is None:
            return self._on_response(message)
        if body == self._last_body and rpc.wants_answer(message):
            return None  # the same request once more, id and all: acknowledged again, but said once (F14)
        self._last_body = body
        handler = self._handlers.get(message.method)
        if handler is None:
            return self._on_other(message.method, message)
        try:
            handler(message.params)
        except msgspec.DecodeError as exc:
            # One push of an unexpected shape is no reason to fail the other turns of this connection.
            logger.warning("%s of an unknown shape ignored: %s", message.method, exc)
            if message.method == dialect_a.FINISH and (turn := self._turn_of(message)) is not None:
                turn.fail(UpstreamFailed("The Lingma service ended the turn in an unknown way."))
        return None

    def _on_answer(self, params: bytes) -> None:
        answer = dialect_a.decode_answer(params)
        turn = self._turns.get(answer.requestId)
        if turn is None:
            return
        text = answer.text if answer.text is not None else answer.content or ""
        if answer.overwrite:
            turn.replace(text)
        else:
            turn.push(text)

    def _on_think(self, params: bytes) -> None:
        thought = dialect_a.decode_answer(params)
        if (turn := self._turns.get(thought.requestId)) is not None:
            turn.push_thinking(thought.text if thought.text is not None else thought.content or "")

    def _on_finish(self, params: bytes) -> None:
        finish = dialect_a.decode_finish(params)
        turn = self._turns.get(finish.requestId)
        if turn is None:
            return
        error = dialect_a.finish_error(finish)
        if error is None and (full := dialect_a.is_full(finish)) is not None and not turn.text:
            error = full
        if error is None:
            self.served = True
            turn.finish(finish.sessionId or "", finish.fullAnswer or "")
            return
        if str(finish.statusCode) == "401":
            self.on_push("auth/report", msgspec.Raw(b"{}"))
        turn.fail(error)

    def _on_fatal(self, params: bytes) -> None:
        """With a matching or missing request id, it fails the turn (PROTOCOL 9.6)."""
        told = dialect_a.decode_fatal(params)
        words, reason = "The Lingma service reported an error", str(told.message or told.error)
        turns = [turn for turn in self._turns.values() if told.requestId in {None, "", turn.request_id}]
        # What it says of one prompt is not said to the askers of others.
        error = dialect_a.failure(words, reason) if len(turns) == 1 else UpstreamFailed(f"{words}: {reason[:200]}")
        for turn in turns:
            turn.fail(error)

    def _on_other(self, method: str, message: Incoming) -> None:
        """A push of no turn's text. Anything about a turn is still a sign of life of it."""
        if (turn := self._turn_of(message)) is not None:
            turn.push("")
        self.on_push(method, message.params)

    def _turn_of(self, message: Incoming) -> Turn | None:
        with suppress(msgspec.DecodeError):
            return self._turns.get(dialect_a.decode_about(message.params).requestId)
        return None

    def _on_response(self, message: Incoming) -> None:
        future = self._calls.get(int(message.id)) if bytes(message.id).isdigit() else None
        if future is None or future.done():
            return
        error = rpc.error_of(message)
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(bytes(message.result))

    def _forget(self, turn: Turn) -> None:
        self._turns.pop(turn.request_id, None)
        self.tools.forget(turn)

    def _refused(self, exc: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc)
            self.close()
        else:
            self._give_up(str(exc))

    def _give_up(self, reason: str) -> None:
        self._mark_lost(reason)
        self.close()

    def _mark_lost(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)
            self.on_lost()


def _address(url: str) -> tuple[str, int, ssl.SSLContext | None]:
    parts = urlsplit(url)
    with suppress(ValueError):  # a port beyond 65535
        if parts.hostname is not None and parts.scheme in {"ws", "wss"}:
            is_secure = parts.scheme == "wss"
            return parts.hostname, parts.port or (443 if is_secure else 80), _trust() if is_secure else None
    raise DialFailed(f"{shown(url)}: neither a ws:// nor a wss:// URL")


@cache
def _trust() -> ssl.SSLContext:
    """The system's authorities, or those in SSL_CERT_FILE and SSL_CERT_DIR: what OpenSSL takes."""
    return ssl.create_default_context()


def _asked(turn: Turn, done: asyncio.Future[bytes]) -> None:
    """The immediate result of `chat/ask` matters only when it is a failure (PROTOCOL 9.5, F30)."""
    if done.cancelled():
        return
    problem = done.exception()
    refused = str(problem) if problem else dialect_a.ask_refused(done.result())
    if isinstance(problem, GatewayError):
        turn.fail(problem)
    elif refused is not None:
        turn.fail(dialect_a.failure("The Lingma service did not take the question", refused))


def _swallow(done: asyncio.Future[bytes]) -> None:
    if not done.cancelled():
        done.exception()
