"""A stored response as the stream that sent it: the same events with the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise

import msgspec

from bridge.chat.errors import Cancelled, InvalidRequest
from bridge.chat.events import (
    ChatEvent,
    Failed,
    Finished,
    FinishReason,
    KeepAlive,
    Started,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from bridge.wire.format import ReplyHead
from bridge.wire.responses.encoder import ResponsesEncoder
from bridge.wire.responses.response_object import DEFAULTS, INCOMPLETE
from bridge.wire.responses.stored import StoredRecord

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
REASONS = {reason: finish for finish, reason in INCOMPLETE.items()}

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Why(msgspec.Struct):
    reason: str = ""


class _Details(msgspec.Struct, frozen=True):
    reasoning_tokens: int = 0


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    output_tokens_details: _Details = _Details()


class _Part(msgspec.Struct):
    text: str = ""


class _OutputItem(msgspec.Struct):
    type: str
    status: str = "completed"
    call_id: str = ""
    name: str = ""
    namespace: str = ""
    arguments: str = ""
    input: str = ""
    content: list[_Part] = []
    summary: list[_Part] = []
    encrypted_content: str | None = None


class _Response(msgspec.Struct):
    id: str
    model: str
    created_at: int
    status: str = "completed"
    completed_at: int | None = None
    output: list[_OutputItem] = []
    incomplete_details: _Why | None = None
    usage: _Usage | None = None


_RESPONSE = msgspec.json.Decoder(_Response)


def number_of(query: Mapping[str, str]) -> int:
    """After which event the stream begins; -1 for from the first. Raise InvalidRequest."""
    value = query.get("starting_after")
    if value is None:
        return -1
    # 9 digits are more than any stream has, and keep `int` cheap on a long string of digits.
    if not value.isdecimal() or len(value) > 9:
        message = "starting_after must be the sequence_number of an event."
        raise InvalidRequest(message, param=("starting_after",), code="invalid_value")
    return int(value)


def replay(record: StoredRecord, after: int = -1) -> Iterator[bytes]:
    """The events of the stream, those up to this number left out."""
    # The same encoder as for the live stream: what is sent twice cannot differ by a line of code.
    encoder = _encoder(record)
    pauses = set(record.pauses)
    skipped = after + 1
    for event in _events(record):
        # A keep-alive has no event of its own in the record: it is known by its number alone.
        while encoder.number in pauses or (not encoder.number and 1 in pauses):  # the first comes after an event
            yield from _blocks(encoder.feed([KeepAlive()]), encoder.number, skipped)
        if isinstance(event, Failed):
            # What was sent before a cancel is not kept, so its end comes behind all that the client may have.
            encoder.number = max(encoder.number, skipped)
        yield from _blocks(encoder.feed([event]), encoder.number, skipped)


def _blocks(encoded: bytes, number: int, skipped: int) -> Iterator[bytes]:
    """The events in what was encoded; the next one after them has this number."""
    blocks = encoded.split(b"\n\n")[:-1]
    # `number` is that of the next event, so the first block here has `number - len(blocks)`.
    for block in blocks[max(0, skipped - (number - len(blocks))) :]:
        yield block + b"\n\n"


def _encoder(record: StoredRecord) -> ResponsesEncoder:
    response, fields = _RESPONSE.decode(record.response), _OBJECT.decode(record.response)
    echoed = {name: fields[name] for name in DEFAULTS if name in fields}
    seals = any(item.encrypted_content for item in response.output)
    # The clock stands still at the stored end, so that the last event has the same time as the first time.
    completed = response.completed_at or response.created_at
    request_id = response.id.removeprefix("resp_")
    head = ReplyHead(request_id, response.model, response.created_at, clock=lambda: completed)
    return ResponsesEncoder(head, echoed, seals_reasoning=seals)


def _events(record: StoredRecord) -> Iterator[ChatEvent]:
    response = _RESPONSE.decode(record.response)
    yield Started("", response.model, "new", 0, 0)
    for index, item in enumerate(response.output):
        lengths = record.deltas[index] if record.deltas and index < len(record.deltas) else None
        yield from _events_of(item, lengths)
    yield _ending(response)


def _ending(response: _Response) -> Failed | Finished:
    if response.status == "cancelled":
        return Failed(Cancelled())
    cut = response.incomplete_details
    usage = response.usage or _Usage()
    return Finished(
        # A reason that this version does not know counts as a limit: the reply was cut in any case.
        REASONS.get(cut.reason, FinishReason.LENGTH) if cut else FinishReason.STOP,
        TokenUsage(usage.input_tokens, usage.output_tokens, "upstream", usage.output_tokens_details.reasoning_tokens),
    )


def _events_of(item: _OutputItem, lengths: list[int] | None) -> Iterator[ChatEvent]:
    if item.type in CALLS:
        yield ToolCallStarted(item.call_id, item.name, item.namespace, item.type == "custom_tool_call")
        yield from map(ToolCallDelta, _pieces(getattr(item, CALLS[item.type]), lengths))
        # A call that was cut off gets no end, as in the live stream.
        if item.status == "completed":
            yield ToolCallEnded()
    elif item.type == "reasoning":
        yield from map(ThinkingDelta, _pieces("".join(part.text for part in item.summary), lengths))
    else:
        yield from map(TextDelta, _pieces("".join(part.text for part in item.content), lengths))


def _pieces(text: str, lengths: list[int] | None) -> Iterator[str]:
    """The text as it was cut into deltas."""
    # Not streamed the first time, so there are no pieces to keep: one delta has it all.
    if lengths is None:
        return iter([text] if text else [])
    return (text[start:end] for start, end in pairwise(accumulate(lengths, initial=0)))
