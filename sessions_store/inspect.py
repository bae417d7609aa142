"""Lists and deletes entries for operators. Blocking calls, for Django pages and tasks."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from typing import Any, Literal, cast

import msgspec
import redis

from gateway_project.lib.redis import redis_keys
from sessions_store import lua
from sessions_store.store import StoredEntry

State = Literal["idle", "in_use", "gone"]

_decode = msgspec.json.Decoder(StoredEntry).decode


class _Heartbeat(msgspec.Struct):
    """What sessions need of the heartbeats of instances."""

    name: str
    generation: int


_read = msgspec.json.Decoder(_Heartbeat).decode


def entries(client: redis.Redis, *, now: float, limit: int) -> list[tuple[StoredEntry, State]]:
    """The newest `limit` idle entries, and those that a running turn has taken.

    Those of a start of an instance that runs no more are `gone`: no turn can continue them, and they expire.
    """
    newest: Any = client.zrevrange(redis_keys.SESSIONS, 0, limit - 1)
    idle: Any = client.mget([redis_keys.SESSION + session.decode() for session in newest]) if newest else []
    # Not in one step with the reads before: a session that is taken in between shows twice or not at all, which is
    # fine.
    taken: Any = client.hgetall(redis_keys.SESSIONS_IN_USE)
    in_use = [entry for lease, entry in map(_split, taken.values()) if lease > now]
    starts = _starts(client)
    return [*_stated(idle, "idle", starts), *_stated(in_use, "in_use", starts)]


def forget(client: redis.Redis, sessions: Iterable[str], *, ttl: int) -> int:
    """Give up sessions, named by their ids; how many there still were.

    Holds at once in every process. A session in use ends its turn and is not remembered after it.
    """
    # One round trip for all; each script is a whole by itself, so no transaction is needed.
    with client.pipeline(transaction=False) as pipe:
        for session_id in sessions:
            entry, forgotten = redis_keys.SESSION + session_id, redis_keys.SESSION_FORGOTTEN + session_id
            names = (entry, redis_keys.SESSIONS, redis_keys.SESSIONS_IN_USE, forgotten, redis_keys.SESSIONS_KEYS)
            # A turn may outlive the time to live of entries that are only looked up.
            pipe.eval(lua.FORGET, len(names), *names, session_id, max(ttl, 3600), redis_keys.SESSIONS_OF)
        return sum(pipe.execute())


def clean(client: redis.Redis, *, now: float, ttl: int) -> int:
    """Take what expired out of the index and the leases nobody gave back; how many were taken out."""
    # The entries expire by themselves; the index does not know of it, so its old members are taken out here.
    expired: Any = client.zremrangebyscore(redis_keys.SESSIONS, "-inf", f"({now - ttl}")
    taken: Any = client.hgetall(redis_keys.SESSIONS_IN_USE)
    ended = [session for session, value in taken.items() if _split(value)[0] <= now]
    _clean_counts(client, expired_at=now - ttl)
    return int(expired) + int(client.hdel(redis_keys.SESSIONS_IN_USE, *ended) if ended else 0)


def _clean_counts(client: redis.Redis, *, expired_at: float) -> None:
    """Those of keys that are not used any more; the others are put right when one of their sessions is kept."""
    for key in cast("list[bytes]", client.zrange(redis_keys.SESSIONS_KEYS, 0, -1)):
        sessions = redis_keys.SESSIONS_OF + key.decode()
        client.zremrangebyscore(sessions, "-inf", f"({expired_at}")
        client.eval(lua.COUNT, 2, sessions, redis_keys.SESSIONS_KEYS, key)


def _split(value: bytes) -> tuple[float, bytes]:
    lease, _, entry = value.partition(b" ")
    try:
        return float(lease), entry
    except ValueError:  # of another version: nobody knows how long it holds
        return 0.0, entry


def _starts(client: redis.Redis) -> set[tuple[str, int]]:
    """Instances that give signs of life, each with its current start."""
    names = list(client.scan_iter(f"{redis_keys.INSTANCE}*", count=1000))
    beats: Any = client.mget(names) if names else []
    starts = set()
    for beat in beats:
        # One of another version of the gateway is left out, as one that has ended.
        with suppress(msgspec.MsgspecError):
            found = _read(beat or b"")
            starts.add((found.name, found.generation))
    return starts


def _stated(
    found: Iterable[bytes | None], state: State, starts: Container[tuple[str, int]]
) -> Iterator[tuple[StoredEntry, State]]:
    for entry in found:
        if entry is None:  # it expired, and the index does not know it yet
            continue
        # One of another version of the gateway is left out: no turn of this one can continue it.
        with suppress(msgspec.MsgspecError):
            stored = _decode(entry)
            yield stored, state if (stored.instance, stored.generation) in starts else "gone"
