"""A service that nobody else uses, in a work dir of its own: it logs in, answers one question, and ends."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from bridge.chat.errors import ConnectionLost, GatewayError, NoPlan, RateLimited, UpstreamFailed
from bridge.lingma.dialects.base import AccountFacts, Ask, Call, Dialect
from bridge.lingma.errors import LingmaError, RpcError
from bridge.lingma.process.process import lock_of
from bridge.logins import work_dir
from bridge.logins.bundle import NEEDED, Bundle
from bridge.pool.instances.incidents import Incidents
from bridge.pool.instances.service_link import ServiceLink
from bridge.pool.instances.upstream import Upstream
from bridge.pool.options import InstanceOptions, InstanceSpec
from bridge.signin.failure import AttemptFailed
from bridge.signin.options import SignInOptions
from bridge.status.attempts import AttemptResult
from gateway_project.lib.json_errors import UNREADABLE
from gateway_project.lib.texts import gettext_noop
from gateway_project.lib.ticker import Ticker
from gateway_project.lib.tool_approval import DENY

REQUEST_SEC: Final = 10.0  # the plugin waits as long (PROTOCOL 7.4)
DISK_SEC: Final = 10.0
FILES_SEC: Final = 30.0
LOOK_SEC: Final = 0.25
QUESTION: Final = "Answer with the one word pong."
SILENT: Final = gettext_noop("no answer in time")
T = TypeVar("T")


def remove(directory: Path) -> None:
    """A work dir that nobody uses any more, and its lock."""
    shutil.rmtree(directory, ignore_errors=True)
    lock_of(directory).unlink(missing_ok=True)


class LoginService:
    """`start`, requests, `export`, and always `end`, which leaves nothing behind."""

    def __init__(self, spec: InstanceSpec, endpoint: str, options: SignInOptions) -> None:
        assert spec.work_dir is not None  # noqa: S101 - it is never an attached one
        self.directory: Path = spec.work_dir
        self.changed = asyncio.Event()
        """Set when the service reports that its account may have changed."""
        self.password_sent = False
        """A stored password was sent to log it in."""
        self.dialect: Dialect = spec.dialect
        self._upstream = Upstream(spec, DENY)
        self._upstream.login_endpoint = endpoint
        service = InstanceOptions(rpc_timeout=REQUEST_SEC)
        self._link = ServiceLink("login", spec.dialect, service, Incidents(), Ticker())
        self._link.on_account_changed = self.changed.set
        self._options = options

    @property
    def http_port(self) -> int:
        return self._upstream.process.http_port if self._upstream.process is not None else 0

    async def start(self) -> None:
        """Raise AttemptFailed."""
        try:
            async with asyncio.timeout(self._options.start_sec):
                await self._upstream.open()
                connection = await self._upstream.dial()
                self._link.attach(connection)
                await self._link.sign_on(connection, self.directory)
        except (LingmaError, GatewayError, TimeoutError, OSError) as exc:
            raise AttemptFailed(AttemptResult.NOT_STARTED, str(exc) or SILENT) from exc

    async def request(self, call: Call) -> bytes:
        """Raise AttemptFailed when the service is gone or silent, RpcError for what it refuses."""
        try:
            return await self._link.request(call)
        except (ConnectionLost, TimeoutError) as exc:
            raise AttemptFailed(AttemptResult.LOST_SERVICE, str(exc) or SILENT) from exc

    async def account(self) -> AccountFacts:
        """Who is logged in now. Raise AttemptFailed."""
        try:
            return self.dialect.account_of(await self.request(self.dialect.login_status()))
        except (RpcError, *UNREADABLE) as exc:
            raise AttemptFailed(AttemptResult.LOST_SERVICE, str(exc)) from exc

    async def settle(self, stable: float) -> None:
        """Wait until both files are there and stay as they are for `stable` seconds. Raise AttemptFailed."""
        clock = asyncio.get_running_loop().time
        until, seen, since = clock() + FILES_SEC, None, clock()
        while clock() < until:
            found = await self._on_disk(partial(work_dir.stamp_of, self.directory))
            if found != seen:
                seen, since = found, clock()
            elif seen is not None and clock() - since >= stable:
                return
            await asyncio.sleep(LOOK_SEC)
        raise AttemptFailed(AttemptResult.NO_FILES)

    async def chat(self) -> None:
        """Ask one short question. Raise AttemptFailed."""
        try:
            async with asyncio.timeout(self._options.chat_sec):
                error = await self._ask()
        except GatewayError as exc:
            error = exc
        except (RpcError, *UNREADABLE) as exc:
            raise AttemptFailed(AttemptResult.CHAT_FAILED, str(exc)) from exc
        except TimeoutError:
            why = f"no answer within {self._options.chat_sec:.0f} s"
            raise AttemptFailed(AttemptResult.CHAT_AWAY, why) from None
        # Who is told of a limit or a plan is logged in: another login of the account would be told the same.
        if error is not None and not isinstance(error, RateLimited | NoPlan):
            is_away = isinstance(error, UpstreamFailed)
            raise AttemptFailed(AttemptResult.CHAT_AWAY if is_away else AttemptResult.CHAT_FAILED, str(error))

    async def _ask(self) -> GatewayError | None:
        wanted = self._options.model
        offered = [each.key for each in self.dialect.models_of(await self.request(self.dialect.list_models()))]
        model = wanted if wanted in offered or not offered else offered[0]
        turn = self._link.ask(Ask(uuid.uuid4().hex, uuid.uuid4().hex, QUESTION, model))
        try:
            while turn.end is None:
                await turn.drain()
        finally:
            if turn.end is None:
                self._link.give_up(turn)
        if turn.end.error is None and not turn.text:
            raise AttemptFailed(AttemptResult.CHAT_FAILED, gettext_noop("the answer is empty"))
        return turn.end.error

    async def export(self) -> Bundle:
        """The files of the login; the service ends before they are read. Raise AttemptFailed."""
        await self._stop()
        found = await self._on_disk(partial(work_dir.read, self.directory, NEEDED))
        if found is None:
            raise AttemptFailed(AttemptResult.NO_FILES)
        return found

    async def end(self) -> None:
        """Never raises."""
        await self._stop()
        try:
            await self._on_disk(partial(remove, self.directory))
        except AttemptFailed:
            return  # the next attempt removes it

    async def _stop(self) -> None:
        self._upstream.stopping = True
        self._link.close()
        await self._upstream.end(hung=False)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(DISK_SEC):
                return await asyncio.to_thread(work)
        except (TimeoutError, OSError) as exc:
            raise AttemptFailed(AttemptResult.NO_FILES, str(exc) or gettext_noop("the disk does not answer")) from exc
