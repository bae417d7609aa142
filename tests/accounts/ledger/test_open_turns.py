"""Turns are opened, and closed by their rows."""

import asyncio
import random
import time
from datetime import UTC, datetime

import pytest
import redis
from django.db import connection

from accounts.ledger.filing import flush
from accounts.ledger.ledger import Ledger
from accounts.ledger.orphans import MISSED_SEC, Orphans
from accounts.ledger.reconcile import reconcile
from accounts.ledger.spool import waiting
from accounts.models import AdmittedHour, ApiKey, OpenTurn, Usage
from gateway_project.lib.redis.redis_keys import RUN
from gateway_project.lib.redis.redis_keys import USAGE as STREAM
from gateway_project.lib.redis.redis_link import RedisLink
from tests.accounts.conftest import until
from tests.accounts.ledger.test_ledger import make_key
from tests.accounts.rows import row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.delete(STREAM, *client.keys(f"{RUN}*"))
        yield client


def opened(request_id, **fields):
    return row(request_id, status="open", admitted=True, prompt_tokens=0, completion_tokens=0, **fields)


def closed(request_id, **fields):
    return row(request_id, admitted=True, **fields)


def process(url, spool, work, run="w1-a"):
    """Have a process do something with its ledger."""

    async def main():
        link = RedisLink(url, timeout=20)
        ledger = Ledger(link, spool, run)
        await work(ledger)
        await link.close()

    asyncio.run(main())


async def open_all(ledger, *ids):
    for confirmation in [ledger.open(opened(id_)) for id_ in ids]:
        await asyncio.wait_for(confirmation.wait(), 30)


def counts():
    hours = AdmittedHour.objects.values_list("admitted", "unopened")
    admitted, unopened = (sum(column) for column in zip(*hours, strict=True)) if hours else (0, 0)
    return {"admitted": admitted, "unopened": unopened, "open": OpenTurn.objects.count(), "rows": Usage.objects.count()}


def test_turn_is_open_until_its_row_comes(client, redis_server, tmp_path):
    async def work(ledger):
        await open_all(ledger, "one", "two")
        await ledger.write(closed("one"))

    process(redis_server, tmp_path, work)
    assert flush(client, tmp_path) == 1
    assert counts() == {"admitted": 2, "unopened": 0, "open": 1, "rows": 1}
    process(redis_server, tmp_path, lambda ledger: ledger.write(closed("two")))
    assert flush(client, tmp_path) == 1
    assert counts() == {"admitted": 2, "unopened": 0, "open": 0, "rows": 2}


def test_refusal_was_never_open(client, redis_server, tmp_path):
    process(redis_server, tmp_path, lambda ledger: ledger.write(row("one", status="refused", count=7)))
    flush(client, tmp_path)
    assert counts() == {"admitted": 0, "unopened": 0, "open": 0, "rows": 1}


def test_quick_turn_is_opened_by_its_row(client, redis_server, tmp_path):
    async def work(ledger):
        ledger.open(opened("one"))
        await ledger.write(closed("one"))
        assert client.xlen(STREAM) == 1

    process(redis_server, tmp_path, work)
    for _ in range(2):  # the second time as a line that comes again
        lines = client.xrange(STREAM)
        flush(client, tmp_path)
        assert counts() == {"admitted": 1, "unopened": 0, "open": 0, "rows": 1}
        for _, line in lines:
            client.xadd(STREAM, line)


def test_opening_is_sent_when_the_turn_takes_longer(client, redis_server, tmp_path):
    async def work(ledger):
        opening = ledger.open(opened("one"))
        async with asyncio.timeout(30):
            while not opening.done():  # nobody waits for it, so nobody makes it hurry
                await asyncio.sleep(0.005)

    process(redis_server, tmp_path, work)
    flush(client, tmp_path)
    assert counts() == {"admitted": 1, "unopened": 0, "open": 1, "rows": 0}


def test_row_counts_where_its_opening_was_lost(client, redis_server, tmp_path):
    process(redis_server, tmp_path, lambda ledger: ledger.write(closed("one")))
    flush(client, tmp_path)
    assert counts() == {"admitted": 1, "unopened": 1, "open": 0, "rows": 1}
    process(redis_server, tmp_path, lambda ledger: open_all(ledger, "one"))
    flush(client, tmp_path)
    assert counts() == {"admitted": 1, "unopened": 1, "open": 0, "rows": 1}


@pytest.mark.parametrize("seed", range(8))
def test_order_and_repetition_change_nothing(client, tmp_path, seed):
    """Lines of several starts come in any order, some twice, in batches of any size."""
    chance = random.Random(seed)
    lines = []
    for number in range(60):
        id_ = f"r{number}"
        lines += [("open", id_)] * chance.choice([1, 1, 1, 2])
        if number < 50:
            lines += [("close", id_)] * chance.choice([1, 1, 1, 2])
    chance.shuffle(lines)

    async def work(ledger):
        for kind, id_ in lines:
            if kind == "open":
                await ledger.open(opened(id_)).wait()
            else:
                await ledger.write(closed(id_))
            if chance.random() < 0.1:
                await asyncio.to_thread(elsewhere, flush, client, tmp_path)

    process(client_url(client), tmp_path, work)
    flush(client, tmp_path)
    found = counts()
    assert (found["admitted"], found["open"], found["rows"]) == (60, 10, 50)


def elsewhere(work, *args):
    """In a thread, which has a connection of its own."""
    try:
        return work(*args)
    finally:
        connection.close()


def client_url(client):
    return f"unix://{client.connection_pool.connection_kwargs['path']}"


def test_openings_wait_in_the_spool_without_redis(client, tmp_path):
    process(f"unix://{tmp_path / 'nobody.sock'}", tmp_path, lambda ledger: open_all(ledger, "one"))
    assert waiting(tmp_path) == 1
    flush(client, tmp_path)
    assert counts() == {"admitted": 1, "unopened": 0, "open": 1, "rows": 0}


def test_opening_answered_by_killed_redis_is_filed(own_redis, client, tmp_path):
    async def work(ledger):
        await open_all(ledger, "one")
        own_redis.kill()
        await until(lambda: waiting(tmp_path))

    process(own_redis.url, tmp_path, work)
    flush(client, tmp_path)
    assert counts()["open"] == 1


def test_frozen_redis_confirms_by_the_spool(own_redis, client, tmp_path):
    async def work(ledger):
        await ledger.backlog()
        own_redis.freeze()
        await open_all(ledger, "one")
        assert waiting(tmp_path) == 1
        own_redis.thaw()

    process(own_redis.url, tmp_path, work)
    flush(client, tmp_path)
    assert counts()["admitted"] == 1


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def worker(client, clock, tmp_path):
    """Does what the worker does every few seconds; how many turns it gave up."""
    orphans = Orphans(clock)

    def look(seconds=3.0):
        clock.now += seconds
        signs = orphans.signs(client)
        flush(client, tmp_path)
        return orphans.close(signs)

    return look


def test_turn_of_dead_process_gets_its_row(client, redis_server, tmp_path, worker):
    async def work(ledger):
        await open_all(ledger, "one", "two")
        await ledger.write(closed("one"))
        await ledger.sign_of_life()

    process(redis_server, tmp_path, work)
    assert [worker() for _ in range(4)] == [0, 0, 0, 0]
    client.delete(f"{RUN}w1-a")  # it expires
    assert [worker(), worker(), worker(), worker()] == [0, 0, 1, 0]
    turn = Usage.objects.get(request_id="two")
    assert (turn.status, turn.reason, turn.admitted, turn.usage_source) == ("error", "orphaned", True, "")
    assert counts() == {"admitted": 2, "unopened": 0, "open": 0, "rows": 2}


def test_outage_of_redis_is_nobodys_death(client, redis_server, tmp_path, worker):
    process(redis_server, tmp_path, lambda ledger: open_all(ledger, "one"))
    worker()
    worker()
    assert worker(60 * MISSED_SEC) == 0


def test_turn_its_process_has_lost_gets_a_row(client, redis_server, tmp_path, worker):
    process(redis_server, tmp_path, lambda ledger: open_all(ledger, "one"))

    def look():
        process(redis_server, tmp_path, lambda ledger: ledger.sign_of_life())
        return worker()

    assert [look() for _ in range(5)] == [0, 0, 0, 1, 0]
    assert Usage.objects.get().reason == "orphaned"


def test_unreadable_orphan_costs_only_itself(client, redis_server, tmp_path, worker, caplog):
    process(redis_server, tmp_path, lambda ledger: open_all(ledger, "one", "odd", "two"))
    worker()
    OpenTurn.objects.filter(pk="odd").update(row='{"request_id": 7}')
    client.delete(f"{RUN}w1-a")
    assert sum(worker() for _ in range(6)) == 2
    assert sorted(Usage.objects.values_list("request_id", "reason")) == [("one", "orphaned"), ("two", "orphaned")]
    assert list(OpenTurn.objects.values_list("pk", flat=True)) == ["odd"]
    assert caplog.text.count("turn odd has ended without a row") == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="nobody else writes meanwhile")
def test_orphan_whose_key_goes_is_filed(client, redis_server, tmp_path, worker):
    key = make_key()
    process(redis_server, tmp_path, lambda ledger: ledger.open(opened("one", api_key_id=key.pk)).wait())
    deleted = []

    def delete_key(execute, sql, *others):
        if not deleted and sql.startswith("INSERT INTO accounts_usage "):
            deleted.append(asyncio.run(asyncio.to_thread(elsewhere, ApiKey.objects.filter(pk=key.pk).delete)))
        return execute(sql, *others)

    with connection.execute_wrapper(delete_key):
        assert sum(worker() for _ in range(4)) == 1
    assert deleted
    turn = Usage.objects.get()
    assert (turn.reason, turn.api_key_id) == ("orphaned", None)


async def open_late(ledger):
    """Its request came long before."""
    await asyncio.wait_for(ledger.open(opened("late", started_at=time.time() - 5)).wait(), 30)


def test_turn_opened_after_a_sign_stays_open(client, redis_server, tmp_path, worker):
    async def work(ledger):
        await ledger.sign_of_life()
        await open_late(ledger)
        given_up = [await asyncio.to_thread(elsewhere, worker) for _ in range(2)]
        for _ in range(4):
            await ledger.sign_of_life()
            given_up.append(await asyncio.to_thread(elsewhere, worker))
        assert given_up == [0] * 6

    process(redis_server, tmp_path, work)
    assert counts() == {"admitted": 1, "unopened": 0, "open": 1, "rows": 0}


def test_sign_between_look_and_opening_closes_nothing(client, redis_server, tmp_path, clock):
    process(redis_server, tmp_path, lambda ledger: ledger.open(opened("far", started_at=time.time() + 999)).wait())
    flush(client, tmp_path)
    orphans = Orphans(clock)

    async def work(ledger):
        await ledger.sign_of_life()
        given_up = []
        for each in range(2):
            signs = await asyncio.to_thread(elsewhere, orphans.signs, client)
            if each == 0:
                await ledger.sign_of_life()
                await open_late(ledger)
            await asyncio.to_thread(elsewhere, flush, client, tmp_path)
            given_up.append(await asyncio.to_thread(elsewhere, orphans.close, signs))
            clock.now += 3
        assert given_up == [0, 0]

    process(redis_server, tmp_path, work)


def test_row_of_slow_process_replaces_the_orphan(client, redis_server, tmp_path, worker):
    process(redis_server, tmp_path, lambda ledger: open_all(ledger, "one"))
    assert sum(worker() for _ in range(4)) == 1
    process(redis_server, tmp_path, lambda ledger: ledger.write(closed("one", lingma_model="a")))
    flush(client, tmp_path)
    turn = Usage.objects.get()
    assert (turn.status, turn.reason, turn.lingma_model, turn.prompt_tokens) == ("ok", "", "a", 10)
    assert counts() == {"admitted": 1, "unopened": 0, "open": 0, "rows": 1}


@pytest.mark.parametrize("stream", [False, True])
def test_turn_handed_over_while_it_waited_counts_once(client, redis_server, tmp_path, stream):
    async def wait_and_hand_over(ledger):
        opening = ledger.open(opened("r", stream=stream))
        if stream:
            await asyncio.wait_for(opening.wait(), 30)
        ledger.forget("r")

    async def run(ledger):
        ledger.open(opened("r", stream=stream))
        await ledger.write(closed("r", stream=stream))

    process(redis_server, tmp_path, wait_and_hand_over)
    process(redis_server, tmp_path, run, run="w2-a")
    flush(client, tmp_path)
    assert counts() == {"admitted": 1, "unopened": 0, "open": 0, "rows": 1}


@pytest.mark.parametrize("is_there", [True, False], ids=["known", "in one batch"])
def test_row_of_another_process_closes_the_turn(client, redis_server, tmp_path, worker, is_there):
    """As who has the client of a turn writes it that was lost elsewhere: it has not opened it itself."""
    process(redis_server, tmp_path, lambda ledger: open_all(ledger, "one"))
    if is_there:
        worker()
    process(redis_server, tmp_path, lambda ledger: ledger.write(row("one", status="error")), run="w2-b")
    assert [worker() for _ in range(5)] == [0] * 5
    assert counts() == {"admitted": 1, "unopened": 0, "open": 0, "rows": 1}
    turn = Usage.objects.get()
    assert (turn.reason, turn.admitted) == (row("one").reason, True)


def test_second_row_of_a_turn_closes_it(client, redis_server, tmp_path, worker):
    process(redis_server, tmp_path, lambda ledger: open_all(ledger, "one"))
    process(redis_server, tmp_path, lambda ledger: ledger.write(row("one", status="error")), run="w2-b")
    process(redis_server, tmp_path, lambda ledger: ledger.write(closed("one")))
    worker()
    worker()
    assert counts() == {"admitted": 1, "unopened": 0, "open": 0, "rows": 1}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("is_quick", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
def test_row_of_who_had_the_turn_counts(client, redis_server, tmp_path, at_once, is_quick, is_first):
    """The client hung up on the process that had handed it over, and both have written how it ended."""

    async def run(ledger):
        opening = ledger.open(opened("one"))
        if not is_quick:
            await asyncio.wait_for(opening.wait(), 30)
        await ledger.write(closed("one", status="cancelled", prompt_tokens=20, instance="w2-i1"))

    async def hang_up(ledger):
        await ledger.write(row("one", status="cancelled", prompt_tokens=0, completion_tokens=0))

    for work, name in [(run, "w2-b"), (hang_up, "w1-a")] if is_first else [(hang_up, "w1-a"), (run, "w2-b")]:
        process(redis_server, tmp_path, work, run=name)
        if not at_once:
            flush(client, tmp_path)
    flush(client, tmp_path)
    turn = Usage.objects.get()
    assert (turn.instance, turn.prompt_tokens, turn.admitted) == ("w2-i1", 20, True)
    assert counts()["open"] == 0
    balance = reconcile(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert (balance.adds_up, balance.admitted, balance.closed) == (True, 1, 1)


@pytest.mark.parametrize("is_first", [True, False])
def test_row_counts_behind_hang_up_and_giving_up(client, redis_server, tmp_path, worker, is_first):
    """The same, and the process that had the turn stood still for so long that it was given up."""

    def hang_up():
        lost = row("one", status="cancelled", prompt_tokens=0, completion_tokens=0)
        process(redis_server, tmp_path, lambda ledger: ledger.write(lost), run="w1-a")

    process(redis_server, tmp_path, lambda ledger: open_all(ledger, "one"), run="w2-b")
    for step in (hang_up, worker, worker, worker, worker) if is_first else (worker, worker, worker, worker, hang_up):
        step()
    worker()
    served = closed("one", status="cancelled", prompt_tokens=20, instance="w2-i1")
    for _ in range(2):
        process(redis_server, tmp_path, lambda ledger: ledger.write(served), run="w2-b")
        worker()
    turn = Usage.objects.get()
    assert (turn.instance, turn.prompt_tokens, turn.admitted) == ("w2-i1", 20, True)
    balance = reconcile(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert (balance.adds_up, balance.admitted, balance.closed) == (True, 1, 1)
