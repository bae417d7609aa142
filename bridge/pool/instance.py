"""One running service and our connection to it: started, watched, restarted, asked."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from bridge.chat.errors import ConnectionLost, GatewayError, Unavailable, UpstreamFailed
from bridge.lingma.connection import Connection, DialFailed
from bridge.lingma.dialects import dialect_a
from bridge.lingma.dialects.dialect_a import Ask
from bridge.lingma.process.process import StartFailed
from bridge.lingma.process.service_log import ServiceLog
from bridge.lingma.transport.rpc import RpcError
from bridge.lingma.turn import Turn, TurnLimits
from bridge.pool.account import Account, key_of
from bridge.pool.comeback import Comeback
from bridge.pool.policy import Affinity, Candidate
from bridge.pool.runs import Runs
from bridge.pool.troubles import Troubles
from bridge.pool.upstream import Source, Upstream
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState
from gateway_project.lib.random_bytes import Entropy
from gateway_project.lib.ticker import Pulse
from gateway_project.lib.tool_approval import DENY, Approval

logger = logging.getLogger(__name__)

LOGIN_POLL_SEC = 5.0
HEALTH_SEC = 30.0
ODD_LOOKS = 3  # at the account in a row that brought no sense, before the service is given up
UPLOAD_SEC = 10.0  # the plugin waits as long (PROTOCOL 10)
BRIEF_SEC = 1.0  # a connection that was lost so soon without an answered turn has not worked
LOOK_SEC = 1.0  # how often one looks for an attached service that is away
DOUBT_SEC = 2.0  # so long a turn in doubt may be silent before another one is asked beside it
EXIT_SEC = 0.05  # between the end of a program's connection and its own


_new_id = Entropy(16)


class InstanceOptions(msgspec.Struct, frozen=True):
    """What all instances of a pool share. Times in seconds."""

    limit: int = 8
    start_timeout: float = 15.0
    rpc_timeout: float = 60.0
    ask_kind: str = "notification"
    ask_overrides: dict[str, dict[str, Any]] = {}
    dedicated_domain: str = ""
    models_refresh: float = 300.0
    turn: TurnLimits = TurnLimits()
    approval: Approval = DENY
    """Which tools of its own the service may run."""


class NotReady(Exception):
    """The service is there but cannot be used; the message says why."""


TROUBLES = (
    NotReady, DialFailed, StartFailed, RpcError, GatewayError, TimeoutError, OSError, msgspec.DecodeError,
)  # fmt: skip  # what may be better after a restart
NOBODY = (DialFailed, StartFailed)
ODD = (RpcError, TimeoutError, msgspec.DecodeError)


class Instance:
    """`run()` keeps it alive until `stop()`; `ask()` starts a turn while it is ready."""

    def __init__(
        self,
        name: str,
        process_number: int,
        source: Source,
        options: InstanceOptions,
        pulse: Pulse,
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self.in_flight = 0
        self.account = Account(options.models_refresh)
        self.state = InstanceState.STOPPED
        self.restarts = 0
        self.reconnects = 0
        self.last_error = ""
        self.log: ServiceLog | None = None
        self.unknown_pushes = 0
        self.unrouted_tool_events = 0
        self._process_number = process_number
        self._upstream = Upstream(source, options.approval)
        self._upstream_name = source.upstream
        self._options = options
        self._pulse = pulse
        self._changed = changed
        self._connection: Connection | None = None
        self._runs = Runs()
        self._comeback = Comeback()
        self._troubles = Troubles(name)
        self._odd_looks = 0
        self._version = ""
        self._back_at = 0.0
        self._met_at = 0.0  # loop time
        self._wake = asyncio.Event()
        self._watched: list[tuple[Turn, float]] = []
        self._stopping = False

    # -- what the pool asks -------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Of the run under way, or the last one."""
        return self._runs.generation

    @property
    def candidate(self) -> Candidate:
        """For the policy."""
        return Candidate(
            self.name, self.generation, self.state is InstanceState.READY, self.in_flight, self._options.limit
        )

    @property
    def has_room(self) -> bool:
        """It could take a turn now."""
        return self.state is InstanceState.READY and self.in_flight < self._options.limit

    @property
    def affinity(self) -> Affinity:
        """What a session that was made now is bound to."""
        return Affinity(self.name, self.generation)

    @property
    def unheard(self) -> int:
        """Turns here of whose reply nothing has come yet."""
        return self.in_flight - (self._connection.heard if self._connection is not None else 0)

    @property
    def is_in_doubt(self) -> bool:
        """One of them is itself in doubt, and was asked lately."""
        since = time.monotonic() - DOUBT_SEC
        self._watched = [
            (turn, at) for turn, at in self._watched if at > since and turn.end is None and not turn.is_heard
        ]
        return bool(self._watched)

    @property
    def late_acks(self) -> int:
        """Acknowledgements the service has missed, by its log."""
        return self.log.late_acks if self.log else 0

    def back_within(self, seconds: float) -> bool:
        """Whether it may take turns by then without anybody's help: worth waiting for."""
        now = time.monotonic()
        match self.state:
            case InstanceState.READY:
                return True
            case InstanceState.STARTING:
                return not self._comeback.is_hopeless(now)
            case InstanceState.BACKOFF:
                return not self._comeback.is_hopeless(now) and self._back_at - now < seconds
            case InstanceState.STOPPED:
                return not self._stopping  # it has not begun yet
            case _:
                return False

    async def crashed(self, generation: int) -> bool:
        """Whether that run ended by itself, and not only a connection to it. Told as soon as it is known."""
        return await self._runs.crashed(generation)

    def model_key(self, name: str) -> str | None:
        """The key of the model a client names by its key or its display name."""
        return key_of(name, self.account.model_names)

    def facts(self) -> InstanceStatus:
        """For the heartbeat."""
        return InstanceStatus(
            name=self.name,
            process=self._process_number,
            pid=self._upstream.pid,
            generation=self.generation,
            state=self.state,
            login=self.account.logged_in,
            in_flight=self.in_flight,
            limit=self._options.limit,
            restarts=self.restarts,
            last_error=self.last_error,
            version=self._version,
            upstream=self._upstream_name,
            models=len(self.account.models),
            started_at=self._runs.started_at,
            at=time.time(),
            model_names=self.account.model_names,
        )

    def ask(self, ask: Ask) -> Turn:
        """Send the question; the answer comes into the turn. Raise ConnectionLost, ContextFull or Overloaded."""
        if self._connection is None:
            raise ConnectionLost("The instance is not connected.")
        turn = Turn(ask.request_id, ask.session_id, self._options.turn, self._pulse)
        try:
            params = dialect_a.ask_params(ask, self._options.ask_overrides)
            self._connection.ask(turn, params, self._options.ask_kind)
        except GatewayError:
            turn.close()
            raise
        return turn

    def watch(self, turn: Turn) -> None:
        """Note that the turn is in doubt: no other such turn is asked beside it until it is heard."""
        self._watched.append((turn, time.monotonic()))

    async def upload_image(self, data_uri: str) -> str:
        """Hand an image to the service; its URL for `Ask.image_urls`, good on this instance.

        Raise UploadFailed or ConnectionLost.
        """
        if self._connection is None:
            raise ConnectionLost("The instance is not connected.")
        return await self._connection.upload(_new_id().hex(), data_uri, UPLOAD_SEC)

    def give_up(self, turn: Turn) -> None:
        """Nobody wants the rest: end the turn here and tell the service to stop (PROTOCOL 9.7)."""
        turn.close()
        if self._connection is not None:
            self._connection.stop(turn)

    def end_turns(self, why: str) -> None:
        """Fail whatever runs here."""
        if self._connection is not None:
            self._connection.end_turns(UpstreamFailed(why))

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start, watch and restart the service until `stop()`."""
        self._set(InstanceState.STARTING)
        while not self._stopping:
            pause = await self._run_once()
            if self._stopping:
                break
            await self._wait(pause)
        self._set(InstanceState.STOPPED)

    async def stop(self) -> None:
        """End the service; `run()` returns."""
        self._stopping = self._upstream.stopping = True
        self._wake.set()
        if self._connection is not None:
            self._connection.close()

    async def _run_once(self) -> float:
        """Until the service has to be started or looked for anew; in how many seconds."""
        nobody = False
        try:
            await self._live()
        except TROUBLES as exc:
            self.last_error = str(exc) or "the service did not answer in time"
            nobody = isinstance(exc, NOBODY) and self._upstream.is_attached
        except Exception:  # an edge: no bug may take an instance away for ever
            logger.exception("%s: a run broke", self.name)
            self.last_error = "the gateway failed; its log says why"
        if self._stopping:
            self._set(InstanceState.DRAINING)
            await self._end()
            return 0.0
        return await self._rest(nobody=nobody)

    async def _rest(self, *, nobody: bool) -> float:
        """No turn may choose it any more; the pause is known before anybody is told."""
        if self._has_crashed():
            self._runs.crash()
        if not nobody or not self._comeback.failures:
            self.restarts += 1
        now, hung = time.monotonic(), self._connection is not None and self._connection.hung
        pause = self._comeback.restart_pause(now, random.random())  # noqa: S311
        pause = LOOK_SEC if nobody else pause
        self._back_at = now + pause
        self._runs.settle()
        self._troubles.met(now, self.last_error, f"starting again in {pause:.1f} s")
        self._set(InstanceState.BACKOFF)
        await self._end(hung=hung)
        return pause

    async def _wait(self, pause: float) -> None:
        """Sleep, unless the service is told to be somewhere else meanwhile."""
        self._wake.clear()  # news from the run that has ended must not cut the pause short
        while not self._stopping and (left := self._back_at - time.monotonic()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), min(left, LOOK_SEC))
                return
            if pause > LOOK_SEC and self._upstream.has_moved():
                return

    async def _live(self) -> None:
        """One run of the service. A lost connection is made again: its sessions live on (PROTOCOL 15.1)."""
        self._comeback.begin(time.monotonic())
        self._odd_looks = 0
        self._wake.clear()
        async with asyncio.timeout(self._options.start_timeout):
            if not self._upstream.is_attached:
                self._runs.begin()
                self._set(InstanceState.STARTING)
            await self._upstream.open()
            await self._meet(await self._upstream.dial())
        while not self._stopping:
            await self._watch()
            await self._meet_again()

    async def _meet(self, connection: Connection) -> None:
        """Over a fresh connection: who it is, and what its account offers."""
        self._connection = connection
        connection.on_push = self._on_push
        connection.on_lost = partial(self._on_lost, connection)
        connection.tools.on_unrouted = self._on_unrouted
        known = await self._recognize()
        self._set(InstanceState.STARTING)
        work_dir = self._upstream.endpoint.work_dir if self._upstream.endpoint else None
        if self.log is None and work_dir is not None:
            self.log = ServiceLog(work_dir)
        started = await self._rpc(dialect_a.INITIALIZE, dialect_a.initialize_params(str(work_dir or "/")))
        self._version = dialect_a.version_of(started)
        if self._options.dedicated_domain:
            params = {"endpoint": self._options.dedicated_domain}
            await self._rpc(dialect_a.UPDATE_ENDPOINT, params)
        connection.keep_watch()
        await self._read_account(news=not known)

    async def _recognize(self) -> bool:
        """Whether it is the process from before. An attached one has to prove it, or its sessions are not trusted."""
        if not self._upstream.is_attached:
            return self._comeback.ready
        return self._runs.is_same(await self._upstream.identity())

    async def _meet_again(self) -> None:
        """Make a lost connection again: at once if it had worked, else, and when nobody answers, after short pauses."""
        connection, loop = self._connection, asyncio.get_running_loop()
        if self._stopping or connection is None:
            return None
        worked = connection.served or loop.time() - self._met_at >= BRIEF_SEC
        if not self._comeback.lost(time.monotonic(), worked=worked) or (connection.hung and self._upstream.process):
            raise NotReady(self.last_error)
        self.reconnects += 1
        self._troubles.met(time.monotonic(), self.last_error, "connecting again")
        deadline, tries = loop.time() + self._options.start_timeout, 0
        while True:
            await asyncio.sleep(self._comeback.redial_pause(tries))
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._meet(await self._upstream.redial())
            except (*NOBODY, ConnectionLost) as exc:
                if self._stopping or self._upstream.exit_code is not None or loop.time() >= deadline:
                    raise
                if isinstance(exc, DialFailed) and exc.refused:  # its host is there, and it is not
                    self._runs.crash()
            tries += 1

    async def _rpc(self, method: str, params: dict[str, Any]) -> bytes:
        if self._connection is None or self._stopping:
            raise ConnectionLost("The instance is not connected.")
        connection = self._connection
        result = await connection.request(method, params, self._options.rpc_timeout)
        if connection.lost.done():  # right behind the answer, which tells nothing of now
            raise ConnectionLost("The instance is not connected.")
        return result

    async def _read_account(self, news: bool = True) -> None:
        """Who is logged in, and what the account offers: the latter when there is news, or now and then."""
        await self.account.read(self._rpc, news=news)
        # What was is told by the log and by the count of restarts.
        self.last_error = "" if self.account.logged_in else "not logged in to Lingma"
        self._be(InstanceState.READY if self.account.logged_in else InstanceState.LOGIN_REQUIRED)

    async def _watch(self) -> None:
        """Until the connection is gone; the account is looked at now and then. Raise when the program is gone."""
        if self._connection is None:
            return
        gone: set[asyncio.Future[Any]] = {self._connection.lost}
        exited = self._upstream.process.exited if self._upstream.process else None
        if exited is not None:
            gone.add(exited)
        while not self._stopping:
            well = self.account.logged_in and not self._odd_looks
            pause = min(HEALTH_SEC, self._options.models_refresh) if well else LOGIN_POLL_SEC
            woken = asyncio.ensure_future(self._wake.wait())
            done, _ = await asyncio.wait({*gone, woken}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
            if done & gone and exited is not None:
                await asyncio.wait({exited}, timeout=EXIT_SEC)
            if self._upstream.exit_code is not None:
                raise NotReady(self._what_happened())
            if done & gone:
                return
            news = self._wake.is_set()
            self._wake.clear()
            if not self._stopping:
                await self._look(news)

    async def _look(self, news: bool) -> None:
        """The account. One odd answer is no reason to end a service and whatever it is asked; silence may be one."""
        received = self._connection.received if self._connection is not None else 0
        try:
            await self._read_account(news)
        except ConnectionLost:
            return  # which the watch sees
        except ODD as exc:
            self._odd_looks += 1
            heard = self._connection is not None and self._connection.received > received
            busy = self.in_flight > 0 and heard
            if self._odd_looks >= ODD_LOOKS or (isinstance(exc, TimeoutError) and not busy):
                raise
            self.account.doubt()
            self._troubles.met(time.monotonic(), f"its account cannot be read: {exc or 'no answer'}", "looking again")
        else:
            self._odd_looks = 0

    def _what_happened(self) -> str:
        if self._upstream.exit_code is not None:
            return f"the program exited with code {self._upstream.exit_code}"
        return f"connection lost: {self._connection.lost.result()}" if self._connection else "connection lost"

    def _has_crashed(self) -> bool:
        """Whether the run that ends has ended by itself after it was ready, or had to be ended."""
        hung = self._connection is not None and self._connection.hung
        return self._comeback.ready and (hung or self._upstream.exit_code is not None)

    async def _end(self, *, hung: bool = False) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self.log is not None:
            self.log.close()
            self.log = None
        await self._upstream.end(hung=hung)

    def _on_lost(self, connection: Connection) -> None:
        """At once, before the turns know: they must not choose it again until it is back."""
        self._comeback.served = self._comeback.served or connection.served
        if connection is self._connection and self.state in {InstanceState.READY, InstanceState.LOGIN_REQUIRED}:
            self._runs.doubt()
            self.last_error = self._what_happened()
            self._set(InstanceState.DRAINING if self._stopping else InstanceState.STARTING)

    def _on_push(self, method: str, _params: msgspec.Raw) -> None:
        if method in dialect_a.STATE_CHANGED:
            self._wake.set()
        elif method not in dialect_a.PASSIVE:
            self.unknown_pushes += 1
            logger.info("%s: unknown message %s ignored", self.name, method[:80])

    def _on_unrouted(self) -> None:
        self.unrouted_tool_events += 1

    def _be(self, state: InstanceState) -> None:
        """It can be used, or lacks a login only."""
        if self.state not in {InstanceState.READY, InstanceState.LOGIN_REQUIRED}:
            self._met_at = asyncio.get_running_loop().time()
            self._comeback.back()
            self._runs.settle()
        if state != self.state:
            self._troubles.over(time.monotonic(), state)
        self._set(state)

    def _set(self, state: InstanceState) -> None:
        if state != self.state:
            logger.log(logging.INFO if self._stopping else logging.DEBUG, "%s is %s", self.name, state)
            self.state = state
            self._changed()


def names(sources: Sequence[Source], process_number: int) -> list[str]:
    """Instance names: `w1-i1` is the first instance of the first web process."""
    return [f"w{process_number}-i{index}" for index in range(1, len(sources) + 1)]


def unavailable(facts: Sequence[InstanceStatus]) -> Unavailable:
    """Why no instance can take a turn, in words for a client."""
    states = ", ".join(f"{each.name} {each.state}" for each in facts) or "none configured"
    return Unavailable(f"No Lingma instance is ready ({states}).", code="server_is_overloaded")
