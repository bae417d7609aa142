import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from django.db import DatabaseError

from accounts.keys import Caller, KeyRecord, KeyRing
from accounts.minting import digest_of
from accounts.redis_link import RedisLink
from tests.accounts.conftest import until

PEPPER = b"pepper"


class Records:
    """A stand-in for the table: digests to records, counting the times it is asked."""

    def __init__(self, **secrets):
        self.rows = {}
        self.asked = 0
        self.broken = False
        for name, secret in secrets.items():
            self.add(name, secret)

    def add(self, name, secret, **fields):
        self.rows[digest_of(secret, PEPPER)] = KeyRecord(Caller(len(self.rows) + 1, name, secret[:4]), **fields)

    async def load(self, digest):
        self.asked += 1
        row = self.rows.get(digest)
        await asyncio.sleep(0.01)
        if self.broken:
            raise DatabaseError
        return row


@asynccontextmanager
async def ring_over(records, url, *, listening=True):
    link = RedisLink(url)
    ring = KeyRing(PEPPER, link, records.load)
    task = asyncio.create_task(ring.listen()) if listening else None
    if task:
        await until(lambda: ring.listening)
    yield ring
    if task:
        task.cancel()
        await asyncio.wait({task})
    await link.close()


async def test_a_known_key_is_read_once(redis_server):
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        callers = [await ring.authenticate("secret-a") for _ in range(50)]
    assert {caller.name for caller in callers} == {"alice"}
    assert records.asked == 1


async def test_many_at_once_share_one_read(redis_server):
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        await asyncio.gather(*(ring.authenticate("secret-a") for _ in range(50)))
    assert records.asked == 1


@pytest.mark.parametrize("secret", ["", "nobody", "secret-A", "密钥", "\udcff", "x" * 100_000])
async def test_an_unknown_key_is_nobody_and_is_remembered_as_such(redis_server, secret):
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        assert [await ring.authenticate(secret) for _ in range(5)] == [None] * 5
    assert records.asked == 1


async def test_a_flood_of_unknown_keys_does_not_fill_the_memory_nor_push_out_known_ones(redis_server, monkeypatch):
    monkeypatch.setattr("accounts.keys.MAX_UNKNOWN", 10)
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        await ring.authenticate("secret-a")
        await asyncio.gather(*(ring.authenticate(f"guess {n}") for n in range(100)))
        assert len(ring._unknown) == 10
        records.rows.clear()
        assert await ring.authenticate("secret-a")


async def test_a_key_expires_by_the_clock_without_being_read_again(redis_server):
    records = Records()
    records.add("alice", "secret-a", expires_at=time.time() + 0.2)
    async with ring_over(records, redis_server) as ring:
        assert await ring.authenticate("secret-a")
        await asyncio.sleep(0.25)
        assert await ring.authenticate("secret-a") is None
    assert records.asked == 1


async def announce(url):
    link = RedisLink(url)
    await link.execute("PUBLISH", "lgw:keys", "changed")
    await link.close()


async def test_an_announced_revocation_holds_at_once_in_every_ring(redis_server):
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as one, ring_over(records, redis_server) as two:
        assert await one.authenticate("secret-a")
        assert await two.authenticate("secret-a")
        records.rows.clear()
        await announce(redis_server)
        await until(lambda: not one._known and not two._known, within=1)
        assert await one.authenticate("secret-a") is None
        assert await two.authenticate("secret-a") is None


async def test_a_change_during_the_read_is_not_overlooked(redis_server):
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        reading = asyncio.create_task(ring.authenticate("secret-a"))
        await until(lambda: records.asked)
        records.rows.clear()
        ring.forget()
        assert await reading is None


async def test_without_the_subscription_a_revocation_holds_within_a_second(tmp_path):
    records = Records(alice="secret-a")
    async with ring_over(records, f"unix://{tmp_path / 'nobody.sock'}", listening=False) as ring:
        assert await ring.authenticate("secret-a")
        records.rows.clear()
        await asyncio.sleep(1)
        assert await ring.authenticate("secret-a") is None


@pytest.mark.parametrize("harm", ["kill", "freeze"])
async def test_when_redis_breaks_a_revocation_holds_within_a_second(own_redis, harm):
    records = Records(alice="secret-a")
    async with ring_over(records, own_redis.url) as ring:
        assert await ring.authenticate("secret-a")
        getattr(own_redis, harm)()
        records.rows.clear()
        await asyncio.sleep(1)
        assert await ring.authenticate("secret-a") is None


async def test_when_redis_comes_back_changes_are_heard_again(own_redis):
    records = Records(alice="secret-a")
    async with ring_over(records, own_redis.url) as ring:
        own_redis.kill()
        await until(lambda: not ring.listening)
        assert await ring.authenticate("secret-a")
        own_redis.start()
        await until(lambda: ring.listening)
        assert await ring.authenticate("secret-a")
        records.rows.clear()
        await announce(own_redis.url)
        await until(lambda: not ring._known, within=1)


async def test_a_new_key_is_known_at_once_though_it_was_tried_before(redis_server):
    records = Records()
    async with ring_over(records, redis_server) as ring:
        assert await ring.authenticate("secret-a") is None
        records.add("alice", "secret-a")
        await announce(redis_server)
        await until(lambda: not ring._unknown, within=1)
        assert await ring.authenticate("secret-a")


async def test_a_database_that_is_down_is_no_answer_for_a_key_never_seen(redis_server):
    records = Records()
    records.broken = True
    async with ring_over(records, redis_server) as ring:
        with pytest.raises(DatabaseError):
            await ring.authenticate("secret-a")


async def test_a_known_key_goes_on_while_the_database_is_down_and_the_subscription_lives(redis_server, monkeypatch):
    monkeypatch.setattr("accounts.keys.READ_AGAIN", 0)
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        await ring.authenticate("secret-a")
        records.broken = True
        assert await ring.authenticate("secret-a")
        assert records.asked == 2
