"""One request and its answer, where uvicorn's own would send something that the client cannot understand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from functools import lru_cache
from typing import Any, NamedTuple, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway_project.lib.asgi_extensions import WRITER
from gateway_project.server.cork import Corked

LENGTHS = {b"content-length", b"transfer-encoding"}
FRAMING = (*LENGTHS, b"connection")
NO_BODY = (204, 304)
_CONTROLS = bytes((*range(0x20), 0x7F))
_NOT_IN_NAMES = _CONTROLS + b'()<>@,;:[]={} \\"'
_NOT_IN_VALUES = _CONTROLS.replace(b"\t", b"")


class Shape(NamedTuple):
    """What follows from the names of a head's fields, without their values."""

    lines: bytes
    """With a place for each value, down to the empty line."""
    length: int
    """Which of them is Content-Length; -1: none is, and chunks come."""


@lru_cache(maxsize=256)  # the names are ours: there are few of them, and always in the same order
def shape_of(names: tuple[bytes, ...]) -> Shape | None:
    """None for names that the library has to handle."""
    # Lower case, as uvicorn writes them: bytes do not change with the way that is taken.
    lowered = [name.lower() for name in names]
    framing = [name for name in lowered if name in FRAMING]
    if framing not in ([], [b"content-length"]) or any(
        len(each.translate(None, _NOT_IN_NAMES)) < len(each) for each in names
    ):
        return None
    # A template to be filled by `%`: one operation for a whole head. A percent sign of a name is doubled for that.
    lines = b"".join([b"%b: %%b\r\n" % name.replace(b"%", b"%%") for name in lowered])
    if framing:
        return Shape(lines + b"\r\n", lowered.index(b"content-length"))
    return Shape(lines + b"transfer-encoding: chunked\r\n\r\n", -1)


class Sent:
    """What is awaited when nothing is left to wait for."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        return iter(())  # type: ignore[return-value]  # cheaper than a generator


SENT = Sent()


class Event:
    """As much of asyncio's as uvicorn uses. That one has a queue of 760 bytes for those who wait: here one at most."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: tuple[asyncio.Future[None], ...] = ()

    def set(self) -> None:
        if not self._is_set:
            self._is_set = True
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_result(None)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> None:
        if self._is_set:
            return
        waiting = asyncio.get_running_loop().create_future()
        # A tuple, as there is nearly never more than one: an empty one takes no memory of its own.
        self._waiting += (waiting,)
        try:
            await waiting
        finally:
            self._waiting = tuple(each for each in self._waiting if each is not waiting)


class LeanCycle(RequestResponseCycle):
    """uvicorn's own, but it checks the fields of a head all at once, and not twice each of them."""

    transport: Corked  # type: ignore[assignment]  # it takes any
    # The same for each request at its beginning, so that none has to set them.
    logger = logging.getLogger("uvicorn.error")
    access_logger = logging.getLogger("uvicorn.access")
    access_log = False
    disconnected = waiting_for_100_continue = response_started = response_complete = False
    chunked_encoding = None
    expected_content_length = 0
    _is_stream = False
    """The head is out, and chunks follow it."""

    def __init__(  # not the library's: it sets one field by one what stands above
        self,
        scope: Any,
        transport: Any,
        flow: FlowControl,
        default_headers: list[tuple[bytes, bytes]],
        on_response: Callable[[], None],
        *,
        keep_alive: bool = True,
        whole: bytes | None = None,
    ) -> None:
        """`whole`: the body, where it has come with the head."""
        self.scope = scope
        self.transport = transport
        self.flow = flow
        self.default_headers = default_headers
        self.on_response = on_response
        self.keep_alive = keep_alive
        self.message_event = cast("asyncio.Event", Event())
        self.body = bytearray()
        self.more_body = whole is None
        self._whole = whole

    def receive(self) -> Awaitable[Any]:  # type: ignore[override]  # ASGI wants no more
        """The body at once where it is there; nobody is kept from reading for it."""
        return self._give() if self._whole is not None and not self.disconnected else super().receive()

    async def _give(self) -> Any:
        body, self._whole = self._whole, None
        return {"type": "http.request", "body": body, "more_body": False}

    def send(self, message: Any) -> Awaitable[None]:  # type: ignore[override]  # ASGI wants no more
        """The next message; all but usual heads and the pieces of a stream go the library's way."""
        # First: of a stream this is called for each chunk, and for the head once.
        if self.response_started:
            return self._send_piece(message)
        if (
            message["type"] != "http.response.start"
            or not self.keep_alive
            or message["status"] in NO_BODY
            or self.scope["method"] == "HEAD"
            or self.flow.write_paused
            or self.disconnected
            or self.access_log
        ):
            return self._send_rare(message)
        fields = (*self.default_headers, *message.get("headers", ()))
        if not fields:
            return self._send_rare(message)
        names, values = zip(*fields, strict=True)
        # All values are checked in one pass: a line break in one would let a header be forged.
        shape, joined = shape_of(names), b"".join(values)
        # What does not fit is refused there, with the reason.
        if shape is None or len(joined.translate(None, _NOT_IN_VALUES)) < len(joined):
            return self._send_rare(message)
        body = message.get("body")
        if body is None:
            return self._send_head(message, shape, values)
        if shape.length < 0 or int(values[shape.length]) != len(body):
            raise RuntimeError("A whole answer has a Content-Length, and it is that of the body.")
        self._send_whole(STATUS_LINE[message["status"]] + shape.lines % values + body)
        return SENT

    async def _send_rare(self, message: Any) -> None:
        """The library's way, which knows no head with a body."""
        await super().send(message)
        if "body" in message and message["type"] == "http.response.start":
            await super().send({"type": "http.response.body", "body": message["body"]})

    def _send_whole(self, data: bytes) -> None:
        self.response_started = self.response_complete = True
        self.transport.write_on(data)
        self.message_event.set()
        self.on_response()

    def _send_piece(self, message: Any) -> Awaitable[None]:
        """A part of the body; for a client that keeps up it is written at once, without a coroutine of its own."""
        if (
            self._is_stream
            and message.get("more_body")
            and not (self.flow.write_paused or self.disconnected or self.response_complete)
        ):
            # An empty chunk would be the end of a chunked body.
            if body := message.get("body"):
                self.transport.write_on(b"%x\r\n%b\r\n" % (len(body), body))
            return SENT
        return self._send_rare_piece(message)

    def write_piece(self, body: bytes) -> None:
        """Write a piece of a stream past `send`, and so past its waiting for the client."""
        if body and not self.disconnected:
            self.transport.write_on(b"%x\r\n%b\r\n" % (len(body), body))

    def _send_rare_piece(self, message: Any) -> Awaitable[None]:
        body, more = message.get("body", b""), message.get("more_body", False)
        if (
            not (self.chunked_encoding or (len(body) == self.expected_content_length and not more))
            or self.response_complete
            or self.flow.write_paused
            or self.disconnected
            or not self.keep_alive
            or message["type"] != "http.response.body"
            or self.scope["method"] == "HEAD"
        ):
            return super().send(message)
        if self.chunked_encoding:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        # The last piece and the end of the body in one write.
        self.transport.write(body)
        if not more:
            self.response_complete, self.expected_content_length = True, 0
            self.message_event.set()
            self.on_response()
        return SENT

    def _send_head(self, message: Any, shape: Shape, values: tuple[bytes, ...]) -> Awaitable[None]:
        # The fields are those that uvicorn sets at this point; its own code reads them when a piece goes its way.
        self.response_started, self.waiting_for_100_continue = True, False
        self.chunked_encoding = shape.length < 0
        head = STATUS_LINE[message["status"]] + shape.lines % values
        if self.chunked_encoding:
            self._is_stream = True
            self.transport.write(head)
            message[WRITER] = self
        else:
            self.expected_content_length = int(values[shape.length])
            # With a length the body follows at once and whole, so the two go out in one write.
            self.transport.hold(head)
        return SENT


class CarefulCycle(RequestResponseCycle):
    """For HTTP/1.0, and for clients that wait for `100 Continue`. Nearly no request is either."""

    _ends_with_connection = False

    async def send(self, message: Any) -> None:
        """Without chunks for HTTP/1.0 (RFC 9112 6.1); an answer that came before the body is the connection's last."""
        if message["type"] == "http.response.start":
            if self.waiting_for_100_continue and self.more_body:
                self.keep_alive = False  # it is unknown whether the body will still come (RFC 9110 10.1.1)
            self._choose_end(message)
        elif self._ends_with_connection:
            # uvicorn checks a body against its length. This one has none, so each part is given its own.
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)

    def _choose_end(self, message: Any) -> None:
        names = {name.lower() for name, _ in message.get("headers", [])}
        if self.scope["http_version"] == "1.0" and not names & LENGTHS and self.scope["method"] != "HEAD":
            self._ends_with_connection = True
            self.chunked_encoding = False


class HeldFlow(FlowControl):
    """Flow control that goes on reading only when no request waits behind another: an answer must not read for them."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._is_writable_event = cast("asyncio.Event", Event())
        self._is_writable_event.set()
        self.held = False

    def resume_reading(self) -> None:
        if self.read_paused and not self.held:
            super().resume_reading()


class Trailers(list[tuple[bytes, bytes]]):
    """Drops the fields behind a chunked body: what a proxy takes out of a head could come back in them."""

    def append(self, _field: tuple[bytes, bytes]) -> None:
        """Drop it."""


class AfterUpgrade:
    """Callbacks of a parser that is fed a head which has been served already, without its wish for an upgrade."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._replaying = True
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        """Passed on for later messages only: the first one has begun before."""
        if not self._replaying:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._replaying:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._replaying:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        """From the next message on everything is passed to the protocol."""
        if self._replaying:
            self._replaying = False
        else:
            self._protocol.on_headers_complete()


class DiscardingParser:
    """Stands in for the parser of a connection on which nothing more is understood; counts what is thrown away."""

    def __init__(self) -> None:
        self.bytes = 0

    def feed_data(self, data: bytes) -> None:
        self.bytes += len(data)
