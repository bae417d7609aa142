"""Keys as the database has them, read by threads of their own."""

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connections

from accounts.keys.keyring import KeyRing
from accounts.keys.reader import KeyReader, unknown_keys_thread
from accounts.models import ApiKey
from gateway_project.lib.query_thread import QueryThread
from gateway_project.lib.redis_link import RedisLink

pytestmark = pytest.mark.django_db(transaction=True)
PEPPER = b"pepper"


@pytest.fixture(autouse=True)
async def no_connection_is_left():
    yield
    await sync_to_async(connections.close_all)()  # its thread's own, which outlives the test


class CountingThread(QueryThread):
    """Counts the times it is given work."""

    given = 0

    async def run(self, query, within):
        self.given += 1
        return await super().run(query, within)


@pytest.fixture
def thread():
    return CountingThread("test-keys")


@sync_to_async
def make(**fields):
    key = ApiKey(name="alice", **fields)
    secret = key.renew_secret(PEPPER)
    key.save()
    return key, secret


async def test_those_asked_for_at_once_share_a_query(thread):
    key, _ = await make()
    reader = KeyReader(thread)
    digests = [*(f"{number:064x}" for number in range(300)), key.digest, key.digest]
    records = await asyncio.gather(*map(reader.read, digests))
    assert [record.caller.name for record in records if record] == ["alice", "alice"]
    assert thread.given <= 3


async def test_revoked_key_is_reported_as_revoked(thread):
    key, _ = await make()
    await sync_to_async(ApiKey.objects.filter(pk=key.pk).revoke)()
    record = await KeyReader(thread).read(key.digest)
    assert (record.caller.key_id, record.revoked) == (key.pk, True)


async def test_read_errors_reach_who_asked_and_nobody_later(thread, monkeypatch):
    def broken(digests):
        raise DatabaseError

    key, _ = await make()
    reader = KeyReader(thread)
    with monkeypatch.context() as patch:
        patch.setattr("accounts.keys.reader._load", broken)
        with pytest.raises(DatabaseError):
            await reader.read(key.digest)
    assert await reader.read(key.digest)


async def test_known_keys_do_not_wait_for_unknown_ones(redis_server):
    _, secret = await make()
    link = RedisLink(redis_server)
    ring = KeyRing(PEPPER, link)
    assert await ring.authenticate(secret)
    busy = threading.Event()
    blocking = asyncio.create_task(unknown_keys_thread.run(lambda: busy.wait(20), 20))
    try:
        strangers = [asyncio.create_task(ring.authenticate(f"guess {number}")) for number in range(100)]
        await asyncio.sleep(0)
        for _ in range(3):
            ring.forget()
            assert await ring.authenticate(secret)
        assert not any(task.done() for task in strangers)
    finally:
        busy.set()
    assert await blocking
    assert await asyncio.gather(*strangers) == [None] * 100
    await link.close()
