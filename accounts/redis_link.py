"""One lean connection to Redis for the hot path: group commit, a deadline, and a breaker when the server is gone."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

from hiredis import Reader, pack_command
from redis import ResponseError
from redis.connection import SSLConnection, parse_url

log = logging.getLogger(__name__)

Arg = str | bytes | int | float

# What a server says about itself rather than about the command: another moment, or another server, would take it.
SERVER_STATES = ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "OOM", "BUSY ", "NOREPLICAS", "NOAUTH")
NOT_YET = object()

# hiredis' stub says a tuple of exactly one; it takes any number.
pack: Callable[[tuple[Arg, ...]], bytes] = pack_command  # type: ignore[assignment]


class RedisUnavailable(Exception):
    """Redis cannot be reached, does not answer, or takes no commands now. Whether a command ran is unknown."""


class Script:
    """A Lua script, sent by its digest once the server has it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisLink:
    """
    One connection to Redis, group commit: what is issued while a pipeline is in flight goes out in the next one.

    Replies are as RESP2 gives them: bytes, int, None, lists. One link belongs to one event loop. `timeout` bounds a
    wait in seconds; after a failure the link tries again by itself every `retry_after` seconds.
    """

    def __init__(self, url: str, *, timeout: float = 0.2, retry_after: float = 1.0) -> None:
        self.url = url
        self._target: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]  # redis has no type for it
        self._timeout = timeout
        self._retry_after = retry_after
        self._pipe: _Pipe | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._refusing = False  # from the first failure on; only while dialling for the first time do callers wait
        self._waiting: list[tuple[bytes, asyncio.Future[Any]]] = []
        self._closed = False

    @property
    def available(self) -> bool:
        """Whether a command would be sent at once."""
        return self._pipe is not None

    def execute(self, *command: Arg) -> asyncio.Future[Any]:
        """Issue a command now; await the reply, which may be RedisUnavailable or ResponseError.

        Raise RedisUnavailable at once while the server is known to be gone. Commands take effect in the order in which
        they are issued, so a reply also says that what was issued before it is done.
        """
        pipe = self._pipe
        if pipe is not None:
            return pipe.issue(pack(command))
        return self._wait_for_connection(pack(command))

    async def run(self, script: Script, keys: Sequence[Arg], args: Sequence[Arg]) -> Any:
        """Run a script and return its reply; the server is given the text when it does not know it yet."""
        try:
            return await self.execute("EVALSHA", script.sha, len(keys), *keys, *args)
        except ResponseError as exc:
            if not str(exc).startswith("NOSCRIPT"):
                raise
            return await self.execute("EVAL", script.text, len(keys), *keys, *args)

    async def close(self) -> None:
        """Drop the connection; whoever still waits gets RedisUnavailable."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.wait({self._dialling})
        if self._pipe is not None:
            self._pipe.abort("closed")
        self._fail_waiting("closed")
        await asyncio.sleep(0)  # the transport closes its socket in the next turn of the loop

    def lost(self, pipe: _Pipe, why: str, *, dead: bool) -> None:
        """Called by the pipe when it broke. A server that hung up is dialled at once, a silent one later."""
        if self._pipe is not pipe:
            return
        self._pipe = None
        if not self._closed:
            log.warning("Redis: %s", why)
        if dead:
            self._retry_later()
        else:
            self._dial()

    def _wait_for_connection(self, packed: bytes) -> asyncio.Future[Any]:
        if self._closed or self._refusing:
            raise RedisUnavailable("Redis is not available")
        if self._dialling is None:
            self._dial()
        reply = asyncio.get_running_loop().create_future()
        self._waiting.append((packed, reply))
        return reply

    def _dial(self) -> None:
        if not self._closed:
            self._dialling = asyncio.get_running_loop().create_task(self._connect())

    def _retry_later(self) -> None:
        self._refusing = True
        if not self._closed:
            self._retry = asyncio.get_running_loop().call_later(self._retry_after, self._dial)

    async def _connect(self) -> None:
        pipe = _Pipe(self, self._timeout)
        try:
            async with asyncio.timeout(self._timeout):
                await self._open(pipe)
        except asyncio.CancelledError:
            pipe.abort("closed")
            raise
        except (OSError, TimeoutError, ResponseError, RedisUnavailable) as exc:
            self._dialling = None
            pipe.abort("not connected")
            self._fail_waiting(f"{type(exc).__name__}: {exc}")
            self._retry_later()
        else:
            self._dialling = None
            self._refusing = False
            self._pipe = pipe
            waiting, self._waiting = self._waiting, []
            pipe.issue_all(waiting)

    async def _open(self, pipe: _Pipe) -> None:
        loop, target = asyncio.get_running_loop(), self._target
        if path := target.get("path"):
            await loop.create_unix_connection(lambda: pipe, path)
        else:
            secure = target.get("connection_class") is SSLConnection
            host, port = target.get("host", "localhost"), int(target.get("port", 6379))
            await loop.create_connection(lambda: pipe, host, port, ssl=secure or None)
        for command in self._greeting():
            await pipe.issue(pack(command))
        pipe.check()

    def _greeting(self) -> list[tuple[Arg, ...]]:
        """Who we are and which database; the ping proves that somebody answers behind an open socket."""
        greeting: list[tuple[Arg, ...]] = []
        if password := self._target.get("password"):
            username = self._target.get("username")
            greeting.append(("AUTH", username, password) if username else ("AUTH", password))
        if database := int(self._target.get("db", 0)):
            greeting.append(("SELECT", database))
        return [*greeting, ("PING",)]

    def _fail_waiting(self, why: str) -> None:
        waiting, self._waiting = self._waiting, []
        for _, reply in waiting:
            if not reply.done():
                reply.set_exception(RedisUnavailable(why))


class _Pipe(asyncio.Protocol):
    """The connection itself: at most one pipeline in flight, replies in order."""

    def __init__(self, link: RedisLink, timeout: float) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(replyError=ResponseError, notEnoughData=NOT_YET)
        self._transport: asyncio.Transport | None = None
        self._sent: deque[asyncio.Future[Any]] = deque()
        self._packed: list[bytes] = []
        self._awaited: list[asyncio.Future[Any]] = []
        self._half = timeout / 2
        self._ticking = False
        self._silent_ticks = 0
        self._broken = ""

    def issue(self, packed: bytes) -> asyncio.Future[Any]:
        """Send a command as soon as the loop comes round, or with the next pipeline when one is in flight."""
        self.check()
        reply = self._loop.create_future()
        self._packed.append(packed)
        self._awaited.append(reply)
        if not self._sent and len(self._packed) == 1:
            self._loop.call_soon(self._flush_if_idle)  # what else is issued in this turn of the loop goes along
        return reply

    def check(self) -> None:
        """Raise RedisUnavailable when the connection broke."""
        if self._broken:
            raise RedisUnavailable(self._broken)

    def issue_all(self, waiting: list[tuple[bytes, asyncio.Future[Any]]]) -> None:
        """Send what was issued before there was a connection."""
        self._packed += [packed for packed, _ in waiting]
        self._awaited += [reply for _, reply in waiting]
        if waiting:
            self._flush()

    def abort(self, why: str) -> None:
        """Close the connection at once; every open command fails."""
        if self._transport is not None:
            self._transport.abort()
        self._break(why, dead=True)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._silent_ticks = 0
        reader, sent = self._reader, self._sent
        reader.feed(data)
        while sent and (value := reader.gets()) is not NOT_YET:
            reply = sent.popleft()
            if reply.done():  # the caller was cancelled
                continue
            if isinstance(value, ResponseError):
                reply.set_exception(_plain(value))
            else:
                reply.set_result(value)
        if self._packed and not sent:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(f"connection lost: {exc or 'the server closed it'}", dead=False)

    def _flush_if_idle(self) -> None:
        if self._packed and not self._sent and not self._broken:
            self._flush()

    def _flush(self) -> None:
        packed, self._packed = self._packed, []
        self._sent.extend(self._awaited)
        self._awaited.clear()
        if self._transport is not None:
            self._transport.write(packed[0] if len(packed) == 1 else b"".join(packed))
        if not self._ticking:
            self._ticking = True
            self._silent_ticks = 0
            self._loop.call_later(self._half, self._tick)

    def _tick(self) -> None:
        # Two silent half-times, so that a loop that was itself late gets a chance to read before it gives up.
        if not self._sent or self._broken:
            self._ticking = False
            return
        self._silent_ticks += 1
        if self._silent_ticks >= 2:
            self.abort(f"no answer within {self._half * 2:g} s")
        else:
            self._loop.call_later(self._half, self._tick)

    def _break(self, why: str, *, dead: bool) -> None:
        if self._broken:
            return
        self._broken = why
        for reply in [*self._sent, *self._awaited]:
            if not reply.done():
                reply.set_exception(RedisUnavailable(why))
        self._sent.clear()
        self._awaited.clear()
        self._packed.clear()
        self._link.lost(self, why, dead=dead)


def _plain(error: ResponseError) -> Exception:
    return RedisUnavailable(str(error)) if str(error).startswith(SERVER_STATES) else error
