import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest
from django.db import DatabaseError, InterfaceError

from accounts.keys.in_use import KeysInUse
from accounts.keys.keyring import Caller, KeyRecord, KeyRing, TooManyUnknown
from gateway_project.lib.database import database_state as database
from gateway_project.lib.redis.redis_link import RedisLink
from gateway_project.lib.secrets.key_secret import digest_of, generate
from tests.accounts.conftest import until

PEPPER = b"pepper"


class Records:
    """A stand-in for the table: digests to records, counting the times it is asked."""

    def __init__(self, **secrets):
        self.rows = {}
        self.asked = 0
        self.broken = False
        self.gate = asyncio.Event()  # what a look-up of an unknown key waits for
        self.gate.set()
        for name, secret in secrets.items():
            self.add(name, secret)

    def add(self, name, secret, **fields):
        digest = digest_of(secret, PEPPER)
        caller = Caller(len(self.rows) + 1, name, secret[:4], digest=bytes.fromhex(digest))
        self.rows[digest] = KeyRecord(caller, **fields)

    async def load(self, digest):
        self.asked += 1
        row = self.rows.get(digest)
        await asyncio.sleep(0.01)
        if digest not in self.rows:
            await self.gate.wait()
        if self.broken:
            raise DatabaseError
        return row


@asynccontextmanager
async def ring_over(records, url, *, listening=True):
    link = RedisLink(url, timeout=30)  # where the machine is busy, Redis too
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


async def test_checks_at_once_share_one_read(redis_server):
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        await asyncio.gather(*(ring.authenticate("secret-a") for _ in range(50)))
    assert records.asked == 1


@pytest.mark.parametrize("secret", ["", "nobody", "secret-A", "密钥", "\udcff", "x" * 100_000])
async def test_unknown_key_is_remembered_as_such(redis_server, secret):
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        assert [await ring.authenticate(secret) for _ in range(5)] == [None] * 5
    assert records.asked == 1


async def test_unknown_keys_neither_fill_memory_nor_evict_known(redis_server, monkeypatch):
    monkeypatch.setattr("accounts.keys.keyring.MAX_UNKNOWN", 10)
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        await ring.authenticate("secret-a")
        await asyncio.gather(*(ring.authenticate(f"guess {n}") for n in range(100)))
        assert len(ring._unknown_keys) == 10
        records.rows.clear()
        assert await ring.authenticate("secret-a")


async def test_key_expires_without_being_read_again(redis_server, monkeypatch):
    records = Records()
    records.add("alice", "secret-a", expires_at=time.time() + 3600)
    async with ring_over(records, redis_server) as ring:
        assert await ring.authenticate("secret-a")
        later = time.time() + 3600
        monkeypatch.setattr("accounts.keys.keyring.time.time", lambda: later)
        assert await ring.authenticate("secret-a") is None
    assert records.asked == 1


async def announce(url, message="changed"):
    link = RedisLink(url, timeout=30)
    await link.execute("PUBLISH", "lgw:keys", message)
    await link.close()


async def test_announced_revocation_holds_at_once_everywhere(redis_server):
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as one, ring_over(records, redis_server) as two:
        assert await one.authenticate("secret-a")
        assert await two.authenticate("secret-a")
        records.rows.clear()
        await announce(redis_server)
        await until(lambda: not one._known_keys and not two._known_keys)
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


async def test_revocation_without_subscription_holds_within_a_second(tmp_path):
    records = Records(alice="secret-a")
    async with ring_over(records, f"unix://{tmp_path / 'nobody.sock'}", listening=False) as ring:
        assert await ring.authenticate("secret-a")
        records.rows.clear()
        await asyncio.sleep(1)
        assert await ring.authenticate("secret-a") is None


@pytest.mark.parametrize("harm", ["kill", "freeze"])
async def test_revocation_with_broken_redis_holds_within_a_second(own_redis, harm):
    records = Records(alice="secret-a")
    async with ring_over(records, own_redis.url) as ring:
        assert await ring.authenticate("secret-a")
        getattr(own_redis, harm)()
        records.rows.clear()
        await asyncio.sleep(1)
        assert await ring.authenticate("secret-a") is None


async def test_changes_arrive_again_after_redis_returns(own_redis):
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
        await until(lambda: not ring._known_keys)


async def test_new_key_is_known_though_tried_before(redis_server):
    records = Records()
    async with ring_over(records, redis_server) as ring:
        assert await ring.authenticate("secret-a") is None
        records.add("alice", "secret-a")
        await announce(redis_server)
        await until(lambda: not ring._unknown_keys)
        assert await ring.authenticate("secret-a")


async def test_unseen_key_is_not_judged_without_database(redis_server):
    records = Records()
    records.broken = True
    async with ring_over(records, redis_server) as ring:
        with pytest.raises(DatabaseError):
            await ring.authenticate("secret-a")


async def test_known_key_works_without_database_while_subscribed(redis_server, monkeypatch):
    monkeypatch.setattr("accounts.keys.keyring.READ_AGAIN", 0)
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        await ring.authenticate("secret-a")
        records.broken = True
        while records.asked < 2:
            assert await ring.authenticate("secret-a")
            await asyncio.sleep(0.01)


async def test_a_mistyped_key_is_refused_without_a_look(redis_server):
    records = Records()
    async with ring_over(records, redis_server) as ring:
        secret = generate()
        assert await ring.authenticate(secret[:-1] + ("x" if secret[-1] != "x" else "y")) is None
        assert records.asked == 0
        assert await ring.authenticate(secret) is None
        assert records.asked == 1


async def test_unknown_keys_wait_in_a_bounded_line(redis_server, monkeypatch):
    monkeypatch.setattr("accounts.keys.keyring.MAX_WAITING", 5)
    monkeypatch.setattr("accounts.keys.keyring.READ_WITHIN", 60)
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        assert await ring.authenticate("secret-a")
        records.gate.clear()
        strangers = [asyncio.create_task(ring.authenticate(f"guess {n}")) for n in range(5)]
        await until(lambda: records.asked == 6)
        with pytest.raises(TooManyUnknown):
            await ring.authenticate("one more")
        ring.forget()  # known keys are read again after any change
        assert await ring.authenticate("secret-a")
        assert not any(task.done() for task in strangers)
        records.gate.set()
        assert await asyncio.gather(*strangers) == [None] * 5
        assert await ring.authenticate("one more") is None


async def test_known_key_is_served_during_a_refresh(tmp_path, monkeypatch):
    monkeypatch.setattr("accounts.keys.keyring.TRUST", 60)  # it would end in a pause of this process
    records = Records(alice="secret-a")
    async with ring_over(records, f"unix://{tmp_path / 'nobody.sock'}", listening=False) as ring:
        assert await ring.authenticate("secret-a")
        asked = records.asked
        while records.asked == asked:  # each answer comes at once, though one of them begins a read
            task = asyncio.ensure_future(ring.authenticate("secret-a"))
            await asyncio.sleep(0)
            assert task.done()
            await asyncio.sleep(0.005)


async def test_silent_database_ends_no_wait_late(redis_server, monkeypatch):
    monkeypatch.setattr("accounts.keys.keyring.READ_WITHIN", 0.05)
    records = Records()
    records.gate.clear()
    async with ring_over(records, redis_server) as ring:
        with pytest.raises(DatabaseError, match="in time"):
            await ring.authenticate("secret-a")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "open"),
        ({"closed": "revoked"}, "revoked"),
        ({"closed": "paused"}, "paused"),
        ({"closed": "quarantined"}, "quarantined"),
        ({"expires_at": 1.0}, "expired"),
        ({"expires_at": 1.0, "closed": "revoked"}, "revoked"),
        ({"expires_at": 1.0, "closed": "quarantined"}, "expired"),
        ({"expires_at": 1.0, "closed": "paused"}, "expired"),
        ({"expires_at": 1.0, "closed": "paused", "at_end": "rotated"}, "rotated"),
    ],
)
async def test_operators_learn_what_is_wrong_with_a_key(redis_server, fields, status):
    records = Records()
    records.add("alice", "secret-a", **fields)
    async with ring_over(records, redis_server) as ring:
        assert bool(await ring.authenticate("secret-a")) == (status == "open")
        caller, told = ring.refused("secret-a")
        assert (caller.name, told) == ("alice", status)
        assert await ring.status(caller.digest) == status
        assert ring.refused("nobody") == (None, "unknown")


async def away(records, ring, secret="secret-b"):
    """Break the database, and have somebody meet it."""
    records.broken = True
    with pytest.raises(DatabaseError):
        await ring.authenticate(secret)


async def test_absent_database_is_tried_once_a_second(redis_server, monkeypatch):
    monkeypatch.setattr("gateway_project.lib.database.database_state.RETRY_SEC", 1000.0)
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        await ring.authenticate("secret-a")
        await away(records, ring)
        asked = records.asked
        records.gate.clear()  # and it would hang now
        for number in range(100):
            assert await ring.authenticate("secret-a")
            with pytest.raises(DatabaseError):
                await ring.authenticate(f"guess {number}")
        assert records.asked == asked


async def test_new_keys_are_known_when_database_returns(redis_server, monkeypatch):
    monkeypatch.setattr("gateway_project.lib.database.database_state.RETRY_SEC", 0.01)
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        await away(records, ring, "secret-a")
        records.broken = False
        caller = None
        async with asyncio.timeout(30):
            while caller is None:
                with suppress(DatabaseError):
                    caller = await ring.authenticate("secret-a")
                await asyncio.sleep(0.01)
        assert not database.away()


async def test_known_key_lasts_without_database_and_subscription(tmp_path, monkeypatch):
    records = Records(alice="secret-a")
    async with ring_over(records, f"unix://{tmp_path / 'nobody.sock'}", listening=False) as ring:
        await ring.authenticate("secret-a")
        monkeypatch.setattr("accounts.keys.keyring.TRUST", -1.0)  # nothing is confirmed any more
        monkeypatch.setattr("accounts.keys.keyring.RENEW", -1.0)
        records.broken = True
        assert await ring.authenticate("secret-a")  # by the read that fails
        assert database.away()
        assert await ring.authenticate("secret-a")  # and without one
        monkeypatch.setattr("accounts.keys.keyring.TRUST_UNCONFIRMED", -1.0)
        with pytest.raises(DatabaseError):
            await ring.authenticate("secret-a")


async def test_returning_redis_makes_no_key_unknown(own_redis):
    records = Records(alice="secret-a")
    async with ring_over(records, own_redis.url) as ring:
        await ring.authenticate("secret-a")
        own_redis.kill()
        await until(lambda: not ring.listening)
        await away(records, ring)
        own_redis.start()
        await until(lambda: ring.listening)
        assert await ring.authenticate("secret-a")


async def test_changed_key_alone_is_distrusted(redis_server):
    records = Records(alice="secret-a", bob="secret-b")
    async with ring_over(records, redis_server) as ring:
        alice = await ring.authenticate("secret-a")
        await ring.authenticate("secret-b")
        await announce(redis_server, alice.digest.hex())
        await until(lambda: alice.digest not in ring._known_keys)
        await away(records, ring, "secret-a")
        assert await ring.authenticate("secret-b")
        assert await ring.status((await ring.authenticate("secret-b")).digest) == "open"


async def test_connection_error_is_no_verdict(redis_server):
    async def broken(_digest):
        raise InterfaceError("connection already closed")

    ring = KeyRing(PEPPER, RedisLink(redis_server, timeout=30), broken)
    with pytest.raises(InterfaceError):
        await ring.authenticate("secret-a")


class Work:
    """Something that runs for a key."""

    def __init__(self):
        self.ended = []

    def key_closed(self, status):
        self.ended.append(status)


async def test_turns_of_a_key_learn_of_its_end(redis_server):
    records = Records(alice="secret-a", bob="secret-b")
    async with ring_over(records, redis_server) as ring:
        in_use = KeysInUse(ring)
        work = {secret: Work() for secret in ("secret-a", "secret-b")}
        callers = {secret: await ring.authenticate(secret) for secret in work}
        for secret, each in work.items():
            in_use.add(callers[secret], each)
        del records.rows[callers["secret-a"].digest.hex()]
        await in_use.check()
        assert work["secret-a"].ended == []  # nothing was announced yet
        ring.forget()
        await in_use.check()
        assert [each.ended for each in work.values()] == [["unknown"], []]
        in_use.remove(callers["secret-a"], work["secret-a"])
        in_use.remove(callers["secret-a"], work["secret-a"])
        await in_use.check()
        assert work["secret-a"].ended == ["unknown"]


async def test_a_database_that_is_down_ends_nothing(redis_server):
    records = Records(alice="secret-a")
    async with ring_over(records, redis_server) as ring:
        in_use, work = KeysInUse(ring), Work()
        in_use.add(await ring.authenticate("secret-a"), work)
        ring.forget()
        records.broken = True
        await in_use.check()
        assert work.ended == []


async def test_paused_key_opens_nothing_and_keeps_its_holder(redis_server):
    records = Records()
    records.add("alice", "secret-a", closed="paused")
    async with ring_over(records, redis_server) as ring:
        assert await ring.authenticate("secret-a") is None
        caller, status = ring.refused("secret-a")
        assert (caller.name, status) == ("alice", "paused")


async def test_old_secret_ends_with_its_grace(redis_server, monkeypatch):
    records, end = Records(), time.time() + 3600
    records.add("alice", "secret-a", expires_at=end, at_end="rotated")
    async with ring_over(records, redis_server) as ring:
        caller = await ring.authenticate("secret-a")
        assert await ring.status(caller.digest) == "open"
        monkeypatch.setattr("accounts.keys.keyring.time.time", lambda: end)
        assert ring.refused("secret-a")[1] == "rotated"
        assert await ring.authenticate("secret-a") is None


class FirstUses:
    def __init__(self):
        self.written = []
        self.broken = False

    async def write(self, key_id, at):
        if self.broken:
            raise DatabaseError
        self.written.append((key_id, at))


@asynccontextmanager
async def ring_that_writes(records, uses, url):
    link = RedisLink(url, timeout=30)
    yield KeyRing(PEPPER, link, records.load, uses.write)
    await link.close()


async def test_days_begin_with_the_first_use(redis_server):
    records, uses = Records(), FirstUses()
    records.add("alice", "secret-a", unused_days=1)
    async with ring_that_writes(records, uses, redis_server) as ring:
        assert await ring.status(bytes.fromhex(digest_of("secret-a", PEPPER))) == "open"
        assert uses.written == []
        before = time.time()
        caller = await ring.authenticate("secret-a")
        await until(lambda: len(uses.written) == 1)
        entry = ring._known_keys[caller.digest]
        assert before + 86_400 <= entry.expires_at <= time.time() + 86_400
        assert await ring.authenticate("secret-a") is caller
        assert len(uses.written) == 1


async def test_first_use_is_remembered_until_written(redis_server):
    records, uses = Records(), FirstUses()
    records.add("alice", "secret-a", unused_days=1)
    uses.broken = True
    async with ring_that_writes(records, uses, redis_server) as ring:
        caller = await ring.authenticate("secret-a")
        end = ring._known_keys[caller.digest].expires_at
        await until(lambda: not ring._writing)
        uses.broken = False
        ring.forget()
        await ring.authenticate("secret-a")
        assert ring._known_keys[caller.digest].expires_at == end
        await until(lambda: len(uses.written) == 1)
        assert uses.written[0][1] == end - 86_400


async def test_unused_key_may_be_over_already(redis_server):
    records, uses = Records(), FirstUses()
    records.add("alice", "secret-a", unused_days=1, expires_at=1.0)
    async with ring_that_writes(records, uses, redis_server) as ring:
        assert await ring.authenticate("secret-a") is None
        assert ring.refused("secret-a")[1] == "expired"
        assert uses.written == []
