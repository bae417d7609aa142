"""OpenAI Chat Completions as a public format."""

from __future__ import annotations

import msgspec

from bridge.chat.errors import GatewayError
from bridge.wire.bodies import FieldError
from bridge.wire.format import ParsedRequest, WireFormat
from bridge.wire.openai import request as openai_request
from bridge.wire.openai.encoder import ChatReply
from bridge.wire.openai.errors import error_object, refusal, shape_of


class OpenAIChat(WireFormat):
    """Chat Completions as a public format; its one instance is FORMAT."""

    name = "openai"
    path = "/v1/chat/completions"
    base_url = "The base URL for OpenAI clients ends in /v1"
    paths_not_served = (
        "completions", "embeddings", "moderations", "images", "audio", "files", "batches", "assistants",
        "threads", "vector_stores", "fine_tuning", "realtime", "conversations", "containers", "uploads", "videos",
        "evals", "rerank", "chatkit",
    )  # fmt: skip

    def parse(self, body: bytes) -> ParsedRequest[ChatReply]:
        """Raise InvalidRequest, naming the field, for anything that is not a request."""
        try:
            return openai_request.read(body)
        except FieldError as error:
            raise refusal(error) from None

    def error(self, error: GatewayError, request_id: str) -> tuple[int, bytes]:
        """Status and body of an error before the first byte; the id stands in a header only."""
        return shape_of(error).status, msgspec.json.encode(error_object(error))


FORMAT = OpenAIChat()
