"""Anthropic Messages as a public format, and the counting of its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from bridge.chat.errors import GatewayError
from bridge.chat.request import ChatRequest
from bridge.wire.anthropic import request as anthropic_request
from bridge.wire.anthropic.encoder import MessagesReply
from bridge.wire.anthropic.errors import error_object, refusal, status_of
from bridge.wire.bodies import FieldError
from bridge.wire.format import ParsedRequest, WireFormat
from bridge.wire.rate_limits import RateLimit, anthropic_headers

T = TypeVar("T")

_REPLY = MessagesReply()


class AnthropicMessages(WireFormat):
    """Anthropic Messages as a public format; its one instance is FORMAT."""

    name = "anthropic"
    path = "/v1/messages"
    client_headers = (b"anthropic-version", b"anthropic-beta")
    id_header = b"request-id"
    pages_models = True
    base_url = "The base URL for Anthropic clients is the gateway's address without /v1"
    other_paths = ("messages/count_tokens",)
    hides_not_found = True
    paths_not_served = ("messages/batches", "complete", "skills", "organizations")

    def parse(self, body: bytes) -> ParsedRequest[MessagesReply]:
        """Raise InvalidRequest, naming the field, for anything that is not a request."""
        return ParsedRequest(_read(anthropic_request.read, body), _REPLY)

    def parse_to_count(self, body: bytes) -> ChatRequest:
        """The request of a `count_tokens` body, which need not have `max_tokens`."""
        return _read(anthropic_request.read_to_count, body)

    def token_count(self, tokens: int) -> bytes:
        """The body that answers `count_tokens`."""
        return b'{"input_tokens":%d}' % tokens

    def error(self, error: GatewayError, request_id: str) -> tuple[int, bytes]:
        """Status and body of an error before the first byte; the body's id is `req_` and the given one."""
        return status_of(error), msgspec.json.encode(error_object(error, request_id))

    def limit_headers(self, kind: bytes, state: RateLimit) -> list[tuple[bytes, bytes]]:
        """`anthropic-ratelimit-…`."""
        return anthropic_headers(kind, state)


def _read(reader: Callable[[bytes], T], body: bytes) -> T:
    try:
        return reader(body)
    except FieldError as error:
        raise refusal(error) from None
    except RecursionError:  # blocks in blocks, to any depth
        raise refusal(FieldError("invalid_value", ("messages",), reason="It is nested too deeply.")) from None


FORMAT = AnthropicMessages()
