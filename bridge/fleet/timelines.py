"""The timelines of instances in Redis: written by their web processes, read by pages and the REST API."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from heapq import merge
from typing import Any, Final

import msgspec
from redis import ResponseError

from bridge.pool.instances.timeline import Timeline
from bridge.status.transitions import MOST, MOST_OF_LOAD, OF_LOAD, Transition
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_client import connect
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable, Script

log = logging.getLogger(__name__)

LIFETIME_SEC: Final = 7 * 86_400

# KEYS: the timeline, and what comes and goes with the load (lists, the latest first).
# ARGV: transitions, the oldest first: their list, 1 or 2, and they themselves.
ADD = Script(f"""
for i = 1, #ARGV, 2 do redis.call('LPUSH', KEYS[tonumber(ARGV[i])], ARGV[i + 1]) end
for i, most in ipairs({{{MOST}, {MOST_OF_LOAD}}}) do
  redis.call('LTRIM', KEYS[i], 0, most - 1)
  redis.call('EXPIRE', KEYS[i], {LIFETIME_SEC})
end
return 1
""")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Transition).decode


async def write(link: RedisLink, name: str, timeline: Timeline) -> None:
    """What is new in it. While Redis is away it waits."""
    pending = timeline.pending()
    if not pending:
        return
    try:
        await link.run(ADD, _keys(name), _args(pending))
    except (RedisUnavailable, ResponseError):
        return
    timeline.written(pending)


def read(redis_url: str, name: str) -> list[Transition]:
    """The timeline of an instance, the latest first. Raise redis.RedisError."""
    return read_all(redis_url, [name])[name]


def read_all(redis_url: str, names: Iterable[str]) -> dict[str, list[Transition]]:
    """The timelines of these instances, each the latest first. Raise redis.RedisError."""
    with connect(redis_url) as client:
        found: dict[str, list[Any]] = {name: [client.lrange(key, 0, -1) for key in _keys(name)] for name in names}
    return {name: _sorted(lists) for name, lists in found.items()}


def latest(redis_url: str, names: Iterable[str]) -> dict[str, Transition]:
    """The last step of each instance that has any. Raise redis.RedisError."""
    asked = list(names)
    with connect(redis_url) as client, client.pipeline(transaction=False) as pipe:
        for name in asked:
            for key in _keys(name):
                pipe.lrange(key, 0, 0)
        found = pipe.execute()
    steps = {name: _sorted(found[2 * at : 2 * at + 2]) for at, name in enumerate(asked)}
    return {name: each[0] for name, each in steps.items() if each}


def recent(redis_url: str, names: Iterable[str], most: int) -> dict[str, list[Transition]]:
    """The last steps of each instance, the latest first, without its load. Raise redis.RedisError."""
    asked = list(names)
    with connect(redis_url) as client, client.pipeline(transaction=False) as pipe:
        for name in asked:
            pipe.lrange(_keys(name)[0], 0, most - 1)
        found = pipe.execute()
    return {name: _sorted([steps]) for name, steps in zip(asked, found, strict=True)}


def _sorted(lists: Iterable[Any]) -> list[Transition]:
    read = [[each for value in values if (each := _read(value)) is not None] for values in lists]
    # Merged and not sorted: each list has what was noted last in front, also when the clock was set back since.
    return list(merge(*read, key=lambda each: -each.at))


def _keys(name: str) -> list[str]:
    return [redis_keys.TIMELINE + name, f"{redis_keys.TIMELINE}load:{name}"]


def _args(steps: Iterable[Transition]) -> list[bytes]:
    return [part for each in steps for part in (b"2" if each.why in OF_LOAD else b"1", _encode(each))]


def _read(value: bytes) -> Transition | None:
    try:
        return _decode(value)
    # During an update, processes of two versions may run at once.
    except msgspec.MsgspecError as exc:
        log.warning("a step of a timeline could not be read: %s", exc)
        return None
