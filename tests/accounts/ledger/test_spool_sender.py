"""Rows in files of a machine without a worker: Redis has them when it is back, and a worker elsewhere files them."""

import asyncio
import fcntl
import time

import pytest
import redis
from msgspec import structs

from accounts.ledger.filing import flush
from accounts.ledger.ledger import Ledger
from accounts.ledger.row import Amendment
from accounts.ledger.spool import REJECTED, SPOOL, append, lines_of, waiting
from accounts.ledger.spool_sender import MOST_AHEAD, SpoolSender
from accounts.models import AdmittedHour, OpenTurn, Usage
from gateway_project.lib.redis.redis_keys import RUN, USAGE
from gateway_project.lib.redis.redis_link import RedisLink
from tests.accounts.rows import row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def web(tmp_path):
    """The spool of a web process."""
    return tmp_path / "web" / "spool"


@pytest.fixture
def elsewhere(tmp_path):
    """The spool of a worker that runs on another machine."""
    return tmp_path / "worker" / "spool"


@pytest.fixture
def client(own_redis):
    with redis.Redis.from_url(own_redis.url) as client:
        yield client


def spool(web, *rows, closes=(), amends=()):
    """What a web process spools while Redis is away."""

    async def run():
        link = RedisLink(f"unix://{web}/nobody.sock")
        ledger = Ledger(link, web, "w1", sends_spool=True)
        for each in closes:
            await ledger.open(structs.replace(each, status="open")).wait()
        await asyncio.gather(*map(ledger.write, [*rows, *closes]), *map(ledger.amend, amends))
        await link.close()
        return ledger

    return asyncio.run(run())


@pytest.fixture
def sending(own_redis, web):
    """Makes senders, started, that trust Redis to have its writes on its disk after so many seconds."""
    senders = []

    def start(ledger=None, settle=0.0):
        ledger = ledger or Ledger(RedisLink(own_redis.url), web, "w1", sends_spool=True)
        senders.append(SpoolSender(own_redis.url, ledger, web, settle=settle))
        senders[-1].start()
        return senders[-1]

    yield start
    for sender in senders:
        sender.stop()


def until(condition, within=45.0):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def filed():
    return set(Usage.objects.values_list("request_id", flat=True))


def test_spooled_rows_are_filed_elsewhere(sending, client, web, elsewhere):
    rows = [row(f"r{number}") for number in range(1200)]
    spool(web, *rows)
    sending()
    until(lambda: not waiting(web))
    assert flush(client, elsewhere) == 1200
    assert filed() == {each.request_id for each in rows}
    assert list(web.iterdir()) == []


def test_rows_of_an_outage_follow_it(sending, own_redis, client, web, elsewhere):
    own_redis.kill()
    spool(web, row("one"))
    sending()
    spool(web, row("two"))
    own_redis.start()
    until(lambda: not waiting(web))
    assert flush(client, elsewhere) == 2


def test_rows_of_the_last_moment_are_sent(sending, client, web, elsewhere):
    sender = sending()
    spool(web, row("one"))
    sender.stop()
    assert flush(client, elsewhere) == 1
    assert not waiting(web)


def test_stop_without_redis_leaves_the_files(sending, own_redis, web):
    own_redis.kill()
    spool(web, row("one"))
    sending().stop()
    assert waiting(web) == 1


def test_full_redis_leaves_the_file_where_it_is(sending, client, web):
    spool(web, row("one"))
    client.config_set("maxmemory", 1)
    sending().stop()
    assert [path.name for path in web.iterdir()] == [SPOOL]


def test_file_that_is_written_to_is_left(sending, client, web, elsewhere):
    spool(web, row("one"))
    with (web / SPOOL).open("ab") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        sending().stop()
        assert client.xlen(USAGE) == 0
        assert waiting(web) == 1
    sending()
    until(lambda: not waiting(web))
    assert flush(client, elsewhere) == 1


def test_half_a_line_is_set_aside_elsewhere(sending, client, web, elsewhere):
    spool(web, row("one"))
    with (web / SPOOL).open("ab") as killed:
        killed.write(b'\n{"request_id":"ha')
    spool(web, row("two"))
    sending()
    until(lambda: not waiting(web))
    assert flush(client, elsewhere) == 2
    assert lines_of(elsewhere / REJECTED) == [b'{"request_id":"ha']


def test_lines_sent_twice_count_once(sending, client, web, elsewhere):
    turn, refusal = row("turn", admitted=True), row("refused", status="error", reason="rate", count=3)
    amendment = Amendment("turn", turn.started_at, 70, 90)
    spool(web, refusal, closes=[turn], amends=[amendment])
    lines = lines_of(web / SPOOL)
    for _ in range(2):
        append(web, lines)
        sending().stop()
        flush(client, elsewhere)
    assert Usage.objects.get(request_id="refused").count == 3
    assert Usage.objects.get(request_id="turn").prompt_tokens == 70
    assert AdmittedHour.objects.values_list("admitted", "unopened").get() == (1, 0)
    assert not OpenTurn.objects.exists()


def test_redis_killed_after_the_send_loses_nothing(sending, own_redis, client, web, elsewhere):
    spool(web, row("one"))
    sending(settle=3.0)
    until(lambda: client.xlen(USAGE))
    assert waiting(web) == 1
    own_redis.kill()
    own_redis.start()
    until(lambda: not waiting(web))
    assert flush(client, elsewhere) == 1


def test_rows_stay_while_nobody_files(sending, client, web, elsewhere):
    spool(web, row("one"))
    pipeline = client.pipeline()
    for _ in range(MOST_AHEAD):
        pipeline.xadd(USAGE, {"row": b""})
    pipeline.execute()
    sending().stop()
    assert (client.xlen(USAGE), waiting(web)) == (MOST_AHEAD, 1)


def test_several_senders_send_each_line_once(sending, client, web, elsewhere):
    spool(web, *(row(f"r{number}") for number in range(300)))
    senders = [sending(settle=1.0) for _ in range(3)]
    until(lambda: not waiting(web))
    for sender in senders:
        sender.stop()
    assert client.xlen(USAGE) == 300


def test_turns_in_files_do_not_look_lost(sending, own_redis, client, web):
    async def sign(ledger):
        link = RedisLink(own_redis.url, timeout=30)
        ledger._link = link
        await ledger.sign_of_life()
        await link.close()

    ledger = spool(web, row("one"))
    asyncio.run(sign(ledger))
    assert float(client.get(RUN + "w1")) == 0
    sending(ledger)
    until(lambda: not ledger.spooled)
    asyncio.run(sign(ledger))
    assert float(client.get(RUN + "w1")) > 0
