"""Which upstream session continues a conversation: taken by one turn at a time, shared by every web process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec
from redis import RedisError, ResponseError

from accounts.redis_link import Arg, RedisLink, RedisUnavailable, Script
from sessions_store import scripts

log = logging.getLogger(__name__)

# How long a taken entry is shown as in use when nobody gives it back: longer than nearly every turn.
LEASE_SEC = 600


class StoredEntry(msgspec.Struct, frozen=True):
    """An entry as it lies in Redis. `length` counts messages; times are Unix seconds.

    `contract` is the random part of the delimiter of tool calls that the session was told; empty for none.
    """

    fingerprint: str
    session_id: str
    instance: str
    generation: int
    api_key_id: int
    length: int
    hits: int
    created_at: float
    used_at: float
    contract: str = ""


class Found(msgspec.Struct, frozen=True):
    """A session that continues the conversation. `hits` counts the turns that reused it before this one.

    `contract`: as in `StoredEntry`.
    """

    session_id: str
    instance: str
    generation: int
    hits: int
    created_at: float
    contract: str = ""


class SessionStore:
    """Entries by the fingerprint of their conversation prefix; at most `max_entries`, each for `ttl` seconds.

    Nothing here fails a turn: without Redis nothing is found and nothing is remembered.
    """

    def __init__(self, link: RedisLink, *, ttl: int, max_entries: int, clock: Callable[[], float] = time.time) -> None:
        self._link = link
        self._ttl = ttl
        self._max_entries = max_entries
        self._clock = clock
        self._claim = Script(scripts.CLAIM)
        self._remember = Script(scripts.REMEMBER)
        self._found = msgspec.json.Decoder(Found)
        self._encode = msgspec.json.Encoder().encode

    async def claim(self, key: str) -> Found | None:
        """Take the entry out of the store, or None. Of all that claim one entry, in any process, one gets it."""
        keys = (scripts.PREFIX + key, scripts.INDEX, scripts.IN_USE)
        args = (key, self._clock(), LEASE_SEC, scripts.FORGOTTEN)
        try:
            entry = await self._link.run(self._claim, keys, args)
            return None if entry is None else self._found.decode(entry)
        except RedisUnavailable:
            return None
        except (RedisError, msgspec.MsgspecError) as exc:
            log.warning("A session entry could not be read: %s", exc)
            return None

    def remember(
        self,
        key: str,
        *,
        session_id: str,
        instance: str,
        generation: int,
        api_key_id: int,
        length: int,
        hits: int,
        created_at: float,
        contract: str = "",
    ) -> asyncio.Future[None]:
        """Keep the session for the turn that continues this prefix, unless an operator forgot it meanwhile.

        It is on its way when this returns; the result says when it is done, and is never an error.
        """
        now = self._clock()
        entry = StoredEntry(key, session_id, instance, generation, api_key_id, length, hits, created_at, now, contract)
        keys = (scripts.PREFIX + key, scripts.INDEX, scripts.IN_USE, scripts.FORGOTTEN + session_id)
        args = (key, now, self._ttl, self._max_entries, scripts.PREFIX, session_id, self._encode(entry))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._issue(("EVALSHA", self._remember.sha, len(keys), *keys, *args), done)
        return done

    def _issue(self, command: tuple[Arg, ...], done: asyncio.Future[None]) -> None:
        try:
            reply = self._link.execute(*command)
        except RedisUnavailable:
            done.set_result(None)
        else:
            reply.add_done_callback(lambda reply: self._remembered(reply, command, done))

    def _remembered(self, reply: asyncio.Future[Any], command: tuple[Arg, ...], done: asyncio.Future[None]) -> None:
        problem = reply.exception() if not reply.cancelled() else None
        if isinstance(problem, ResponseError) and str(problem).startswith("NOSCRIPT"):
            return self._issue(("EVAL", self._remember.text, *command[2:]), done)
        if isinstance(problem, RedisError):
            log.warning("A session entry could not be kept: %s", problem)
        if not done.done():
            done.set_result(None)
        return None

    async def drop(self, session_id: str) -> None:
        """A claimed session was given up, because its turn failed or was rebuilt: it is no longer in use."""
        try:
            await self._link.execute("HDEL", scripts.IN_USE, session_id)
        except RedisUnavailable:
            pass
        except RedisError as exc:
            log.warning("A session entry could not be dropped: %s", exc)
