"""Keys as the database has them, read by threads of their own."""

import asyncio
import math
import threading
import time
from datetime import timedelta
from itertools import combinations

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connections
from django.utils import timezone

from accounts.keys import services
from accounts.keys.keyring import KeyRing
from accounts.keys.reader import KeyReader, unknown_keys_thread, write_first_use
from accounts.models import ApiKey, AuditEntry, Team
from gateway_project.lib.database.query_thread import QueryThread
from gateway_project.lib.redis.redis_link import RedisLink
from gateway_project.lib.tool_approval import DENY, ToolPolicy

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
def make(name="alice", **fields):
    key = ApiKey(name=name, **fields)
    secret = key.renew_secret(PEPPER)
    key.save()
    return key, secret


async def test_keys_asked_for_at_once_share_queries(thread):
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
    assert (record.caller.key_id, record.closed) == (key.pk, "revoked")


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


async def test_key_given_up_behind_hung_query_is_read(thread):
    key, _ = await make()
    reader = KeyReader(thread)
    goes_on = threading.Event()
    hung = asyncio.create_task(thread.run(lambda: goes_on.wait(30), 30))
    first = asyncio.create_task(reader.read("0" * 64))
    while thread.given < 2:  # which waits behind the query that hangs
        await asyncio.sleep(0.01)
    given_up = asyncio.create_task(reader.read(key.digest))
    await asyncio.sleep(0)
    given_up.cancel()
    again = asyncio.create_task(reader.read(key.digest))
    await asyncio.sleep(0)
    goes_on.set()
    assert (await again).caller.key_id == key.pk
    assert (await first, await hung) == (None, True)


async def test_known_keys_do_not_wait_for_unknown_ones(redis_server, monkeypatch):
    monkeypatch.setattr("accounts.keys.keyring.READ_WITHIN", 60)
    _, secret = await make()
    link = RedisLink(redis_server, timeout=30)
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


CLOSED_AT = ("revoked_at", "expires_at", "quarantined_at", "paused_at")


@pytest.mark.parametrize("columns", [each for size in range(5) for each in combinations(CLOSED_AT, size)], ids=str)
async def test_console_and_api_tell_the_same_reason(redis_server, columns):
    key, secret = await make()
    past = timezone.now() - timedelta(hours=1)
    await sync_to_async(ApiKey.objects.filter(pk=key.pk).update)(**dict.fromkeys(columns, past))
    await sync_to_async(key.refresh_from_db)()
    link = RedisLink(redis_server, timeout=30)
    ring = KeyRing(PEPPER, link)
    assert bool(await ring.authenticate(secret)) == (not columns)
    state = key.state(timezone.now())
    assert ring.refused(secret)[1] == ("open" if state == "live" else state)
    assert await sync_to_async(ApiKey.objects.all().in_state(state, timezone.now()).get)() == key
    await link.close()


async def read_both(thread, key):
    reader = KeyReader(thread)
    return await asyncio.gather(reader.read(key.digest), reader.read(key.previous_digest))


async def test_both_secrets_of_a_key_are_read(thread):
    key, _ = await make()
    await sync_to_async(services.rotate)(key, timedelta(hours=1))
    new, old = await read_both(thread, key)
    assert (new.caller.key_id, old.caller.key_id) == (key.pk, key.pk)
    assert (new.expires_at, old.expires_at) == (math.inf, key.previous_until.timestamp())
    assert (new.caller.digest.hex(), old.caller.digest.hex()) == (key.digest, key.previous_digest)
    assert old.at_end == "rotated"
    await sync_to_async(services.pause)(key)
    assert [record.closed for record in await read_both(thread, key)] == ["paused", "paused"]
    await sync_to_async(services.quarantine)(key)
    assert [record.closed for record in await read_both(thread, key)] == ["quarantined", "quarantined"]


async def test_key_takes_from_its_team_what_it_lacks(thread):
    team = await Team.objects.acreate(
        name="core",
        allowed_models="claude-*",
        allowed_networks="10.0.0.0/8",
        scopes="metrics",
        tool_mode="bridge",
        tool_approval="deny",
    )
    bare, _ = await make(team=team)
    own, _ = await make(name="own", team=team, allowed_models="!gpt-*", allowed_networks="::1", tool_mode="emulate")
    reader = KeyReader(thread)
    first, second = [
        record.caller for record in await asyncio.gather(reader.read(bare.digest), reader.read(own.digest))
    ]
    assert (first.models, first.scopes) == ({"claude-*"}, {"metrics"})
    assert [str(network) for network in first.networks] == ["10.0.0.0/8"]
    assert first.tools == ToolPolicy("bridge", DENY)
    assert (second.models, second.scopes) == ({"!gpt-*"}, {"metrics"})
    assert [str(network) for network in second.networks] == ["::1/128"]
    assert second.tools == ToolPolicy("emulate", DENY)


async def test_policy_that_cannot_be_read_opens_nothing(thread):
    key, _ = await make(allowed_networks="everywhere", tool_approval="allowed")
    record = await KeyReader(thread).read(key.digest)
    assert (record.caller.networks, record.caller.tools) == ((), ToolPolicy("", DENY))


async def test_first_use_gives_a_key_its_end(thread):
    key, _ = await make(expires_after_days=10)
    assert (await KeyReader(thread).read(key.digest)).unused_days == 10
    at = time.time()
    await write_first_use(key.pk, at)
    await write_first_use(key.pk, at + 5)
    record = await KeyReader(thread).read(key.digest)
    assert (record.unused_days, round(record.expires_at - at, 3)) == (0, 10 * 86_400)
    ends = await sync_to_async(lambda: list(AuditEntry.objects.exclude(action="created")))()
    assert [(end.actor, end.source, list(end.changes)) for end in ends] == [("first use", "schedule", ["expires_at"])]
