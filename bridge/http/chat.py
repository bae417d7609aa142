"""A chat in any format: authenticate, parse, stream the engine's events, write the turn's row."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Coroutine
from functools import partial
from typing import Any

from accounts.keys.keyring import Caller, KeyStatus
from accounts.ledger.ledger import OpeningOnItsWay
from accounts.ledger.row import UsageRow
from accounts.ledger.trace import Trace, encoded
from accounts.limits.admitted import UNLIMITED
from bridge.chat.errors import GatewayError, SlowClient
from bridge.chat.events import Failed, Finished, KeepAlive
from bridge.chat.fold import fold
from bridge.chat.request import ChatRequest
from bridge.http.api import key_closed
from bridge.http.base import LARGE_PART, Headers, shown_model
from bridge.http.client_apps import client_app_of
from bridge.http.conversation_ids import identified
from bridge.http.elsewhere import PeerElsewhere, failure_header
from bridge.http.hang_up import ListeningConsumer
from bridge.http.limits import nearest_limits
from bridge.http.turn_headers import headers_of
from bridge.peers.handover import TAKEN, HandOver
from bridge.status.live import LiveTurn
from bridge.telemetry import metrics
from bridge.telemetry.spans import TurnSpan
from bridge.telemetry.turn_log import tools_summary, turn_line
from bridge.turn.content import ReplyLog, content_of, keeping
from bridge.turn.elsewhere import Elsewhere
from bridge.turn.output import Batch, Direct, Emit, FindDirect, no_direct
from bridge.turn.record import TurnRecord
from bridge.turn.trace import trace_of
from bridge.wire import sse
from bridge.wire.attached import warning_of, warning_of_tools
from bridge.wire.format import Encoder, ParsedRequest, ReplyFormat, ReplyHead, WireFormat
from gateway_project.lib.visible import visible
from sessions_store.store import Found

ENDINGS = (Finished, Failed)
LONG_BODY_SEC = 1.0  # meanwhile a key may have been revoked
LONGEST_NAME = 64  # of a key, on a page
MOST_AT_ONCE = 512  # events that are encoded in one go; a write for each 128 of them cost a flood 6 % of its CPU


class ChatConsumer(ListeningConsumer):
    """One turn, in the format that it is made with; there is one path for streams and whole replies."""

    methods = ("POST",)
    __slots__ = (
        "_admission",
        "_admitted_ms",
        "_began",
        "_body_plain",
        "_direct",
        "_encoder",
        "_end_is_open",
        "_has_row",
        "_is_asked_elsewhere",
        "_is_given_away",
        "_is_in_use",
        "_open_row",
        "_opening",
        "_record",
        "_reply",
        "_request",
        "_span",
        "_started_at",
        "_warning",
        "caller",
        "endpoint",
        "handed_over",
        "request",
    )

    def __init__(self, wire_format: WireFormat) -> None:
        super().__init__(wire_format)
        self.endpoint = wire_format.path
        self.handed_over: HandOver | None = None
        """Another web process has handed the turn over to this one, and has admitted it."""
        self.caller: Caller
        self.request: ChatRequest
        self._reply: ReplyFormat
        self._request: ChatRequest | None = None
        self._encoder: Encoder | None = None
        self._direct: Direct | None = None
        self._has_row = False
        self._warning = ""
        """What of the messages and tools is not passed on."""
        self._end_is_open = False
        self._is_in_use = False
        self._is_given_away = False
        self._is_asked_elsewhere = False
        self._started_at = time.time()
        self._began = time.monotonic()  # how long things took is counted from here: the clock may be set meanwhile
        self._admission = UNLIMITED
        self._admitted_ms: int | None = None
        """When all that could refuse it was passed."""
        self._record = TurnRecord()
        self._open_row: UsageRow | None = None
        """Its row, since the ledger was told that the turn begins."""
        self._span: TurnSpan | None = None
        self._opening: OpeningOnItsWay | None = None

    async def handle(self) -> None:
        """Everything that can be refused before a turn begins, then the turn."""
        if self.handed_over is not None:
            self._take_over(self.handed_over)
        if (spans := self.runtime.spans) is not None:
            self._span = spans.begin(self.id, self.request_headers, self._started_at)
        self.caller = self.caller_of_same_head() or await self.authenticate()
        body = self._body_plain = await self.request_body()
        if time.monotonic() - self._began > LONG_BODY_SEC:
            self.caller = await self.authenticate()
        parsed = await self.read_request(body)
        self._reply = parsed.reply
        # `_request` is None until here, and shows `refusal` how far the request came.
        self.request = self._request = identified(parsed.request, self.request_headers)
        self._warning = warning_of(self.request.messages)
        if self.request.left_out:
            tools = warning_of_tools(self.request.left_out)
            self._warning = f"{self._warning}; {tools}" if self._warning else tools
        # After parsing: only the body names the model.
        self.require_model(self.caller, self.request.model)
        await self._within_limits()
        # The place of the instance is free by now; only the client is waited for.
        if self._end_is_open:
            await self.send_part(b"", last=True)

    async def read_request(self, body: bytes) -> ParsedRequest[ReplyFormat]:
        """The parsed request. Raise GatewayError. A format whose requests refer to what is stored fetches it here."""
        return self.format.parse(body)

    def send_last(self, part: bytes) -> Awaitable[None]:
        """As ever; but an instance's place does not wait for a client that takes its time."""
        # The end of a large part is sent by `handle`, after the turn has given its place back.
        self._end_is_open = len(part) > LARGE_PART
        return self.send_part(part, last=not self._end_is_open)

    async def store_reply(self) -> None:
        """Called when the reply is complete, just before its last byte is sent."""

    async def _within_limits(self) -> None:
        """The turn, if the key's limits allow it; its tokens count when it has ended."""
        # A key without limits needs no round trip to Redis.
        if self.caller.limits and self.handed_over is None:
            await self._admit(self.caller)
        try:
            await self.until_hang_up(self.turn())
        except GatewayError:
            # The client may ask again as soon as it has this answer.
            self._release()
            await self._given_back()
            raise
        finally:
            if self._is_in_use:
                self.runtime.in_use.remove(self.caller, self)
                self.runtime.running.remove(self)
            # For one that ended without a row.
            self._release()
            if self._record.awaited is not None:
                self.runtime.await_usage(self._record, f"req_{self.id}", self._started_at, self._admission)

    async def _admit(self, caller: Caller) -> None:
        self._admission = await self.admit(caller, self._prompt(caller), self.request.max_tokens, self._started_at)

    def _prompt(self, caller: Caller) -> int:
        """Its tokens, for a key that has a limit on them: counting reads the whole conversation."""
        engine = self.runtime.engine
        return engine.count_tokens(self.request, caller.key_id, self._record) if caller.counts_tokens else 0

    def _release(self) -> None:
        """Give back what the turn has held under its limits, and count its tokens; nobody waits for that."""
        if self._admission is not UNLIMITED:
            self._admission.release(self._record.prompt_tokens + self._record.completion_tokens)

    async def _given_back(self) -> None:
        """What was released has been given back. Else the next request, which may come to another process, would be
        refused; but nobody waits for a Redis that is slow.
        """
        if self._admission.is_ending:
            await self._admission.ended()

    async def turn(self) -> None:
        """Have the engine run it, and see to its row."""
        # The engine calls `emit` per batch; a whole reply is one batch with everything in it.
        emit: Emit = self._stream if self.request.stream else self._whole
        reply = None
        find_direct: FindDirect = self._find_direct
        if self.caller.content_logging:
            reply = ReplyLog()
            emit, find_direct = keeping(emit, reply), no_direct
        self._record.on_admitted = self._open
        given, caller = self.handed_over, self.caller
        waited = given.waited if given is not None else 0
        self._admitted_ms = self._total_ms() - waited
        try:
            await self.runtime.engine.run(
                self.request, caller.key_id, self._record, emit, caller.team_id, caller.tools, caller.models,
                self._elsewhere(), given.found if given is not None else None, find_direct, at_once=given is not None,
                exits=given.exits if given is not None else None, left=given.left if given is not None else None,
                waited=waited,
            )  # fmt: skip
        finally:
            self._record.on_admitted = None  # a circle that the garbage collector would have to find
            if not self._is_anothers:
                self._end_books(reply)
            elif self._opening is not None:
                self.runtime.ledger.forget(f"req_{self.id}")

    # -- turns of several processes ---------------------------------------------------------------------------------

    def _elsewhere(self) -> Elsewhere | None:
        """What may run the turn in another process; one that was handed over stays here."""
        peers = self.runtime.peers
        if peers is None or self.handed_over is not None or not self._admission.is_shared:
            return None
        return PeerElsewhere(self, peers, self._body_plain)

    @property
    def _is_anothers(self) -> bool:
        """Another process writes the row: that which took the turn, or that which has sent it here in vain."""
        return self._is_given_away or (self.handed_over is not None and self._opening is None)

    def hand_over(self, found: Found | None, sender: str, signs: int, exits: int | None, left: float) -> HandOver:
        """The data that go to another process beside the request, which counts as asked elsewhere from here on."""
        self._is_asked_elsewhere = True
        self._admission.lend()
        age, waited = time.monotonic() - self._began, self._record.queue_ms
        return HandOver(self.id, self._started_at, age, self.client_ip, sender, found, signs, exits, left, waited)

    async def sign_of_life(self) -> None:
        """To the client of a stream, while another process is at work on it. That one numbers what it sends, so it is a
        comment in every format.
        """
        if self.request.stream:
            if not self.begun:
                self._encoder = self._new_encoder()
                await self._begin_stream(self._encoder)
            await self.send_part(sse.COMMENT, last=False)

    def given_away(self, instance: str) -> None:
        """The other process has taken the turn: its row, its limits and its content are kept there."""
        self._is_given_away = True
        self._record.instance = instance
        self._admission.leave()

    def not_given_away(self) -> None:
        """The other process does not have it."""
        self._is_asked_elsewhere = False
        self._admission.take_back()

    def lost_elsewhere(self, error: GatewayError) -> GatewayError:
        """The process that had taken it is gone, in mid-stream: its end is told, and booked, here."""
        self._is_given_away = False
        self._record.admitted()  # it was opened there, and only the row of an admitted turn closes it
        return error

    def passed_on(self, events: int) -> None:
        """So many events of the stream came from the other process; what follows here is its end."""
        self._encoder = self._encoder or self._reply.encoder(self.head())
        self._encoder.passed_on(events)

    def start_as(self, status: int, headers: Headers) -> Awaitable[None]:
        """Begin the answer as another process has begun it, with all of its headers."""
        self.begun = True
        return self.base_send({"type": "http.response.start", "status": status, "headers": headers})

    def _take_over(self, given: HandOver) -> None:
        """It is the request that has come to another process, with its id and its times."""
        self.id = given.request_id
        self._started_at = given.started_at
        self._began -= given.age
        self._record.handed_over_by = given.sender

    def _adopt(self) -> None:
        caller, prompt, longest = self.caller, self._prompt(self.caller), self.request.max_tokens
        self._admission = self.runtime.limits.adopt(caller, self.id, prompt, longest, at=self._started_at)

    def _end_books(self, reply: ReplyLog | None) -> None:
        # Refused, broken or given up: the row needs nobody to wait for it. Refused at once: `note` writes it.
        if not self._has_row and (self._opening or self._record.queued or self._record.status != "refused"):
            self._has_row = True
            self.runtime.later(self._write_row())
        if reply is not None and self._has_row:
            self.runtime.later(self._keep_content(reply))

    def _keep_content(self, reply: ReplyLog) -> Coroutine[Any, Any, None]:
        make = partial(content_of, self.request, reply)
        return self.runtime.contents.send(f"req_{self.id}", self.caller.key_id, self._started_at, make)

    @property
    def has_row(self) -> bool:
        """Its end is written, so that nothing can change it any more."""
        return self._has_row

    def tick(self, now: float) -> None:
        """The turn takes its time: its key may be revoked before it ends."""
        super().tick(now)
        # Only turns that last are listed: for short ones the list would cost more than it is worth.
        self._is_in_use = True
        self.runtime.in_use.add(self.caller, self)
        self.runtime.running.add(self)

    def live(self) -> LiveTurn | None:
        """The turn's line on the live page; None: another process lists it."""
        if self._is_anothers or (self._is_asked_elsewhere and self._record.placed_ms is None):
            return None
        record, caller = self._record, self.caller
        return LiveTurn(
            f"req_{self.id}", caller.key_id, visible(caller.name)[:LONGEST_NAME],
            visible(shown_model(record.lingma_model or self.request.model)),
            client_app_of(self.request_headers.get(b"user-agent", b"")), self._started_at,
            *(("", None) if record.waits else (record.instance, record.first_token_ms)),
        )  # fmt: skip

    def key_closed(self, status: KeyStatus) -> None:
        """The turn ends with its key, unless its end is on its way already, or another process sees to it."""
        if not self._has_row and not self._is_given_away:
            # The key was known when the turn began, so "unknown" means that it was removed since.
            error = key_closed("revoked" if status == "unknown" else status)
            self._record.failed(error)
            self.end_with(error)

    def note(self, error: GatewayError) -> None:
        """A turn has a row of its own, unless it was refused at once."""
        if self._has_row or self._is_anothers:
            return
        super().note(error)
        if self._span is not None:
            self._span.end(self.refusal(error), self.trace(error))

    def refusal(self, error: GatewayError) -> UsageRow:
        """With what there is of the turn it would have been."""
        if self._request is not None:
            self.model = self._request.model
        row = super().refusal(error)
        row.started_at, row.total_ms = self._started_at, self._total_ms()
        row.stream = self._request is not None and self._request.stream
        if self._span is not None:
            row.trace_id = self._span.trace_id
        return row

    def _stream(self, batch: Batch) -> Awaitable[None]:
        """Send a batch; most neither begin nor end the stream, nor are long, and need no coroutine of their own."""
        # An ending is always the last event of its batch, so that one look is enough.
        if self._encoder is None or type(batch[-1]) in ENDINGS or len(batch) > MOST_AT_ONCE:
            return self._stream_rare(batch)
        return self.send_part(self._encoder.feed(batch), last=False)

    def _find_direct(self) -> Direct | None:
        return self._direct

    async def _stream_rare(self, batch: Batch) -> None:
        last = type(batch[-1]) in ENDINGS
        encoder, is_long = self._encoder, len(batch) > MOST_AT_ONCE
        if encoder is None:
            encoder = self._encoder = self._new_encoder()
            if is_long or not last:  # else the head goes out with the rest, once the row is written: in one write
                await self._begin_stream(encoder)
        if is_long:
            batch = await self._stream_slices(encoder, batch)
        part = encoder.feed(batch)
        if last:
            await self.store_reply()
            if not self._is_anothers:
                await self._write_row()  # before the client has its last byte, so that no row is ever lost
            if not self.begun:
                await self.start_stream()
            return await self.send_last(part)
        return await self.send_part(part, last=False)

    async def _begin_stream(self, encoder: Encoder) -> None:
        """Its head."""
        # Whoever has seen a request id finds its row, even when this process is killed now. Redis has mostly answered
        # long before.
        if self._opening is not None and not self._opening.done():
            await self._opening.wait()
        await self.start_stream()
        if (writer := self.writer) is not None:
            self._direct = Direct(writer.flow, writer.write_piece, encoder.feed, encoder.text)

    def _new_encoder(self) -> Encoder:
        encoder = self._reply.encoder(self.head())
        if self.handed_over is not None and self.handed_over.signs:
            encoder.feed([KeepAlive()] * self.handed_over.signs)  # which the client has had
        return encoder

    async def _stream_slices(self, encoder: Encoder, batch: Batch) -> Batch:
        """Send what has piled up slice by slice, each when the client has taken the one before; return the last one."""
        starts = range(0, len(batch), MOST_AT_ONCE)
        for start in starts[:-1]:
            await self.send_part(encoder.feed(batch[start : start + MOST_AT_ONCE]), last=False)
        return batch[starts[-1] :]

    async def _whole(self, batch: Batch) -> None:
        # The same events as of a stream, folded: there is no second way to make a reply.
        body = self._reply.whole(self.head(), fold(batch))
        await self.store_reply()
        await self._write_row()
        total = (b"x-lingma-total-ms", b"%d" % self._total_ms())
        await self.reply(200, body, [self.content_type, *self.common_headers(), total])

    @property
    def is_too_slow(self) -> bool:
        """The engine cancels the task of a turn whose client has fallen too far behind."""
        return self._record.reason == SlowClient.kind

    async def refuse(self, error: GatewayError) -> None:
        """Also in mid-stream: an end without an error event would pass for a whole answer."""
        if self.begun and self._encoder is not None:
            # The encoder knows what is open, and ends the stream as its format demands.
            return await self.send_part(self._encoder.feed([Failed(error)]), last=True)
        return await super().refuse(error)

    def head(self) -> ReplyHead:
        """Id, model and time of this request, for the reply's encoder."""
        return ReplyHead(self.id, self.request.model, int(self._started_at), time.time)

    def common_headers(self) -> Headers:
        """Headers of every answer, and those of the turn as far as they are known when it begins."""
        headers = super().common_headers() + headers_of(self._record)
        if self._warning:
            headers.append((b"x-lingma-warning", self._warning.encode()))
        if self.handed_over is not None and self._opening is not None:
            headers.append((TAKEN, b"1"))
        if self._span is not None:
            headers.append((b"traceparent", self._span.traceparent))
        return headers

    def _error_headers(self, error: GatewayError) -> Headers:
        headers = super()._error_headers(error)
        return headers if self.handed_over is None else [*headers, failure_header(error)]

    def _total_ms(self) -> int:
        return round((time.monotonic() - self._began) * 1000)

    async def _write_row(self) -> None:
        self._has_row = True
        row = self._row(self._record)
        metrics.turn_finished(row, self._admitted_ms or 0)
        if self._record.tool_outcomes:
            metrics.tools_counted(self._record.tool_outcomes, row.lingma_model, row.agent)
        turn_line(row, self.caller.hint)
        # Ahead of the row and in one write with it: replies come in order, so that nobody has to wait for this one.
        self._release()
        await self.runtime.ledger.write(row)
        if self._span is not None:  # after the row, which matters more
            self._span.end(row, self._trace())
        await self._given_back()

    def _open(self) -> None:
        """The turn has a place, or waits for one: what is known of it is its row, should this process die."""
        record = self._record
        if self.handed_over is not None:
            self._adopt()
        row = self._open_row = self.usage_row(self.request.model, "open", self._started_at)
        row.lingma_model = record.lingma_model
        row.instance = record.instance
        row.session = record.session
        row.stream = self.request.stream
        row.admitted = True
        self._opening = self.runtime.ledger.open(row)

    def _row(self, record: TurnRecord) -> UsageRow:
        # Set one by one: to pass them on as keyword arguments costs a turn 1 µs more.
        row = self._open_row or self.usage_row(self.request.model, record.status, self._started_at)
        row.status = record.status
        row.lingma_model = record.lingma_model
        row.instance = record.instance
        row.session = record.session
        row.stream = self.request.stream
        row.reason = record.reason
        row.queue_ms = record.queue_ms
        row.first_token_ms = record.first_token_ms
        row.total_ms = self._total_ms()
        row.prompt_tokens = record.prompt_tokens
        row.completion_tokens = record.completion_tokens
        row.usage_source = record.usage_source
        row.tools = tools_summary(record.tool_outcomes, record.decisions)
        row.retry_after = record.retry_after
        if self._span is not None:
            row.trace_id = self._span.trace_id
        if record.is_remarkable or random.random() < self.runtime.trace_share:  # noqa: S311 - a sample, no secret
            row.trace = encoded(self._trace())
        return row

    def trace(self, error: GatewayError) -> Trace:
        """The engine has refused it, or it never got there."""
        return self._trace() if self._admitted_ms is not None else super().trace(error)

    def _trace(self) -> Trace:
        trace = trace_of(self._record, self.request, self.runtime.engine, self._admitted_ms or 0)
        trace.limits = nearest_limits(self.limits_seen)
        return trace
