"""The life of one service: started or looked for, signed on to, watched, connected to again, started anew."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bridge.chat.errors import ConnectionLost, GatewayError
from bridge.lingma.connection import Connection
from bridge.lingma.errors import DialFailed, LingmaError, NotReady, RpcError, StartFailed
from bridge.pool.instances.breaker import Cause
from bridge.pool.instances.current_state import CurrentState
from bridge.pool.instances.health import Health
from bridge.pool.instances.incidents import Incidents
from bridge.pool.instances.orders import Order, Orders
from bridge.pool.instances.outage_log import OutageLog
from bridge.pool.instances.restart_policy import RestartPolicy
from bridge.pool.instances.runs import Runs
from bridge.pool.instances.service_link import ServiceLink
from bridge.pool.instances.state_machine import CONNECTED, HELD, Event, after
from bridge.pool.instances.upstream import Upstream
from bridge.pool.logins.logins import InstanceLogin
from bridge.pool.options import InstanceOptions
from bridge.status.states import InstanceState
from bridge.status.transitions import TransitionReason
from gateway_project.lib.json_errors import UNREADABLE

logger = logging.getLogger(__name__)

LOGIN_POLL_SEC = 5.0
HEALTH_SEC = 30.0
MOST_FAILED_READS = 3  # at the account in a row that failed, before the service is given up
PATIENCE_SEC = 60.0  # as long an account that gets well by itself is waited for
BRIEF_SEC = 1.0  # a connection that was lost so soon without an answered turn has not worked
POLL_SEC = 1.0  # between two looks for an attached service that is away
DRAIN_POLL_SEC = 0.1
COMING_SEC = 8.0  # so long after it failed turns in doubt wait for it: it comes back without others
EXIT_SEC = 0.05  # between the end of a program's connection and its own

FAILURES = (LingmaError, GatewayError, TimeoutError, OSError, *UNREADABLE)  # may be better after a restart
UNREACHABLE = (DialFailed, StartFailed)
OF_PAUSES = {
    Cause.LIMITED: TransitionReason.LIMITED,
    Cause.NO_PLAN: TransitionReason.NO_PLAN,
    Cause.FAILED: TransitionReason.FAILING,
}
BAD_ANSWERS = (RpcError, TimeoutError, *UNREADABLE)


class _EndOrdered(Exception):
    """Operators want this run to end."""


class Lifecycle:
    """`run()` keeps the service alive until `stop()`, and says in which state it is."""

    def __init__(
        self,
        name: str,
        link: ServiceLink,
        upstream: Upstream,
        options: InstanceOptions,
        incidents: Incidents,
        login: InstanceLogin,
        health: Health,
        changed: Callable[[], None],
        is_busy: Callable[[], bool],
    ) -> None:
        self.current = CurrentState(link)
        self.orders = Orders()
        # Another service beside this one needs a work dir of its own.
        self.orders.ends_to_restart = upstream.is_attached
        self.runs = Runs(shared=upstream.is_shared)
        self._link = link
        self._upstream = upstream
        self._options = options
        self._incidents = incidents
        self._outages = OutageLog(name)
        self._login = login
        self._health = health
        self._changed = changed
        self._is_busy = is_busy
        self._restarts = RestartPolicy()
        self._wake = asyncio.Event()
        # It hears of connection, health and login by what is set here. An event and no call: the push arrives in the
        # connection's reader, which must not wait for an RPC over it.
        link.on_account_changed = self._wake.set
        link.on_lost = self._on_lost
        link.on_ended = health.ended
        health.on_change = self._health_changed
        health.suspicion.on_raised = self._wake.set
        login.is_connected = lambda: self.current.is_connected
        login.wake = self._wake.set

    @property
    def is_coming_back(self) -> bool:
        """It has failed less than COMING_SEC ago, and is being started again."""
        is_away = self.current.state in (InstanceState.BACKOFF, InstanceState.STARTING)
        return is_away and time.monotonic() - self.current.away_since < COMING_SEC and self.back_within(COMING_SEC)

    def log_as(self, name: str) -> None:
        """Be called that in the log from now on."""
        self._outages.name = name

    def succeed(self, before: Lifecycle) -> None:
        """Take the place of the one before."""
        self.current.succeed(before.current)
        self.runs.outdo(before.runs)

    def back_within(self, seconds: float) -> bool:
        """Whether it may be ready in less than so many seconds without anybody's help."""
        back = self.back_in()
        return back <= 0 or back < seconds

    def back_in(self) -> float:
        """Seconds until it may be ready without anybody's help; 0 or less: at any moment, infinity: nobody knows."""
        now = time.monotonic()
        match self.current.state:
            case InstanceState.READY:
                return 0.0
            case InstanceState.STARTING | InstanceState.BACKOFF if self._restarts.keeps_failing(now):
                return math.inf
            case InstanceState.STARTING:
                return 0.0
            case InstanceState.BACKOFF:
                return self._restarts.back_at - now
            case InstanceState.STOPPED | InstanceState.DRAINING if self._upstream.stopping:
                return math.inf
            case InstanceState.STOPPED | InstanceState.DRAINING:
                # It has not begun yet, another run begins in a moment, or a window closes.
                return self.orders.held_for()
            case InstanceState.COOLING:
                return max(self.orders.cools_for(), self._health.cools_for())
            case InstanceState.DEGRADED:
                # A short trouble of its network is waited for. One that lasts would have everybody wait in vain.
                return 0.0 if now - self.current.since < PATIENCE_SEC else math.inf
            case InstanceState.LOGIN_REQUIRED:
                return self._login.back_in(now - self.current.since)
            case _:
                return math.inf

    async def run(self) -> None:
        self._happen(Event.BEGINS, TransitionReason.STARTED)
        while not self._upstream.stopping:
            try:
                await self._go_round()
            except Exception:  # an edge: no bug between two runs may take an instance away for ever
                logger.exception("%s: the end of a run broke", self._outages.name)
                await self._mend()
        self._happen(Event.CLOSED, TransitionReason.CLOSED)

    async def _go_round(self) -> None:
        """One run and the pause behind it, or the rest that operators want."""
        if self.orders.is_stopped:
            await self._rest_as_ordered()
            return
        pause = await self._run_once()
        if not self._upstream.stopping:
            await self._wait(pause)

    async def _mend(self) -> None:
        """Leave nothing of a run that did not end as it should: another begins in a moment."""
        self._link.close()
        with suppress(Exception):  # the first failure is in the log
            await self._upstream.end(hung=False)
        self._wake.clear()
        if not self._upstream.stopping:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SEC):
                    await self._wake.wait()

    def obey(self, order: Order) -> None:
        """Do what operators want, as soon as that is possible: without waiting for anything the service says."""
        before = self.orders.take(order)
        self._login.wish.want(order.login)
        if order == before:
            return
        if order.cleared_at > before.cleared_at:
            self._restarts.clear()
            self._health.clear()
        is_other = (order.maintenance is None) != (before.maintenance is None)
        window = order.maintenance or before.maintenance if is_other else None
        why = self.orders.why if window is None or order.maintenance is not None else TransitionReason.MAINTAINED
        was = self.current.state
        if self.current.is_connected:
            self._happen(Event.CHANGED, why, window.name if window is not None else "")
        if window is not None and self.current.state is was:
            self.current.timeline.note(self.current.state, why, window.name, self.runs.generation)
        if order.login != before.login:
            self._changed()  # whoever waits for a login may do so in vain now
        self._wake.set()

    async def _rest_as_ordered(self) -> None:
        self._wake.clear()
        self._happen(Event.RESTS, self.orders.why)
        await self._wake.wait()

    def stop(self) -> None:
        # Set first: whatever ends because of the next two lines must not be taken for a loss.
        self._upstream.stopping = True
        self._wake.set()
        self._link.stop()

    async def _run_once(self) -> float:
        """Until the service has to be started or looked for anew; in how many seconds."""
        unreachable = False
        try:
            await self._live()
        except _EndOrdered:
            await self._end_run()
            return 0.0
        except FAILURES as exc:
            self._incidents.last_error = str(exc) or "the service did not answer in time"
            # A service that somebody else runs and that is away is no failure of ours: it is looked for every second.
            unreachable = isinstance(exc, UNREACHABLE) and self._upstream.is_attached
        except Exception:  # an edge: no bug may take an instance away for ever
            logger.exception("%s: a run broke", self._outages.name)
            self._incidents.last_error = "the gateway failed; its log says why"
        if self._upstream.stopping:
            await self._end_run()
            return 0.0
        return await self._rest(unreachable=unreachable)

    async def _end_run(self) -> None:
        """Nobody's fault: no failure is counted, and turns that are left are lost with their connection only."""
        self._happen(Event.ENDS, TransitionReason.CLOSED if self._upstream.stopping else self.orders.why)
        self.runs.settle()
        self._link.close()
        await self._upstream.end(hung=False)

    async def _rest(self, *, unreachable: bool) -> float:
        """Leave the choice of turns and end the service. The pause is set first: `back_within` needs it."""
        hung = self._link.hung
        if self._restarts.ready and (hung or self._upstream.exit_code is not None):
            # By itself after it was ready, or it had to be ended.
            self.runs.note_exit(killed=not hung and self._upstream.was_killed)
        if not unreachable or not self._restarts.failures:
            self._incidents.restarts += 1
        now = time.monotonic()
        pause = self._restarts.restart_pause(now, random.random())  # noqa: S311
        pause = POLL_SEC if unreachable else pause
        self._restarts.back_at = now + pause
        # Turns wait for the verdict on this run: what is no crash by now is none.
        self.runs.settle()
        self._outages.failed(now, self._incidents.last_error, f"starting again in {pause:.1f} s")
        # Before the program is ended, which can take seconds: turns look elsewhere meanwhile.
        self._happen(Event.FAILED, TransitionReason.FAILED, self._incidents.last_error)
        self._link.close()
        await self._upstream.end(hung=hung)
        return pause

    async def _wait(self, pause: float) -> None:
        """Sleep; return early when the attached service is found at another address."""
        self._wake.clear()  # a change from the run that has ended must not cut the pause short
        while not self._upstream.stopping and (left := self._restarts.back_at - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, POLL_SEC)):
                    await self._wake.wait()
                return
            # It reads a file, so only in long pauses, and once a second.
            if pause > POLL_SEC and self._upstream.has_moved():
                return

    async def _live(self) -> None:
        """One run of the service. A lost connection is made again: its sessions live on (PROTOCOL 15.1)."""
        await self._login.prepare(self._options.orders_within)
        if self.orders.is_stopped:  # which is known only now
            raise _EndOrdered
        self._upstream.login_endpoint = self._login.endpoint
        self.orders.run_begins(time.time())
        self._restarts.begin(time.monotonic())
        self._link.account.failed_reads = 0
        # A change in the run before says nothing of this one.
        self._wake.clear()
        # Start, connect, `initialize` and account together: each alone might take nearly as long.
        async with asyncio.timeout(self._options.start_timeout):
            if not self._upstream.is_attached:
                # An attached service begins a run only if it proves to be another process (`_recognize`).
                self.runs.begin(is_another=True)
                self._happen(Event.BEGINS, TransitionReason.STARTED)
            await self._upstream.open()
            await self._sign_on(await self._upstream.dial())
        while not self._upstream.stopping:
            await self._watch()
            await self._reconnect()

    async def _sign_on(self, connection: Connection) -> None:
        """Over a fresh connection: who it is, and what its account offers."""
        self._link.attach(connection)
        # Before `leave_to`: which run this is decides where its unfinished questions are noted.
        is_same = await self._recognize()
        connection.leave_to(self.runs.abandoned)
        self._happen(Event.BEGINS, TransitionReason.STARTED)
        await self._link.sign_on(connection, self._upstream.endpoint.work_dir if self._upstream.endpoint else None)
        # The same process has the same models, so a new connection to it costs one RPC and not two.
        await self._read_account(Event.SIGNED_ON, reload=not is_same)

    async def _recognize(self) -> bool:
        """Whether it is the process from before. An attached one has to prove it, or its sessions are not trusted."""
        if not self._upstream.is_attached:
            return self._restarts.ready
        return self.runs.is_same(await self._upstream.identity())

    async def _reconnect(self) -> None:
        """Make a lost connection again: at once if it had worked, else, and when nobody answers, after short pauses."""
        connection, loop = self._link.connection, asyncio.get_running_loop()
        if self._upstream.stopping or connection is None:
            return None
        now = time.monotonic()
        worked = connection.served or now - self._restarts.up_since >= BRIEF_SEC
        # A hung program of our own is started anew. One of somebody else can only be dialled again.
        if not self._restarts.lost(now, worked=worked) or (connection.hung and self._upstream.process):
            raise NotReady(self._incidents.last_error)
        self._incidents.reconnects += 1
        self._outages.failed(now, self._incidents.last_error, "connecting again")
        deadline, tries = loop.time() + self._options.start_timeout, 0
        while True:
            # 0 s for the first try after a connection that worked: its sessions are still there.
            await asyncio.sleep(self._restarts.redial_pause(tries))
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._sign_on(await self._upstream.redial())
            except (*UNREACHABLE, ConnectionLost) as exc:
                if self._upstream.stopping or self._upstream.exit_code is not None or loop.time() >= deadline:
                    raise
                if isinstance(exc, DialFailed) and exc.refused:  # its host is there, and it is not
                    self.runs.note_exit()
            tries += 1

    async def _read_account(self, event: Event, *, reload: bool) -> None:
        await self._link.read_account(reload=reload)
        self._health.account_read(self._link.account.facts_at)
        account = self._link.account.facts.state
        # Earlier failures are in the log and in the count of restarts.
        self._incidents.last_error = "" if account.may_chat else account.label
        self._look(event)

    def _health_changed(self) -> None:
        if not self.current.is_connected:
            return
        before = self.current.state, self.current.is_ready
        self._look(Event.CHANGED)
        self.current.let_in(lets_in=self._health.lets_in)
        # `_set` has told of another state. That one turn decides, or has decided, is none.
        if self.current.is_ready and before == (self.current.state, False):
            self._changed()

    async def _watch(self) -> None:
        """Until the connection is gone; the account is checked now and then. Raise when the program is gone."""
        if self._link.connection is None:
            return
        # Both are waited for: a program can exit while a child of it holds the connection open.
        ends: set[asyncio.Future[Any]] = {self._link.connection.lost}
        exited = self._upstream.process.exited if self._upstream.process else None
        if exited is not None:
            ends.add(exited)
        while not self._upstream.stopping:
            if self.orders.want_end_of_run:
                await self._drain(ends)
                if self.orders.want_end_of_run:  # else it takes turns again, which have nothing to do with that order
                    raise _EndOrdered
            # Made anew each time, as `asyncio.wait` needs a task; cancelled below, or one would be left over for each
            # check.
            woken = asyncio.ensure_future(self._wake.wait())
            done, _ = await asyncio.wait({*ends, woken}, timeout=self._pause(), return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
            if done & ends and exited is not None:
                # The connection of a program that exits is lost a moment before its exit is known. Without this wait
                # a crash would look like a lost connection.
                await asyncio.wait({exited}, timeout=EXIT_SEC)
            if self._upstream.exit_code is not None:
                raise NotReady(self._reason_of_loss())
            if done & ends:
                return
            reload = self._wake.is_set()
            self._look(Event.CHANGED)  # a pause may be over
            # Cleared before the check: a change that comes during it leads to another check.
            self._wake.clear()
            if not self._upstream.stopping:
                await self._check_account(reload)

    async def _drain(self, ends: set[asyncio.Future[Any]]) -> None:
        """Until its turns have ended, time is up, or nobody wants the end any more."""
        self._happen(Event.ENDS, self.orders.why)
        deadline = time.monotonic() + self._options.drain
        while self._is_busy() and self.orders.want_end_of_run and not self._upstream.stopping:
            if time.monotonic() >= deadline:
                return
            if (await asyncio.wait(ends, timeout=DRAIN_POLL_SEC))[0]:
                return

    def _pause(self) -> float:
        account, cooling = self._link.account, self.orders.cools_for()
        well = account.may_chat and not account.failed_reads
        pause = min(HEALTH_SEC, self._options.models_refresh) if well else LOGIN_POLL_SEC
        return min(pause, cooling) if cooling > 0 else pause

    async def _check_account(self, reload: bool) -> None:
        """The account. One odd answer is no reason to end a service and whatever it is asked; silence may be one."""
        account, reads = self._link.account, self._link.reads
        try:
            await self._read_account(Event.CHANGED, reload=reload)
        except ConnectionLost:
            return  # which the watch sees
        except BAD_ANSWERS as exc:
            account.failed_reads += 1
            # A service that sends replies meanwhile lives, and is only slow to answer this.
            busy = self._is_busy() and self._link.reads > reads
            if account.failed_reads >= MOST_FAILED_READS or (isinstance(exc, TimeoutError) and not busy):
                raise
            account.mark_stale()
            self._health.account_read(math.inf)  # turns must not wait for what cannot be read
            self._outages.failed(time.monotonic(), f"its account cannot be read: {exc or 'no answer'}", "looking again")
        else:
            if account.failed_reads:  # its state need not be another, which would say so
                self._outages.recovered(time.monotonic(), self.current.state)
            account.failed_reads = 0

    def _reason_of_loss(self) -> str:
        if self._upstream.exit_code is not None:
            return f"the program exited with code {self._upstream.exit_code}"
        return self._link.loss()

    def _on_lost(self, connection: Connection) -> None:
        """At once, before the turns know: they must not choose it again until it is back."""
        # Over all connections of the run: the next one may serve nothing.
        self._restarts.served = self._restarts.served or connection.served
        # Not for the one before, nor during a start, which reports its own failure.
        if connection is self._link.connection and self.current.is_connected:
            self.runs.mark_unsettled()
            self._incidents.last_error = self._reason_of_loss()
            if self._upstream.stopping:
                self._happen(Event.ENDS, TransitionReason.CLOSED)
            else:
                self._happen(Event.LOST, TransitionReason.LOST, self._incidents.last_error)

    def _look(self, event: Event) -> None:
        """As one that is connected. From one state of CONNECTED to another is no return from an outage."""
        state = self._after(event)
        if state not in CONNECTED:
            return
        why = self._why(state)
        if not self.current.is_connected:
            self._restarts.back(time.monotonic())
            self.runs.settle()
            why = TransitionReason.CONNECTED
        if state != self.current.state:
            self._outages.recovered(time.monotonic(), state)
        account = self._link.account.facts.state
        self._set(state, why, "" if account.may_chat else account.label)

    def _why(self, state: InstanceState) -> TransitionReason:
        """For what reason it comes into that state, from another of CONNECTED."""
        if state is InstanceState.READY and self._health.reopens:
            return TransitionReason.ALONE
        of_pause = {state, self.current.state} == {InstanceState.COOLING, InstanceState.READY}
        if of_pause and self.orders.cools_for() <= 0 and not self._health.breaker.is_closed:
            if state is InstanceState.READY:
                return TransitionReason.TRIED
            return OF_PAUSES[self._health.cause]
        return TransitionReason.ORDER if {state, self.current.state} & HELD else TransitionReason.ACCOUNT

    def _after(self, event: Event) -> InstanceState:
        remedy, is_cooling = self._link.account.facts.state.remedy, self._health.is_cooling
        return after(self.current.state, event, self.orders.state_of(remedy, is_cooling=is_cooling))

    def _happen(self, event: Event, why: TransitionReason, detail: str = "") -> None:
        self._set(self._after(event), why, detail)

    def _set(self, state: InstanceState, why: TransitionReason, detail: str = "") -> None:
        if state != self.current.state:
            level = logging.INFO if self._upstream.stopping else logging.DEBUG
            logger.log(level, "%s is %s", self._outages.name, state)
            # Before `changed`, which looks at it to place turns.
            self.current.enter(state, why, detail, self.runs.generation, lets_in=self._health.lets_in)
            self._changed()
