"""Refusals that have no row of their own lead to the one that they share."""

import redis

from accounts.ledger import shared_rows
from accounts.ledger.shared_rows import MOST, row_of
from gateway_project.lib.redis.redis_keys import SHARED_ROWS
from gateway_project.lib.redis.redis_link import RedisLink

AT_ONCE = 1_000


async def test_ids_lead_to_the_row_they_share(link, redis_server):
    await shared_rows.note(link, {"req_1": "req_0", "req_2": "req_0"})
    await shared_rows.note(link, {"req_9": "req_8"})
    found = [row_of(redis_server, f"req_{number}") for number in (0, 1, 2, 9)]
    assert found == ["", "req_0", "req_0", "req_8"]


async def test_ids_of_an_hour_are_bounded(link, redis_server):
    for start in range(0, MOST + AT_ONCE, AT_ONCE):
        await shared_rows.note(link, {f"req_{number}": "req_x" for number in range(start, start + AT_ONCE)})
    with redis.Redis.from_url(redis_server) as client:
        names = list(client.scan_iter(f"{SHARED_ROWS}*"))
        assert names
        for name in names:
            assert 0 < client.hlen(name) <= MOST
            assert 0 < client.ttl(name) <= 25 * 3600


async def test_shared_row_is_unknown_without_redis():
    nowhere = "unix:///nowhere/redis.sock"
    link = RedisLink(nowhere, timeout=1)
    await shared_rows.note(link, {"req_1": "req_0"})
    await link.close()
    assert row_of(nowhere, "req_1") == ""
