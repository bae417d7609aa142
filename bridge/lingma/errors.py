"""
What goes wrong between the gateway and a service, as the two see it. No client reads any of it: what a client gets
is a GatewayError (`bridge/chat/errors.py`).

LingmaError
├── StartFailed         the program could not be started or found
├── DialFailed          it could not be connected to
├── NotReady            it is there and cannot be used
├── RpcError            it answered a request with an error
├── VsixError           there is no program to be had out of the package
├── DownloadFailed      the package could not be fetched
└── ProtocolError       what it sends cannot be understood: the connection ends
    ├── Refused         it did not take the upgrade to a WebSocket
    ├── Broken          it does not speak WebSocket, or closed it
    ├── FramingError    the stream of messages cannot be followed any further
    └── NotJson         a body is no JSON object

GatewayError
└── UpstreamFailed
    └── UploadFailed            the service did not take an image; the turn can go on without it
        └── UploadTimedOut      ... and gave no answer within the time limit
"""

from __future__ import annotations

from bridge.chat.errors import UpstreamFailed, UpstreamTimeout
from gateway_project.lib.texts import Text


class LingmaError(Exception):
    """The message says why."""


class StartFailed(LingmaError):
    """The program could not be started or found."""


class DialFailed(LingmaError):
    """No connection. `reason` is what of the message is worth saying beside that nobody answers."""

    def __init__(self, message: str, reason: str = "", *, refused: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.refused = refused
        """The host is there, and nobody listens."""


class NotReady(LingmaError):
    """The service is there but cannot be used."""


class RpcError(LingmaError):
    """The service answered a request with an error; the message is its own wording (PROTOCOL 5.3)."""


class VsixError(LingmaError):
    """The executable cannot be taken from the VSIX; the message is one line and says why."""

    def __init__(self, template: str, **values: object) -> None:
        self.text = Text(template, **values)
        super().__init__(self.text)


class DownloadFailed(LingmaError):
    """The message is one line and says why, without the secrets a URL may hold."""


class ProtocolError(LingmaError):
    """The connection cannot be trusted any more."""


class Refused(ProtocolError):
    """The server did not take the upgrade. The message says why, e.g. `HTTP 404`."""


class Broken(ProtocolError):
    """The peer does not speak WebSocket, or closed it."""


class FramingError(ProtocolError):
    """The stream cannot be followed any further; the connection must be closed."""


class NotJson(ProtocolError):
    """A body that is no JSON object (PROTOCOL 4.3)."""


class UploadFailed(UpstreamFailed):
    """The service did not take an image; the turn can go on without it."""


class UploadTimedOut(UploadFailed, UpstreamTimeout):
    """No answer within the time limit."""
