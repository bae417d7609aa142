"""One running service and our connection to it: started, watched, restarted, asked."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from bridge.chat.errors import ConnectionLost, GatewayError, Unavailable, UpstreamFailed
from bridge.lingma import dialect_a
from bridge.lingma.connection import Connection, DialFailed
from bridge.lingma.dialect_a import Ask, Model
from bridge.lingma.endpoint import Endpoint
from bridge.lingma.entropy import Entropy
from bridge.lingma.firewall import DENY, Approval
from bridge.lingma.process import Process, StartFailed
from bridge.lingma.pulse import Pulse
from bridge.lingma.rpc import RpcError
from bridge.lingma.service_log import ServiceLog
from bridge.lingma.turn import Turn, TurnLimits
from bridge.lingma.uploads import UploadFailed
from bridge.lingma.urls import shown
from bridge.pool.policy import Affinity, Candidate, InstanceFacts, InstanceState, restart_delay

logger = logging.getLogger(__name__)

DIAL_EVERY_SEC = 0.15
LOGIN_POLL_SEC = 5.0
HEALTH_SEC = 30.0
UPLOAD_SEC = 10.0  # the plugin waits as long (10)
BRIEF_SEC = 1.0  # a connection that was lost so soon is not worth making again
STEADY_SEC = 60.0  # a run this long wipes out the memory of earlier failures


_new_id = Entropy(16)


class Source(msgspec.Struct, frozen=True):
    """Where an instance comes from: a command to start, or an endpoint to attach to."""

    upstream: str
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    work_dir: Path | None = None
    attach: str = ""
    environment: dict[str, str] = {}
    """Variables of the program beside those every program gets."""


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
        self.models: list[Model] = []
        self.model_names: dict[str, str] = {}
        """Keys and display names, these in lower case, to keys."""
        self.state: InstanceState = "stopped"
        self.restarts = 0
        self.last_error = ""
        self.generation = 0
        self.log: ServiceLog | None = None
        self.unknown_pushes = 0
        self.unrouted_tool_events = 0
        self._process_number = process_number
        self._source = source
        self._options = options
        self._pulse = pulse
        self._changed = changed
        self._connection: Connection | None = None
        self._process: Process | None = None
        self._failures = 0
        self._login = False
        self._version = ""
        self._models_read_at = 0.0
        self._started_at = 0.0
        self._back_at = 0.0
        self._wake = asyncio.Event()
        self._stopping = False

    # -- what the pool asks -------------------------------------------------------------------------------------

    @property
    def candidate(self) -> Candidate:
        """For the policy."""
        # A connection is lost a moment before the state says so.
        ready = self.state == "ready" and self._connection is not None and not self._connection.lost.done()
        return Candidate(self.name, self.generation, ready, self.in_flight, self._options.limit)

    @property
    def affinity(self) -> Affinity:
        """What a session that was made now is bound to."""
        return Affinity(self.name, self.generation)

    @property
    def late_acks(self) -> int:
        """Acknowledgements the service has missed, by its log."""
        return self.log.late_acks if self.log else 0

    def back_within(self, seconds: float) -> bool:
        """Whether it may take turns by then without anybody's help: worth waiting for."""
        match self.state:
            case "ready" | "starting":
                return True
            case "backoff":
                return self._back_at - time.monotonic() < seconds
            case "stopped":
                return not self._stopping  # it has not begun yet
            case _:
                return False

    def model_key(self, name: str) -> str | None:
        """The key of the model a client names by its key or its display name."""
        return self.model_names.get(name) or self.model_names.get(name.lower())

    def facts(self) -> InstanceFacts:
        """For the heartbeat."""
        return InstanceFacts(
            name=self.name,
            process=self._process_number,
            pid=self._process.pid if self._process else 0,
            generation=self.generation,
            state=self.state,
            login=self._login,
            in_flight=self.in_flight,
            limit=self._options.limit,
            restarts=self.restarts,
            last_error=self.last_error,
            version=self._version,
            upstream=self._source.upstream,
            models=len(self.models),
            started_at=self._started_at,
            at=time.time(),
            model_names=self.model_names,
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

    async def upload_image(self, data_uri: str) -> str:
        """Hand an image to the service; its URL for `Ask.image_urls`, good on this instance. Raise UploadFailed."""
        if self._connection is None:
            raise UploadFailed("The instance is not connected.")
        return await self._connection.upload(_new_id().hex(), data_uri, UPLOAD_SEC)

    def give_up(self, turn: Turn) -> None:
        """Nobody wants the rest: end the turn here and tell the service to stop (9.7)."""
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
        while not self._stopping:
            began = time.monotonic()
            try:
                await self._live()
            except TROUBLES as exc:
                self.last_error = str(exc) or "the service did not answer in time"
            self._failures = 1 if time.monotonic() - began > STEADY_SEC else self._failures + 1
            delay = restart_delay(self._failures, random.random())  # noqa: S311
            self._back_at = time.monotonic() + delay
            self._set("draining" if self._stopping else "backoff")  # at once: no turn may choose it any more
            await self._end_process()
            if self._stopping:
                break
            await self._back_off()
        self._set("stopped")

    async def stop(self) -> None:
        """End the service; `run()` returns."""
        self._stopping = True
        self._wake.set()
        if self._connection is not None:
            self._connection.close()

    async def _live(self) -> None:
        """One run of the service. A lost connection is made again: its sessions live as long as the process (15.1)."""
        self._set("starting")
        self._wake.clear()
        # Wall-clock milliseconds: no two runs of an instance share one, not even across restarts of the gateway.
        self.generation = max(self.generation + 1, int(time.time() * 1000))
        deadline = asyncio.get_running_loop().time() + self._options.start_timeout
        async with asyncio.timeout_at(deadline):
            endpoint = await self._open()
        self.log = ServiceLog(endpoint.work_dir) if endpoint.work_dir else None
        self._started_at = time.time()
        while True:
            async with asyncio.timeout_at(deadline):
                await self._connect(endpoint)
            connected_at = time.monotonic()
            await self._watch()
            self.last_error = self._what_happened()
            if self._stopping or self._process is None or time.monotonic() - connected_at < BRIEF_SEC:
                raise NotReady(self.last_error)
            self._set("starting")
            deadline = asyncio.get_running_loop().time() + self._options.start_timeout

    async def _connect(self, endpoint: Endpoint) -> None:
        self._connection = await self._dial(endpoint)
        self._connection.on_push = self._on_push
        self._connection.tools.on_unrouted = self._on_unrouted
        workspace = str(endpoint.work_dir or "/")
        started = await self._rpc(dialect_a.INITIALIZE, dialect_a.initialize_params(workspace))
        self._version = dialect_a.version_of(started)
        if self._options.dedicated_domain:
            params = {"endpoint": self._options.dedicated_domain}
            await self._rpc(dialect_a.UPDATE_ENDPOINT, params)
        await self._read_account()

    async def _open(self) -> Endpoint:
        if self._source.attach:
            return Endpoint.find(self._source.attach)
        work_dir = self._source.work_dir
        if work_dir is None:
            raise StartFailed("an instance that is started needs a work dir")
        self._process = await Process.start(
            self._source.command, work_dir, self._source.arguments, self._source.environment
        )
        return Endpoint(self._process.url, self._process.work_dir)

    async def _dial(self, endpoint: Endpoint) -> Connection:
        """Dial in a loop until the socket answers; give up at once when the process exits (2.4)."""
        while not self._stopping:
            for url in await self._own(endpoint):
                with suppress(DialFailed):
                    approval = self._options.approval
                    return await Connection.dial(url, within=2.0, headers=endpoint.headers, approval=approval)
            if self._process is None:
                raise DialFailed(f"{shown(endpoint.url)}: no Lingma service answers there")
            await asyncio.wait({self._process.exited}, timeout=DIAL_EVERY_SEC)
            if self._process.exited.done():
                raise StartFailed(f"the program exited with code {self._process.exited.result()}")
        raise NotReady("stopped while it was starting")

    async def _own(self, endpoint: Endpoint) -> tuple[str, ...]:
        """What to dial: of a program that was started here nothing before it listens itself. Raise StartFailed."""
        match await self._process.holder() if self._process is not None else "unknown":
            case "nobody":
                return ()
            case "stranger":
                raise StartFailed("another program listens on the port that was meant for it")
            case _:
                return endpoint.urls

    async def _rpc(self, method: str, params: dict[str, Any]) -> bytes:
        if self._connection is None or self._stopping:
            raise ConnectionLost("The instance is not connected.")
        return await self._connection.request(method, params, self._options.rpc_timeout)

    async def _read_account(self, news: bool = True) -> None:
        """Who is logged in, and what the account offers (6.5): the latter when there is news, or now and then."""
        status = dialect_a.decode_auth_status(await self._rpc(dialect_a.AUTH_STATUS, {}))
        was, self._login = self._login, status.logged_in
        if news or self._login != was or time.monotonic() - self._models_read_at >= self._options.models_refresh:
            await self._read_models()
        if self._login:
            self.last_error = ""  # what was is told by the log and by the count of restarts
            self._set("ready")
        else:
            self.last_error = "not logged in to Lingma"
            self._set("login_required")

    async def _read_models(self) -> None:
        self.models = dialect_a.models_of(await self._rpc(dialect_a.QUERY_MODELS, {})) if self._login else []
        self._models_read_at = time.monotonic()
        self.model_names = {(model.displayName or model.key).lower(): model.key for model in self.models}
        self.model_names |= {model.key: model.key for model in self.models}

    async def _watch(self) -> None:
        """Until the connection is gone; the account is looked at now and then. Raise when the program is gone."""
        if self._connection is None:
            return
        gone: set[asyncio.Future[Any]] = {self._connection.lost}
        if self._process is not None:
            gone.add(self._process.exited)
        while not self._stopping:
            pause = min(HEALTH_SEC, self._options.models_refresh) if self._login else LOGIN_POLL_SEC
            woken = asyncio.ensure_future(self._wake.wait())
            done, _ = await asyncio.wait({*gone, woken}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
            if self._process is not None and self._process.exited.done():
                raise NotReady(self._what_happened())
            if done & gone:
                return
            news = self._wake.is_set()
            self._wake.clear()
            if not self._stopping:
                await self._read_account(news)

    def _what_happened(self) -> str:
        if self._process is not None and self._process.exited.done():
            return f"the program exited with code {self._process.exited.result()}"
        return f"connection lost: {self._connection.lost.result()}" if self._connection else "connection lost"

    async def _end_process(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self.log is not None:
            self.log.close()
        process, self._process = self._process, None
        if process is not None:
            await process.stop()

    async def _back_off(self) -> None:
        self.restarts += 1
        self._wake.clear()  # news from the run that has ended must not cut the pause short
        delay = self._back_at - time.monotonic()
        logger.warning("%s: %s; starting again in %.1f s", self.name, self.last_error, delay)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), delay)

    def _on_push(self, method: str, _params: msgspec.Raw) -> None:
        if method in dialect_a.STATE_CHANGED:
            self._wake.set()
        elif method not in dialect_a.PASSIVE:
            self.unknown_pushes += 1
            logger.info("%s: unknown message %s ignored", self.name, method[:80])

    def _on_unrouted(self) -> None:
        self.unrouted_tool_events += 1

    def _set(self, state: InstanceState) -> None:
        if state != self.state:
            logger.info("%s is %s", self.name, state)
            self.state = state
            self._changed()


def names(sources: Sequence[Source], process_number: int) -> list[str]:
    """Instance names: `w1-i1` is the first instance of the first web process."""
    return [f"w{process_number}-i{index}" for index in range(1, len(sources) + 1)]


def unavailable(facts: Sequence[InstanceFacts]) -> Unavailable:
    """Why no instance can take a turn, in words for a client."""
    states = ", ".join(f"{each.name} {each.state}" for each in facts) or "none configured"
    return Unavailable(f"No Lingma instance is ready ({states}).", code="server_is_overloaded")
