"""One turn: find its session, lease an instance, have it answered, end exactly once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from accounts.patterns import allows
from bridge.chat.errors import (
    ConnectionLost,
    CrashingKey,
    CrashingPrompt,
    Forbidden,
    GatewayError,
    InternalError,
    InvalidRequest,
    LoggedOut,
    NoPlan,
    Overloaded,
    RateLimited,
    UpstreamFailed,
)
from bridge.chat.events import Failed
from bridge.chat.request import ChatRequest
from bridge.chat.tokens import Calibrations, estimate_messages
from bridge.images.pipeline import ImagePipeline
from bridge.lingma.stream import ReplyStream
from bridge.pool.crashes import Crashes, LocalRetestLocks, RetestLocks
from bridge.pool.lease import AnyInstance, Lease
from bridge.pool.policy import Owner
from bridge.pool.pool import Pool
from bridge.routing.routes import Routes
from bridge.telemetry import metrics
from bridge.turn.attempt import Attempt
from bridge.turn.context import EngineContext, TurnContext
from bridge.turn.conversation import Conversation
from bridge.turn.doubt import GIVEN_UP_SEC, Doubt
from bridge.turn.elsewhere import Elsewhere
from bridge.turn.output import Emit, FindDirect, Stopwatch, TurnOutput, no_direct
from bridge.turn.places import Places
from bridge.turn.plan import PlanOptions, plan_of
from bridge.turn.question import Question
from bridge.turn.record import TurnRecord
from bridge.turn.retest import LOOK_SEC, Retest
from gateway_project.lib.background import end
from gateway_project.lib.tool_approval import ToolPolicy
from sessions_store.store import Found, SessionStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

LATER_SEC = 10.0  # of what was left for later, at a stop
MOST_TRIES = 3  # of a turn that is lost before anything of its reply was sent; see `Places.costs_a_try`


class EngineOptions(msgspec.Struct, frozen=True):
    default_model: str = "org_auto"
    keepalive_sec: float = 10.0
    plan: PlanOptions = PlanOptions()


class Engine:
    """`run()` runs a turn; everything it needs is given to it."""

    def __init__(
        self,
        pool: Pool,
        sessions: SessionStore | None,
        images: ImagePipeline,
        options: EngineOptions,
        new_id: Callable[[], str],
    ) -> None:
        self.pool = pool
        self.sessions = sessions
        self.options = options
        self.routes = Routes(default_model=options.default_model)
        """Replaced when operators change something, and when the account offers other models."""
        self.crashes = Crashes()
        self.retest_locks: RetestLocks = LocalRetestLocks()
        """Of prompts in doubt."""
        self.context = EngineContext(pool, images, Calibrations(), new_id, options.keepalive_sec)
        # asyncio keeps only weak references to tasks: without this set they may vanish before they end.
        self._tasks: set[asyncio.Task[object]] = set()

    def run(
        self,
        request: ChatRequest,
        caller_id: int,
        record: TurnRecord,
        emit: Emit,
        team_id: int = 0,
        tools: ToolPolicy | None = None,
        models: frozenset[str] | None = None,
        elsewhere: Elsewhere | None = None,
        found: Found | None = None,
        direct: FindDirect = no_direct,
        *,
        at_once: bool = False,
        exits: int | None = None,
        left: float | None = None,
        waited: int = 0,
    ) -> Coroutine[Any, Any, None]:
        """Emit the reply's events in batches, and wait for each to be taken. Raise GatewayError only before the first.

        Cancel it at any time: the service is told to stop and the place is free at once. A reply that is not streamed
        is emitted whole, in one batch. `tools` and `models` (patterns) are what the caller is restricted to.
        `elsewhere` may run it in another process. `at_once`: another process has handed it over, with the session
        `found` if it has one; then it gets a place at once, or Overloaded is raised and that session is left alone.
        One that was lost there with so many `exits` of services is in doubt, and waits here, for `left` seconds. It has
        `waited` there for so many milliseconds.
        """
        # A coroutine handed on and not awaited here: one frame less for each step of each turn.
        run = _Run(self, request, Owner(caller_id, team_id), record, emit, tools, models, direct)
        run.elsewhere, run.found = elsewhere, found
        if at_once:
            run.take_over(exits, left, waited)
        return run.run()

    def count_tokens(self, request: ChatRequest, key: int, record: TurnRecord | None = None) -> int:
        """Tokens of the request: an estimate, corrected by how far off earlier ones of the key have been.

        With the record of its turn, that need not estimate it again.
        """
        estimated = estimate_messages(request.messages, request.tools, request.reply_schema)
        if record is not None:
            record.estimated = estimated
        return self.context.calibrations.of(key).input.apply(estimated)

    def new_id(self) -> str:
        return self.context.new_id()

    def in_background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Have something done that no turn needs to wait for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait_for_background(self) -> None:
        """Wait for what was left for later; what takes too long is ended."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LATER_SEC)
        await end(self._tasks)


class _Run:
    """One turn on its way.

        find the session -> place on an instance -> attempt -> ended
                                    ^                  |
                                    +------ lost ------+  until something was sent, MOST_TRIES times

    Whatever breaks, the client gets one ending: a raised error before the first byte, else a `Failed` event.
    """

    elsewhere: Elsewhere | None = None
    found: Found | None = None
    at_once = False

    def __init__(
        self,
        engine: Engine,
        request: ChatRequest,
        owner: Owner,
        record: TurnRecord,
        emit: Emit,
        tools: ToolPolicy | None,
        models: frozenset[str] | None,
        direct: FindDirect,
    ) -> None:
        self._engine = engine
        self._emit = emit
        # Looked up once: the routes may be replaced while the turn runs.
        self._route = record.route = engine.routes.of(request.model)
        plan = plan_of(request, self._route, engine.options.plan, tools)
        self._models = models
        self._conversation = conversation = Conversation(engine.sessions, request, owner.key, plan)
        question = Question(request, plan, conversation)
        self._output = TurnOutput(emit, stream=request.stream, direct=direct)
        watch = Stopwatch(engine.pool.ticker.loop)
        self._turn = TurnContext(request, owner.key, plan, conversation, question, record, self._output, watch)
        self._places = Places(engine.pool, owner, self._turn, engine.options.keepalive_sec)
        self._doubt: Doubt | None = None
        self._retest: Retest | None = None
        self._check: asyncio.Task[bool] | None = None
        self._generation = 0

    def take_over(self, exits: int | None, left: float | None, waited: int) -> None:
        """Run a turn of another process, which has its client."""
        # Its times count from there: whoever waited for the answer has waited in both.
        self._turn.watch.began -= waited / 1000
        if left is not None:
            self._places.left = left
        self.at_once, self._output.quiet = exits is None, True
        if exits is not None:
            self._doubt = self._new_doubt()
            self._doubt.care, self._doubt.exits = 1, exits

    async def run(self) -> None:
        record = self._turn.record
        try:
            # One test for a turn, as long as no exit of the service is remembered. What another process knows of a
            # turn that is in doubt is known here when its retest begins.
            if self._engine.crashes.records and not self._care:
                self._recall()
            if self.found is not None:
                self._conversation.continue_from(self.found)
            else:
                await self._conversation.find()
                if self.elsewhere is not None and await self._runs_elsewhere(self.elsewhere):
                    return
            self._conversation.write_to(record)
            await self._attempts()
        except GatewayError as exc:
            record.failed(exc)
            # No byte has left, so the error still gets a status of its own.
            if not self._output.open:
                raise
            await self._emit([Failed(exc)])
            exc.__traceback__ = None  # its frames hold the turn, which holds the error
        except Exception as exc:  # an edge: whatever breaks, the turn gets its one ending
            logger.exception("a turn broke")
            error = InternalError("The gateway failed; its log says why.")
            record.failed(error)
            if not self._output.open:
                raise error from exc
            await self._emit([Failed(error)])
        finally:
            self._in_background(self._conversation.release())  # claimed, and not stored again
            if self._retest is not None:
                left = record.status == "cancelled"
                self._in_background(self._retest.end(2 * GIVEN_UP_SEC if left else 0.0, self._check))

    def _in_background(self, work: Coroutine[Any, Any, object] | None) -> None:
        if work is not None:
            self._engine.in_background(work)

    async def _runs_elsewhere(self, elsewhere: Elsewhere) -> bool:
        """Whether the process that holds the session, if it is another one, has run the turn."""
        conversation = self._conversation
        found, affinity = conversation.found, conversation.affinity
        if found is None or affinity is None or not elsewhere.holds(affinity):
            return False
        conversation.asked_elsewhere()
        if await self._runs_at(elsewhere, found):
            conversation.left_elsewhere()
            return True
        self._in_background(conversation.rebuild("elsewhere"))
        return False

    async def _runs_at(self, elsewhere: Elsewhere, found: Found | None, exits: int | None = None) -> bool:
        """Whether it has; the time for which it had the turn in vain was no waiting."""
        began = self._turn.watch.ms()
        if await elsewhere.run(found, self._places.left, self._output.signs, exits):
            return True
        self._places.served_elsewhere(self._turn.watch.ms() - began)
        return False

    async def _runs_where_room_is(self) -> bool:
        """Whether another machine, which has a free place, has run the turn."""
        return self.elsewhere is not None and self.elsewhere.has_room and not self._care and await self._move()

    async def _move(self) -> bool:
        """Whether another process, which has a free place, has run the turn; of one in doubt it has to know."""
        assert self.elsewhere is not None  # noqa: S101 - it has room
        exits = self._doubt.exits if self._doubt is not None and self._care else None
        if self._retest is not None:
            await self._retest.end()  # it is asked there
        if await self._runs_at(self.elsewhere, None, exits):
            # The row is of the process that has run it, and not of what was lost here.
            self._turn.record.awaited = None
            return True
        if self._retest is not None:
            await self._begin_retest()
        return False

    async def _attempts(self) -> None:
        """Ask; what is lost before anything of the reply was sent is asked again, of whoever is there first."""
        left, again = MOST_TRIES, False
        while True:
            # One in doubt waits for a place of its own.
            careful = self._doubt is not None and self._doubt.care
            # Without waiting where a place is free: no task switch, no timer.
            lease = None if careful else self._places.lease()
            if lease is None and (lease := await self._wait_for_place(again=again)) is None:
                return
            # A new one for each attempt: nothing of a lost one can leak into the next.
            attempt = Attempt(self._turn, self._engine.context, lease, last_try=left == 1)
            ending = self._end_when_harmless(attempt)
            try:
                self._note_lease(lease)
                await attempt.run()
            except GatewayError as exc:
                error = exc.with_traceback(None)  # its frames hold the turn
            except asyncio.CancelledError:  # the client has gone
                self._give_up(lease.instance, attempt.stream)
                raise
            else:
                if self._doubt is not None:
                    self._doubt.answered()
                return
            finally:
                # Before the exit is looked into: a turn that only waits for a verdict must not keep a place.
                lease.release()
                if ending is not None:
                    ending.cancel()
            # A lost connection is how an exit of the service looks from here (PROTOCOL 15.1).
            if isinstance(error, ConnectionLost):
                await self._check_exit(lease.instance, attempt.stream)
            # What was sent cannot be unsaid, so only a turn without output is tried again.
            left, again = left - self._places.costs_a_try(lease.instance.name, error), True
            if not left or self._output.committed or not self._may_retry(error):
                raise error
            metrics.RETRIES.inc()
            self._turn.record.note_lost(error, self._turn.watch.ms())
            self._places.attempt_lost(lease.instance.name, error)
            # The session was on the lost instance, so the next attempt sends everything.
            self._in_background(self._conversation.rebuild("lost"))

    def _note_lease(self, lease: Lease) -> None:
        """Who answers, and with what; a session that another instance holds is given up."""
        instance, record, conversation = lease.instance, self._turn.record, self._conversation
        # A session lives in the process that made it (PROTOCOL 9.8).
        if conversation.affinity is not None and instance.affinity != conversation.affinity:
            self._in_background(conversation.rebuild("elsewhere"))
        self._generation = instance.generation
        record.instance = instance.name
        default = self._engine.options.default_model  # as operators write it: a display name will do
        record.lingma_model = instance.model_key(self._route.lingma_model) or instance.model_key(default) or default
        if self._models is not None:
            self._require_model(self._models, record.lingma_model)
        record.placed_ms = self._turn.watch.ms()
        record.queue_ms = record.placed_ms - self._places.served_ms
        pool = self._engine.pool
        record.in_flight = pool.turns_by_instance() if len(pool.instances) > 1 else {}
        # That of a lost attempt is not what the client saw.
        record.first_token_ms = None
        if record.on_admitted is not None:
            record.admitted()

    def _require_model(self, models: frozenset[str], key: str) -> None:
        """Raise Forbidden when this instance's account has another model in the place of the one that is allowed."""
        routes, name = self._engine.routes, self._turn.request.model
        if key == routes.answers_to(name) or allows(models, routes.names_with(name, key)):
            return
        message = f"This API key may not use the model '{key}', which stands in for one that is not offered now."
        raise Forbidden(message, param=("model",), code="model_not_allowed", reason="model")

    def _may_retry(self, error: GatewayError) -> bool:
        """A lost connection may be retried, a lost login, a rate limit and a plan that is used up elsewhere, a login
        also where it makes itself again; a session that fails may itself be the reason.
        """
        if isinstance(error, ConnectionLost):
            return self._doubt is None or self._doubt.may_try
        if isinstance(error, LoggedOut) and (
            self._places.waits_for_login(self._turn.record.instance)
            or (self.elsewhere is not None and self.elsewhere.has_room)
        ):
            return True
        if isinstance(error, NoPlan):
            has_room = self.elsewhere is not None and self.elsewhere.has_room
            return has_room or self._places.has_other_plan(self._turn.record.instance)
        # Elsewhere only: the same instance would refuse again.
        if isinstance(error, (LoggedOut, RateLimited)):
            return self._engine.pool.has_another({*self._places.failed, self._turn.record.instance})
        # An old session may be unusable (PROTOCOL 9.8); without it the same request may well go through.
        return self._conversation.state == "reused" and isinstance(error, (UpstreamFailed, InvalidRequest))

    async def _wait_for_place(self, *, again: bool) -> Lease | None:
        """None: another machine has run the turn."""
        if self.at_once and not again:
            # It waits where it came from, and the session with it.
            if self.found is not None:
                self._conversation.left_elsewhere()
            raise Overloaded("No place is free in the process that holds the session.", retry_after=1)
        if await self._runs_where_room_is():
            return None
        # Verdicts may come while this turn is queued: it must be asked with the care that is due by then.
        while True:
            was_careful = self._care > 0
            care = await self._begin_retest() if was_careful else 0
            # One that was in doubt and is not any more, or that another machine has given back, may find a place free,
            # and nobody would tell it of that. Where nothing is ready the other machine is asked again, from the queue.
            may_be_free = not care and (was_careful or self._engine.pool.ready)
            lease = self._places.lease() if may_be_free else None
            if lease is None:
                lease = await self._places.queue(care, again=again, elsewhere=self.elsewhere, move=self._move)
            if lease is None:
                return None
            try:
                if self._engine.crashes.records:
                    self._recall()
            except (CrashingPrompt, CrashingKey):
                lease.release()
                raise
            if self._care <= care:
                return lease
            lease.release()  # the service has exited over this very prompt meanwhile, asked by somebody else

    def _end_when_harmless(self, attempt: Attempt) -> asyncio.Task[None] | None:
        return None if self._retest is None else self._engine.in_background(self._retest.end_when_harmless(attempt))

    async def _begin_retest(self) -> int:
        """Wait until no other turn asks this prompt, if it is still in doubt then; the care it is due.

        Raise GatewayError when it must not be asked, and after the queue time-out.
        """
        assert self._doubt is not None  # noqa: S101 - it is in doubt
        self._retest = self._retest or Retest(self._engine.retest_locks, self._doubt.name(), self._engine.new_id())
        while not await self._retest.begin():
            await self._places.pause(LOOK_SEC)
            self._recall()
            if not self._care:
                return 0
        self._recall()
        return self._care

    def _give_up(self, instance: AnyInstance, stream: ReplyStream | None) -> None:
        """Its client has gone. The service may still exit over a question that it has not answered in full."""
        if stream is not None and (stream.end is None or stream.end.error is not None):
            self._doubt = self._doubt or self._new_doubt()
            self._in_background(self._doubt.given_up(instance, self._generation, stream))

    async def _check_exit(self, instance: AnyInstance, stream: ReplyStream | None) -> None:
        """Was it the connection, or did the service exit? Raise CrashingPrompt when it did so over this prompt."""
        self._doubt = self._doubt or self._new_doubt()
        check = self._check = self._engine.in_background(self._doubt.lost(instance, self._generation, stream))
        if self._output.committed:  # its client need not wait for that
            return
        # It is found out, too, when the client has gone meanwhile. A turn that is not asked again is told the reason,
        # even where that follows from both its exits only.
        if await asyncio.shield(check) or (not self._doubt.may_try and await self._doubt.judged()):
            raise CrashingPrompt

    def _new_doubt(self) -> Doubt:
        turn = self._turn
        return Doubt(self._engine.crashes, turn.key, turn.request, turn.plan, self._route.lingma_model)

    def _recall(self) -> None:
        """Raise GatewayError when the prompt must not be asked."""
        self._doubt = self._doubt or self._new_doubt()
        self._doubt.recall()

    @property
    def _care(self) -> int:
        return self._doubt.care if self._doubt is not None else 0
