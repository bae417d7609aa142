"""The consumer base: one request, its answer, and every failure as an answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from channels.generic.http import AsyncHttpConsumer

from accounts.keys.keyring import Caller
from accounts.ledger.row import UsageRow
from accounts.ledger.trace import Trace, encoded, shown
from accounts.limits.counters import Seen
from bridge.bounds.load import LARGE, HeldBody
from bridge.chat.errors import (
    GatewayError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    Unauthenticated,
    UnsupportedEncoding,
)
from bridge.http import encodings
from bridge.http.body import HungUp, Receive, read_body
from bridge.http.client_apps import client_app_of
from bridge.http.cors import Cors, cors_of
from bridge.http.limits import nearest_limits
from bridge.runtime.new_id import request_id
from bridge.runtime.process import get_runtime
from bridge.runtime.runtime import Runtime
from bridge.wire import formats
from bridge.wire.format import WireFormat
from gateway_project.lib.asgi_extensions import WHOLE, WRITER, PieceWriter
from gateway_project.lib.secrets.redaction import redacted

logger = logging.getLogger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

LONGEST_MODEL = 128
"""Characters of a model's name that a usage row has room for."""
_without_secrets = lru_cache(256)(redacted)

LARGE_PART = 1 << 16
"""Bytes of an answer that the server takes at once, whether the client reads or not."""

JSON = (b"content-type", b"application/json")
UNBUFFERED: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
"""What proxies must know of a stream."""


def shown_model(name: str) -> str:
    """The name of a model as a client wrote it: some paste their key there."""
    return _without_secrets(name[:LONGEST_MODEL])


def secret_of(value: bytes) -> str:
    """What a header carries. Nearly all are ASCII; of those that somebody made up, most clients send UTF-8."""
    try:
        return value.strip().decode()
    except UnicodeDecodeError:
        return value.strip().decode("latin-1")


class HttpConsumer(AsyncHttpConsumer):  # type: ignore[misc]  # Channels has no types
    """One request. Channels routes to it; its dispatch, which is deaf while a handler runs, is not used.

    Subclasses write `handle()` and send with `reply()`, or `start()` and `send_part()`. What they raise becomes an
    answer in the client's format, or the end of the connection when the answer has begun.
    """

    # Not split into the request and its answer: every request would pay for a second object, every chunk for a call.
    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")
    endpoint: str = ""
    """The path as usage rows and metrics have it."""
    # Python gives an object a dictionary of its own when its class learns of an attribute after many others were made.
    __slots__ = (
        "_body",
        "_cors",
        "_format",
        "base_send",
        "begun",
        "format",
        "id",
        "key_holder",
        "limited",
        "limits_seen",
        "model",
        "receive",
        "request_headers",
        "runtime",
        "scope",
        "writer",
    )

    def __init__(self, wire_format: WireFormat | None = None) -> None:
        """`wire_format`: that of the path; None where all formats share it."""
        # Channels' own makes room for a body, which is read elsewhere here.
        self._format = wire_format
        self.format: WireFormat
        """In which errors are written: the path's, or on a shared path the client's."""
        self.runtime: Runtime
        self.begun = False
        """The answer has begun."""
        self.writer: PieceWriter | None
        """Since the start of the answer: what writes pieces of a stream at once, if the server has such a thing."""
        self._body: HeldBody | None = None
        self._cors: Sequence[tuple[bytes, bytes]] = ()
        """What browsers get besides."""
        self.key_holder: Caller | None = None
        """Whose key the request carries, also when that key opens nothing any more."""
        self.limited: Caller | None = None
        """The caller, if its key is good and has limits; `limits_seen` is how they stood."""
        self.limits_seen: Seen | None = None
        self.model = ""
        """The model of the request, for its row, as soon as the body is read."""

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.base_send = send
        self.id = request_id(time.time())
        self.request_headers: dict[bytes, bytes] = dict(scope["headers"])
        # Before anything can fail: every error below is written in this format.
        self.format = self._format or self.format_of_client()
        try:
            self.runtime = await get_runtime()
            # A preflight carries no key, so it has to be answered before anybody asks for one.
            if self.runtime.cors_origins and await self._is_preflight(cors_of(self.runtime.cors_origins)):
                return
            self.check_method()
            await self.handle()
        # Nobody is left to be answered.
        except HungUp:
            pass
        except GatewayError as exc:
            self.note(exc)
            await self.refuse(exc)
            # Without this the garbage collector has to find the circle, and bodies pile up until it does.
            exc.__traceback__ = None  # its frames hold the turn, which holds the error
        except Exception:  # an edge: a bug must not leave the client hanging
            logger.exception("%s %s failed", scope["method"], scope["path"])
            error = InternalError("The gateway failed; its log says why.")
            self.note(error)
            await self.refuse(error)
        finally:
            if self._body is not None:
                # Whatever happened: a body that stays counted would close the gateway for large requests in the end.
                self._body.release()

    async def _is_preflight(self, cors: Cors) -> bool:
        """Answer a browser that asks whether a page may ask: it does so without a key."""
        # Slashes too many at the front are served as one: a base URL that ends in one is a usual slip.
        if not self.scope["path"].lstrip("/").startswith("v1"):
            return False
        allowed = cors.preflight(self.request_headers) if self.scope["method"] == "OPTIONS" else None
        if allowed is not None:
            await self.start(204, [*allowed, *self.common_headers()])
            await self.send_part(b"", last=True)
            return True
        self._cors = cors.headers(self.request_headers)
        return False

    def check_method(self) -> None:
        """Raise MethodNotAllowed for a method that is not in `methods`."""
        if self.scope["method"] not in self.methods:
            raise MethodNotAllowed(f"Not allowed here: use {' or '.join(self.methods)}.")

    async def handle(self) -> None:
        raise NotImplementedError

    async def request_body(self) -> bytes:
        """The body, whole and decoded. Raise TooLarge, InvalidRequest or HungUp."""
        bodies = self.runtime.bodies
        key_id = self.key_holder.key_id if self.key_holder else 0
        # Kept on the consumer before the first byte is read, so that a hang-up gives back what was counted.
        held = self._body = bodies.hold(key_id)
        body = await read_body(self.receive, self.request_headers, self.scope["headers"], held)
        if len(body) > LARGE:
            # Parsing a large body blocks the loop: one after the other, and others are served between.
            await bodies.turn_of_large(key_id)
        return body

    async def hold(self, caller: Caller, size: int) -> None:
        """Count what the request brings into memory beside its body. Raise RateLimited or Unavailable."""
        bodies = self.runtime.bodies
        held = self._body = self._body or bodies.hold(caller.key_id)
        held.grow(size)
        if size > LARGE:
            await bodies.turn_of_large(caller.key_id)

    def format_of_client(self) -> WireFormat:
        """The format on a path that all share; the kind of key shows nothing."""
        return formats.by_header(self.request_headers) or formats.DEFAULT

    def single(self, name: bytes) -> bytes:
        """A header that says who is asking, or b"". Raise InvalidRequest when it comes with two values."""
        headers = self.scope["headers"]
        # Without any repetition, the common case, nothing has to be looked through.
        if len(headers) != len(self.request_headers) and len({value for each, value in headers if each == name}) > 1:
            raise InvalidRequest(f"Two different {name.decode()} headers came with this request; send one.")
        return self.request_headers.get(name, b"")

    def bearer(self) -> str:
        """The token of `Authorization: Bearer`; "" for another scheme or none."""
        scheme, _, token = self.single(b"authorization").partition(b" ")
        return secret_of(token) if scheme.lower() == b"bearer" else ""

    @property
    def client_ip(self) -> str:
        """The client's address, as the server reports it behind trusted proxies."""
        return (self.scope.get("client") or ("",))[0]

    @property
    def content_type(self) -> tuple[bytes, bytes]:
        """The content type of whole replies and of errors."""
        return (b"content-type", self.format.media_type)

    def start_stream(self) -> Awaitable[None]:
        """Begin an answer that goes on for a while."""
        type_ = (b"content-type", self.format.stream_media_type)
        return self.start(200, [type_, *UNBUFFERED, *self.common_headers()])

    def common_headers(self) -> Headers:
        """The headers that every answer carries."""
        id_ = b"req_" + self.id.encode()
        headers = [(b"x-request-id", id_), (b"x-lingma-upstream", self.upstream())]
        if header := self.format.id_header:
            headers.append((header, id_))
        return headers

    def upstream(self) -> bytes:
        """The name of what stands behind the gateway, such as `lingma` or `simulator`."""
        runtime: Runtime | None = getattr(self, "runtime", None)  # none when it could not be started
        return runtime.upstream if runtime else b"unknown"

    async def reply(self, status: int, body: bytes, headers: Headers) -> None:
        """Send a whole answer; a HEAD request gets the headers of it alone."""
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        if len(body) <= LARGE_PART and WHOLE in self.scope.get("extensions", ()):
            return await self.start(status, headers, body)
        await self.start(status, headers)
        return await self.send_last(b"" if self.scope["method"] == "HEAD" else body)

    def send_last(self, part: bytes) -> Awaitable[None]:
        """The last part. A large one ends when the client has taken it: so long counts what it was made of."""
        # The empty second part is sent only when the server has drained the first: the server's back-pressure is the
        # wait.
        return self._send_large(part) if len(part) > LARGE_PART else self.send_part(part, last=True)

    async def _send_large(self, part: bytes) -> None:
        await self.send_part(part, last=False)
        await self.send_part(b"", last=True)

    def start(self, status: int, headers: Headers, whole: bytes | None = None) -> Awaitable[None]:
        """Begin the answer. `whole`: its body, for a server that takes both at once."""
        self.begun = True
        # Also on errors: a browser hides an answer without these headers from its page.
        if self._cors:
            headers = [*headers, *self._cors]
        message: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}
        if whole is not None:
            message["body"] = whole
        sent = self.base_send(message)
        self.writer = message.get(WRITER)
        return sent

    def send_part(self, body: bytes, *, last: bool) -> Awaitable[None]:
        return self.base_send({"type": "http.response.body", "body": body, "more_body": not last})

    async def refuse(self, error: GatewayError) -> None:
        """Send an error before the first byte; after it, only the end of the connection is left to show it."""
        if self.begun:
            # The status is out already, so the client can only see that the reply stops.
            return await self.send_part(b"", last=True)
        status, body = self.format.error(error, self.id)
        return await self.reply(status, body, [self.content_type, *self.common_headers(), *self._error_headers(error)])

    def note(self, error: GatewayError) -> None:
        """Count, log and file a refusal."""
        runtime: Runtime | None = getattr(self, "runtime", None)
        if runtime is not None:
            row = self.refusal(error)
            # Only for one that is filed: in a flood the others cost a count.
            if runtime.refusals.note(row, self.key_holder.hint if self.key_holder else ""):
                row.trace = encoded(self.trace(error))

    def refusal(self, error: GatewayError) -> UsageRow:
        """The usage row of a refusal."""
        status = "error" if isinstance(error, InternalError) else "refused"
        row = self.usage_row(self.model, status, time.time())
        row.reason = error.reason
        row.limit_scope, row.allowed, row.value = error.limit_scope, error.allowed, error.value
        row.retry_after = error.retry_after
        return row

    def trace(self, error: GatewayError) -> Trace:
        """The trace of a request that is refused with this error: the limits it met, field and message."""
        param = shown(".".join(map(str, error.param)))
        return Trace(limits=nearest_limits(self.limits_seen), param=param, error=shown(error.message))

    def usage_row(self, model: str, status: str, started_at: float) -> UsageRow:
        """A usage row with what every request has."""
        key = self.key_holder
        return UsageRow(
            model=shown_model(model),
            status=status,
            started_at=started_at,
            request_id=f"req_{self.id}",
            api_key_id=key.key_id if key else 0,
            team_id=key.team_id or None if key else None,
            protocol=self.format.name,
            endpoint=self.endpoint,
            client=self.client_ip,
            agent=client_app_of(self.request_headers.get(b"user-agent", b"")),
        )

    def _error_headers(self, error: GatewayError) -> Headers:
        headers: Headers = []
        if error.retry_after is not None:
            headers.append((b"retry-after", b"%d" % error.retry_after))
        if not error.retryable:
            # The SDKs of both vendors obey this header, and would else repeat by the status alone.
            headers.append((b"x-should-retry", b"false"))
        if isinstance(error, MethodNotAllowed):
            headers.append((b"allow", ", ".join(self.methods).encode()))
        if isinstance(error, UnsupportedEncoding):
            headers.append((b"accept-encoding", encodings.OFFERED.encode()))
        if isinstance(error, Unauthenticated):
            headers.append((b"www-authenticate", b"Bearer"))
        return headers
