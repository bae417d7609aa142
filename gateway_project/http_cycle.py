"""One request and its answer, where uvicorn's own would say something that the client cannot understand."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

LENGTHS = {b"content-length", b"transfer-encoding"}


class CarefulCycle(RequestResponseCycle):
    """For HTTP/1.0, and for clients that wait for `100 Continue`. Nearly no request is either."""

    _ends_with_connection = False

    async def send(self, message: Any) -> None:
        """Without chunks for HTTP/1.0 (RFC 9112 6.1); an answer that came before the body is the connection's last."""
        if message["type"] == "http.response.start":
            if self.waiting_for_100_continue and self.more_body:
                self.keep_alive = False  # nobody knows whether the body will still come (RFC 9110 10.1.1)
            self._choose_end(message)
        elif self._ends_with_connection:
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
        self.held = False

    def resume_reading(self) -> None:
        """Read on, unless requests wait."""
        if not self.held:
            super().resume_reading()


class Trailers(list[tuple[bytes, bytes]]):
    """Where the fields behind a chunked body go: nowhere. What a proxy takes out of a head may come back in them."""

    def append(self, _field: tuple[bytes, bytes]) -> None:
        """Drop it."""


class AfterUpgrade:
    """Callbacks of a parser that is fed a head which has been served already, without its wish for an upgrade."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._known = True
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        """The first message has begun long ago."""
        if not self._known:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """The same."""
        if not self._known:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """The same; a trailer goes where trailers go."""
        if not self._known:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here on everything is new."""
        if self._known:
            self._known = False
        else:
            self._protocol.on_headers_complete()


class Deaf:
    """Stands in for the parser of a connection on which nothing more is understood; counts what is thrown away."""

    def __init__(self) -> None:
        self.bytes = 0

    def feed_data(self, data: bytes) -> None:
        """Throw it away."""
        self.bytes += len(data)
