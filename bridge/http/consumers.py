"""The chat endpoints: authenticate, parse, stream the engine's events in the format of the path, book the turn."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import ClassVar

from accounts.keys.keyring import Standing
from accounts.ledger.row import UsageRow
from accounts.limits.admission import UNLIMITED
from bridge.chat.errors import GatewayError, SlowClient
from bridge.chat.events import Failed, Finished
from bridge.chat.fold import fold
from bridge.chat.request import ChatRequest
from bridge.chat.tokens import estimate_messages
from bridge.http.access import caller_of, key_closed
from bridge.http.admission import admit, admit_count, require_model
from bridge.http.clients import family_of
from bridge.http.conversation_ids import identified
from bridge.http.streaming import EVENT_STREAM, JSON, LARGE_PART, Headers, HttpConsumer
from bridge.telemetry import metrics
from bridge.telemetry.turn_log import tools_told, turn_line
from bridge.turn.output import Batch
from bridge.turn.record import TurnRecord
from bridge.wire.anthropic import messages as anthropic
from bridge.wire.attached import warning_of
from bridge.wire.format import Encoder, ReplyHead, WireFormat
from bridge.wire.openai import chat as openai_chat

ENDINGS = (Finished, Failed)
LONG_BODY_SEC = 1.0  # meanwhile a key may have been revoked
MOST_AT_ONCE = 512  # events that are encoded in one go; a write for each 128 of them cost a flood 6 % of its CPU


class ChatConsumer(HttpConsumer):
    """One turn. A subclass names its format; there is one path for streams and whole replies."""

    methods = ("POST",)
    format: ClassVar[WireFormat]
    endpoint: ClassVar[str]
    _encoder: Encoder | None = None
    _asked: ChatRequest | None = None
    _booked = False
    _lost = ""
    _end_is_open = False
    _is_in_use = False

    def __init__(self) -> None:
        super().__init__()
        self._began = time.time()
        self._record = TurnRecord()

    @property
    def wire(self) -> WireFormat:
        """The format of the path."""
        return self.format

    async def handle(self) -> None:
        """Everything that can be refused before a turn begins, then the turn."""
        self.caller = await caller_of(self)
        body = await self.request_body()
        if time.time() - self._began > LONG_BODY_SEC:
            self.caller = await caller_of(self)
        self.request = self._asked = identified(await self.read_request(body), self.request_headers)
        self._lost = warning_of(self.request.messages)
        require_model(self, self.caller, self.request.model)
        await self._within_limits()
        if self._end_is_open:
            await self.send_part(b"", last=True)

    async def read_request(self, body: bytes) -> ChatRequest:
        """What the client asks for. A format whose requests refer to what is stored fetches it here."""
        return self.wire.parse(body)

    def send_last(self, part: bytes) -> Awaitable[None]:
        """As ever; but an instance's place does not wait for a client that takes its time."""
        self._end_is_open = len(part) > LARGE_PART
        return self.send_part(part, last=not self._end_is_open)

    async def keep(self, whole: bytes = b"") -> None:
        """The reply is known to its end, and nobody has been told yet. `whole` is its body if it is not streamed."""

    async def _within_limits(self) -> None:
        """The turn, if the key's limits allow it; its tokens count when it has ended."""
        ticket = await admit(self, self.caller, self.request) if self.caller.is_limited else UNLIMITED
        try:
            await self.until_hang_up(self._turn())
        finally:
            if self._is_in_use:
                self.runtime.in_use.remove(self.caller, self)
            if ticket is not UNLIMITED:
                tokens = self._record.prompt_tokens + self._record.completion_tokens
                self.runtime.engine.later(ticket.release(tokens))

    async def _turn(self) -> None:
        emit = self._stream if self.request.stream else self._whole
        try:
            await self.runtime.engine.run(self.request, self.caller.key_id, self._record, emit, self.caller.team)
        finally:
            # Refused, broken or given up: the row needs nobody to wait for it. Refused at once: `note` books it.
            if not self._booked and (self._record.queued or self._record.status != "refused"):
                self._booked = True
                self.runtime.engine.later(self._book())

    def look(self, now: float) -> None:
        """The turn takes its time: its key may be revoked before it ends."""
        super().look(now)
        self._is_in_use = True
        self.runtime.in_use.add(self.caller, self)

    def key_closed(self, standing: Standing) -> None:
        """The turn ends with its key, unless its end is on its way already."""
        if not self._booked:
            error = key_closed("revoked" if standing == "unknown" else standing)
            self._record.failed(error)
            self.end_with(error)

    def note(self, error: GatewayError) -> None:
        """A turn has a row of its own, unless it was refused at once."""
        if not self._booked:
            super().note(error)

    def refusal(self, error: GatewayError) -> UsageRow:
        """With what is known of the turn it would have been."""
        row = super().refusal(error)
        row.started_at, row.total_ms = self._began, self._total_ms()
        if self._asked is not None:
            row.model, row.stream = self._asked.model, self._asked.stream
        return row

    async def _stream(self, batch: Batch) -> None:
        last = type(batch[-1]) in ENDINGS
        if self._encoder is None:
            self._encoder = self.wire.encoder(self._head())
            if not last:  # else the head goes out with the rest, once the turn is booked: in one write
                await self._begin()
        if len(batch) > MOST_AT_ONCE:
            batch = await self._stream_slices(self._encoder, batch)
        part = self._encoder.feed(batch)
        if last:
            await self.keep()
            await self._book()  # before the client has its last byte, so that no row is ever lost
            if not self.begun:
                await self._begin()
            return await self.send_last(part)
        return await self.send_part(part, last=False)

    def _begin(self) -> Awaitable[None]:
        return self.start(200, EVENT_STREAM + self.common_headers())

    async def _stream_slices(self, encoder: Encoder, batch: Batch) -> Batch:
        """Tell what has piled up slice by slice, each when the client has taken the one before; return the last one."""
        if not self.begun:
            await self._begin()
        starts = range(0, len(batch), MOST_AT_ONCE)
        for start in starts[:-1]:
            await self.send_part(encoder.feed(batch[start : start + MOST_AT_ONCE]), last=False)
        return batch[starts[-1] :]

    async def _whole(self, batch: Batch) -> None:
        body = self.wire.whole(self._head(), fold(batch))
        await self.keep(body)
        await self._book()
        total = (b"x-lingma-total-ms", b"%d" % self._total_ms())
        await self.reply(200, body, [JSON, *self.common_headers(), total])

    @property
    def is_too_slow(self) -> bool:
        """The engine cancels the task of a turn whose client has fallen too far behind."""
        return self._record.reason == SlowClient.kind

    async def refuse(self, error: GatewayError) -> None:
        """Also in mid-stream: an end without an error event would pass for a whole answer."""
        if self.begun and self._encoder is not None:
            return await self.send_part(self._encoder.feed([Failed(error)]), last=True)
        return await super().refuse(error)

    def _head(self) -> ReplyHead:
        request = self.request
        return ReplyHead(self.id, request.model, int(self._began), request.include_usage, request.echo, time.time)

    def _instance_headers(self) -> Headers:
        """Who serves the turn; one that was refused, or still waits in the queue, has no instance."""
        record = self._record
        if not record.instance:
            return []
        headers = [
            (b"x-lingma-instance", record.instance.encode()),
            (b"x-lingma-model", record.lingma_model.encode()),
            (b"x-lingma-session", record.session.encode()),
            (b"x-lingma-queue-ms", b"%d" % record.queue_ms),
        ]
        if record.first_token_ms is not None:
            headers.append((b"x-lingma-first-token-ms", b"%d" % record.first_token_ms))
        headers += [(b"x-lingma-warning", warning.encode()) for warning in record.warnings]
        return headers

    def common_headers(self) -> Headers:
        """What every answer carries, and what is known of the turn when it begins."""
        headers = super().common_headers() + self._instance_headers()
        if self._lost:
            headers.append((b"x-lingma-warning", self._lost.encode()))
        return headers

    def _total_ms(self) -> int:
        return round((time.time() - self._began) * 1000)

    async def _book(self) -> None:
        """Count, log and file the turn, once."""
        self._booked = True
        row = self._row(self._record)
        metrics.turn_finished(row)
        if self._record.tool_outcomes:
            metrics.tools_counted(self._record.tool_outcomes, row.lingma_model, row.agent)
        turn_line(row, self.caller.hint)
        await self.runtime.ledger.write(row)

    def _row(self, record: TurnRecord) -> UsageRow:
        return UsageRow(
            request_id=f"req_{self.id}",
            api_key_id=self.caller.key_id,
            protocol=self.wire.name,
            endpoint=self.endpoint,
            model=self.request.model,
            status=record.status,
            started_at=self._began,
            lingma_model=record.lingma_model,
            instance=record.instance,
            session=record.session,
            stream=self.request.stream,
            reason=record.reason,
            queue_ms=record.queue_ms,
            first_token_ms=record.first_token_ms,
            total_ms=self._total_ms(),
            prompt_tokens=record.prompt_tokens,
            completion_tokens=record.completion_tokens,
            usage_source=record.usage_source,
            client=self.client,
            agent=family_of(self.request_headers.get(b"user-agent", b"")),
            tools=tools_told(record.tool_outcomes, record.decisions),
        )


class ChatCompletions(ChatConsumer):
    """`POST /v1/chat/completions`."""

    format = openai_chat.FORMAT
    endpoint = "/v1/chat/completions"


class Messages(ChatConsumer):
    """`POST /v1/messages`."""

    format = anthropic.FORMAT
    endpoint = "/v1/messages"


class CountTokens(HttpConsumer):
    """`POST /v1/messages/count_tokens`: cheap, and outside the queue of the chats."""

    methods = ("POST",)
    endpoint = "/v1/messages/count_tokens"

    @property
    def wire(self) -> WireFormat:
        """The path is Anthropic's alone."""
        return anthropic.FORMAT

    async def handle(self) -> None:
        """Estimate; no service is asked."""
        caller = await caller_of(self)
        request = anthropic.FORMAT.parse_to_count(await self.request_body())
        await admit_count(self, caller, request.model)
        tokens = estimate_messages(request.messages, request.tools)
        calibrated = self.runtime.engine.calibration.input.apply(tokens)
        await self.reply(200, anthropic.FORMAT.counted(calibrated), [JSON, *self.common_headers()])
