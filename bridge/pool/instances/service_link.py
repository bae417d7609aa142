"""An instance's connection to its service, and what is known over it: version, account, log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bridge.chat.errors import ConnectionLost, UpstreamFailed
from bridge.lingma.connection import Connection
from bridge.lingma.dialects.base import Ask, Call, Dialect
from bridge.lingma.process.log_tail import LogTail
from bridge.lingma.stream import ReplyStream
from bridge.pool.instances.incidents import Incidents
from bridge.pool.logins.account import Account
from bridge.pool.options import InstanceOptions
from gateway_project.lib.secrets.random_bytes import random_bytes
from gateway_project.lib.ticker import Ticker

logger = logging.getLogger(__name__)

UPLOAD_SEC = 10.0  # the plugin waits as long (PROTOCOL 10)

_new_id = random_bytes(16)


class ServiceLink:
    """One connection after the other: `attach()`, `sign_on()`, then turns, until `close()`."""

    def __init__(
        self, name: str, dialect: Dialect, options: InstanceOptions, incidents: Incidents, ticker: Ticker
    ) -> None:
        self.account = Account(dialect, options.models_refresh)
        self.connection: Connection | None = None
        self.log: LogTail | None = None
        self.version = ""
        self.on_account_changed: Callable[[], None] = lambda: None
        """Called when the service reports that its account, or what that offers, has changed."""
        self.on_ended: Callable[[ReplyStream], None] = lambda _stream: None
        """Called once for each turn that has ended, however."""
        self.on_lost: Callable[[Connection], None] = lambda _connection: None
        self._name = name
        self._dialect = dialect
        self._options = options
        self._incidents = incidents
        self._ticker = ticker
        self._stopped = False

    @property
    def begun(self) -> int:
        """Turns of whose reply something has come."""
        return self.connection.begun if self.connection is not None else 0

    @property
    def stuck(self) -> int:
        """Turns of which nothing has come for long."""
        return self.connection.stuck(self._options.stuck) if self.connection is not None else 0

    @property
    def hung(self) -> bool:
        """The last connection was given up because the service gave no sign of life."""
        return self.connection is not None and self.connection.hung

    @property
    def reads(self) -> int:
        """So many reads of this connection have brought something; 0 without one."""
        return self.connection.reads if self.connection is not None else 0

    def attach(self, connection: Connection) -> None:
        """A fresh connection takes the place of the one before."""
        self.connection = connection
        connection.on_account_changed = self.on_account_changed
        connection.on_unknown = self._on_unknown
        connection.on_ended = self.on_ended
        # With its connection: a late loss of the one before must not be taken for one of the new.
        connection.on_lost(partial(self.on_lost, connection))
        connection.tools.on_unrouted = self._on_unrouted

    async def sign_on(self, connection: Connection, work_dir: Path | None) -> None:
        """Make ourselves known. Raise what `request` raises."""
        dialect = self._dialect
        # Opened before the first turn, so that its lines are read from here on. A new connection to the same run goes
        # on reading.
        if self.log is None and work_dir is not None and dialect.log is not None:
            self.log = LogTail(work_dir, dialect.log)
        self.version = dialect.version_of(await self.request(dialect.initialize(str(work_dir or "/"))))
        # After `initialize`, before which requests are errors, and before models are listed: they depend on it.
        if self._options.dedicated_domain:
            await self.request(dialect.use_endpoint(self._options.dedicated_domain))
        # Only now: a service that has not answered `initialize` has the start's own time limit.
        connection.start_liveness()

    async def request(self, call: Call) -> bytes:
        """One RPC: the raw result. Raise RpcError, TimeoutError or ConnectionLost."""
        if self.connection is None or self._stopped:
            raise ConnectionLost("The instance is not connected.")
        connection = self.connection
        result = await connection.request(call, self._options.rpc_timeout)
        if connection.lost.done():  # it was lost right behind the answer
            raise ConnectionLost("The instance is not connected.")
        return result

    async def read_account(self, *, reload: bool) -> None:
        """Ask the service who is logged in, and with `reload`, or now and then, which models the account offers."""
        await self.account.read(self.request, reload=reload)

    def ask(self, ask: Ask) -> ReplyStream:
        """Send the question. Raise ConnectionLost, ContextFull or Overloaded."""
        if self.connection is None:
            raise ConnectionLost("The instance is not connected.")
        # It joins the ticker when it is made, so it must be closed if the question cannot be sent.
        stream = ReplyStream(ask.request_id, ask.session_id, self._options.turn, self._ticker)
        try:
            self.connection.ask(stream, ask, self._options.ask_kind)
        except BaseException:
            stream.close()
            raise
        return stream

    async def upload_image(self, data_uri: str) -> str:
        """Hand over an image; its URL. Raise UploadFailed or ConnectionLost."""
        if self.connection is None:
            raise ConnectionLost("The instance is not connected.")
        return await self.connection.upload(_new_id().hex(), data_uri, UPLOAD_SEC)

    def give_up(self, stream: ReplyStream) -> None:
        """End the turn here, and have the service stop it."""
        # Closed first: pieces that still arrive then belong to nobody, and the table of turns is free of it.
        stream.close()
        if self.connection is not None:
            self.connection.stop(stream)

    def end_turns(self, why: str) -> None:
        if self.connection is not None:
            self.connection.end_turns(UpstreamFailed(why))

    def stop(self) -> None:
        """End the connection; no request is sent any more."""
        self._stopped = True
        if self.connection is not None:
            self.connection.close()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if self.log is not None:
            self.log.close()
            self.log = None

    def loss(self) -> str:
        """The reason why the connection was lost, in words for log and timeline."""
        lost = self.connection.lost if self.connection is not None else None
        return f"connection lost: {lost.result()}" if lost is not None and lost.done() else "connection lost"

    def _on_unknown(self, method: str) -> None:
        self._incidents.unknown_pushes += 1
        logger.info("%s: unknown message %s ignored", self._name, method[:80])

    def _on_unrouted(self) -> None:
        self._incidents.unrouted_tool_events += 1
