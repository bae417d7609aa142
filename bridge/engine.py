"""One turn: find its session, lease an instance, ask, pass the answer on, end exactly once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from bridge import metrics
from bridge.chat.cut import Cutter
from bridge.chat.errors import (
    ConnectionLost,
    GatewayError,
    InternalError,
    InvalidRequest,
    SlowClient,
    UpstreamFailed,
)
from bridge.chat.events import (
    ChatEvent,
    Failed,
    Finished,
    FinishReason,
    KeepAlive,
    SessionState,
    Started,
    TextDelta,
    TokenUsage,
    UsageSource,
)
from bridge.chat.request import AskMode, ChatRequest
from bridge.chat.tokens import Calibration, estimate, estimate_messages
from bridge.conversation import Conversation
from bridge.lingma.dialect_a import AGENT_MODELS
from bridge.lingma.service_log import LoggedUsage
from bridge.lingma.turn import Turn
from bridge.pool.pool import Lease, Pool, Waiter, retry_hint
from bridge.routes import Routes
from sessions_store.store import SessionStore

logger = logging.getLogger(__name__)

Batch = list[ChatEvent]
Emit = Callable[[Batch], Awaitable[None]]


class EngineOptions(msgspec.Struct, frozen=True):
    """What the engine decides by."""

    default_model: str = "org_auto"
    default_ask_mode: AskMode = "chat"
    keepalive_sec: float = 10.0


class TurnRecord(msgspec.Struct):
    """What is known of a turn, also when nobody waited for its end. Times in ms since the turn began."""

    instance: str = ""
    lingma_model: str = ""
    session: SessionState = "off"
    status: str = "cancelled"
    """`ok`, `error`, `refused` (never got an instance) or `cancelled` (the client left)."""
    reason: str = "client_closed"
    """The finish reason, or the kind of error."""
    queue_ms: int = 0
    first_token_ms: int | None = None
    total_ms: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usage_source: UsageSource = "estimate"
    tool_outcomes: dict[str, int] = {}
    """Calls by what became of them: parsed, repaired, refused, retried, invalid."""
    decisions: list[str] = []
    """What was said to tools of the service, such as `denied run_in_terminal`."""
    warnings: list[str] = []
    image_failures: int = 0


class Engine:
    """`run()` runs a turn; everything it needs is given to it."""

    def __init__(
        self, pool: Pool, sessions: SessionStore | None, options: EngineOptions, new_id: Callable[[], str]
    ) -> None:
        self.pool = pool
        self.sessions = sessions
        self.options = options
        self.new_id = new_id
        self.calibration = Calibration()
        self.routes = Routes(default_model=options.default_model)
        """Replaced when operators change something, and when the account offers other models."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, request: ChatRequest, caller_id: int, record: TurnRecord, emit: Emit) -> None:
        """Emit the reply's events in batches, and wait for each to be taken. Raise GatewayError only before the first.

        Cancel it at any time: the service is told to stop and the place is free at once. A reply that is not streamed
        is emitted whole, in one batch.
        """
        await _Run(self, request, caller_id, record, emit).run()

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done that no turn waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait for what was left for later."""
        if self._tasks:
            await asyncio.wait(self._tasks)


class _Run:
    """The state of one turn while it runs."""

    def __init__(self, engine: Engine, request: ChatRequest, caller_id: int, record: TurnRecord, emit: Emit) -> None:
        self._engine = engine
        self._emit = emit
        self._request = request
        self._record = record
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._begun = False  # something has been told to the client
        mode = _ask_mode(request, engine.options)
        self._conversation = Conversation(engine.sessions, request, caller_id, mode)
        self._excluded: set[str] = set()
        self._cutter: Cutter | None = None
        self._said: list[str] = []
        self._whole: Batch = []

    async def run(self) -> None:
        """See Engine.run."""
        try:
            await self._conversation.find()
            self._record.session = self._conversation.state
            await self._attempts()
        except GatewayError as exc:
            self._note_error(exc)
            if not self._begun:
                raise
            await self._emit([Failed(exc)])
            exc.__traceback__ = None  # its frames hold the turn, which holds the error
        except Exception as exc:  # an edge: whatever breaks, the turn gets its one ending
            logger.exception("a turn broke")
            error = InternalError("The gateway failed; its log says why.")
            self._note_error(error)
            if not self._begun:
                raise error from exc
            await self._emit([Failed(error)])
        finally:
            self._record.total_ms = self._elapsed_ms()
            self._later(self._conversation.leave())  # claimed, and not remembered again

    async def _tell(self, batch: Batch) -> None:
        """Emit what there is; what is not streamed waits for its end, so that nothing of a lost attempt is told."""
        if not self._request.stream:
            self._whole += batch
        elif batch:
            self._begun = True
            await self._emit(batch)

    # -- a place on an instance -----------------------------------------------------------------------------------

    async def _attempts(self) -> None:
        """Ask; when the instance or the reused session is lost before the first byte, ask once more."""
        for last_try in (False, True):
            lease = self._engine.pool.lease(self._conversation.affinity, self._excluded) or await self._wait_in_line()
            try:
                await self._answer(lease)
            except GatewayError as exc:
                if last_try or self._begun or not self._may_retry(exc):
                    raise
                metrics.RETRIES.inc()
                self._excluded.add(lease.instance.name)
                self._later(self._conversation.rebuild())
            else:
                return
            finally:
                lease.release()

    async def _wait_in_line(self) -> Lease:
        waiter = self._engine.pool.queue(self._conversation.affinity, self._excluded)
        try:
            while not await self._is_served(waiter):
                await self._tell([KeepAlive()])
            return waiter.lease.result()
        except BaseException:
            waiter.leave()
            raise

    async def _is_served(self, waiter: Waiter) -> bool:
        """Wait a while; False when it is time for a sign of life. Raise Overloaded after the queue time-out."""
        deadline = self._began + self._engine.pool.options.queue_timeout
        pause = min(deadline - self._loop.time(), self._engine.options.keepalive_sec)
        await asyncio.wait({waiter.lease}, timeout=max(0.0, pause))
        # Timers may be a millisecond early.
        if not waiter.lease.done() and self._loop.time() >= deadline - 0.01:
            raise self._engine.pool.overloaded("No place became free in time")
        return waiter.lease.done()

    def _may_retry(self, error: GatewayError) -> bool:
        """A lost connection may be retried; a session that fails may be the reason of the failure itself."""
        if isinstance(error, ConnectionLost):
            return True
        return self._conversation.is_known and isinstance(error, (UpstreamFailed, InvalidRequest))

    # -- the question and its answer ------------------------------------------------------------------------------

    def _ask(self, lease: Lease) -> Turn:
        instance, record, conversation = lease.instance, self._record, self._conversation
        if conversation.is_known and instance.affinity != conversation.affinity:
            self._later(conversation.rebuild())
        record.instance = instance.name
        record.lingma_model = instance.model_key(self._request.model) or self._engine.options.default_model
        record.queue_ms = self._elapsed_ms()
        record.first_token_ms = None
        turn = instance.ask(conversation.ask(instance.affinity, record.lingma_model, self._engine.new_id))
        record.session = conversation.state
        self._cutter, self._said, self._whole = _cutter(self._request), [], []
        return turn

    async def _answer(self, lease: Lease) -> None:
        turn = self._ask(lease)
        task = asyncio.current_task(self._loop)
        turn.overflow = task.cancel if task else None
        try:
            await self._end(lease, turn, await self._follow(turn))
        finally:
            self._leave(lease, turn)

    async def _follow(self, turn: Turn) -> Batch:
        """Tell what comes, all but the last batch: that one is returned."""
        batch: Batch = []
        while not batch and not self._is_over(turn):
            batch = self._take(await turn.drain())
        batch.insert(0, self._started())
        while not self._is_over(turn):
            if batch:
                await self._tell(batch)
            batch = self._take(await turn.drain())
        return batch

    def _is_over(self, turn: Turn) -> bool:
        return turn.end is not None or (self._cutter is not None and self._cutter.reason is not None)

    async def _end(self, lease: Lease, turn: Turn, batch: Batch) -> None:
        cut = self._cutter.reason if self._cutter else None
        if cut is not None:
            lease.instance.give_up(turn)
        elif turn.end is not None and turn.end.error is not None:
            if any(type(event) is TextDelta for event in batch) and not self._is_retriable_loss(turn.end.error):
                await self._tell(batch)
            raise retry_hint(turn.end.error, self._engine.pool)
        elif self._cutter:
            if rest := self._cutter.rest():
                self._said.append(rest)
                batch.append(TextDelta(rest))
            cut = self._cutter.reason  # what was held back may be beyond the limit
        log = lease.instance.log
        logged = log.usage(turn.request_id) if log and cut is None else None  # a cut answer is not what was counted
        if logged is None and cut is None and log is not None and log.worth_waiting:
            await self._tell(batch)  # the text does not wait for the figures
            batch = []
            logged = await log.wait_for(turn.request_id)
        usage = self._count(turn, logged)
        self._record.status, self._record.reason = "ok", cut or FinishReason.STOP
        if cut is None:
            self._conversation.remember(lease.instance.affinity, turn.end.session_id if turn.end else "", turn.text)
        finished = Finished(cut or FinishReason.STOP, usage, self._cutter.stop_sequence if self._cutter else None)
        await self._emit([*self._whole, *batch, finished])

    def _is_retriable_loss(self, error: GatewayError) -> bool:
        return isinstance(error, ConnectionLost) and not self._begun and not self._excluded

    def _take(self, pieces: Batch) -> Batch:
        """What came, as it may be told."""
        record = self._record
        if record.first_token_ms is None and any(type(piece) is TextDelta for piece in pieces):
            record.first_token_ms = self._elapsed_ms()
        if self._cutter is None:
            return pieces
        batch: Batch = []
        for piece in pieces:
            if isinstance(piece, KeepAlive):
                batch.append(piece)
            elif isinstance(piece, TextDelta) and (text := self._cutter.feed(piece.text)):
                self._said.append(text)
                batch.append(TextDelta(text))
            if self._cutter.reason:
                break
        return batch

    def _leave(self, lease: Lease, turn: Turn) -> None:
        """However it came to this: the service stops, and what was told is counted."""
        if turn.end is None:
            lease.instance.give_up(turn)
        elif isinstance(turn.end.error, SlowClient):
            metrics.SLOW_CLIENTS.inc()
            lease.instance.give_up(turn)
            self._note_error(turn.end.error)
        if self._record.status != "ok":
            self._count(turn, None)

    # -- what is noted --------------------------------------------------------------------------------------------

    def _elapsed_ms(self) -> int:
        return round((self._loop.time() - self._began) * 1000)

    def _started(self) -> Started:
        record = self._record
        record.prompt_tokens = self._engine.calibration.input.apply(estimate_messages(self._request.messages))
        return Started(record.instance, record.lingma_model, record.session, record.queue_ms, record.prompt_tokens)

    def _count(self, turn: Turn, logged: LoggedUsage | None) -> TokenUsage:
        """The service's own figures, else calibrated estimates."""
        record, calibration = self._record, self._engine.calibration
        said = turn.text if self._cutter is None else "".join(self._said)
        guess = estimate(said)
        if logged is not None:
            calibration.input.learn(estimate_messages(self._request.messages), logged.prompt_tokens)
            calibration.output.learn(guess, logged.completion_tokens)
            record.prompt_tokens, record.completion_tokens = logged.prompt_tokens, logged.completion_tokens
            record.usage_source = "upstream"
        else:
            limit = self._request.max_tokens
            tokens = calibration.output.apply(guess)
            record.completion_tokens = tokens if limit is None else min(tokens, limit)
        return TokenUsage(record.prompt_tokens, record.completion_tokens, record.usage_source)

    def _note_error(self, error: GatewayError) -> None:
        self._record.status = "error" if self._record.instance else "refused"
        self._record.reason = error.kind

    def _later(self, work: Coroutine[Any, Any, None] | None) -> None:
        if work is not None:
            self._engine.later(work)


def _ask_mode(request: ChatRequest, options: EngineOptions) -> AskMode:
    return "agent" if request.model in AGENT_MODELS else options.default_ask_mode


def _cutter(request: ChatRequest) -> Cutter | None:
    if not request.stop and request.max_tokens is None:
        return None
    return Cutter(request.stop, request.max_tokens, estimate)
