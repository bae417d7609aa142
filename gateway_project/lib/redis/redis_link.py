"""One lean connection to Redis for the hot path: group commit, a deadline, and a breaker when the server is gone."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from hiredis import pack_command
from redis import ResponseError

from gateway_project.lib import degraded
from gateway_project.lib.background import end
from gateway_project.lib.redis import redis_url
from gateway_project.lib.redis.redis_keys import PROBES
from gateway_project.lib.redis.redis_pipe import FULL, NotSent, Pipe, R, RedisUnavailable, Reply

__all__ = ["Arg", "NotSent", "RedisLink", "RedisUnavailable", "Reply", "Script"]

Arg = str | bytes | int | float

SKEW_SEC: Final = 60
"""By which the clocks of machines may differ. What scripts find to be later comes from before a step of the clock, and
it would be the latest until that time comes again.
"""
DIAL_SEC: Final = 1.0
"""How long a connection may take to be there, with TLS: its callers wait no longer than for an answer."""
STEADY: Final = 2
"""Probes in a row that a server must take after it took no writes."""

# A write of two keys: what a full server, a replica and a node of a cluster all refuse.
PROBE: Final = ("MSET", PROBES[0], 1, PROBES[1], 2)

# hiredis' stub says a tuple of exactly one; it takes any number.
pack: Callable[[tuple[Arg, ...]], bytes] = pack_command  # type: ignore[assignment]


class Script:
    """A Lua script, sent by its digest once the server has it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def is_unknown(exc: ResponseError) -> bool:
    """The server does not know the script; it has not run."""
    return str(exc).startswith("NOSCRIPT")


class ScriptCall:
    """A script with its keys and its first arguments, packed once for many calls; `more` arguments follow in each."""

    __slots__ = ("_head", "_name", "script")

    def __init__(self, script: Script, keys: Sequence[Arg], args: Sequence[Arg], more: int) -> None:
        self.script = script
        count, _, rest = pack(("EVALSHA", script.sha, len(keys), *keys, *args)).partition(b"\r\n")
        self._head = b"*%d\r\n%b" % (int(count[1:]) + more, rest)
        self._name = pack(("EVALSHA", script.sha)).partition(b"\r\n")[2]

    def packed(self, *args: Arg) -> bytes:
        """The whole command."""
        return self._head + pack(args).partition(b"\r\n")[2]

    def packed_with_text(self, *args: Arg) -> bytes:
        """The same for a server that does not know the script."""
        text = pack(("EVAL", self.script.text)).partition(b"\r\n")[2]
        return self.packed(*args).replace(self._name, text, 1)


class RedisLink:
    """
    One connection to Redis, group commit: what is issued while a pipeline is in flight goes out in the next one.

    Replies are as RESP2 gives them: bytes, int, None, lists. One link belongs to one event loop. `timeout` bounds a
    wait in seconds; after a failure the link tries again by itself every `retry_after` seconds. Failures are
    reported as the degraded mode `part`, by a link that has one.
    """

    def __init__(self, url: str, *, timeout: float = 0.2, retry_after: float = 1.0, part: str = "redis") -> None:
        self.url = url
        self.on_loss: Callable[[], None] = lambda: None
        """Called when the server is lost: it may have been killed, and its latest writes be lost."""
        self._target = redis_url.read(url)
        self._timeout = timeout
        self._retry_after = retry_after
        self._part = part
        self._pipe: Pipe | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._refusing = False  # from the first failure on; only while dialling for the first time do callers wait
        self._full = False  # connected, and no writes are taken
        self._steady = 0
        self._probe: asyncio.TimerHandle | None = None
        self._waiting: list[tuple[bytes, Reply]] = []
        self._closed = False

    @property
    def available(self) -> bool:
        """Whether a command would be sent at once, and a write be taken."""
        return self._pipe is not None and not self._full

    @property
    def takes_writes(self) -> bool:
        """Whether a write would be sent, at once or as soon as the connection is there that is being dialled."""
        return not (self._closed or self._refusing or self._full)

    def execute(self, *command: Arg) -> asyncio.Future[Any]:
        """Issue a command now; await the reply, which may be RedisUnavailable or ResponseError.

        Raise RedisUnavailable at once while the server is known to be gone. Commands take effect in the order in which
        they are issued, so a reply also says that what was issued before it is done.
        """
        # No await on this path: one look-up and the command is in the pipe, in the order of the calls.
        pipe = self._pipe
        if pipe is not None:
            return pipe.issue(pack(command), pipe.loop.create_future())
        return self._wait_for_connection(pack(command), asyncio.get_running_loop().create_future())

    def send(self, packed: bytes) -> asyncio.Future[Any]:
        """Like `execute`, for a command that is packed already."""
        pipe = self._pipe
        if pipe is not None:
            return pipe.issue(packed, pipe.loop.create_future())
        return self._wait_for_connection(packed, asyncio.get_running_loop().create_future())

    def issue(self, reply: Reply, *command: Arg) -> None:
        """Like `execute`, for a reply that is no Future, which makes it cheaper."""
        pipe = self._pipe
        if pipe is not None:
            pipe.issue(pack(command), reply)
        else:
            self._wait_for_connection(pack(command), reply)

    def send_for(self, reply: Reply, packed: bytes) -> None:
        """Like `send`, for a reply that is no Future, which makes it cheaper."""
        pipe = self._pipe
        if pipe is not None:
            pipe.issue(packed, reply)
        else:
            self._wait_for_connection(packed, reply)

    def issue_later(self, reply: Reply, *command: Arg) -> None:
        """Like `issue`, for a command that may wait some milliseconds for another one to go along with."""
        pipe = self._pipe
        if pipe is not None:
            pipe.issue_later(pack(command), reply)
        else:
            self._wait_for_connection(pack(command), reply)

    def hurry(self) -> None:
        """Send now what was issued for later."""
        if self._pipe is not None:
            self._pipe.hurry()

    async def run(self, script: Script, keys: Sequence[Arg], args: Sequence[Arg]) -> Any:
        """Run a script and return its reply; the server is given the text when it does not know it yet."""
        try:
            return await self.execute("EVALSHA", script.sha, len(keys), *keys, *args)
        except ResponseError as exc:
            # After a restart of the server or a SCRIPT FLUSH; nothing has run yet, so it can be sent again.
            if not is_unknown(exc):
                raise
            return await self.execute("EVAL", script.text, len(keys), *keys, *args)

    async def call(self, packed: bytes, script: Script) -> Any:
        """Like `run`, for a call of the script that is packed already."""
        try:
            return await self.send(packed)
        except ResponseError as exc:
            if not is_unknown(exc):
                raise
            await self.execute("SCRIPT", "LOAD", script.text)
            return await self.send(packed)

    async def close(self) -> None:
        """Drop the connection; pending replies get RedisUnavailable."""
        # First: what is cancelled below must not start a new connection.
        self._closed = True
        for timer in (self._retry, self._probe):
            if timer is not None:
                timer.cancel()
        if self._dialling is not None:
            await end({self._dialling})
        if self._pipe is not None:
            self._pipe.abort("closed")
        self._fail_waiting("closed")
        await asyncio.sleep(0)  # the transport closes its socket in the next turn of the loop

    def lost(self, pipe: Pipe, why: str, *, dead: bool, open_commands: bool) -> None:
        """Called by the pipe when it broke. A server that hung up is dialled at once, a silent one later."""
        # An old pipe may break after a new one is in use: that does not concern the new one.
        if self._pipe is not pipe:
            return
        self._pipe = None
        self._full = False
        if self._closed:
            return
        # A server that closes idle connections is not in trouble, so nothing is reported.
        if dead or open_commands:  # else an idle connection was closed, as some servers do
            self._trouble(why)
        self.on_loss()
        if dead:
            self._retry_later()
        else:
            self._dial()

    def refused(self, pipe: Pipe, why: str) -> None:
        """Called by the pipe when the server is there and takes no writes: what reads goes on, and it is probed."""
        if self._pipe is not pipe:  # it has not been taken into use yet
            return
        self._trouble(why)
        self._steady = 0
        if not self._full:
            self._full = True
            self._probe_later(pipe)

    def _probe_later(self, pipe: Pipe) -> None:
        self._probe = asyncio.get_running_loop().call_later(self._retry_after, self._probe_now, pipe)

    def _probe_now(self, pipe: Pipe) -> None:
        if self._pipe is pipe and not self._closed:
            pipe.issue(pack(PROBE), pipe.loop.create_future()).add_done_callback(
                lambda reply: self._probed(pipe, reply)
            )

    def _probed(self, pipe: Pipe, reply: asyncio.Future[Any]) -> None:
        if not reply.cancelled() and reply.exception() is None:
            self._steady += 1
        if self._pipe is not pipe or self._closed:
            return
        # Two in a row: a full server takes a write now and then, and each change of mode would be logged.
        if self._steady < STEADY:
            self._probe_later(pipe)
        else:
            self._full = False
            self._well()

    def _trouble(self, why: str) -> None:
        if self._part:
            degraded.begin(self._part, why)

    def _well(self) -> None:
        if self._part:
            degraded.end(self._part)

    def _wait_for_connection(self, packed: bytes, reply: R) -> R:
        if self._closed or self._refusing:
            raise NotSent("Redis is not available")
        if self._dialling is None:
            self._dial()
        self._waiting.append((packed, reply))
        return reply

    def _dial(self) -> None:
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._dialling = loop.create_task(self._connect())
            # Dialling goes on (TLS may take longer), but who waits for it is answered within the deadline of a command.
            loop.call_later(self._timeout, self._refuse_while, self._dialling)

    def _refuse_while(self, dialling: asyncio.Task[None]) -> None:
        """Nobody waits for a connection longer than for an answer."""
        if self._dialling is dialling:
            self._refusing = True
            self._fail_waiting("no connection in time")

    def _retry_later(self) -> None:
        self._refusing = True
        if not self._closed:
            self._retry = asyncio.get_running_loop().call_later(self._retry_after, self._dial)

    async def _connect(self) -> None:
        pipe = Pipe(self, self._timeout)
        try:
            async with asyncio.timeout(max(self._timeout, DIAL_SEC)):
                full = await self._open(pipe)
        except asyncio.CancelledError:
            pipe.abort("closed")
            raise
        except (OSError, TimeoutError, ResponseError, RedisUnavailable) as exc:
            self._dialling = None
            pipe.abort("not connected")
            why = str(exc) or "no connection in time"
            self._fail_waiting(why)
            self._trouble(why)
            self._retry_later()
        else:
            self._dialling = None
            self._use(pipe, full)

    def _use(self, pipe: Pipe, full: str) -> None:
        # Without an await: commands that waited go out before any that is issued from now on.
        self._refusing = False
        self._pipe = pipe
        waiting, self._waiting = self._waiting, []
        pipe.issue_all(waiting)
        if full:
            self.refused(pipe, full)
        else:
            self._well()

    async def _open(self, pipe: Pipe) -> str:
        """Connect, log in and try a write. Return why the server takes no writes; empty when it takes them."""
        loop, target = asyncio.get_running_loop(), self._target
        if target.path:
            await loop.create_unix_connection(lambda: pipe, target.path)
        else:
            # Its files are read each time: certificates are renewed while we run.
            secure = await asyncio.to_thread(target.tls.context) if target.tls else None
            await loop.create_connection(lambda: pipe, target.host, target.port, ssl=secure)
        # One after the other: an error of AUTH must not be hidden by the one of the next command.
        for command in self._greeting():
            await pipe.issue(pack(command), loop.create_future())
        try:
            await pipe.issue(pack(PROBE), loop.create_future())
        except RedisUnavailable as exc:
            if str(exc).startswith(FULL):
                return str(exc)
            raise
        pipe.check()
        return ""

    def _greeting(self) -> list[tuple[Arg, ...]]:
        """The commands that log in and choose the database."""
        greeting: list[tuple[Arg, ...]] = []
        if password := self._target.password:
            username = self._target.username
            greeting.append(("AUTH", username, password) if username else ("AUTH", password))
        if database := self._target.database:
            greeting.append(("SELECT", database))
        return greeting

    def _fail_waiting(self, why: str) -> None:
        waiting, self._waiting = self._waiting, []
        for _, reply in waiting:
            if not reply.done():
                reply.set_exception(NotSent(why))
