"""One instance, as the pool and the turns see it: whether it has room, what it knows, and how to ask it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bridge.lingma.dialects.base import Ask
from bridge.lingma.process.log_tail import LogTail
from bridge.lingma.stream import ReplyStream
from bridge.pool.instances.doubts import Doubts
from bridge.pool.instances.health import Health
from bridge.pool.instances.incidents import Incidents
from bridge.pool.instances.lifecycle import Lifecycle
from bridge.pool.instances.measure import Measure
from bridge.pool.instances.orders import Order
from bridge.pool.instances.runs import Exit
from bridge.pool.instances.service_link import ServiceLink
from bridge.pool.instances.smoke_record import SmokeRecord
from bridge.pool.instances.succession import Succession
from bridge.pool.instances.timeline import Timeline
from bridge.pool.instances.upstream import Upstream
from bridge.pool.logins.account import Account, key_of
from bridge.pool.logins.logins import InstanceLogin
from bridge.pool.options import InstanceOptions, InstanceSpec
from bridge.pool.policy import Affinity, Candidate
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState
from bridge.status.transitions import TransitionReason
from gateway_project.lib.ticker import Ticker


class Instance:
    """`run()` keeps it alive until `stop()`; `ask()` starts a turn while it is ready."""

    def __init__(
        self,
        name: str,
        process_number: int,
        spec: InstanceSpec,
        options: InstanceOptions,
        ticker: Ticker,
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self.in_flight = 0
        self.incidents = Incidents()
        self.smokes = SmokeRecord()
        self.measure = Measure()
        """What it takes of this machine, as it was measured last."""
        self.limit = options.limit
        """Turns at once."""
        # What of its status never changes.
        self._status = partial(InstanceStatus, name=name, process=process_number, node=options.node)
        self._upstream = Upstream(spec, options.approval)
        self._link = ServiceLink(name, spec.dialect, options, self.incidents, ticker)
        self.login = InstanceLogin(name, self._upstream.work_dir, self._link.account)
        """The one it is given, if it is given any."""
        self.login.log = lambda: self._link.log
        self.health = Health(options.longest_pause)
        """Whether it is asked at all."""
        self._life = Lifecycle(
            name, self._link, self._upstream, options, self.incidents, self.login, self.health, changed,
            lambda: self.in_flight > 0,
        )  # fmt: skip
        self._current = self._life.current
        self.succession = Succession(self._life, self.login)
        self._doubts = Doubts()

    @property
    def state(self) -> InstanceState:
        """Busy is not kept but looked at: places are taken and given back hundreds of times a second."""
        return InstanceState.BUSY if self.is_full else self._current.state

    @property
    def state_since(self) -> float:
        """By the monotonic clock; whether it is busy does not count."""
        return self._current.since

    @property
    def is_full(self) -> bool:
        """It takes turns, and every place is taken."""
        return self._current.is_ready and self.in_flight >= self.limit

    @property
    def is_ready(self) -> bool:
        return self._current.is_ready

    @property
    def is_connected(self) -> bool:
        """It can be used, or could but for its account, an order or a pause."""
        return self._current.is_connected

    @property
    def order(self) -> Order:
        """The operators' order for it; by default an order that wants nothing."""
        return self._life.orders.order

    @property
    def is_stopped(self) -> bool:
        """Operators do not want it to run."""
        return self._life.orders.is_stopped

    @property
    def timeline(self) -> Timeline:
        """The latest changes of its state that nobody has published yet."""
        return self._current.timeline

    @property
    def work_dir(self) -> Path | None:
        """Of its service; None: it is attached."""
        return self._upstream.work_dir

    @property
    def pid(self) -> int:
        """Of the service, if it was started here and runs; else 0."""
        return self._upstream.pid

    @property
    def generation(self) -> int:
        """Of the run under way, or the last one."""
        return self._life.runs.generation

    @property
    def version(self) -> str:
        """The version that the service names; "": none is known."""
        return self._link.version

    @property
    def upstream(self) -> str:
        """What kind of service it is."""
        return self._upstream.spec.upstream

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.name, self.generation, self._current.is_ready, self.in_flight, self.limit)

    @property
    def has_room(self) -> bool:
        return self._current.is_ready and self.in_flight < self.limit

    @property
    def affinity(self) -> Affinity:
        """The instance and generation that a new session belongs to."""
        return Affinity(self.name, self.generation)

    @property
    def account(self) -> Account:
        """The account of its service, with the models that it offers."""
        return self._link.account

    @property
    def held_login(self) -> int:
        """The login that its work dir has; 0: none of those that the gateway keeps."""
        return self.login.held.login if self.login.held else 0

    @property
    def log(self) -> LogTail | None:
        """The service's log, if it has one."""
        return self._link.log

    @property
    def log_path(self) -> Path | None:
        """Where its service writes its log, also while it does not run; None: it has no work dir of ours, or no log."""
        log = self._upstream.spec.dialect.log
        return self.work_dir / log.path if self.work_dir is not None and log is not None else None

    @property
    def unanswered(self) -> int:
        """Turns here of whose reply nothing has come yet."""
        # `in_flight` counts places, also those whose turn has not been asked yet: these count as unanswered too.
        return self.in_flight - self._link.begun

    @property
    def is_in_doubt(self) -> bool:
        """One of them is itself in doubt, and was asked lately."""
        return bool(self._doubts)

    @property
    def is_coming_back(self) -> bool:
        """It has failed a moment ago, and comes back empty in a few seconds."""
        return self._life.is_coming_back

    @property
    def late_acks(self) -> int:
        """Acknowledgements the service has missed, by its log."""
        return self.log.late_acks if self.log else 0

    def back_within(self, seconds: float) -> bool:
        """True where it may take turns within so many seconds without anybody's help: worth waiting for."""
        return self._life.back_within(seconds)

    def back_in(self) -> float:
        """Seconds until then; 0 or less: at any moment, infinity: nobody knows."""
        return self._life.back_in()

    @property
    def away_for(self) -> float:
        """Seconds since it could be used, or was made."""
        return self._current.away_for

    async def exit_of(self, generation: int) -> Exit | None:
        """The exit of that run, as soon as it is known; None: it goes on, and only a connection to it has ended."""
        return await self._life.runs.exit_of(generation)

    def model_key(self, name: str) -> str | None:
        """The key of the model a client names by its key or its display name."""
        return key_of(name, self.account.model_names)

    def status(self) -> InstanceStatus:
        return self._status(
            pid=self.pid,
            generation=self.generation,
            state=self.state,
            login=self.account.may_chat,
            in_flight=self.in_flight,
            limit=self.limit,
            restarts=self.incidents.restarts,
            last_error=self.incidents.last_error or self.succession.failure,
            version=self.version,
            upstream=self.upstream,
            installed=self._upstream.spec.version,
            models=len(self.account.models),
            started_at=self._life.runs.started_at,
            at=time.time(),
            model_names=self.account.model_names,
            account=self.account.facts.state,
            login_expires_at=self.account.facts.expires_at,
            mode=self.order.mode,
            maintenance=self.order.maintenance,
            cool_until=max(self.order.cool_until, self.health.cool_until()),
            cools_for=self.health.cause.value,
            smoke=self.smokes.last,
            replacing=self.succession.is_under_way,
            not_replaced=bool(self.succession.failure),
            held_login=self.held_login,
            login_generation=self.login.held.generation if self.login.held else 0,
            memory=self.measure.memory,
            disk=self.measure.disk,
            stuck=self._link.stuck,
        )

    def ask(self, ask: Ask) -> ReplyStream:
        """Send the question; the answer comes into the stream. Raise ConnectionLost, ContextFull or Overloaded."""
        stream = self._link.ask(ask)
        if not self.health.lets_in:
            self.health.asked(stream)
        return stream

    def watch(self, stream: ReplyStream) -> None:
        """Note that the turn is in doubt: no other such turn is asked beside it until something of it has come."""
        self._doubts.add(stream)

    async def upload_image(self, data_uri: str) -> str:
        """Hand an image to the service; its URL for `Ask.image_urls`, good on this instance.

        Raise UploadFailed or ConnectionLost.
        """
        return await self._link.upload_image(data_uri)

    def give_up(self, stream: ReplyStream) -> None:
        """Nobody wants the rest: end the turn here and have the service stop it (PROTOCOL 9.7)."""
        self._link.give_up(stream)

    def end_turns(self, why: str) -> None:
        self._link.end_turns(why)

    async def run(self) -> None:
        """Start, watch and restart the service until `stop()`."""
        try:
            await self._life.run()
        finally:
            self.login.close()
            self.health.close()

    def begin_with(self, spec: InstanceSpec) -> bool:
        """Have it begin as that kind, in its own work dir. False: it has begun already."""
        return self._upstream.begin_with(spec)

    def obey(self, order: Order) -> None:
        """Do what operators want of it from now on."""
        self._life.obey(order)

    def prepare_to_succeed(self, before: Instance) -> None:
        """Before its first run: want what is wanted of the one whose place it is to take."""
        self._life.log_as(f"{self.name} (successor)")
        self.login.succeed(before.login)
        if before.login.wish.is_known.is_set():
            self.obey(before.order)
        self._life.orders.restarted_for = before.order.restart_before

    def succeed(self, before: Instance) -> None:
        """Take the place of that one: what others know by its name goes on."""
        self._life.log_as(self.name)
        before._life.log_as(f"{before.name} (replaced)")
        self._life.succeed(before._life)
        self.smokes.succeed(before.smokes)
        for counted in ("restarts", "reconnects", "unknown_pushes", "unrouted_tool_events"):
            mine, theirs = getattr(self.incidents, counted), getattr(before.incidents, counted)
            setattr(self.incidents, counted, mine + theirs)
        self.note(TransitionReason.REPLACED)

    def note(self, why: TransitionReason, detail: str = "", at: float | None = None) -> None:
        """Put it into the timeline."""
        self.timeline.note(self.state, why, detail, self.generation, at)

    def stop(self) -> None:
        """End the service; `run()` returns."""
        self._life.stop()
