"""One attempt at a turn: ask a leased instance, read its reply, have it corrected once, end exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from bridge.chat.errors import ConnectionLost, GatewayError, SlowClient
from bridge.chat.events import (
    Finished,
    FinishReason,
    KeepAlive,
    Piece,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallStarted,
)
from bridge.lingma.dialects.base import Ask, LoggedUsage
from bridge.lingma.stream import ReplyStream
from bridge.pool.instances.instance import Instance
from bridge.pool.late_usages import Awaited
from bridge.pool.lease import Lease
from bridge.pool.pool import retry_hint
from bridge.telemetry import metrics
from bridge.turn.accounting import Accounting
from bridge.turn.context import EngineContext, TurnContext
from bridge.turn.direct_write import DirectWriter
from bridge.turn.limits import ReplyLimits
from bridge.turn.output import Batch
from bridge.turn.readers import new_reader

_MUCH = 64 << 10
"""Bytes of a reply that are read in slices when they come at once."""
VISIBLE = (TextDelta, ThinkingDelta, ToolCallStarted)


class Attempt:
    """`run()` it once; after a lost attempt a new one is made.

        upload images -> question -> follow the stream -> end
                            ^                |
                            +--- correct ----+  once, in the session of the reply that is corrected

    Each question has one reply stream, which is given up if it has not ended when it is left.
    """

    def __init__(self, turn: TurnContext, engine: EngineContext, lease: Lease, *, last_try: bool) -> None:
        self.stream: ReplyStream | None = None
        """The reply to the last question that was sent."""
        self._turn = turn
        self._engine = engine
        self._lease = lease
        self._last_try = last_try
        # That of now: an instance that is started again meanwhile has another one.
        self._affinity = lease.instance.affinity
        self._output = turn.output
        request = turn.request
        self._limits = ReplyLimits(request) if request.stop or request.max_tokens is not None else None
        self._accounting = Accounting(request, turn.key, turn.plan, turn.record, engine.calibrations)
        self._failed_images = 0
        self._uncounted: list[str] = []
        """The questions of which the service has not logged yet what they cost."""
        self._counted: LoggedUsage | None = None
        """What the other one of two has cost."""
        self._started = False
        self._held_since: int | None = None  # milliseconds: when what comes began to be held back
        # What a lost attempt left must not be sent with this one.
        turn.output.discard()

    async def run(self) -> None:
        """Raise GatewayError when the service fails the turn."""
        turn, new_id = self._turn, self._engine.new_id
        # Images go first: the question names them by the service's addresses.
        images = turn.question.images(self._affinity)
        turn.record.warnings.clear()
        turn.record.awaited = None
        urls = await self._upload(images) if images else ()
        pictured = turn.question.pictured(self._affinity)
        # Beside those that Lingma did not take, the older ones of a whole history: only a word stands for them.
        if missing := pictured - len(images) + self._failed_images:
            turn.record.warnings.append(f"{missing} of {pictured} images could not be passed on")
        first = turn.question.ask(self._affinity, turn.record.lingma_model, new_id, urls)
        turn.conversation.write_to(turn.record)
        turn.record.asked_ms, turn.record.sent_chars = turn.watch.ms(), len(first.text)
        # After the question, which decides on the session and so on the delimiters of calls and headings.
        self._reader = new_reader(turn.request, turn.plan, turn.conversation.knows, new_id)
        ask: Ask | None = first
        while ask is not None:
            ask = await self._ask(ask)

    async def _upload(self, images: Sequence[str]) -> tuple[str, ...]:
        """The service's addresses of the images; what could not be uploaded stays a word in the text."""
        turn, engine = self._turn, self._engine
        newest = turn.request.messages[-1]
        fresh = len(newest.images) if newest.role == "user" else 0  # what a tool gave comes again with each turn
        upload = self._lease.instance.upload_image
        work = asyncio.ensure_future(engine.images.upload_all(images, upload, fresh=fresh, key=turn.key))
        try:
            while not (await asyncio.wait({work}, timeout=engine.keepalive_sec))[0]:
                await self._output.send([KeepAlive()])
            uploaded = work.result()
        finally:
            # If the client goes, no upload goes on for it.
            work.cancel()
        self._failed_images = uploaded.failed
        return uploaded.urls

    async def _ask(self, ask: Ask) -> Ask | None:
        """One question and its reply. Returns the question that corrects it, if it must be corrected."""
        lease, reader, limits = self._lease, self._reader, self._limits
        # Set before anything can fail: whoever looks into a crash must know what was asked.
        self.stream = stream = lease.instance.ask(ask)
        self._uncounted.append(stream.request_id)
        # Behind the question on purpose: it takes a while for long prompts, and the service works meanwhile.
        self._accounting.count_prompt()
        if lease.in_doubt and isinstance(lease.instance, Instance):  # nobody borrows a place for such a turn
            lease.instance.watch(stream)
        task = asyncio.current_task(self._engine.pool.ticker.loop)
        # A client that reads too slowly ends its own turn, not the connection of all.
        stream.overflow = task.cancel if task else None
        try:
            batch = await self._follow(stream)
            ended = reader.has_left_role or (stream.end is not None and stream.end.error is None)
            if ended and (limits is None or limits.cutter.reason is None):
                last = await self._read_end()
                if reader.taken_back:
                    self._discard_text(batch)
                batch += last if limits is None else limits.apply(last)
                if reader.correction:
                    if stream.end is not None and (limits is None or limits.cutter.reason is None):
                        # What is good goes out now: the correction may take as long as the first answer.
                        await self._output.send(batch)
                        return self._correction(ask, stream)
                    # There is nobody to ask.
                    reader.retry()
                    last = reader.best_effort()
                    batch += last if limits is None else limits.apply(last)
            await self._end(stream, batch)
        finally:
            self._leave(stream)
        return None

    def _correction(self, ask: Ask, stream: ReplyStream) -> Ask:
        """In the session of the reply that is corrected."""
        self._look_for_corrected()
        session_id = stream.end.session_id if stream.end else ask.session_id
        text = self._reader.correction
        self._reader.retry()
        self._turn.record.corrections += 1
        new_id = self._engine.new_id()
        return Ask(new_id, session_id, text, ask.model, ask.mode, is_reply=True, approval=ask.approval)

    async def _follow(self, stream: ReplyStream) -> Batch:
        """Send what comes, all but the last batch: that one is returned."""
        batch: Batch = []
        # Until the first output, so that `Started` comes with it and the attempt can still be lost unseen.
        while not batch and not self._is_over(stream):
            pieces = await stream.drain()
            batch = await self._take_slowly(pieces) if stream.taken > _MUCH else self._take(self._reader.feed(pieces))
        if not self._started:
            self._started = True
            record = self._turn.record
            batch.insert(
                0,
                Started(record.instance, record.lingma_model, record.session, record.queue_ms, record.prompt_tokens),
            )
        writer: DirectWriter | None = None
        while not self._is_over(stream):
            # This loop may run for every chunk: it awaits only where there is something to wait for.
            if sending := self._output.start_sending(batch):
                await sending
            if writer is None and (direct := self._output.direct()) is not None:
                is_over = partial(self._is_over, stream)
                writer = DirectWriter(self._reader, direct, self._take, is_over, limited=self._limits is not None)
            if (changed := stream.until_ready(writer)) is not None:
                await changed
            if writer is not None and writer.last is not None:
                return writer.last
            pieces = stream.take()
            batch = await self._take_slowly(pieces) if stream.taken > _MUCH else self._take(self._reader.feed(pieces))
        return batch

    def _is_over(self, stream: ReplyStream) -> bool:
        if self._limits is not None and self._limits.cutter.reason is not None:
            return True
        return (stream.end is not None and stream.taken <= _MUCH) or self._reader.is_over  # else more came meanwhile

    async def _take_slowly(self, pieces: list[Piece]) -> Batch:
        """Others have their turn while it is read."""
        return self._take(await self._engine.long_work.run(self._turn.key, self._reader.feeding(pieces)))

    async def _read_end(self) -> Batch:
        """What was held back. Most replies need no second step."""
        steps = self._reader.ending()
        try:
            next(steps)
        except StopIteration as end:
            last: Batch = end.value
            return last
        return await self._engine.long_work.run(self._turn.key, steps)

    def _take(self, events: Batch) -> Batch:
        """What came, as it may be sent."""
        if self._reader.taken_back:
            self._discard_text([])
        batch = events if self._limits is None else self._limits.apply(events)
        if not batch:
            return self._keep_alive()
        self._held_since = None
        record = self._turn.record
        if record.first_token_ms is None and any(isinstance(event, VISIBLE) for event in batch):
            record.first_token_ms = self._turn.watch.ms()
        return batch

    def _keep_alive(self) -> Batch:
        """A sign of life, if the service sends but for a while nothing of it could be passed on."""
        now = self._turn.watch.ms()
        if self._held_since is None:
            self._held_since = now
        if now - self._held_since < self._engine.keepalive_sec * 1000:
            return []
        self._held_since = now
        return [KeepAlive()]

    def _discard_text(self, batch: Batch) -> None:
        """The text so far is void, also what of it is still to be sent."""
        self._reader.taken_back = False
        self._output.discard_text()
        batch[:] = [event for event in batch if type(event) is not TextDelta]
        if self._limits is not None:
            self._limits.discard_text()

    async def _end(self, stream: ReplyStream, batch: Batch) -> None:
        turn, limits = self._turn, self._limits
        left_role = self._reader.has_left_role  # what the service does with the rest is its own business
        cut = limits.cutter.reason if limits is not None else None
        error = stream.end.error if stream.end is not None and cut is None and not left_role else None
        if error is not None:
            await self._send_partial_reply(error, batch)
        if stream.end is None:
            self._lease.instance.give_up(stream)
        if limits is not None:
            batch += limits.rest()
            # Once more: what was held back may be beyond the limit.
            cut = limits.cutter.reason
        end = stream.end if cut is None else None  # to its end, so the service may know what it cost
        logged = await self._logged(stream, batch) if end is not None else None
        # The turn is booked with its last event, so its record is complete before that.
        usage = self._accounting.close(stream, self._reader, limits, logged, broke_off=error is not None)
        turn.record.awaited = None  # as it was noted when the reply was left that had to be corrected
        if logged is None and end is not None:
            self._await_usage()
        reason = self._reason(cut)
        turn.record.status, turn.record.reason = "ok", reason
        whole = error is None and not left_role and reason is not FinishReason.LENGTH
        if end is not None and whole and not self._failed_images:
            turn.conversation.store(self._affinity, end.session_id, self._reader)
        stop_sequence = limits.cutter.stop_sequence if limits and reason is FinishReason.STOP_SEQUENCE else None
        await self._output.end([*batch, Finished(reason, usage, stop_sequence)])

    async def _send_partial_reply(self, error: GatewayError, batch: Batch) -> None:
        """Add to the batch what can be sent although the service failed. Raise the error when that is no reply."""
        if isinstance(error, ConnectionLost) and not self._output.committed and not self._last_try:
            raise error  # another attempt may still take over
        partial = self._reader.best_effort()
        if self._limits is not None:
            partial = self._limits.apply(partial)
        if not partial:
            if any(isinstance(event, VISIBLE) for event in batch):
                await self._output.send(batch)
            raise retry_hint(error, self._engine.pool)
        self._turn.record.note_error(error)
        batch += partial

    def _reason(self, cut: FinishReason | None) -> FinishReason:
        """`cut` is the limit that was reached, if one was."""
        if cut is FinishReason.STOP_SEQUENCE and self._limits is not None and self._limits.calls_begun:
            # It stands behind a call, which was sent whole: clients run calls only where the reason says so.
            return FinishReason.TOOL_CALLS
        if cut is not None:
            return cut
        if self._reader.is_text_only:
            return FinishReason.STOP
        if self._reader.cut_off:
            return FinishReason.LENGTH
        return FinishReason.TOOL_CALLS if self._reader.calls_wait else FinishReason.STOP

    async def _logged(self, stream: ReplyStream, batch: Batch) -> LoggedUsage | None:
        """The service's own figures; the text does not wait for them."""
        log = self._lease.instance.log
        if log is None:
            return None
        logged = log.usage(stream.request_id)
        if logged is None and log.worth_waiting:
            # A copy: the list is cleared below, and its receiver may still hold it.
            await self._output.send(batch.copy())
            batch.clear()
            logged = await log.wait_for(stream.request_id)
        if logged is not None:
            self._uncounted.remove(stream.request_id)
            self._look_for_corrected()
            if self._uncounted:  # half of what the turn has cost is no figure: the other half may come late
                self._counted = logged
                return None
        return logged

    def _look_for_corrected(self) -> None:
        """Take what the reply has cost that has to be corrected, if the service has logged that."""
        log = self._lease.instance.log
        if log is None or not self._uncounted:
            return
        if (logged := log.usage(self._uncounted[0])) is not None:
            self._accounting.corrected = self._counted = logged
            del self._uncounted[0]

    def _leave(self, stream: ReplyStream) -> None:
        """However the attempt ended: the service is stopped, and what was sent is counted."""
        record = self._turn.record
        if stream.end is None:
            self._lease.instance.give_up(stream)
        elif isinstance(stream.end.error, SlowClient):
            metrics.SLOW_CLIENTS.inc()
            self._lease.instance.give_up(stream)
            record.failed(stream.end.error)
        # A turn that failed or was left has cost tokens too.
        if record.status != "ok":
            self._accounting.close(stream, self._reader, self._limits, None, broke_off=True)
            self._await_usage()

    def _await_usage(self) -> None:
        log, known = self._lease.instance.log, self._counted
        if log is not None and log.may_come and self._uncounted:
            awaited = Awaited(log, self._uncounted.copy())
            if known is not None:
                awaited.prompt_tokens, awaited.completion_tokens = known.prompt_tokens, known.completion_tokens
            self._turn.record.awaited = awaited
