"""Answers to what is no request that anybody could serve: written by the server itself, and the connection ends."""

from __future__ import annotations

import http
import time
from typing import Final

import msgspec

from bridge.runtime.new_id import request_id
from gateway_project.lib.public_formats import PUBLIC_FORMATS
from gateway_project.server.upstream_header import upstream_header

ANTHROPIC: Final = tuple(each.path.encode() for each in PUBLIC_FORMATS if each.protocol == "anthropic")
"""Paths whose errors have the shape of Anthropic's; all others have that of OpenAI's."""


class Refusal(msgspec.Struct, frozen=True):
    """Status, code and message text. With an empty message nothing is sent: the peer has sent nothing either."""

    status: int
    code: str
    message: str
    retry_after: int = 0


BAD_REQUEST = Refusal(400, "bad_request", "This is not a valid HTTP request.")
BAD_FRAMING = Refusal(400, "bad_framing", "Transfer-Encoding has no place in an HTTP/1.0 request.")
SMALL_CHUNKS = Refusal(400, "chunks_too_small", "The body comes in very small chunks; send larger ones, or its length.")
BAD_HOST = Refusal(400, "bad_host", "A request has exactly one Host field, and the target names no other host.")
BAD_TARGET = Refusal(400, "bad_target", "The request target must be a path, or an http URL with one.")
TIMEOUT = Refusal(408, "request_timeout", "The request did not arrive in time; send it again.")
SILENT = Refusal(408, "silent_connection", "")
EXPECTATION = Refusal(417, "expectation_failed", "Only `Expect: 100-continue` is understood.")
HEAD_TOO_LARGE = Refusal(431, "header_fields_too_large", "Target and header fields exceed 64 KiB or 200 fields.")
TRAILERS_TOO_LARGE = Refusal(431, "trailer_fields_too_large", "Chunk extensions and trailers exceed 64 KiB.")
CONNECT = Refusal(501, "not_implemented", "CONNECT is not served here.")
TRANSFER_CODING = Refusal(501, "not_implemented", "Of transfer codings only `chunked` is read.")
VERSION = Refusal(505, "http_version_not_supported", "Send HTTP/1.1 or HTTP/1.0.")
PIPELINE = Refusal(503, "too_many_pipelined", "")
TOO_MANY_BYTES = Refusal(
    503, "too_many_bytes", "The gateway holds as many bytes of requests as it may; try again.", retry_after=1
)
FULL = Refusal(503, "too_many_connections", "Too many connections; try again.", retry_after=5)


class Refused(Exception):
    """Raised inside the parser's callbacks to stop it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def rendered(refusal: Refusal, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The whole answer, its body in the shape of the protocol that the path belongs to."""
    id_ = "req_" + request_id(time.time())
    body = msgspec.json.encode(_body(refusal, target, id_))
    lines = [b"HTTP/1.1 %d %b" % (refusal.status, http.HTTPStatus(refusal.status).phrase.encode())]
    lines += [b"%b: %b" % header for header in (*headers, *_names(target, id_.encode()))]
    lines += [b"content-type: application/json", b"content-length: %d" % len(body), b"connection: close"]
    # SDKs repeat 408 and 5xx by themselves; this header keeps them from it where it would be of no use.
    lines += [b"retry-after: %d" % refusal.retry_after] if refusal.retry_after else [b"x-should-retry: false"]
    return b"\r\n".join([*lines, b"", body])


def _names(target: bytes, id_: bytes) -> list[tuple[bytes, bytes]]:
    """What every answer says of itself: SDKs show the id in the error that they raise."""
    names = [(b"x-request-id", id_), upstream_header()]
    return [*names, (b"request-id", id_)] if target.startswith(ANTHROPIC) else names


def _body(refusal: Refusal, target: bytes, id_: str) -> dict[str, object]:
    # By the path alone: nothing else of the request may have been understood. See FORMATS 4.1 and 6.1.
    full = refusal.retry_after > 0  # what else the server refuses, no later try makes better
    if target.startswith(ANTHROPIC):
        error = {"type": "overloaded_error" if full else "invalid_request_error", "message": refusal.message}
        return {"type": "error", "error": error, "request_id": id_}
    kind, code = (
        ("service_unavailable_error", "server_is_overloaded") if full else ("invalid_request_error", refusal.code)
    )
    # All four fields, the empty ones too (FORMATS 4.1).
    return {"error": {"message": refusal.message, "type": kind, "param": None, "code": code}}
