"""What a web process publishes of its instances."""

import json

import pytest
import redis

from accounts.ledger.ledger import Ledger
from bridge.fleet.heartbeat import Heartbeat
from gateway_project.lib.redis.redis_keys import INSTANCE
from gateway_project.lib.redis.redis_link import RedisLink
from tests.bridge.chats import replying
from tests.bridge.pools import attached, running


@pytest.fixture
async def publish(redis_server, tmp_path, new_service):
    """One heartbeat of a gateway; `publish(2)` is another one, whose instance has the same name."""
    link = RedisLink(redis_server, timeout=30)
    async with running(attached(await new_service(replying("x")))) as pool:
        made = {number: Heartbeat(pool, link, Ledger(link, tmp_path), lambda: None) for number in (1, 2)}

        async def publish(number=1):
            await made[number].publish()
            with redis.Redis.from_url(redis_server) as client:
                return json.loads(client.get(f"{INSTANCE}w1-i1"))["is_named_twice"]

        yield publish
    await link.close()


async def test_own_heartbeats_are_no_strangers(publish):
    assert [await publish() for _ in range(4)] == [False] * 4


async def test_instance_of_another_gateway_is_noticed(publish, caplog):
    for number in (1, 2) * 3:
        await publish(number)
    told = [await publish(number) for number in (1, 2)]
    assert told == [True, True]
    assert caplog.text.count("another gateway on this Redis has an instance w1-i1 too") == 2


async def test_lost_reply_is_no_stranger(publish):
    assert not await publish()
    await publish(2)
    assert [await publish() for _ in range(3)] == [False] * 3
