"""The timelines of instances in Redis: written by their web processes, read by pages and the REST API."""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec
from redis import ResponseError

from bridge.pool.timeline import Timeline
from bridge.status.transitions import MOST, Transition
from gateway_project.lib import redis_keys
from gateway_project.lib.redis_client import connect
from gateway_project.lib.redis_link import RedisLink, RedisUnavailable, Script

log = logging.getLogger(__name__)

LIFETIME_SEC: Final = 7 * 86_400

# KEYS: the timeline (list, the latest first). ARGV: transitions, the oldest first.
ADD = Script(f"""
for _, each in ipairs(ARGV) do redis.call('LPUSH', KEYS[1], each) end
redis.call('LTRIM', KEYS[1], 0, {MOST - 1})
redis.call('EXPIRE', KEYS[1], {LIFETIME_SEC})
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
        await link.run(ADD, [redis_keys.TIMELINE + name], [_encode(each) for each in pending])
    except (RedisUnavailable, ResponseError):
        return
    timeline.written(pending)


def read(redis_url: str, name: str) -> list[Transition]:
    """The timeline of an instance, the latest first. Raise redis.RedisError."""
    with connect(redis_url) as client:
        found: Any = client.lrange(redis_keys.TIMELINE + name, 0, MOST - 1)
    return [each for value in found if (each := _read(value)) is not None]


def _read(value: bytes) -> Transition | None:
    try:
        return _decode(value)
    # During an update, processes of two versions may run at once.
    except msgspec.MsgspecError as exc:
        log.warning("a step of a timeline could not be read: %s", exc)
        return None
