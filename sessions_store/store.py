"""Finds the upstream session that continues a conversation: for one turn at a time, shared by all web processes."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import msgspec
from redis import RedisError, ResponseError

from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import Arg, RedisLink, RedisUnavailable, Script, ScriptCall, is_unknown
from sessions_store import lua

log = logging.getLogger(__name__)

# How long a claimed entry is shown as in use if its turn never gives it back: longer than nearly every turn.
LEASE_SEC = 600

TIDY_SHARE = 16
"""Sets are tidied so often during the life of an entry, and not by each turn: it halves what a turn costs Redis."""
MOST_TIDIED = 10_000
SPARE_SHARE = 32
"""When entries must go, so much of all goes at once, or each turn would have to find one."""


class SessionContents(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a session was sent beside its messages, and facts about it. Empty for none."""

    mark: str = ""
    """The random part of its headings and of the delimiters of tool calls."""
    tools: str = ""
    """A digest of the tools that were described to it."""
    single: bool = False
    """It was asked to call one tool at a time."""
    json: bool = False
    """Its last reply had to be JSON."""
    called: bool = False
    """Its model has written a call in the form that was asked for."""
    proven: bool = False
    """A client that continues it must know something that nobody can guess, so it has a loose fingerprint."""
    changing_sent: str = msgspec.field(default="", name="told")
    """The changing pieces that it was sent, as `LooseFingerprint.changing_digests` returns them."""
    late: str = ""
    """The later system messages that it was sent, as `LooseFingerprint.late` returns them."""
    given: str = ""
    """The arguments of its latest calls: a digest of each, in their order."""


NOTHING = SessionContents()


class _PendingWrite:
    """Receives the link's reply when an entry is stored: a Future and its callback would cost every turn more."""

    __slots__ = ("_args", "_call", "_ended", "_has_text", "_link", "_waiter")

    def __init__(self, link: RedisLink, call: ScriptCall, args: tuple[Arg, ...]) -> None:
        self._link = link
        self._call = call
        self._args = args
        self._has_text = False
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """Issue the call; without Redis nothing is stored."""
        call = self._call
        # By digest: the script is 3 KB, and this is sent with every turn.
        packed = call.packed_with_text(*self._args) if self._has_text else call.packed(*self._args)
        try:
            self._link.send_for(self, packed)
        except RedisUnavailable:
            self.set_result(None)

    def done(self) -> bool:
        """Always False: nobody gives it up, so the link delivers every reply."""
        return False

    def set_result(self, _result: Any) -> None:
        self._ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def set_exception(self, problem: Exception) -> None:
        """The server does not know the script yet, or refuses the entry."""
        # The server was restarted, or has never seen the script: once more with its text, which it stores then.
        if isinstance(problem, ResponseError) and is_unknown(problem) and not self._has_text:
            self._has_text = True
            return self.begin()
        log.warning("A session entry could not be kept: %s", problem)
        return self.set_result(None)

    def __await__(self) -> Generator[Any, None, None]:
        if not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            yield from self._waiter


class StoredEntry(msgspec.Struct, frozen=True):
    """An entry as it lies in Redis. `length` counts messages; times are Unix seconds."""

    fingerprint: str
    session_id: str
    instance: str
    generation: int
    api_key_id: int
    length: int
    hits: int
    created_at: float
    used_at: float
    knows: SessionContents = NOTHING


class Found(msgspec.Struct, frozen=True):
    """A session that continues the conversation. `hits` counts the turns that reused it before this one."""

    fingerprint: str
    session_id: str
    instance: str
    generation: int
    hits: int
    created_at: float
    knows: SessionContents = NOTHING


class SessionStore:
    """Entries by the fingerprint of their conversation prefix; at most `max_entries`, each for `ttl` seconds. The API
    key with the most makes room, by its oldest, for a few at once. Several conversations may have the same fingerprint:
    all are kept, and a claim takes the latest.

    Nothing here fails a turn: without Redis nothing is found and nothing is remembered.
    """

    def __init__(self, link: RedisLink, *, ttl: int, max_entries: int, clock: Callable[[], float] = time.time) -> None:
        self._link = link
        self._ttl = ttl
        self._max_entries = max_entries
        self._clock = clock
        self._tidy_every = ttl / TIDY_SHARE
        self._tidied: dict[int, float] = {}
        """API keys to when they were last."""
        self._claim = Script(lua.CLAIM)
        # A set is kept until the last session that came to it before the next tidying has expired.
        bounds = (math.ceil(ttl + self._tidy_every), ttl, max_entries, max_entries // SPARE_SHARE)
        names = (redis_keys.SESSIONS, redis_keys.SESSIONS_IN_USE, redis_keys.SESSIONS_KEYS)
        self._remember = ScriptCall(Script(lua.REMEMBER), names, bounds, 7)
        self._found = msgspec.json.Decoder(Found)
        self._encode = msgspec.json.Encoder().encode

    # One script looks, takes and marks as in use: two turns that claim at the same time never get the same session.
    async def claim(self, key: str, api_key_id: int) -> Found | None:
        """Take an entry out of the store, or None. Of all that claim one entry, in any process, one gets it."""
        keys = (redis_keys.SESSIONS_AT + key, redis_keys.SESSIONS, redis_keys.SESSIONS_IN_USE,
                f"{redis_keys.SESSIONS_OF}{api_key_id}", redis_keys.SESSIONS_KEYS)  # fmt: skip
        args = (key, self._clock(), LEASE_SEC, redis_keys.SESSION, redis_keys.SESSION_FORGOTTEN, api_key_id)
        try:
            entry = await self._link.run(self._claim, keys, args)
            return None if entry is None else self._found.decode(entry)
        except RedisUnavailable:
            return None
        # An entry of another version, perhaps. It is out of the store by now, and the conversation starts anew.
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
        knows: SessionContents = NOTHING,
        is_new: bool = False,
    ) -> Awaitable[None]:
        """Store the session for the turn that continues this prefix, unless an operator deleted it meanwhile.

        It is on its way when this returns, and nobody needs to wait for it; who awaits the result meets no error.
        `is_new`: it has never been here before, so that it can neither be in use nor have been deleted.
        """
        # The web process's time and not the server's: entries are compared with times of our own only.
        now = self._clock()
        entry = StoredEntry(key, session_id, instance, generation, api_key_id, length, hits, created_at, now, knows)
        args = (session_id, now, self._encode(entry), key, api_key_id, "new" if is_new else "",
                self._tidy(api_key_id, now))  # fmt: skip
        pending_write = _PendingWrite(self._link, self._remember, args)
        pending_write.begin()
        return pending_write

    def _tidy(self, api_key_id: int, now: float) -> str:
        """Whether it is time to take out what has expired of this key, and to see to its times to live."""
        if abs(now - self._tidied.get(api_key_id, 0.0)) < self._tidy_every:
            return ""
        if len(self._tidied) >= MOST_TIDIED:
            self._tidied.clear()
        self._tidied[api_key_id] = now
        return "tidy"

    async def drop(self, session_id: str) -> None:
        """A claimed session was given up, because its turn failed or was rebuilt: it is no longer in use."""
        try:
            await self._link.execute("HDEL", redis_keys.SESSIONS_IN_USE, session_id)
        except RedisUnavailable:
            pass
        except RedisError as exc:
            log.warning("A session entry could not be dropped: %s", exc)
