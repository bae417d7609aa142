"""`POST /v1/responses/compact`: a conversation to its own summary, which later requests send instead of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bridge.chat.errors import GatewayError, UpstreamFailed
from bridge.chat.fold import WholeReply
from bridge.chat.request import ChatRequest, Message
from bridge.wire.format import ParsedRequest, ReplyHead, WireFormat
from bridge.wire.responses import output_items as responses_items
from bridge.wire.responses.encoder import ResponsesEncoder, ResponsesReply
from bridge.wire.responses.format import FORMAT as RESPONSES
from bridge.wire.responses.response_object import usage_object
from bridge.wire.responses.stored import listed

TASK = (
    "Sum up this conversation so that it can be continued from your summary alone: what was asked, what was "
    "decided and why, what was done and found, names, paths and figures to the letter, and what is left to do. "
    "Call no tool. Answer with the summary and nothing else."
)


class _Kind(msgspec.Struct):
    type: str | None = None
    role: str | None = None


_KIND = msgspec.json.Decoder(_Kind)


class CompactionReply:
    """The reply to a compaction: the summary in an item of its own. It is never streamed."""

    def __init__(self, messages: Sequence[msgspec.Raw]) -> None:
        self._messages = messages  # of people, which stay as they are

    def encoder(self, head: ReplyHead) -> ResponsesEncoder:
        """Nothing here is streamed; the request says so."""
        return ResponsesReply().encoder(head)

    def whole(self, head: ReplyHead, reply: WholeReply) -> bytes:
        """What people wrote, and the summary of all."""
        if not reply.text:
            # An empty summary would erase the conversation of a client that trusts it.
            raise UpstreamFailed("The model gave no summary.")
        id_ = responses_items.response_id(head.request_id)
        output = [listed(raw, id_, index) for index, raw in enumerate(self._messages)]
        output.append(responses_items.compaction(f"cmp_{head.request_id}", reply.text))
        compaction = {
            "id": id_,
            "object": "response.compaction",
            "created_at": head.created,
            "output": output,
            "usage": usage_object(reply.usage),
        }
        return msgspec.json.encode(compaction)


def compaction_of(request: ChatRequest, items: Sequence[msgspec.Raw]) -> ParsedRequest[CompactionReply]:
    """The request for a summary of this one's conversation, whose input `items` are: no tools, and not streamed."""
    summary = ChatRequest(
        model=request.model,
        messages=(*request.messages, Message("user", TASK)),
        # Reasoning about a summary costs time, and nobody sees it.
        thinking=False,
        ids=request.ids,
        can_show_executed_calls=request.can_show_executed_calls,
    )
    return ParsedRequest(summary, CompactionReply(_messages_of_people(items)))


def _messages_of_people(items: Sequence[msgspec.Raw]) -> tuple[msgspec.Raw, ...]:
    return tuple(raw for raw in items if (kind := _KIND.decode(raw)).role and kind.role != "assistant")


class Compaction(WireFormat):
    """The format; its one instance is FORMAT. It is served beside Responses, and not listed."""

    name = RESPONSES.name
    path = "/v1/responses/compact"

    def parse(self, body: bytes) -> ParsedRequest[CompactionReply]:
        """Raise InvalidRequest, naming the field, for anything that is not a request."""
        # Read like any request, so that an error has the same words as on `/v1/responses`.
        draft = RESPONSES.draft(body)
        return compaction_of(draft.complete({}).request, draft.items)

    def error(self, error: GatewayError, request_id: str) -> tuple[int, bytes]:
        return RESPONSES.error(error, request_id)


FORMAT = Compaction()
