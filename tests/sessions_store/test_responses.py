"""Stored responses, on a real Redis."""

import asyncio
import time

import pytest
import redis

from gateway_project.lib.redis.redis_link import RedisLink
from sessions_store.responses import LARGE, ResponseStore, StoredTooLarge, StoreUnavailable


@pytest.fixture
async def link(redis_server, stack):
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
    link = RedisLink(redis_server, timeout=30)
    stack.push_async_callback(link.close)
    return link


@pytest.fixture
def store(link):
    return ResponseStore(link, ttl=60, most_bytes=100)


@pytest.fixture
async def dead_store(tmp_path, stack):
    link = RedisLink(f"unix://{tmp_path}/none.sock")
    stack.push_async_callback(link.close)
    return ResponseStore(link, ttl=60)


async def test_a_record_is_there_for_whoever_asks_next(store):
    await store.store(7, "resp_1", b"one")
    assert await store.read(7, ["resp_1"]) == {"resp_1": b"one"}


async def test_several_are_read_at_once_without_absent_ones(store):
    await store.store(7, "resp_1", b"one")
    await store.store(7, "resp_2", b"two")
    assert await store.read(7, ["resp_2", "resp_3", "resp_1"]) == {"resp_2": b"two", "resp_1": b"one"}


async def test_reads_beyond_the_request_bound_are_cut(link):
    store = ResponseStore(link, ttl=60, most_read=5)
    await store.store(7, "resp_1", b"one")
    await store.store(7, "resp_2", b"two")
    assert await store.read(7, ["resp_1", "resp_9"]) == {"resp_1": b"one"}
    with pytest.raises(StoredTooLarge):
        await store.read(7, ["resp_1", "resp_2"])


async def test_records_of_another_key_are_not_there(store):
    await store.store(7, "resp_1", b"one")
    assert await store.read(8, ["resp_1"]) == {}
    assert not await store.delete(8, "resp_1")
    assert await store.read(7, ["resp_1"]) == {"resp_1": b"one"}


async def test_a_record_is_forgotten_once(store):
    await store.store(7, "resp_1", b"one")
    assert await store.delete(7, "resp_1")
    assert not await store.delete(7, "resp_1")
    assert await store.read(7, ["resp_1"]) == {}


async def test_oldest_records_of_a_key_go_first(link):
    store = ResponseStore(link, ttl=60, most_bytes=100, most_of_a_key=250)
    await store.store(8, "resp_0", b"x" * 100)
    for number in range(1, 5):
        await store.store(7, f"resp_{number}", b"x" * 100)
    assert [*await store.read(7, ["resp_1", "resp_2", "resp_3", "resp_4"])] == ["resp_3", "resp_4"]
    assert await store.read(8, ["resp_0"]) != {}


async def counted(link, key_id):
    """Bytes and records that count against the key, and against all."""
    indexes = [f"lgw:responses:{key_id}", "lgw:responses:all"]
    sums = [int(await link.execute("GET", f"{index}:bytes") or 0) for index in indexes]
    return [*sums, *[await link.execute("ZCARD", index) for index in indexes]]


@pytest.mark.parametrize("bound", ["most_of_a_key", "most_of_all"])
async def test_forgotten_records_make_nobody_leave(link, bound):
    store = ResponseStore(link, ttl=60, most_bytes=100, **{bound: 250})
    await store.store(7, "resp_kept", b"y" * 100)
    for number in range(9):
        await store.store(7, f"resp_{number}", b"x" * 100)
        assert await store.delete(7, f"resp_{number}")
    assert await store.read(7, ["resp_kept"]) != {}
    assert await counted(link, 7) == [100, 100, 1, 1]
    assert await store.delete(7, "resp_kept")
    assert not await store.delete(7, "resp_kept")
    assert await counted(link, 7) == [0, 0, 0, 0]


async def test_record_kept_again_counts_as_it_is(link):
    store = ResponseStore(link, ttl=60)
    for size in (100, 30, 50, 50):
        await store.store(7, "resp_1", b"x" * size)
    assert await counted(link, 7) == [50, 50, 1, 1]


async def test_expired_records_free_their_room(link):
    store = ResponseStore(link, ttl=60, most_bytes=100, most_of_a_key=250)
    await store.store(7, "resp_1", b"x" * 100)
    await link.execute("DEL", "lgw:response:7:resp_1")
    for index in ("lgw:responses:7", "lgw:responses:all"):
        await link.execute("ZADD", index, 1, "lgw:response:7:resp_1 100")  # long ago
    await store.store(7, "resp_0", b"x" * 20)
    assert await counted(link, 7) == [20, 20, 1, 1]
    await store.delete(7, "resp_0")
    await store.store(7, "resp_2", b"x" * 100)
    await store.store(7, "resp_3", b"x" * 100)
    assert [*await store.read(7, ["resp_2", "resp_3"])] == ["resp_2", "resp_3"]
    assert await link.execute("GET", "lgw:responses:7:bytes") == b"200"


async def test_records_before_a_clock_step_go_first(link):
    store = ResponseStore(link, ttl=60, most_bytes=100, most_of_a_key=250)
    await store.store(7, "resp_9", b"x" * 100)
    for index in ("lgw:responses:7", "lgw:responses:all"):
        await link.execute("ZADD", index, time.time() + 86_400, "lgw:response:7:resp_9 100")  # the clock was ahead
    for number in (1, 2):
        await store.store(7, f"resp_{number}", b"x" * 100)
    assert [*await store.read(7, ["resp_1", "resp_2", "resp_9"])] == ["resp_1", "resp_2"]


async def test_a_record_lasts_for_its_time(store, link):
    await store.store(7, "resp_1", b"one")
    (key,) = await link.execute("KEYS", "lgw:response:*")
    assert 50 < await link.execute("TTL", key) <= 60


async def test_oversized_response_is_not_kept(store, caplog):
    await store.store(7, "resp_1", b"x" * 101)
    assert await store.read(7, ["resp_1"]) == {}
    assert "too large" in caplog.text


async def test_stored_responses_are_unavailable_without_redis(dead_store):
    await dead_store.store(7, "resp_1", b"one")
    with pytest.raises(StoreUnavailable):
        await dead_store.read(7, ["resp_1"])
    with pytest.raises(StoreUnavailable):
        await dead_store.delete(7, "resp_1")
    await dead_store.store(7, "resp_1", b"one")  # known to be gone by now
    assert not dead_store._link.available


class Watched(RedisLink):
    """A link that knows how many of its commands were open at once."""

    open = most = 0

    def execute(self, *command):
        reply = super().execute(*command)
        self.open += 1
        self.most = max(self.most, self.open)
        reply.add_done_callback(self._ended)
        return reply

    def _ended(self, _reply):
        self.open -= 1


async def test_large_records_go_one_at_a_time_elsewhere(link, redis_server, stack):
    bulk = Watched(redis_server, timeout=10)
    stack.push_async_callback(bulk.close)
    store = ResponseStore(link, bulk, ttl=60)
    record = b"x" * LARGE * 2
    await asyncio.gather(*(store.store(number % 2, f"resp_{number}", record) for number in range(6)))
    reads = [asyncio.create_task(store.read(number % 2, [f"resp_{number}"])) for number in range(6)]
    reads[1].cancel()
    found = await asyncio.gather(*reads, return_exceptions=True)
    assert [isinstance(each, dict) and len(each) for each in found] == [1, False, 1, 1, 1, 1]
    assert bulk.most == 1


async def test_small_records_are_kept_without_large_ones_link(link, tmp_path, stack):
    nowhere = RedisLink(f"unix://{tmp_path}/none.sock")
    stack.push_async_callback(nowhere.close)
    store = ResponseStore(link, nowhere, ttl=60)
    await store.store(7, "resp_1", b"x" * LARGE * 2)
    await store.store(7, "resp_2", b"small")
    assert await store.read(7, ["resp_1", "resp_2"]) == {"resp_2": b"small"}


async def test_turn_ends_when_nobody_waits_any_more(link, redis_server, stack):
    bulk = RedisLink(redis_server, timeout=10)
    stack.push_async_callback(bulk.close)
    store = ResponseStore(link, bulk, ttl=60)
    await store.store(7, "resp_1", b"x" * LARGE * 2)
    for _ in range(20):
        reading = asyncio.create_task(store.read(7, ["resp_1"]))
        await asyncio.sleep(0.001)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert len(await store.read(7, ["resp_1"])) == 1


async def test_oldest_records_of_all_keys_go_first(link):
    store = ResponseStore(link, ttl=60, most_bytes=100, most_of_all=350)
    for number in range(6):
        await store.store(number % 3, f"resp_{number}", b"x" * 100)
    kept = [number for number in range(6) if await store.read(number % 3, [f"resp_{number}"])]
    assert kept == [3, 4, 5]
    assert await link.execute("GET", "lgw:responses:all:bytes") == b"300"
    assert [await link.execute("GET", f"lgw:responses:{key}:bytes") for key in range(3)] == [b"100"] * 3
    assert await link.execute("ZCARD", "lgw:responses:all") == 3


async def test_keys_with_the_most_lose_records_first(link):
    store = ResponseStore(link, ttl=60, most_bytes=100, most_of_a_key=300, most_of_all=500)
    await store.store(3, "resp_small", b"x" * 50)
    for number in range(20):
        await store.store(1 + number % 2, f"resp_{number}", b"x" * 100)
    assert await store.read(3, ["resp_small"]) != {}
    for key in (1, 2):
        assert int(await link.execute("ZSCORE", "lgw:responses:keys", key)) == (await counted(link, key))[0]
    assert await store.delete(3, "resp_small")
    assert await link.execute("ZSCORE", "lgw:responses:keys", 3) is None


async def test_keys_whose_records_expired_cost_others_none(link):
    store = ResponseStore(link, ttl=60, most_bytes=100, most_of_all=350)
    for number in range(4):
        await link.execute("ZADD", "lgw:responses:keys", 1000 + number, 90 + number)  # their index has expired
    await store.store(3, "resp_small", b"x" * 50)
    for number in range(9):
        await store.store(1, f"resp_{number}", b"x" * 100)
    assert await store.read(3, ["resp_small"]) != {}
    assert await link.execute("ZCARD", "lgw:responses:keys") == 2


async def test_dropped_records_no_longer_count_for_all(link):
    store = ResponseStore(link, ttl=60, most_bytes=100, most_of_a_key=250, most_of_all=1000)
    for number in range(20):
        await store.store(7, f"resp_{number}", b"x" * 100)
    await store.store(7, "resp_19", b"x" * 100)  # the same once more
    assert await link.execute("GET", "lgw:responses:all:bytes") == b"200"


async def test_full_server_keeps_nothing_and_fails_no_turn(own_redis, stack, caplog):
    link = RedisLink(own_redis.url, timeout=5)
    stack.push_async_callback(link.close)
    store = ResponseStore(link, ttl=60)
    await store.store(7, "resp_1", b"one")
    await link.execute("CONFIG", "SET", "maxmemory", 1)
    for number in range(50):
        await store.store(7, f"resp_{number}", b"two")
    assert await store.read(7, ["resp_1"]) == {"resp_1": b"one"}
    assert [record.name for record in caplog.records] == ["gateway_project.lib.degraded"]
