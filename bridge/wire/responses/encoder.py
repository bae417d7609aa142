"""Replies of Responses: the events of a stream, the whole body, and the record that is stored of either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, assert_never

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
from bridge.wire import sse
from bridge.wire.format import Encoder, ReplyHead
from bridge.wire.openai.errors import error_object
from bridge.wire.responses import output_items as items
from bridge.wire.responses import stored
from bridge.wire.responses.open_item import OpenItem, open_call, open_message, open_reasoning
from bridge.wire.responses.output_items import Item, Status
from bridge.wire.responses.response_object import INCOMPLETE, ResponseObject, status_of

STATUS: dict[bool, Status] = {True: "completed", False: "incomplete"}


class _NoDelta(TextDelta, frozen=True):
    """The delta of an item that is not open: no event is one."""


class ResponsesEncoder(Encoder):
    """
    Events of one reply, numbered without a gap. `response` is the response object once the reply has ended well;
    `deltas` and `pauses` are what it takes to send the stream again (`Kept`).

    The deltas of an open item differ in their number and their text only.
    """

    def __init__(self, head: ReplyHead, echoed: Mapping[str, Any], *, seals_reasoning: bool) -> None:
        self.response = b""
        self._id = head.request_id
        self._object = ResponseObject(head, echoed)
        self._seals = seals_reasoning
        self.number = 0
        self._created = False
        self._open: OpenItem | None = None
        # The class of the deltas that the open item takes; `_NoDelta` matches no event, so that the hot path needs
        # one test.
        self._kind: type[TextDelta | ThinkingDelta | ToolCallDelta] = _NoDelta
        self._before = b""
        self._texts: list[str] = []
        self._output: list[bytes] = []
        self.deltas: list[list[int]] = []
        self.pauses: list[int] = []

    def feed(self, events: Iterable[ChatEvent]) -> bytes:
        pieces: list[bytes] = []
        for event in events:
            # First look: another kind of event closes or opens items. Second look below: `_change` may have opened
            # one for it.
            if not isinstance(event, self._kind):
                self._change(event, pieces)
            if isinstance(event, self._kind):  # the hot path: no call but the escaping
                self._texts.append(event.text)
                pieces += (self._before, b'%d,"delta":' % self.number, sse.json_text(event.text), b"}\n\n")
                self.number += 1
        return b"".join(pieces)

    def text(self, text: str) -> bytes:
        if self._kind is not TextDelta:
            return super().text(text)
        self._texts.append(text)
        number = self.number
        self.number = number + 1
        return b'%b%d,"delta":%b}\n\n' % (self._before, number, sse.json_text(text))

    def passed_on(self, events: int) -> None:
        self._created = self._created or events > 0  # what failed then is a response
        self.number += events

    def _change(self, event: ChatEvent, pieces: list[bytes]) -> None:
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
            # Numbers are counted over every event, keep-alives included: a client resumes after the last one it has.
            case Started():
                self._create(pieces)
                self._event(pieces, "response.in_progress", response=msgspec.Raw(self._object.in_progress()))
            case KeepAlive():
                self._create(pieces)  # it comes first, or clients break
                self.pauses.append(self.number)
                self._event(pieces, "keepalive")
            case Finished():
                self._finish(event, pieces)
            case Failed():
                self._fail(event.error, pieces)
            case _:
                assert_never(event)

    def _event(self, pieces: list[bytes], name: str, /, **members: object) -> None:
        # The number moves only here and in `feed`; `replay` depends on both counting alike.
        pieces.append(sse.named(name, {"type": name, "sequence_number": self.number, **members}))
        self.number += 1

    def _create(self, pieces: list[bytes]) -> None:
        if not self._created:
            self._created = True
            self._event(pieces, "response.created", response=msgspec.Raw(self._object.in_progress()))

    def _add(self, item: OpenItem, pieces: list[bytes]) -> None:
        # `before_delta` is encoded once per item, not once per chunk.
        self._open, self._kind, self._before = item, item.delta_kind, item.before_delta()
        self._event(pieces, "response.output_item.added", output_index=item.index, item=item.begun())
        for name, members in item.opening():
            self._event(pieces, name, **members)

    def _close(self, pieces: list[bytes], *, ended: bool | None = None) -> None:
        """`ended`: the item is whole. By default text is and a call is not."""
        item, self._open, self._kind = self._open, None, _NoDelta
        if item is None:
            return
        # Text that was interrupted by another item is whole. A call is whole only if its end was reported.
        if ended is None:
            ended = item.made is None
        text, status = "".join(self._texts), STATUS[ended]
        # Lengths, not the texts: the texts are in the item, and can be cut again for a replay.
        self.deltas.append([len(piece) for piece in self._texts])
        self._texts.clear()
        for name, members in item.closing(text, status):
            self._event(pieces, name, **members)
        done = _encoded(item.done(text, status))
        # Encoded once, and put as bytes into the event, the response object and the stored record.
        self._output.append(done)
        if ended or item.made is None or not item.made.custom:  # Codex would run half of a script as it would the whole
            self._event(pieces, "response.output_item.done", output_index=item.index, item=msgspec.Raw(done))

    def _end_call(self, pieces: list[bytes]) -> None:
        made = self._open.made if self._open else None
        if made and not made.custom and not self._texts:
            pieces.append(self.feed([ToolCallDelta("{}")]))  # no arguments are an empty object: clients parse them
        self._close(pieces, ended=True)

    def _finish(self, event: Finished, pieces: list[bytes]) -> None:
        if self._open is None and not self._output:  # an empty reply: a message all the same, clients read one
            self._add(open_message(self._id, 0), pieces)
        self._close(pieces, ended=False if event.reason in INCOMPLETE else None)
        self.response = self._object.finished(event.reason, self._output, event.usage)
        self._event(pieces, f"response.{status_of(event.reason)}", response=msgspec.Raw(self.response))

    def _fail(self, error: GatewayError, pieces: list[bytes]) -> None:
        if not self._created:
            # Before `response.created` there is no response that could fail, so the bare `error` event says it.
            body = error_object(error)["error"]
            self._event(pieces, "error", code=body["code"], message=body["message"], param=body["param"])
            return
        # The open item is not closed: Codex would run a call that is only half there.
        output = list(self._output)
        if self._open is not None:
            output.append(_encoded(self._open.done("".join(self._texts), "incomplete")))
        self._event(pieces, "response.failed", response=msgspec.Raw(self._object.failed(error, output)))


class ResponsesReply:
    """What a request asked of its reply. It makes one reply, streamed or whole."""

    def __init__(
        self,
        echoed: Mapping[str, Any] | None = None,
        *,
        seals_reasoning: bool = False,
        items: Sequence[msgspec.Raw] | None = None,
    ) -> None:
        self.echoed = echoed or {}
        """Those of DEFAULTS that the request set."""
        self.seals_reasoning = seals_reasoning
        """Asked for with `include: ["reasoning.encrypted_content"]`."""
        self.items = items
        """All items the model is sent, earlier ones first; None when nothing is to be stored."""
        self._streamed: ResponsesEncoder | None = None
        self._whole = b""

    def encoder(self, head: ReplyHead) -> ResponsesEncoder:
        self._streamed = ResponsesEncoder(head, self.echoed, seals_reasoning=self.seals_reasoning)
        return self._streamed

    def whole(self, head: ReplyHead, reply: WholeReply) -> bytes:
        """The body of a reply that is not streamed."""
        output = [_encoded(item) for item in _output(head, reply, sealed=self.seals_reasoning)]
        self._whole = ResponseObject(head, self.echoed).finished(reply.reason, output, reply.usage)
        return self._whole

    def running(self, head: ReplyHead) -> stored.StoredRecord | None:
        """What can be read of it meanwhile; None when nothing is to be stored."""
        if self.items is None:
            return None
        return stored.StoredRecord(msgspec.Raw(ResponseObject(head, self.echoed).in_progress()), list(self.items))

    def cancel(self, head: ReplyHead) -> bytes:
        """The object of a reply that was cancelled; it is also what is stored."""
        # The stream is forgotten: what is stored of a cancelled reply is the object alone.
        self._streamed, self._whole = None, ResponseObject(head, self.echoed).cancelled()
        return self._whole

    @property
    def record_size(self) -> int:
        """Bytes of the record, nearly; 0 when there is nothing to store."""
        if self.items is None or not self._response:
            return 0
        return stored.size(self._response, self.items)

    def record(self) -> bytes:
        """What is stored of a reply that has ended well."""
        return stored.pack(self._response, self.items or (), self._streamed)

    @property
    def _response(self) -> bytes:
        return self._whole if self._streamed is None else self._streamed.response


def _output(head: ReplyHead, reply: WholeReply, *, sealed: bool) -> list[Item]:
    """The items of a whole reply, as a stream of it would have had them."""
    # A reply without a word has one empty message, as a stream of it has: clients read the first item.
    parts = reply.parts or [Text("")]
    output = []
    for index, part in enumerate(parts):
        # Only the last item can be cut by a limit; those before it ended when the next one began.
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
