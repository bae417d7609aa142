"""OpenAI Responses: parse a request, encode a reply, shape an error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import msgspec

from bridge.chat.errors import GatewayError
from bridge.chat.events import (
    ChatEvent,
    Failed,
    Finished,
    KeepAlive,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from bridge.chat.fold import Call, Text, Thinking, WholeReply
from bridge.chat.request import ChatRequest
from bridge.wire import sse
from bridge.wire.bodies import Flaw
from bridge.wire.format import Encoder, ReplyHead, WireFormat
from bridge.wire.openai.errors import error_object, refusal, shape_of
from bridge.wire.responses import output_items as items
from bridge.wire.responses.open_item import OpenItem, open_call, open_message, open_reasoning
from bridge.wire.responses.output_items import Item, Status
from bridge.wire.responses.request import Draft
from bridge.wire.responses.response_object import INCOMPLETE, ResponseObject, asked_in, status_of

STATUS: dict[bool, Status] = {True: "completed", False: "incomplete"}


class _NoDelta(TextDelta, frozen=True):
    """The delta of an item that is not open: no event is one."""


class ResponsesEncoder:
    """
    Events of one reply, numbered without a gap. `whole` is the response object once the reply has ended well;
    `deltas` and `pauses` are what it takes to tell the stream again (`Kept`).

    The deltas of an open item differ in their number and their text only.
    """

    def __init__(self, head: ReplyHead) -> None:
        self.whole = b""
        self._id = head.request_id
        self._object = ResponseObject(head)
        self._seals = asked_in(head).seals_reasoning
        self.number = 0
        self._created = False
        self._open: OpenItem | None = None
        self._kind: type[TextDelta | ThinkingDelta | ToolCallDelta] = _NoDelta
        self._before = b""
        self._texts: list[str] = []
        self._output: list[bytes] = []
        self.deltas: list[list[int]] = []
        self.pauses: list[int] = []

    def feed(self, events: Iterable[ChatEvent]) -> bytes:
        """Encode the next events."""
        pieces: list[bytes] = []
        for event in events:
            if not isinstance(event, self._kind):
                self._turn_to(event, pieces)
            if isinstance(event, self._kind):  # the hot path: no call but the escaping
                self._texts.append(event.text)
                pieces += (self._before, b'%d,"delta":' % self.number, sse.json_text(event.text), b"}\n\n")
                self.number += 1
        return b"".join(pieces)

    def _turn_to(self, event: ChatEvent, pieces: list[bytes]) -> None:
        """Whatever is no further delta of the open item: close it, open another, or end."""
        match event:
            case TextDelta():
                self._close(pieces)
                self._add(open_message(self._id, len(self._output)), pieces)
            case ThinkingDelta():
                self._close(pieces)
                self._add(open_reasoning(self._id, len(self._output), sealed=self._seals), pieces)
            case ToolCallStarted():
                self._close(pieces)
                self._add(open_call(self._id, len(self._output), event), pieces)
            case ToolCallDelta():
                pass  # only an open call has some
            case ToolCallEnded():
                self._end_call(pieces)
            case Started():
                self._create(pieces)
                self._tell(pieces, "response.in_progress", response=msgspec.Raw(self._object.in_progress()))
            case KeepAlive():
                self._create(pieces)  # it comes first, or clients break
                self.pauses.append(self.number)
                self._tell(pieces, "keepalive")
            case Finished():
                self._finish(event, pieces)
            case Failed():
                self._fail(event.error, pieces)
            case _:
                assert_never(event)

    def _tell(self, pieces: list[bytes], name: str, /, **members: object) -> None:
        pieces.append(sse.named(name, {"type": name, "sequence_number": self.number, **members}))
        self.number += 1

    def _create(self, pieces: list[bytes]) -> None:
        if not self._created:
            self._created = True
            self._tell(pieces, "response.created", response=msgspec.Raw(self._object.in_progress()))

    def _add(self, item: OpenItem, pieces: list[bytes]) -> None:
        self._open, self._kind, self._before = item, item.delta_kind, item.before_delta()
        self._tell(pieces, "response.output_item.added", output_index=item.index, item=item.begun())
        for name, members in item.opening():
            self._tell(pieces, name, **members)

    def _close(self, pieces: list[bytes], *, ended: bool | None = None) -> None:
        """`ended`: the item is whole. Unless told otherwise, text is and a call is not."""
        item, self._open, self._kind = self._open, None, _NoDelta
        if item is None:
            return
        if ended is None:
            ended = item.made is None
        text, status = "".join(self._texts), STATUS[ended]
        self.deltas.append([len(piece) for piece in self._texts])
        self._texts.clear()
        for name, members in item.closing(text, status):
            self._tell(pieces, name, **members)
        done = _encoded(item.done(text, status))
        self._output.append(done)
        if ended or item.made is None or not item.made.custom:  # Codex would run half of a script as it would the whole
            self._tell(pieces, "response.output_item.done", output_index=item.index, item=msgspec.Raw(done))

    def _end_call(self, pieces: list[bytes]) -> None:
        made = self._open.made if self._open else None
        if made and not made.custom and not self._texts:
            pieces.append(self.feed([ToolCallDelta("{}")]))  # no arguments are an empty object: clients parse them
        self._close(pieces, ended=True)

    def _finish(self, event: Finished, pieces: list[bytes]) -> None:
        if self._open is None and not self._output:  # nothing was said: a message all the same, clients read one
            self._add(open_message(self._id, 0), pieces)
        self._close(pieces, ended=False if event.reason in INCOMPLETE else None)
        self.whole = self._object.finished(event.reason, self._output, event.usage)
        self._tell(pieces, f"response.{status_of(event.reason)}", response=msgspec.Raw(self.whole))

    def _fail(self, error: GatewayError, pieces: list[bytes]) -> None:
        if not self._created:
            told = error_object(error)["error"]
            self._tell(pieces, "error", code=told["code"], message=told["message"], param=told["param"])
            return
        # The open item is not closed: Codex would run a call that is only half there.
        output = list(self._output)
        if self._open is not None:
            output.append(_encoded(self._open.done("".join(self._texts), "incomplete")))
        self._tell(pieces, "response.failed", response=msgspec.Raw(self._object.failed(error, output)))


class OpenAIResponses:
    """The format; its one instance is FORMAT."""

    name = "openai"

    def draft(self, body: bytes, *, counting: bool = False) -> Draft:
        """Read a body as far as it goes by itself. `counting`: its tokens only, so it need not be whole."""
        try:
            return Draft(body, counting=counting)
        except Flaw as flaw:
            raise refusal(flaw) from None

    def parse(self, body: bytes) -> ChatRequest:
        """Raise InvalidRequest, naming the field, for anything that is no request or needs a stored response."""
        return self.draft(body).request({})

    def encoder(self, head: ReplyHead) -> ResponsesEncoder:
        """Start a streamed reply."""
        return ResponsesEncoder(head)

    def whole(self, head: ReplyHead, reply: WholeReply) -> bytes:
        """The body of a reply that is not streamed."""
        output = [_encoded(item) for item in _output(head, reply)]
        return ResponseObject(head).finished(reply.reason, output, reply.usage)

    def error(self, error: GatewayError, request_id: str) -> tuple[int, bytes]:
        """Status and body of an error before the first byte; the id stands in a header only."""
        return shape_of(error).status, msgspec.json.encode(error_object(error))


def _output(head: ReplyHead, reply: WholeReply) -> list[Item]:
    """The items of a whole reply, as a stream of it would have told them."""
    parts = reply.parts or [Text("")]
    sealed = asked_in(head).seals_reasoning
    output = []
    for index, part in enumerate(parts):
        is_cut = part is parts[-1] and reply.reason in INCOMPLETE
        ended = part.complete if isinstance(part, Call) else not is_cut
        id_ = items.item_id(_prefix(part), head.request_id, index)
        output.append(_item(part, id_, STATUS[ended], sealed))
    return output


def _prefix(part: Text | Thinking | Call) -> str:
    if isinstance(part, Call):
        return items.call_prefix(part)
    return "msg" if isinstance(part, Text) else "rs"


def _item(part: Text | Thinking | Call, id_: str, status: Status, sealed: bool) -> Item:
    match part:
        case Text():
            return items.message(id_, status, part.text)
        case Thinking():
            return items.reasoning(id_, status, part.text, sealed=sealed)
        case Call():
            empty = "{}" if part.complete and not part.custom else ""
            return items.call(id_, status, part, part.arguments or empty)


def _encoded(item: Item) -> bytes:
    return sse.one_line(msgspec.json.encode(item))


FORMAT = OpenAIResponses()
_checked: tuple[WireFormat, type[Encoder]] = (FORMAT, ResponsesEncoder)
