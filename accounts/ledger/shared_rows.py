"""Which row a refusal is in that has none of its own: refusals of one kind share the row of the first.

In Redis, a hash for each hour, which a flood cannot make larger than MOST.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import redis
from redis import ResponseError

from gateway_project.lib.redis.redis_client import connect
from gateway_project.lib.redis.redis_keys import SHARED_ROWS
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable, Script

HOUR: Final = 3600
HOURS: Final = 24
"""So long they are kept."""
MOST: Final = 10_000
"""So many of an hour: 1 MB."""

# KEYS: the hash of this hour. ARGV: ids, each with the one that its row has behind it; some thousand at most.
NOTE: Final = Script(f"""
if redis.call('HLEN', KEYS[1]) + #ARGV / 2 > {MOST} then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
redis.call('EXPIRE', KEYS[1], {(HOURS + 1) * HOUR})
return 1
""")


async def note(link: RedisLink, rows: Mapping[str, str]) -> None:
    """Keep for each id the one that its row has. Beyond the bound, and while Redis is away, nothing is kept."""
    pairs = [text for pair in rows.items() for text in pair]
    try:
        await link.run(NOTE, [_name(0)], pairs)
    except (RedisUnavailable, ResponseError):
        return


def row_of(redis_url: str, request_id: str) -> str:
    """The id of the row that this refusal shares; "" for one of which nothing is known."""
    try:
        with connect(redis_url) as client, client.pipeline(transaction=False) as asked:
            # One hash more than there are hours, as the oldest hour has partly passed.
            for hours in range(HOURS + 1):
                asked.hget(_name(hours), request_id)
            found = asked.execute()
    except redis.RedisError:
        return ""
    return next((each.decode() for each in found if each), "")


def _name(hours_ago: int) -> str:
    return f"{SHARED_ROWS}{int(time.time()) // HOUR - hours_ago}"
