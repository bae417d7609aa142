"""What a web process reports to who looks: nothing else, nothing longer, and the ends of logs that are asked for."""

import asyncio

import msgspec
import pytest
import redis

from bridge.fleet import live_reports
from bridge.fleet.live_reports import LiveReports
from bridge.fleet.live_view import read_reports
from bridge.fleet.log_tail_facts import LogTailFacts, ask_for
from bridge.fleet.log_tails import shown
from bridge.pool.options import InstanceOptions, PoolOptions
from bridge.pool.pool import Pool
from bridge.status.live import LiveReport, LiveTurn
from bridge.telemetry.running import RunningTurns
from gateway_project.lib.redis.redis_keys import LIVE, LOG, LOG_WANTED, WATCHED
from gateway_project.lib.redis.redis_link import RedisLink
from tests.bridge.pools import simulator


class Turn:
    """One that waits for a place since this moment."""

    def __init__(self, since):
        self.since = since

    def live(self):
        return LiveTurn(f"req_{self.since}", 7, "alice", "m", "curl", float(self.since))


@pytest.fixture
async def link(redis_server):
    link = RedisLink(redis_server, timeout=30)
    await link.execute("FLUSHALL")
    yield link
    await link.close()


@pytest.fixture
def client(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        yield client


@pytest.fixture
async def new_reports(link, tmp_path):
    """`new_reports(number)`: those of a process whose instance has a work dir, and never starts."""
    pools = []

    def new_reports(number, running=None, link=link):
        pools.append(Pool([simulator(tmp_path)], number, PoolOptions(), InstanceOptions()))
        return LiveReports(
            link, pools[-1], running or RunningTurns(), (f"web-{number}", number, f"run{number}"), lambda: 3
        )

    yield new_reports
    for each in pools:
        await each.stop()


async def follow(reports, found):
    """Until Redis has it."""
    following = asyncio.create_task(reports.follow())
    try:
        async with asyncio.timeout(30):
            while not await found():
                await asyncio.sleep(0.02)
    finally:
        following.cancel()
        await asyncio.wait({following})


async def test_live_report_is_absent_while_nobody_looks(link, client, new_reports, monkeypatch):
    monkeypatch.setattr(live_reports, "IDLE_SEC", 0.01)
    following = asyncio.create_task(new_reports(1).follow())
    await asyncio.sleep(0.2)
    assert not client.exists(LIVE)
    following.cancel()
    await asyncio.wait({following})


async def test_watcher_gets_reports_of_all_processes(link, client, new_reports, monkeypatch):
    monkeypatch.setattr(live_reports, "IDLE_SEC", 0.01)
    first, second = new_reports(1), new_reports(2)
    assert [each.process for each in await first.look()] == [1]
    await follow(second, lambda: link.execute("HEXISTS", LIVE, "run2"))
    assert sorted(each.process for each in await first.look()) == [1, 2]
    assert sorted((each.process, each.instances[0].name) for each in read_reports(client)) == [
        (1, "w1-i1"),
        (2, "w2-i1"),
    ]
    assert 0 < client.ttl(WATCHED) <= 5
    assert 0 < client.ttl(LIVE) <= 40


async def test_old_reports_are_not_shown(link, client, new_reports):
    client.hset(LIVE, "gone", b"1 {}")
    assert [each.process for each in await new_reports(1).look()] == [1]
    assert not client.hexists(LIVE, "gone")


async def test_report_has_turns_queue_and_memory(new_reports):
    running = RunningTurns()
    for since in range(60):
        running.add(Turn(since))
    report = new_reports(1, running).report()
    assert [each.id for each in report.turns] == [f"req_{since}" for since in range(50)]
    assert [(each.key_name, each.waiting, each.since) for each in report.queue] == [("alice", 60, 0.0)]
    assert report.backlog == 3
    assert report.memory > 1 << 20


async def test_redis_away_leaves_own_report(new_reports):
    link = RedisLink("redis://127.0.0.1:1")
    assert [each.process for each in await new_reports(1, link=link).look()] == [1]
    await link.close()


async def test_log_is_published_while_it_is_wanted(link, client, new_reports, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "lingma.log").write_text("one\ntoken=abcdefghijkl \x1b[1m\n")
    reports = new_reports(1)
    assert ask_for(client, "w1-i1").why == "unknown"
    await follow(reports, lambda: link.execute("EXISTS", LOG + "w1-i1"))
    assert ask_for(client, "w1-i1") == LogTailFacts(["one", "token=… \\x1b[1m"])
    assert 0 < client.ttl(LOG_WANTED + "w1-i1") <= 10


async def test_missing_log_is_said(link, client, new_reports):
    ask_for(client, "w1-i1")
    await follow(new_reports(1), lambda: link.execute("EXISTS", LOG + "w1-i1"))
    assert ask_for(client, "w1-i1").why == "unreadable"


def test_log_is_read_only_at_its_end(tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(f"{number} {'x' * 600}\n" for number in range(1000)))
    lines = shown(path)
    assert lines[-1].startswith("999 x")
    assert len(lines) < 200
    assert max(map(len, lines)) == 500


def test_secret_is_never_shown_in_part(tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(f"{'x' * before} sk-abcdefghijklmnopqrstuvwxyz\n" for before in range(480, 500)))
    assert not [line for line in shown(path) if "a" in line]


def test_full_redis_still_tells(own_redis):
    report = LiveReport("web-1", 1, 1.0, [], 0, 0)
    with redis.Redis.from_url(own_redis.url) as client:
        client.hset(LIVE, "run1", b"%d %b" % (client.time()[0], msgspec.json.encode(report)))
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.ResponseError):
            client.set("anything", 1)
        assert read_reports(client) == [report]
        assert ask_for(client, "w1-i1").why == "unknown"
