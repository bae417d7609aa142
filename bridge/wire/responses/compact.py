"""`POST /v1/responses/compact`: a conversation to its own summary, which later requests send instead of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bridge.chat.errors import GatewayError, UpstreamFailed
from bridge.chat.fold import WholeReply
from bridge.chat.request import ChatRequest, Message
from bridge.wire.format import Encoder, ReplyHead, WireFormat
from bridge.wire.responses import encoder as responses
from bridge.wire.responses import output_items as responses_items
from bridge.wire.responses.response_object import usage_object
from bridge.wire.responses.stored import listed

TASK = (
    "Sum up this conversation so that it can be continued from your summary alone: what was asked, what was "
    "decided and why, what was done and found, names, paths and figures to the letter, and what is left to do. "
    "Call no tool. Answer with the summary and nothing else."
)


class Compacting(msgspec.Struct, frozen=True):
    """A compaction's echo: what people said, which stays as it is."""

    said: tuple[msgspec.Raw, ...]


class _Kind(msgspec.Struct):
    type: str | None = None
    role: str | None = None


_KIND = msgspec.json.Decoder(_Kind)


def compacting(request: ChatRequest, items: Sequence[msgspec.Raw]) -> ChatRequest:
    """The request for a summary of this one's conversation, whose input `items` are: no tools, and not streamed."""
    return ChatRequest(
        model=request.model,
        messages=(*request.messages, Message("user", TASK)),
        thinking=False,
        ids=request.ids,
        marks_waiting_calls=request.marks_waiting_calls,
        echo=Compacting(_peoples(items)),
    )


def _peoples(items: Sequence[msgspec.Raw]) -> tuple[msgspec.Raw, ...]:
    """The messages that are not the model's."""
    return tuple(raw for raw in items if (kind := _KIND.decode(raw)).role and kind.role != "assistant")


class Compaction:
    """The format; its one instance is FORMAT."""

    name = "openai"

    def parse(self, body: bytes) -> ChatRequest:
        """Raise InvalidRequest, naming the field."""
        draft = responses.FORMAT.draft(body)
        return compacting(draft.request({}), draft.told)

    def encoder(self, head: ReplyHead) -> Encoder:
        """Nothing here is streamed; the request says so."""
        return responses.FORMAT.encoder(head)

    def whole(self, head: ReplyHead, reply: WholeReply) -> bytes:
        """What people said, and the summary of all."""
        if not reply.text:
            raise UpstreamFailed("The model gave no summary.")
        said = head.echo.said if isinstance(head.echo, Compacting) else ()
        id_ = responses_items.response_id(head.request_id)
        output = [listed(raw, id_, index) for index, raw in enumerate(said)]
        output.append(responses_items.compaction(f"cmp_{head.request_id}", reply.text))
        told = {
            "id": id_,
            "object": "response.compaction",
            "created_at": head.created,
            "output": output,
            "usage": usage_object(reply.usage),
        }
        return msgspec.json.encode(told)

    def error(self, error: GatewayError, request_id: str) -> tuple[int, bytes]:
        """As for any response."""
        return responses.FORMAT.error(error, request_id)


FORMAT: WireFormat = Compaction()
