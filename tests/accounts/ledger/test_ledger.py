import asyncio
import os
import sqlite3
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import msgspec
import pytest
import redis
from django.db import connection
from django.utils import timezone

from accounts.ledger.filing import flush
from accounts.ledger.flusher import Flusher
from accounts.ledger.ledger import Ledger
from accounts.ledger.spool import REJECTED, SPOOL, append, lines_of, waiting
from accounts.models import ApiKey, OpenTurn, Usage, UsageHour
from accounts.tasks import flush_usage
from gateway_project.lib import degraded
from gateway_project.lib.database import database_state as database
from gateway_project.lib.redis.redis_keys import USAGE as STREAM
from gateway_project.lib.redis.redis_link import RedisLink
from tests.accounts.conftest import until
from tests.accounts.rows import row

pytestmark = pytest.mark.django_db(transaction=True)
locks_sqlite = pytest.mark.skipif(
    connection.vendor != "sqlite",
    reason="it locks SQLite's file; tests/trials/test_database_away.py has PostgreSQL away",
)


@pytest.fixture
def client(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.delete(STREAM)
        yield client


def write(url, spool, *rows, timeout=20):
    """What a gateway process does, but for its patience: a Redis that gets no time on a busy machine is waited for."""

    async def run():
        link = RedisLink(url, timeout=timeout)
        ledger = Ledger(link, spool)
        await asyncio.gather(*map(ledger.write, rows))
        backlog = await ledger.backlog()
        await link.close()
        return backlog

    return asyncio.run(run())


def filed():
    return set(Usage.objects.values_list("request_id", flat=True))


def make_key(name="alice"):
    key = ApiKey(name=name)
    key.renew_secret(b"pepper")
    key.save()
    return key


def test_a_row_is_filed_with_every_field(client, redis_server, tmp_path):
    key = make_key()
    wait = {"api_key_id": key.pk, "first_token_ms": 5, "stream": True, "client": "10.0.0.9", "usage_source": "upstream"}
    assert write(redis_server, tmp_path, row("one", **wait)) == 1
    assert flush(client, tmp_path) == 1
    turn = Usage.objects.get()
    assert {name: getattr(turn, name) for name in wait} == wait
    assert turn.started_at == datetime.fromtimestamp(1_790_000_000.5, UTC)
    assert client.xlen(STREAM) == 0


def test_many_rows_at_once_are_all_filed(client, redis_server, tmp_path):
    rows = [row(f"r{n}") for n in range(1200)]
    assert write(redis_server, tmp_path, *rows) == 1200
    assert flush(client, tmp_path) == 1200
    assert filed() == {one.request_id for one in rows}


def test_rows_wait_in_the_spool_without_redis(client, tmp_path):
    rows = [row(f"r{n}") for n in range(600)]
    assert write(f"unix://{tmp_path / 'nobody.sock'}", tmp_path, *rows) == 600
    assert flush(client, tmp_path) == 600
    assert filed() == {one.request_id for one in rows}
    assert list(tmp_path.iterdir()) == []


def test_a_row_in_both_places_is_one_row(client, redis_server, tmp_path):
    write(redis_server, tmp_path, row("one"), row("one"))
    write(f"unix://{tmp_path / 'nobody.sock'}", tmp_path, row("one"))
    assert flush(client, tmp_path) == 1
    assert flush(client, tmp_path) == 0


def test_old_row_holds_no_new_one_up(client, redis_server, tmp_path):
    turns = [row(f"r{n}", admitted=True) for n in range(200)]
    write(redis_server, tmp_path, turns[150])
    assert flush(client, tmp_path) == 1
    write(redis_server, tmp_path, *turns, timeout=20)
    assert flush(client, tmp_path) == 199
    assert filed() == {each.request_id for each in turns}
    assert not (tmp_path / REJECTED).exists()
    assert sum(UsageHour.objects.values_list("turns", flat=True)) == 200


def test_rows_whose_filing_was_interrupted_are_filed_later(client, redis_server, tmp_path):
    write(f"unix://{tmp_path / 'nobody.sock'}", tmp_path, row("one"))
    (tmp_path / "usage.jsonl").rename(tmp_path / "usage.jsonl.taken")  # its taker was killed
    assert flush(client, tmp_path) == 1


def test_two_flushes_at_once_file_each_row_once(client, redis_server, tmp_path):
    write(redis_server, tmp_path, *(row(f"r{n}") for n in range(700)))
    write(f"unix://{tmp_path / 'nobody.sock'}", tmp_path, *(row(f"s{n}") for n in range(700)))

    def run(_):
        try:
            return flush(client, tmp_path)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(run, range(2)))
    assert Usage.objects.count() == 1400


def test_row_of_a_deleted_key_is_kept(client, redis_server, tmp_path):
    write(redis_server, tmp_path, row("one", api_key_id=12345))
    assert flush(client, tmp_path) == 1
    assert Usage.objects.get().api_key is None


class LosesItsLastSecond:
    """A Redis that is started again, without its last second and with a clock behind, while rows are filed."""

    def __init__(self, client, lines):
        self._client, self._lines = client, lines

    def execute_command(self, *command):
        found = self._client.execute_command(*command)
        if self._lines:
            self._client.delete(STREAM)
            self._client.xadd(STREAM, {"row": self._lines.pop()}, id="1-1")
        return found

    def __getattr__(self, name):
        return getattr(self._client, name)


def test_row_that_came_before_those_read_is_kept(client, redis_server, tmp_path):
    write(redis_server, tmp_path, row("late"))
    line = client.xrange(STREAM)[0][1][b"row"]
    client.delete(STREAM)
    write(redis_server, tmp_path, row("early"))
    flush(LosesItsLastSecond(client, [line]), tmp_path)
    flush(client, tmp_path)
    assert filed() == {"early", "late"}
    assert client.xlen(STREAM) == 0


POISON = [b"no json", b'{"request_id":"x"}', b'{"half', b"\xff\xfe", b'{"request_id":"\xff"}', b"[]"]


def test_malformed_row_is_set_aside(client, redis_server, tmp_path):
    for line in POISON:
        client.xadd(STREAM, {"row": line})
    append(tmp_path, POISON)
    write(redis_server, tmp_path, row("bad", status="odd"), row("never", started_at=1e30), row("good"))
    assert flush(client, tmp_path) == 1
    assert filed() == {"good"}
    assert client.xlen(STREAM) == 0
    assert len(lines_of(tmp_path / REJECTED)) == 2 * len(POISON) + 2


def test_row_too_long_is_cut_to_fit(client, redis_server, tmp_path):
    write(redis_server, tmp_path, row("long", model="m\0" * 500, total_ms=2**40, queue_ms=-1, api_key_id=2**62))
    assert flush(client, tmp_path) == 1
    turn = Usage.objects.get()
    assert (turn.model, turn.total_ms, turn.queue_ms) == ("m" * 128, 2**31 - 1, 0)


def test_shared_refusal_rows_only_count_up(client, redis_server, tmp_path):
    key = make_key()
    refused = {"api_key_id": key.pk, "status": "refused", "reason": "rpm", "allowed": 60, "retry_after": 12}
    write(redis_server, tmp_path, *(row("one", **refused, count=count, value=60 + count) for count in (1, 3)))
    assert flush(client, tmp_path) == 1
    write(redis_server, tmp_path, *(row("one", **refused, count=count, value=60 + count) for count in (7, 2)))
    assert flush(client, tmp_path) == 0
    turn = Usage.objects.get()
    assert (turn.count, turn.allowed, turn.value, turn.retry_after) == (7, 60, 67, 12)


def test_filed_refusals_lose_a_model_of_one(client, redis_server, tmp_path):
    refused = {"api_key_id": make_key().pk, "status": "refused", "reason": "rpm"}
    for count, model in ((1, "qwen"), (2, "qwen"), (3, "")):
        write(redis_server, tmp_path, row("one", **refused, count=count, model=model))
        flush(client, tmp_path)
        assert (Usage.objects.get().count, Usage.objects.get().model) == (count, model)


def test_a_turn_counts_once(client, redis_server, tmp_path):
    write(redis_server, tmp_path, row("one"))
    flush(client, tmp_path)
    assert (Usage.objects.get().count, Usage.objects.get().allowed) == (1, None)


def test_attempts_with_revoked_key_are_no_use(client, redis_server, tmp_path):
    key = make_key()
    write(redis_server, tmp_path, row("one", api_key_id=key.pk, status="refused", reason="revoked"))
    flush(client, tmp_path)
    assert ApiKey.objects.get().last_used_at is None


def test_last_use_of_key_is_its_latest_turn(client, redis_server, tmp_path):
    key = make_key()
    write(
        redis_server, tmp_path,
        row("late", api_key_id=key.pk, started_at=2000.0, client="10.0.0.2"),
        row("early", api_key_id=key.pk, started_at=1000.0, client="10.0.0.1"),
    )  # fmt: skip
    flush(client, tmp_path)
    key.refresh_from_db()
    assert (key.last_used_at.timestamp(), key.last_used_from) == (2000.0, "10.0.0.2")


def test_a_frozen_redis_loses_no_row(own_redis, client, tmp_path):
    own_redis.freeze()
    write(own_redis.url, tmp_path / "spool", *(row(f"r{n}") for n in range(50)), timeout=0.2)
    own_redis.thaw()
    with redis.Redis.from_url(own_redis.url) as thawed:
        flush(thawed, tmp_path / "spool")
    assert len(filed()) == 50


def test_row_answered_by_killed_redis_is_filed(own_redis, client, tmp_path):
    async def run():
        link = RedisLink(own_redis.url, timeout=5)
        ledger = Ledger(link, tmp_path / "spool")
        await asyncio.gather(*(ledger.write(row(f"r{n}")) for n in range(50)))
        own_redis.kill()  # it keeps no file, as one whose disk is busy
        await until(lambda: not link.available)
        await link.close()

    asyncio.run(run())
    own_redis.start()
    with redis.Redis.from_url(own_redis.url) as again:
        assert flush(again, tmp_path / "spool") == 50
    assert len(filed()) == 50


def test_rows_stay_in_memory_for_seconds_only(monkeypatch, own_redis, tmp_path):
    monkeypatch.setattr("accounts.ledger.ledger.UNCONFIRMED_SEC", 0.0)

    async def run():
        link = RedisLink(own_redis.url, timeout=5)
        ledger = Ledger(link, tmp_path / "spool")
        for n in range(50):
            await ledger.write(row(f"r{n}"))
        own_redis.kill()
        await until(lambda: not link.available)
        await link.close()

    asyncio.run(run())
    assert waiting(tmp_path / "spool") <= 1


def test_full_redis_is_emptied_and_takes_rows_again(own_redis, client, tmp_path):
    spool = tmp_path / "spool"
    assert write(own_redis.url, spool, *(row(f"r{n}") for n in range(2000))) == 2000
    with redis.Redis.from_url(own_redis.url) as full:
        full.config_set("maxmemory", full.info("memory")["used_memory"])
        assert write(own_redis.url, spool, *(row(f"s{n}") for n in range(500)), timeout=20) >= 2000
        assert waiting(spool) > 0
        flusher = Flusher(own_redis.url, spool, every=0.01)
        flusher.start()
        try:
            asyncio.run(until(lambda: full.xlen(STREAM) == 0 and waiting(spool) == 0))
            write(own_redis.url, spool, row("t"))
            assert waiting(spool) == 0
            asyncio.run(until(lambda: full.xlen(STREAM) == 0))  # a stop waits for a while only
        finally:
            flusher.stop()
    assert len(filed()) == 2501


def test_long_spool_takes_little_memory(client, tmp_path):
    line = msgspec.json.encode(row("one", status="refused", reason="rpm", model="m" * 128, tools="t" * 200))
    append(tmp_path, [line] * 20_000)
    size = (tmp_path / SPOOL).stat().st_size
    tracemalloc.start()
    try:
        assert waiting(tmp_path) == 20_000
        assert tracemalloc.get_traced_memory()[1] < size / 10
        assert flush(client, tmp_path) == 1
        assert tracemalloc.get_traced_memory()[1] < size / 2
    finally:
        tracemalloc.stop()
    assert (filed(), waiting(tmp_path)) == ({"one"}, 0)


def test_flusher_continues_when_redis_returns(own_redis, client, caplog, tmp_path):
    own_redis.kill()
    write(own_redis.url, tmp_path / "spool", row("one"))
    degraded.end("redis")
    caplog.clear()
    flusher = Flusher(own_redis.url, tmp_path / "spool", every=0.01)
    flusher.start()
    asyncio.run(until(lambda: degraded.active() and degraded.active()[0].times > 3))
    assert filed() == {"one"}  # what waits in files needs no Redis
    own_redis.start()
    asyncio.run(until(lambda: not degraded.active()))
    flusher.stop()
    assert [message.partition(":")[0] for message in caplog.messages] == ["degraded", "well again"]


def test_open_turns_hold_up_no_files(own_redis, client, tmp_path):
    line = msgspec.json.encode(row("one", status="open", admitted=True)).decode()
    OpenTurn.objects.create(request_id="one", run="w1-x", started_at=timezone.now(), row=line)
    own_redis.kill()
    write(own_redis.url, tmp_path / "spool", row("one", admitted=True))
    flusher = Flusher(own_redis.url, tmp_path / "spool", every=0.01)
    flusher.start()
    try:
        asyncio.run(until(lambda: waiting(tmp_path / "spool") == 0))
    finally:
        flusher.stop()
    assert (filed(), OpenTurn.objects.count()) == ({"one"}, 0)


@locks_sqlite
def test_flusher_without_rows_notices_returning_database(client, redis_server, tmp_path):
    connection.ensure_connection()
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        database.failed("another task met it")
        flusher = Flusher(redis_server, tmp_path / "spool", every=0.01)
        flusher.start()
        try:
            asyncio.run(until(lambda: degraded.active()[0].times > 1, within=30))
            other.execute("ROLLBACK")
            asyncio.run(until(lambda: not degraded.active(), within=30))
        finally:
            flusher.stop()
    assert not database.away()


@locks_sqlite
def test_returning_redis_is_noticed_without_database(own_redis, tmp_path):
    connection.ensure_connection()
    own_redis.kill()
    flusher = Flusher(own_redis.url, tmp_path / "spool", every=0.01)
    flusher.start()
    try:
        asyncio.run(until(lambda: degraded.active()))
        with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            write(own_redis.url, tmp_path / "spool", row("one"))
            asyncio.run(until(lambda: len(degraded.active()) == 2, within=30))
            own_redis.start()
            asyncio.run(until(lambda: [mode.name for mode in degraded.active()] == ["database"], within=30))
        asyncio.run(until(lambda: not degraded.active(), within=30))
    finally:
        flusher.stop()
    assert filed() == {"one"}


@pytest.mark.parametrize("with_redis", [True, False])
def test_a_row_survives_the_kill_of_its_process(client, redis_server, tmp_path, with_redis):
    url = redis_server if with_redis else f"unix://{tmp_path / 'nobody.sock'}"
    command = [sys.executable, "-m", "tests.accounts.writer", url, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        told = {process.stdout.readline().strip() for _ in range(200)}
        process.kill()
        told |= {line.strip() for line in process.stdout if line.endswith("\n")}
    flush(client, tmp_path)
    assert told - filed() == set()


def test_a_cancelled_writer_loses_no_row(client, redis_server, tmp_path):
    async def run():
        link = RedisLink(redis_server, timeout=30)
        writing = asyncio.create_task(Ledger(link, tmp_path).write(row("one")))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait({writing})
        await link.close()

    asyncio.run(run())
    flush(client, tmp_path)
    assert filed() == {"one"}


def test_task_files_rows_of_the_configured_redis(client, redis_server, settings, tmp_path):
    settings.SPOOL_DIR = tmp_path
    write(redis_server, tmp_path, row("one"))
    assert flush_usage() == 1


def test_batch_is_filed_with_few_queries(client, redis_server, tmp_path, django_assert_max_num_queries):
    key = make_key()
    write(redis_server, tmp_path, *(row(f"r{n}", api_key_id=key.pk) for n in range(400)))
    # However many rows: 4 for transactions, 3 look-ups, 3 for the sums, 8 notes of a key that was never used before
    with django_assert_max_num_queries(22):
        flush(client, tmp_path)


async def test_a_spool_that_hangs_stops_no_heartbeat(redis_server, tmp_path):
    os.mkfifo(tmp_path / SPOOL)  # opening it to read waits for a writer, as a disk that hangs does
    link = RedisLink(redis_server, timeout=30)
    await link.execute("DEL", STREAM)
    ledger = Ledger(link, tmp_path)
    async with asyncio.timeout(30):
        assert await ledger.backlog() == 0
        assert await ledger.backlog() == 0
    with (tmp_path / SPOOL).open("w"):
        pass
    await link.close()


async def test_flusher_survives_whatever_redis_raises(tmp_path):
    flusher = Flusher("nonsense://", tmp_path / "spool", every=0.01)
    flusher.start()
    assert await until(lambda: any(each.name == "flush" and each.times > 3 for each in degraded.active()))
    flusher.stop()
