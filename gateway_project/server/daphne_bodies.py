"""daphne's requests, with bounds on their bodies: twisted keeps a whole body, on the disk, before anybody is asked."""

from __future__ import annotations

import io
import time
from collections.abc import Collection
from typing import Any, Final

import daphne.server
from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet import reactor

from bridge.http.body import MAX_BODY
from gateway_project.server import bodies, refusals
from gateway_project.server.bounds import Bounds
from gateway_project.server.refusals import Refusal, rendered
from gateway_project.server.uploads import AROUND_FILE

loop: Any = reactor  # twisted types it as a module
BOUNDS = Bounds()
CHECK_SEC: Final = 0.5


class Bodies:
    """Those of this process that are being read, or answered."""

    def __init__(self, most_together: int, uploads: Collection[str], most_of_upload: int) -> None:
        """`uploads` are the paths of large files: of those one comes at a time, and beside the others."""
        self.held = 0
        self.uploading: BoundedRequest | None = None
        self._most_together = most_together
        self._uploads = uploads
        self._most_of_upload = most_of_upload

    def most_of(self, path: bytes) -> int:
        """How large a body may be; the application refuses what is larger, in the protocol of the path."""
        if path.startswith(b"/v1"):
            return MAX_BODY
        return self._most_of_upload + AROUND_FILE if self.is_upload(path) else bodies.MOST

    def is_upload(self, path: bytes) -> bool:
        return path.decode("latin-1") in self._uploads

    def take(self, request: BoundedRequest, size: int) -> bool:
        """Whether so many more bytes may be kept."""
        if self.is_upload(request.target):
            self.uploading = self.uploading or request
            return self.uploading is request
        if self.held + size > self._most_together:
            return False
        self.held += size
        request.held += size
        return True

    def give_back(self, request: BoundedRequest) -> None:
        self.held -= request.held
        request.held = 0
        if self.uploading is request:
            self.uploading = None


class BoundedRequest(WebRequest):  # type: ignore[misc]  # daphne has no types
    """One request. The methods that twisted calls as its body comes are overridden; all else is daphne's."""

    bodies: Bodies
    """Set on a subclass, one per process."""
    content: Any

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - twisted's names
        """The head is there. `length` is None where nobody knows how long the body is."""
        self.target: bytes = self.channel._path.partition(b"?")[0]
        self.held = self.size = 0
        self.is_over = self.is_left = self.is_answered = False
        """The body has ended, or nobody reads it; the answer to the latter is out."""
        self._most = self.bodies.most_of(self.target)
        self._began = self._since = time.monotonic()
        super().gotLength(0 if length is not None and length > self._most else length)
        if length != 0:
            loop.callLater(CHECK_SEC, self._look)
        if length is not None and length > self._most:
            self._answer_early()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """More of the body."""
        self.size += len(data)
        self._since = time.monotonic()
        if self.is_left:
            return
        if self.size > self._most:
            self._answer_early()
        elif self.bodies.take(self, len(data)):
            super().handleContentChunk(data)
        else:
            self._end(refusals.TOO_MANY_BYTES)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        """The body is whole."""
        self.is_over = True
        if not self.is_left:
            super().requestReceived(command, path, version)
        elif self.is_answered:
            self._cleanup()

    def _answer_early(self) -> None:
        """Have the application refuse it by its length, before it reads any. The rest is thrown away."""
        self._leave()
        if not self.requestHeaders.hasHeader(b"content-length"):
            self.requestHeaders.removeHeader(b"transfer-encoding")
            self.requestHeaders.setRawHeaders(b"content-length", [b"%d" % self.size])
        self.responseHeaders.setRawHeaders(b"connection", [b"close"])
        channel = self.channel
        super().requestReceived(channel._command, channel._path, channel._version)

    def _end(self, refusal: Refusal) -> None:
        """Refuse it here, in the shape of the protocol of the path."""
        self._leave()
        self.channel.transport.write(rendered(refusal, self.target, []))
        self.is_answered = True

    def _leave(self) -> None:
        """Nothing of the body is kept any more; the connection ends with the answer."""
        self.is_left = True
        self._since = time.monotonic()
        self.channel.persistent = False
        self.content.close()
        self.content = io.BytesIO()
        self.bodies.give_back(self)

    def _cleanup(self) -> None:
        """The answer is out. While the client still sends its body, it could not read it if the connection ended."""
        self.is_answered = True
        if self.is_over or not self.is_left:
            self.bodies.give_back(self)
            super()._cleanup()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        self.is_over = True
        self.bodies.give_back(self)
        super().connectionLost(reason)

    def _look(self) -> None:
        """Whether the body still comes, and fast enough."""
        if self.is_over or self.channel is None:
            return
        now, size = time.monotonic(), self.size
        if not self.is_left:
            allowed = BOUNDS.body_grace_sec + size / BOUNDS.body_bytes_per_sec
            if now - self._since > BOUNDS.body_silence_sec or now - self._began > allowed:
                self._end(refusals.TIMEOUT)
        elif self.is_answered:
            silent = now - self._since > BOUNDS.linger_silence_sec
            if silent or now - self._began > BOUNDS.leftover_sec or size > self._most + BOUNDS.leftover_bytes:
                self.is_over = True
                self.channel.loseConnection()
                return
        loop.callLater(CHECK_SEC, self._look)


def install(held: Bodies) -> None:
    """Have daphne make such requests. Before its server is made."""

    class Request(BoundedRequest):
        bodies = held

    class Factory(HTTPFactory):  # type: ignore[misc]
        def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
            protocol = super().buildProtocol(addr)
            protocol.requestFactory = Request
            return protocol

    # daphne takes none.
    daphne.server.HTTPFactory = Factory
