"""OpenAI Responses as a public format."""

from __future__ import annotations

import msgspec

from bridge.chat.errors import GatewayError
from bridge.wire.bodies import FieldError
from bridge.wire.format import ParsedRequest, WireFormat
from bridge.wire.openai.errors import error_object, refusal, shape_of
from bridge.wire.openai.format import OpenAIChat
from bridge.wire.responses.encoder import ResponsesReply
from bridge.wire.responses.request import Draft


class OpenAIResponses(WireFormat):
    """OpenAI Responses as a public format; its one instance is FORMAT."""

    name = OpenAIChat.name
    path = "/v1/responses"
    base_url = OpenAIChat.base_url

    def draft(self, body: bytes, *, counting: bool = False) -> Draft:
        """Read a body as far as it goes by itself. `counting`: its tokens only, so it need not be whole."""
        try:
            return Draft(body, counting=counting)
        except FieldError as error:
            raise refusal(error) from None

    def parse(self, body: bytes) -> ParsedRequest[ResponsesReply]:
        """Raise InvalidRequest, naming the field, for anything that is no request or needs a stored response."""
        return self.draft(body).complete({})

    def error(self, error: GatewayError, request_id: str) -> tuple[int, bytes]:
        """Status and body of an error before the first byte; the id stands in a header only."""
        return shape_of(error).status, msgspec.json.encode(error_object(error))


FORMAT = OpenAIResponses()
