"""One attempt at a turn: ask a leased instance, read its reply, have it corrected once, end exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from bridge.chat.cut import Cutter
from bridge.chat.errors import ConnectionLost, GatewayError, SlowClient
from bridge.chat.events import (
    ChatEvent,
    Finished,
    FinishReason,
    KeepAlive,
    Piece,
    Started,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
    ToolCallDelta,
    ToolCallStarted,
)
from bridge.chat.request import ChatRequest
from bridge.chat.tokens import Calibrations, estimate, estimate_messages
from bridge.images.pipeline import ImagePipeline
from bridge.lingma.dialects.base import Ask, AskTools, LoggedUsage
from bridge.lingma.stream import ReplyStream
from bridge.pool.instance import Instance
from bridge.pool.lease import Lease
from bridge.pool.pool import Pool, retry_hint
from bridge.prompt.compose import headings
from bridge.reply.call_assembly import ToolOffer
from bridge.reply.calls.parser import CallRules
from bridge.reply.reader import Reader, ReadOptions
from bridge.reply.request_texts import texts_of
from bridge.telemetry import metrics
from bridge.turn.conversation import Conversation
from bridge.turn.long_work import LongWork
from bridge.turn.output import Batch, Stopwatch, TurnOutput
from bridge.turn.plan import TurnPlan
from bridge.turn.record import TurnRecord

_PLAIN = tuple(tuple(ReadOptions(stream=stream, thinking=each) for each in (False, True)) for stream in (False, True))
"""Options of readers that look for no calls and no JSON, by whether the client streams and wants the reasoning."""
_MUCH = 64 << 10
"""Bytes of a reply that are read in slices when they come at once."""
AROUND_CALL = estimate('<call:0123456789>{"name":"","arguments":}</call:0123456789>\n')
"""Tokens that a model writes for a call beside the tool's name and what it is given."""
NOT_SENT = {"refused", "retried"}
"""Outcomes of calls that cost tokens and were not sent."""
VISIBLE = (TextDelta, ThinkingDelta, ToolCallStarted)


class EngineContext(msgspec.Struct, frozen=True):
    """What every answer needs beside its own turn."""

    pool: Pool
    images: ImagePipeline
    calibrations: Calibrations
    new_id: Callable[[], str]
    keepalive_sec: float
    long_work: LongWork = msgspec.field(default_factory=LongWork)


class TurnContext(msgspec.Struct, frozen=True):
    """The turn that is answered. It knows nothing of who runs it: a cycle would let turns pile up."""

    request: ChatRequest
    key: int
    plan: TurnPlan
    conversation: Conversation
    record: TurnRecord
    output: TurnOutput
    watch: Stopwatch


class Attempt:
    """`run()` it once; a lost attempt is another answer's."""

    def __init__(self, task: TurnContext, context: EngineContext, lease: Lease, *, last_try: bool) -> None:
        self._last_try = last_try
        self._request = task.request
        self._key = task.key
        self._plan = task.plan
        self._conversation = task.conversation
        self._record = task.record
        self._output = task.output
        self._watch = task.watch
        self._context = context
        self._calibration = context.calibrations.of(task.key)
        self._instance = lease.instance
        self._affinity = lease.instance.affinity
        self._in_doubt = lease.in_doubt
        self._cutter = _cutter(task.request)
        self._cut_text: list[str] = []  # what the cutter let through
        self._cut_calls: list[str] = []  # names and arguments
        self._cut_thoughts: list[str] = []
        self._begun_calls = 0
        self._saw_all = True  # the service has taken every image of the question
        self.stream: ReplyStream | None = None
        """The last question that left."""
        self._started = False
        self._held_since: int | None = None  # milliseconds: when what comes began to be held back
        self._estimated = 0  # tokens of the request
        self._corrected: LoggedUsage | None = None  # what the reply that had to be corrected has cost
        # What a lost attempt left must not be sent with this one.
        task.output.discard()

    async def run(self) -> None:
        """Raise GatewayError when the service fails the turn."""
        # Images go first: the question names them by the service's addresses.
        images = self._conversation.images(self._affinity)
        self._record.warnings.clear()
        ask: Ask | None = self._question(await self._deliver(images) if images else ())
        self._record.session = self._conversation.state
        # After the question, which decides on the session and so on the mark in headings and calls.
        self._reader = self._new_reader()
        while ask is not None:
            ask = await self._attempt(ask)

    # -- the question ---------------------------------------------------------------------------------------------

    def _question(self, images: tuple[str, ...]) -> Ask:
        new_id, model = self._context.new_id, self._record.lingma_model
        ask = self._conversation.ask(self._affinity, model, new_id, images)
        if self._plan.forwards:
            request = self._request
            tools = AskTools(request.tool_notation, request.tools, request.tool_choice, request.parallel_tool_calls)
            ask = msgspec.structs.replace(ask, tools=tools)
        return ask

    async def _deliver(self, images: Sequence[str]) -> tuple[str, ...]:
        """The service's addresses of the images; what could not be uploaded stays a word in the text."""
        newest = self._request.messages[-1]
        fresh = len(newest.images) if newest.role == "user" else 0  # what a tool gave comes again with each turn
        deliver = self._context.images.upload_all
        work = asyncio.ensure_future(deliver(images, self._instance.upload_image, fresh=fresh, key=self._key))
        try:
            while not (await asyncio.wait({work}, timeout=self._context.keepalive_sec))[0]:
                await self._output.send([KeepAlive()])
            delivered = work.result()
        finally:
            # If the client goes, no upload goes on for it.
            work.cancel()
        if delivered.failed:
            self._saw_all = False
            self._record.warnings.append(f"{delivered.failed} of {len(images)} images could not be passed on")
        return delivered.urls

    def _new_reader(self) -> Reader:
        request, plan, offer = self._request, self._plan, None
        prefix, new_id = request.call_id_prefix, self._context.new_id
        calls_forbidden = not plan.emulates and plan.shown is None and bool(self._conversation.knows.tools)
        prefilled = request.messages[-1].role == "assistant"  # then the reply is only the rest of it
        schema = b"" if prefilled else request.reply_schema
        if not request.tools and plan.shown is None and not calls_forbidden and not schema:
            return Reader(_PLAIN[request.stream][plan.thinking], new_id, self._conversation.delimiter_id)
        if plan.emulates:
            offer = ToolOffer(
                tools=request.tools,
                choice=request.tool_choice,
                parallel=request.parallel_tool_calls,
                delimiter_id=self._conversation.delimiter_id,
                stream=request.stream,
                rules=self._call_rules(),
            )
        options = ReadOptions(
            thinking=plan.thinking,
            offer=offer,
            calls_forbidden=calls_forbidden,
            lingma_calls=plan.shown,
            tools=request.tools if request.tool_choice.mode != "none" else (),
            forced=request.forced_tool if plan.shown else None,
            parallel=request.parallel_tool_calls,
            schema=schema,
            stream=request.stream,
        )
        return Reader(options, lambda: prefix + new_id()[:24], self._conversation.delimiter_id)

    def _call_rules(self) -> CallRules:
        """What counts as a call. One that the request says is nobody's order, unless the model itself said it."""
        request, conversation = self._request, self._conversation
        return CallRules(
            guesses=self._plan.profile.native_calls and not conversation.has_called,
            texts=lambda: texts_of(request),
            headings=headings(conversation.delimiter_id),
        )

    # -- the reply ------------------------------------------------------------------------------------------------

    async def _attempt(self, ask: Ask) -> Ask | None:
        """One question and its reply. The question that corrects it, if it must be corrected."""
        # Set before anything can fail: whoever looks into a crash must know what was asked.
        self.stream = stream = self._instance.ask(ask)
        # Behind the question on purpose: it takes a while for long prompts, and the service works meanwhile.
        if not self._estimated:
            self._estimate()
        if self._in_doubt and isinstance(self._instance, Instance):  # nobody borrows a place for such a turn
            self._instance.watch(stream)
        task = asyncio.current_task(self._context.pool.pulse.loop)
        # A client that reads too slowly ends its own turn, not the connection of all.
        stream.overflow = task.cancel if task else None
        try:
            batch = await self._follow(stream)
            ended = self._reader.has_left_role or (stream.end is not None and stream.end.error is None)
            if ended and self._cut_reason is None:
                last = await self._read_end()
                if self._reader.taken_back:
                    self._take_back(batch)
                batch += self._cut(last)
                if self._reader.correction and self._is_whole(stream):
                    # What is good goes out now: the correction may take as long as the first answer.
                    await self._output.send(batch)
                    return self._correction(ask, stream)
                if self._reader.correction:  # there is nobody to ask
                    self._reader.retry()
                    batch += self._cut(self._reader.best_effort())
            await self._end(stream, batch)
        finally:
            self._leave(stream)
        return None

    def _is_whole(self, stream: ReplyStream) -> bool:
        return stream.end is not None and (self._cutter is None or self._cutter.reason is None)

    def _correction(self, ask: Ask, stream: ReplyStream) -> Ask:
        """In the session of the reply that is corrected."""
        log = self._instance.log
        self._corrected = log.usage(stream.request_id) if log is not None else None
        session_id = stream.end.session_id if stream.end else ask.session_id
        text = self._reader.correction
        self._reader.retry()
        return Ask(self._context.new_id(), session_id, text, ask.model, ask.mode, is_reply=True)

    async def _follow(self, stream: ReplyStream) -> Batch:
        """Send what comes, all but the last batch: that one is returned."""
        batch: Batch = []
        # Until the first output, so that `Started` comes with it and the attempt can still be lost unseen.
        while not batch and not self._is_over(stream):
            pieces = await stream.drain()
            batch = await self._take_slowly(pieces) if stream.taken > _MUCH else self._take(self._reader.feed(pieces))
        if not self._started:
            self._started = True
            batch.insert(0, self._start())
        while not self._is_over(stream):
            # This loop runs for every chunk: it awaits only where there is something to wait for.
            if sending := self._output.start_sending(batch):
                await sending
            if (changed := stream.until_ready()) is not None:
                await changed
            pieces = stream.take()
            batch = await self._take_slowly(pieces) if stream.taken > _MUCH else self._take(self._reader.feed(pieces))
        return batch

    def _is_over(self, stream: ReplyStream) -> bool:
        if self._cutter is not None and self._cutter.reason is not None:
            return True
        return (stream.end is not None and stream.taken <= _MUCH) or self._reader.is_over  # else more came meanwhile

    async def _take_slowly(self, pieces: list[Piece]) -> Batch:
        """Others have their turn while it is read."""
        return self._take(await self._context.long_work.run(self._key, self._reader.feeding(pieces)))

    async def _read_end(self) -> Batch:
        """What was held back. Most replies need no second step."""
        steps = self._reader.ending()
        try:
            next(steps)
        except StopIteration as end:
            last: Batch = end.value
            return last
        return await self._context.long_work.run(self._key, steps)

    def _take(self, events: Batch) -> Batch:
        """What came, as it may be sent."""
        if self._reader.taken_back:
            self._take_back([])
        batch = events if self._cutter is None else self._cut(events)
        if not batch:
            return self._sign_of_life()
        self._held_since = None
        if self._record.first_token_ms is None and any(isinstance(event, VISIBLE) for event in batch):
            self._record.first_token_ms = self._watch.ms()
        return batch

    def _sign_of_life(self) -> Batch:
        """A sign of life, if the service sends but for a while nothing of it could be passed on."""
        now = self._watch.ms()
        if self._held_since is None:
            self._held_since = now
        if now - self._held_since < self._context.keepalive_sec * 1000:
            return []
        self._held_since = now
        return [KeepAlive()]

    def _take_back(self, batch: Batch) -> None:
        """The text so far is void, also what of it is still to be sent."""
        self._reader.taken_back = False
        self._output.discard_text()
        batch[:] = [event for event in batch if type(event) is not TextDelta]
        # The limits hold for what the client gets, so counting starts anew.
        self._cutter = _cutter(self._request)
        self._cut_text.clear()
        if self._cutter is not None:  # reasoning stays
            self._cutter.spend("".join(self._cut_thoughts))

    def _cut(self, events: Batch) -> Batch:
        """Without what is beyond the limits of the request."""
        if self._cutter is None:
            return events
        batch: Batch = []
        for event in events:
            if not isinstance(event, TextDelta):
                # Before anything but text the held end of it goes out, or the order would change.
                batch += [] if isinstance(event, KeepAlive) else self._rest()
                if not self._cutter.reason and (within := self._within(event, self._cutter)) is not None:
                    batch.append(within)
            elif text := self._cutter.feed(event.text):
                self._cut_text.append(text)
                batch.append(TextDelta(text))
            if self._cutter.reason:
                break
        return batch

    def _within(self, event: ChatEvent, cutter: Cutter) -> ChatEvent | None:
        """The event, cut to the limits of the request; None if it is beyond them. Not for text."""
        match event:
            case ThinkingDelta():
                if not (text := cutter.thought(event.text)):
                    return None
                self._cut_thoughts.append(text)
                return ThinkingDelta(text)
            case ToolCallStarted():
                if not cutter.call(event.name):
                    return None
                self._begun_calls += 1
                self._cut_calls.append(event.name)
            case ToolCallDelta():
                # A call that has begun is sent to its end, whatever it costs.
                cutter.spend(event.text)
                self._cut_calls.append(event.text)
        return event

    def _rest(self) -> Batch:
        """What the cutter holds back, when something else than text comes next."""
        if self._cutter is None or self._cutter.reason or not (rest := self._cutter.rest()):
            return []
        self._cut_text.append(rest)
        return [TextDelta(rest)]

    # -- the ending -----------------------------------------------------------------------------------------------

    async def _end(self, stream: ReplyStream, batch: Batch) -> None:
        strayed = self._reader.has_left_role  # what the service does with the rest is its own business
        error = stream.end.error if stream.end is not None and self._cut_reason is None and not strayed else None
        if error is not None:
            await self._send_partial_reply(error, batch)
        if stream.end is None:
            self._instance.give_up(stream)
        if self._cutter is not None:
            batch += self._rest()
        cut = self._cut_reason  # what was held back may be beyond the limit
        logged = await self._logged(stream, batch) if cut is None and stream.end is not None else None
        usage = self._count(logged)
        reason = cut or self._reason()
        self._record.status, self._record.reason = "ok", reason
        whole = cut is None and error is None and not strayed and reason is not FinishReason.LENGTH
        if whole and stream.end is not None and self._saw_all:
            self._store_session(stream.end.session_id)
        self._note_tools(stream)  # the turn is booked with its last event
        await self._output.end([*batch, Finished(reason, usage, self._cutter.stop_sequence if self._cutter else None)])

    async def _send_partial_reply(self, error: GatewayError, batch: Batch) -> None:
        """Add to the batch what can be sent although the service failed. Raise the error when that is no reply."""
        if self._is_retriable_loss(error):
            raise error
        partial = self._cut(self._reader.best_effort())
        if not partial:
            if any(isinstance(event, VISIBLE) for event in batch):
                await self._output.send(batch)
            raise retry_hint(error, self._context.pool)
        batch += partial

    @property
    def _cut_reason(self) -> FinishReason | None:
        return self._cutter.reason if self._cutter is not None else None

    def _reason(self) -> FinishReason:
        if self._reader.is_text_only:
            return FinishReason.STOP
        if self._reader.cut_off:
            return FinishReason.LENGTH
        return FinishReason.TOOL_CALLS if self._reader.calls_wait else FinishReason.STOP

    async def _logged(self, stream: ReplyStream, batch: Batch) -> LoggedUsage | None:
        """The service's own figures; the text does not wait for them."""
        log = self._instance.log
        if log is None:
            return None
        logged = log.usage(stream.request_id)
        if logged is None and log.worth_waiting:
            # A copy: the list is cleared below, and its receiver may still hold it.
            await self._output.send(batch.copy())
            batch.clear()
            logged = await log.wait_for(stream.request_id)
        return logged

    def _store_session(self, session_id: str) -> None:
        reader = self._reader
        self._conversation.remember(
            self._affinity, session_id, reader.text, reader.calls, reader.arguments_by_call, called=reader.has_called
        )

    def _is_retriable_loss(self, error: GatewayError) -> bool:
        return isinstance(error, ConnectionLost) and not self._output.committed and not self._last_try

    def _leave(self, stream: ReplyStream) -> None:
        """However the attempt ended: the service is stopped, and what was sent is counted."""
        record = self._record
        if stream.end is None:
            self._instance.give_up(stream)
        elif isinstance(stream.end.error, SlowClient):
            metrics.SLOW_CLIENTS.inc()
            self._instance.give_up(stream)
            record.failed(stream.end.error)
        # A turn that failed or was left has cost tokens too.
        if record.status != "ok":
            self._note_tools(stream)
            self._count(None)

    # -- what is noted --------------------------------------------------------------------------------------------

    def _note_tools(self, stream: ReplyStream) -> None:
        """How calls fared; what was decided is noted once."""
        if stream.decisions:
            self._record.decisions += map(str, stream.decisions)
            stream.decisions.clear()
        self._record.tool_outcomes = self._reader.outcomes

    def _estimate(self) -> None:
        """What was asked counts, also when nothing comes of it, or nobody waits for that."""
        self._estimated = estimate_messages(self._request.messages, self._request.tools)
        self._record.prompt_tokens = self._calibration.input.apply(self._estimated)

    def _start(self) -> Started:
        record = self._record
        return Started(record.instance, record.lingma_model, record.session, record.queue_ms, record.prompt_tokens)

    def _count(self, logged: LoggedUsage | None) -> TokenUsage:
        """The service's own figures, else calibrated estimates."""
        record, calibration, reader = self._record, self._calibration, self._reader
        text_tokens = estimate(reader.text if self._cutter is None else "".join(self._cut_text))
        is_cut = self._cut_reason is not None and self._plan.thinking
        thoughts = estimate("".join(self._cut_thoughts) if is_cut else reader.reasoning)
        guess = text_tokens + thoughts + self._estimated_calls()
        if logged is not None:
            calibration = self._context.calibrations.learning(self._key)
            calibration.input.learn(self._estimated, logged.prompt_tokens)
            if not reader.calls and not reader.outcomes.keys() & NOT_SENT:  # JSON has other words than text
                calibration.output.learn(guess, logged.completion_tokens)
            spent = [logged, self._corrected] if self._corrected is not None else [logged]
            record.prompt_tokens = sum(each.prompt_tokens for each in spent)
            record.completion_tokens = sum(each.completion_tokens for each in spent)
            record.usage_source = "upstream"
        else:
            record.completion_tokens = calibration.output.apply(guess)
            if (limit := self._request.max_tokens) is not None:  # it has cut text and reasoning, and nothing else
                cut = text_tokens + thoughts if self._plan.thinking else text_tokens
                record.completion_tokens -= max(0, calibration.output.apply(cut) - limit)
        reasoning_tokens = min(thoughts, record.completion_tokens) if self._plan.thinking else 0
        return TokenUsage(record.prompt_tokens, record.completion_tokens, record.usage_source, reasoning_tokens)

    def _estimated_calls(self) -> int:
        """Tokens of calls that were sent, as the model wrote them: what stands around them it has written too."""
        reader = self._reader
        if not reader.calls:
            return 0
        parts = [*(name for _, name in reader.calls), reader.arguments] if self._cutter is None else self._cut_calls
        around = AROUND_CALL * self._sent_calls if self._plan.emulates else 0
        return estimate("".join(parts)) + around

    @property
    def _sent_calls(self) -> int:
        return len(self._reader.calls) if self._cutter is None else self._begun_calls


def _cutter(request: ChatRequest) -> Cutter | None:
    if not request.stop and request.max_tokens is None:
        return None
    return Cutter(request.stop, request.max_tokens)
